// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"github.com/trapline/trapline/checkpoint/cpu"
	"github.com/trapline/trapline/checkpoint/procfs"
)

// recordCPU gives the processor for the images, nil with --cpu-cap=none.
func (d *dumper) recordCPU() *cpu.Features {
	if need, err := cpuNeed(d.opts.CPUCap); err != nil || need == 0 {
		return nil
	}
	f := cpu.Current()
	return &f
}

// newExtra collects what CRIU's images have no field for.
func newExtra(t *target, processor *cpu.Features) *Extra {
	a := &t.answers
	x := &Extra{CPU: processor, MDWE: a.mdwe, KSM: a.ksm, IOFlusher: a.ioFlusher}
	if a.thpFlags > 1 {
		x.THPDisable = a.thpFlags
	}
	const tscEnable = 1 // PR_TSC_ENABLE
	if a.tsc != tscEnable {
		x.TSC = a.tsc
	}
	const defaultFilter = 0x33 // MMF_DUMP_FILTER_DEFAULT
	if f, err := t.proc.CoredumpFilter(); err == nil && f != defaultFilter {
		x.CoredumpFilter = &f
	}
	for i := range t.vmas {
		v := &t.vmas[i]
		r := ExtraRange{v.Start, v.End}
		if v.Kind == procfs.KindAnonNamed || v.Kind == procfs.KindAnonShmemNamed {
			x.Names = append(x.Names, ExtraName{r, v.Name})
		}
		if v.Flags&procfs.VMLockOnFault != 0 {
			x.LockOnFault = append(x.LockOnFault, r)
		}
		if v.Flags&procfs.VMSealed != 0 {
			x.Sealed = append(x.Sealed, r)
		}
		if v.Flags&procfs.VMDroppable != 0 {
			x.Droppable = append(x.Droppable, r)
		}
		if v.ProtectionKey != 0 {
			x.Keys = append(x.Keys, ExtraKey{r, v.ProtectionKey})
		}
	}
	x.MachineCheck, x.LockFuture, x.XComp = t.answers.machineCheck, t.answers.lockFuture, t.answers.xcomp
	for _, g := range t.guards {
		x.Guards = append(x.Guards, ExtraRange{g.start, g.end})
	}
	for _, th := range t.threads {
		x.Threads = append(x.Threads, newExtraThread(th))
	}
	return x
}

func newExtraThread(th *targetThread) ExtraThread {
	x := ExtraThread{
		TID: th.vtid, TimerSlack: th.timerSlack, IOPriority: th.ioprio, Affinity: th.affinity, SchedFlags: th.sched.Flags, XState: th.whole,
	}
	if th.sched.Runtime != 0 || th.sched.Deadline != 0 || th.sched.Period != 0 {
		x.SchedRT = []uint64{th.sched.Runtime, th.sched.Deadline, th.sched.Period}
	}
	return x
}
