// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// ThreadAnswers is what only the thread itself can tell.
type ThreadAnswers struct {
	// AltStack, its size and flags (SS_*): sigaltstack(2).
	AltStack, AltStackSize uint64
	AltStackFlags          uint32
	TidAddress             uint64 // PR_GET_TID_ADDRESS
	PdeathSig              uint32 // PR_GET_PDEATHSIG
	SecureBits             uint32 // PR_GET_SECUREBITS
}

// askSize is the buffer of the answers: stack_t, the address, the signal.
const askSize = 24 + 8 + 8

// AskThread asks another stopped thread of the process, whose id as the process sees it is vtid, and gives it its
// context back: one stop, where [Session.CallThread] takes two a call. orig and mask are the thread's registers and signal
// mask as they are. It stays stopped.
func (s *Session) AskThread(t *Tracee, vtid int, orig *Regs, mask uint64) (a ThreadAnswers, err error) {
	// The middle of the area: its start holds the leader's way back, its end data.
	buf := s.Area + s.AreaSize/2
	if s.stepOnly || !canAsk {
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
	putContext(ctx, &back, mask, s.noSys, 0, 0)
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

func (s *Session) readAnswers(buf Addr) (a ThreadAnswers, err error) {
	var b [askSize]byte
	if err := s.ReadMem(buf, b[:]); err != nil {
		return a, err
	}
	le := binary.NativeEndian
	a.AltStack, a.AltStackFlags, a.AltStackSize = le.Uint64(b[0:]), le.Uint32(b[8:]), le.Uint64(b[16:])
	a.TidAddress, a.PdeathSig = le.Uint64(b[24:]), le.Uint32(b[32:])
	return a, nil
}

// askByCalls is AskThread with single remote calls.
func (s *Session) askByCalls(t *Tracee, buf Addr) (a ThreadAnswers, err error) {
	calls := []RemoteCall{
		{Nr: unix.SYS_SIGALTSTACK, Args: [6]uint64{0, buf}},
		{Nr: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_TID_ADDRESS, buf + 24}},
		{Nr: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_PDEATHSIG, buf + 32}},
		{Nr: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_SECUREBITS}},
	}
	if err := s.CallThread(t, calls); err != nil {
		return a, err
	}
	var errs []error
	for _, c := range calls {
		errs = append(errs, c.Err)
	}
	if err := errors.Join(errs...); err != nil {
		return a, fmt.Errorf("task %d: asking: %w", t.Tid, err)
	}
	a, err = s.readAnswers(buf)
	a.SecureBits = uint32(calls[3].Result)
	return a, err
}
