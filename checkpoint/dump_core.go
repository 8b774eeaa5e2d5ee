// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"strconv"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	criu_sa "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-sa"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/rlimit"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/siginfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timer"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/procfs"
	"github.com/trapline/trapline/checkpoint/stage"
)

// core writes core-PID.img of each process: its first thread's registers and what belongs to the process. Zombies have one
// too, with their exit status.
func (d *dumper) core() error {
	for _, t := range d.tasks {
		s := d.tl.Begin(stage.Core, t.pid)
		err := d.dumpCore(t)
		s.End()
		if err != nil {
			return t.errorf(err)
		}
	}
	return nil
}

func (d *dumper) dumpCore(t *target) error {
	name := "core-" + strconv.Itoa(t.vpid) + ".img"
	if t.dead() {
		return d.w.Put(name, deadCore(&t.stat))
	}
	for _, th := range t.threads {
		if err := d.dumpFilters(t, th); err != nil {
			return err
		}
	}
	e, err := threadCore(t, t.leader())
	if err != nil {
		return err
	}
	e.Tc = taskCore(t)
	return d.w.Put(name, e)
}

// deadCore is the entry of a zombie.
func deadCore(st *procfs.Stat) *criu_core.CoreEntry {
	return &criu_core.CoreEntry{
		Mtype: coreArch.Enum(),
		Tc: &criu_core.TaskCoreEntry{
			TaskState: proto.Uint32(image.TaskDead), ExitCode: proto.Uint32(uint32(st.ExitCode)),
			Personality: proto.Uint32(0), Flags: proto.Uint32(0), BlkSigset: proto.Uint64(0), Comm: proto.String(st.Comm),
		},
	}
}

// taskCore is what belongs to a process as a whole.
func taskCore(t *target) *criu_core.TaskCoreEntry {
	a := &t.answers
	e := &criu_core.TaskCoreEntry{
		TaskState: proto.Uint32(t.state), ExitCode: proto.Uint32(0), Personality: proto.Uint32(t.personality),
		Flags: proto.Uint32(t.stat.Flags), BlkSigset: proto.Uint64(t.leader().mask), Comm: proto.String(t.leader().status.Name),
		Timers:         timersEntry(t),
		Rlimits:        limitsEntry(t.limits),
		SignalsS:       signalQueue(t.sharedQueue),
		Sigactions:     actionEntries(&a.actions),
		OomScoreAdj:    proto.Int32(int32(t.oomScoreAdj)),
		ChildSubreaper: proto.Bool(a.childSubreaper),
	}
	if t.hasLoginUID {
		e.Loginuid = proto.Uint32(t.loginUID)
	}
	if t.state == image.TaskStopped {
		e.StopSigno = proto.Uint32(uint32(t.stopSig))
	}
	if a.membarrier != 0 {
		e.MembarrierRegistrationMask = proto.Uint32(a.membarrier)
	}
	return e
}

func timersEntry(t *target) *timer.TaskTimersEntry {
	it := func(v unix.Itimerval) *timer.ItimerEntry {
		return &timer.ItimerEntry{
			Isec: proto.Uint64(uint64(v.Interval.Sec)), Iusec: proto.Uint64(uint64(v.Interval.Usec)),
			Vsec: proto.Uint64(uint64(v.Value.Sec)), Vusec: proto.Uint64(uint64(v.Value.Usec)),
		}
	}
	e := &timer.TaskTimersEntry{Real: it(t.answers.itimers[0]), Virt: it(t.answers.itimers[1]), Prof: it(t.answers.itimers[2])}
	for i := range t.posixTimers {
		e.Posix = append(e.Posix, posixTimerEntry(t, &t.posixTimers[i]))
	}
	return e
}

func posixTimerEntry(t *target, tm *posixTimer) *timer.PosixTimerEntry {
	e := &timer.PosixTimerEntry{
		ItId: proto.Uint32(uint32(tm.ID)), ClockId: proto.Uint32(uint32(tm.ClockID)), SiSigno: proto.Uint32(uint32(tm.Signal)),
		ItSigevNotify: proto.Uint32(uint32(tm.Notify)), SivalPtr: proto.Uint64(tm.Timer.Value), Overrun: proto.Uint32(tm.overrun),
		Isec: proto.Uint64(uint64(tm.value.Interval.Sec)), Insec: proto.Uint64(uint64(tm.value.Interval.Nsec)),
		Vsec: proto.Uint64(uint64(tm.value.Value.Sec)), Vnsec: proto.Uint64(uint64(tm.value.Value.Nsec)),
	}
	if tm.ToThread {
		const sigevThreadID = 4
		e.ItSigevNotify = proto.Uint32(uint32(tm.Notify) | sigevThreadID)
		for _, th := range t.threads {
			if th.tid == tm.Target {
				e.NotifyThreadId = proto.Int32(int32(th.vtid))
			}
		}
	}
	return e
}

func limitsEntry(l *procfs.Limits) *criu_core.TaskRlimitsEntry {
	e := &criu_core.TaskRlimitsEntry{}
	for _, v := range l {
		e.Rlimits = append(e.Rlimits, &rlimit.RlimitEntry{Cur: proto.Uint64(v.Cur), Max: proto.Uint64(v.Max)})
	}
	return e
}

func signalQueue(q []inject.SigInfo) *siginfo.SignalQueueEntry {
	e := &siginfo.SignalQueueEntry{}
	for i := range q {
		e.Signals = append(e.Signals, &siginfo.SiginfoEntry{Siginfo: q[i][:]})
	}
	return e
}

// actionEntries are the actions of all signals but SIGKILL and SIGSTOP, in their order.
func actionEntries(actions *[numSignals]sigAction) []*criu_sa.SaEntry {
	var list []*criu_sa.SaEntry
	for i := range actions {
		if sig := unix.Signal(i + 1); sig == unix.SIGKILL || sig == unix.SIGSTOP {
			continue
		}
		a := &actions[i]
		list = append(list, &criu_sa.SaEntry{
			Sigaction: proto.Uint64(a.handler), Flags: proto.Uint64(a.flags), Restorer: proto.Uint64(a.restorer), Mask: proto.Uint64(a.mask),
			CompatSigaction: proto.Bool(false),
		})
	}
	return list
}
