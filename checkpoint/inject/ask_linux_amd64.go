// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// AskThread asks another stopped thread of the process, whose id as the process sees it is vtid, and gives it its
// context back: one stop, where [Session.CallThread] takes two a call. orig and mask are the thread's registers and signal
// mask as they are. It stays stopped.
func (s *Session) AskThread(t *Tracee, vtid int, orig *Regs, mask uint64) (a ThreadAnswers, err error) {
	// The middle of the area: its start holds the leader's way back, its end data.
	buf := s.Area + s.AreaSize/2
	if s.stepOnly {
		return s.askByCalls(t, buf)
	}
	if mask&s.sigBit() != 0 {
		// The leader does not block it, but this thread does. If it is pending there it must stay so. One that is sent to
		// just this thread in the few microseconds to come is lost, as it would be if the thread did not block it.
		if pending, err := t.Pending(false); err != nil {
			return a, err
		} else if slices.ContainsFunc(pending, func(i SigInfo) bool { return i.Signo() == s.sig }) {
			return s.askByCalls(t, buf)
		}
	}
	ctx := make([]byte, contextSize-16)
	back := Resumable(*orig, true)
	if err := putContext(t, ctx, &back, mask, s.noSys, 0, 0); err != nil {
		return a, err
	}
	if err := s.writeCode(s.code+blobThreadCtx, ctx); err != nil {
		return a, err
	}
	if err := s.enter(t, blobThreadCall, s.sigBit()); err != nil {
		return a, err
	}
	r := *orig
	setAsk(&r, s.code+blobAsk, buf, s.pid, vtid, s.sig)
	if err := t.SetRegs(&r); err != nil {
		return a, err
	}
	s.Calls += 4
	if err := t.Cont(0); err != nil {
		return a, err
	}
	if r, err = s.untilAsked(t); err != nil {
		s.stuck = s.stuck || !errors.Is(err, ErrGone)
		return a, err
	}
	failed, securebits := asked(&r)
	// The stop is inside the kernel's signal handling, where an interrupted system call still gets its restart.
	if err := t.SetSigMask(mask); err != nil {
		return a, err
	}
	if err := t.SetRegs(orig); err != nil {
		return a, err
	}
	if failed {
		return a, fmt.Errorf("task %d: asking for its alternate stack or tid address failed", t.Tid)
	}
	a, err = s.readAnswers(buf)
	a.SecureBits = uint32(securebits)
	return a, err
}

// untilAsked waits for the signal at the end of the questions.
func (s *Session) untilAsked(t *Tracee) (Regs, error) {
	for {
		st, err := t.Wait()
		if err != nil {
			return Regs{}, err
		}
		switch st.Kind {
		case StopExited:
			return Regs{}, fmt.Errorf("task %d: %w", t.Tid, ErrGone)
		case StopSignal:
			r, err := t.Regs()
			if err != nil {
				return Regs{}, err
			}
			if st.Signal == s.sig && pc(&r) == s.code+blobAskRet {
				return r, nil
			}
			switch st.Signal {
			case unix.SIGSTOP:
				s.StopPending = true
			case unix.SIGSEGV, unix.SIGILL, unix.SIGBUS, unix.SIGTRAP, unix.SIGSYS, unix.SIGFPE:
				return Regs{}, fmt.Errorf("task %d: %v at %#x while it was asked", t.Tid, st.Signal, pc(&r))
			}
		}
		if err := t.Cont(0); err != nil {
			return Regs{}, err
		}
	}
}

// CallThread makes calls in another stopped thread of the process, whose memory they may use is the leader's scratch
// area, and gives the thread its context back.
func (s *Session) CallThread(t *Tracee, calls []RemoteCall) (err error) {
	orig, err := t.Regs()
	if err != nil {
		return err
	}
	mask, err := t.SigMask()
	if err != nil {
		return err
	}
	ctx := make([]byte, contextSize-16)
	back := Resumable(orig, true)
	if err := putContext(t, ctx, &back, mask, s.noSys, 0, 0); err != nil {
		return err
	}
	if err := s.writeCode(s.code+blobThreadCtx, ctx); err != nil {
		return err
	}
	if err := s.enter(t, blobThreadCall, 0); err != nil {
		return err
	}
	for i := range calls {
		c := &calls[i]
		v, cerr := s.call(t, blobThreadCall, uint64(c.Nr), c.Args)
		if cerr != nil {
			err = cerr
			break
		}
		c.Result, c.Err = errnoOf(v)
	}
	lerr := s.leave(t, &orig, mask)
	s.stuck = s.stuck || lerr != nil && !errors.Is(lerr, ErrGone)
	if err == nil {
		err = lerr
	}
	return err
}

// setAsk sends a thread to the questions of the blob; see its comment for the registers.
func setAsk(r *Regs, pc, buf Addr, pid, tid int, sig unix.Signal) {
	r.Rip, r.Rbx, r.R12, r.R13, r.R14 = pc, buf, uint64(pid), uint64(tid), uint64(sig)
	r.Rax, r.Orig_rax = 0, ^uint64(0)
	r.Eflags &^= eflagsDF | 1<<8
}

// asked reads the answers that are in registers.
func asked(r *Regs) (failed bool, securebits uint64) { return r.Rbp != 0, r.R15 }

// askByCalls is AskThread with single remote calls.
func (s *Session) askByCalls(t *Tracee, buf Addr) (a ThreadAnswers, err error) {
	calls := questions(buf)
	if err := s.CallThread(t, calls); err != nil {
		return a, err
	}
	return s.answers(t, calls, buf)
}
