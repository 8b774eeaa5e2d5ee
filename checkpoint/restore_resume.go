// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/stage"
)

// resume takes the scratch area out of every process, loads the registers and lets the tree go.
func (r *restorer) resume() error {
	// the engine's own descriptors of pipes and sockets would keep them open
	if err := r.files.Close(); err != nil {
		return err
	}
	if err := r.leaveBlob(); err != nil {
		return err
	}
	root := r.tasks[0]
	if err := r.hook(ActionPreResume, root.pid); err != nil {
		return err
	}
	r.result.Wait = r.waitRoot(root.pid)
	return r.letGo()
}

// leaveBlob brings all threads of all processes to their own registers, stopped. The last remote call of a process unmaps the memory
// that the others were made from.
func (r *restorer) leaveBlob() error {
	type leaving struct {
		t     *task
		parts [4]func() error
		span  stage.Span
	}
	var all []leaving
	for _, t := range r.tasks {
		if t.dead {
			continue
		}
		l := leaving{t: t, span: r.tl.Begin(stage.Resume, t.pid)}
		defer l.span.End() // after an error; else it has no effect
		pc, err := r.systemCall(t)
		if err == nil {
			err = r.finishThreads(t)
		}
		if err != nil {
			return fmt.Errorf("%v: %w", t, err)
		}
		l.parts = t.s.LeaveParts(pc, r.area)
		all = append(all, l)
	}
	for part := range len(leaving{}.parts) {
		for _, l := range all {
			err := l.parts[part]()
			if last := part == len(l.parts)-1; last && err == nil {
				err = r.finishThread(l.t, l.t.threads[0])
				l.span.Add(stage.Counts{Calls: 1})
				l.span.End()
				r.counted++
			}
			if err != nil {
				return fmt.Errorf("%v: %w", l.t, err)
			}
		}
	}
	return nil
}

// finishThreads gives the threads but the leader their own registers.
func (r *restorer) finishThreads(t *task) error {
	for _, th := range t.threads {
		if err := r.rseqSection(th); err != nil {
			return fmt.Errorf("thread %d: %w", th.tid, err)
		}
	}
	for _, th := range t.threads[1:] {
		if err := r.finishThread(t, th); err != nil {
			return fmt.Errorf("thread %d: %w", th.tid, err)
		}
	}
	return nil
}

func (r *restorer) finishThread(t *task, th *thread) error {
	mask := th.core.ThreadCore.GetBlkSigset()
	if th == t.threads[0] {
		mask = t.core.Tc.GetBlkSigset()
	}
	if err := th.t.SetSigMask(mask); err != nil {
		return err
	}
	if th.more != nil {
		if err := th.t.SetMoreRegs(th.more); err != nil {
			return err
		}
	}
	return setRegisters(th)
}

// rseqSection tells the kernel which restartable sequence a thread was in: it aborts it when the thread runs.
func (r *restorer) rseqSection(th *thread) error {
	q := th.core.ThreadCore.GetRseqEntry()
	if q.GetRseqCsPointer() == 0 || q.GetRseqAbiPointer() == 0 {
		return nil
	}
	var w [8]byte
	binary.LittleEndian.PutUint64(w[:], q.GetRseqCsPointer())
	return th.s.WriteMem(q.GetRseqAbiPointer()+8, w[:]) // struct rseq, rseq_cs
}

// systemCall finds a system call instruction that stays when the scratch area is gone: the vDSO has some; without one
// the program's own text.
func (r *restorer) systemCall(t *task) (uint64, error) {
	var last error
	for _, vdso := range []bool{true, false} {
		for _, v := range t.mm.Vmas {
			if v.GetProt()&unix.PROT_EXEC == 0 || v.GetStatus()&image.VMAVsyscall != 0 || (v.GetStatus()&image.VMAVDSO != 0) != vdso {
				continue
			}
			if vdso && r.vdsoCall != 0 {
				return v.GetStart() + r.vdsoCall, nil
			}
			pc, err := t.s.Syscall(inject.Range{Start: v.GetStart(), End: v.GetEnd()})
			if err == nil {
				if vdso {
					r.vdsoCall = pc - v.GetStart()
				}
				return pc, nil
			}
			last = err
		}
	}
	if last == nil {
		last = fmt.Errorf("the process has no executable memory: %w", ErrImage)
	}
	return 0, last
}

// letGo detaches from all threads; stopped tasks stay stopped. Before the first runs none is to end with the engine any more: the kernel
// lets those go that the engine, should it die on the way, has not come to. So there is no moment, but for the microseconds of that
// first round, that leaves a part of the tree.
func (r *restorer) letGo() error {
	for _, t := range r.tasks {
		if t.dead || !t.stopped && !r.opts.LeaveStopped {
			continue
		}
		sig := unix.SIGSTOP
		if n := t.core.Tc.GetStopSigno(); n != 0 && !r.opts.LeaveStopped {
			sig = unix.Signal(n)
		}
		if err := unix.Kill(t.pid, sig); err != nil {
			return fmt.Errorf("%v: stopping it again: %w", t, err)
		}
	}
	for _, t := range r.tasks {
		for _, th := range t.threads {
			if t.dead {
				continue
			}
			// one that was killed meanwhile, by whomever, has been restored to be killed
			if err := th.t.SetOptions(0); err != nil && !errors.Is(err, inject.ErrGone) {
				return fmt.Errorf("%v: letting thread %d go: %w", t, th.tid, err)
			}
		}
	}
	var first error
	for i := len(r.tasks) - 1; i >= 0; i-- {
		t := r.tasks[i]
		if t.dead {
			continue
		}
		for k := len(t.threads) - 1; k >= 0; k-- {
			if err := t.threads[k].t.Detach(0); err != nil && !errors.Is(err, inject.ErrGone) && first == nil {
				first = fmt.Errorf("%v: letting thread %d go: %w", t, t.threads[k].tid, err)
			}
		}
		t.released = true
	}
	return first
}
