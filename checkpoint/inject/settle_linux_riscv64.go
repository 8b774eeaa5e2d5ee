// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Settle brings a stopped task to a stop that tells whether it is inside a system call that only restart_syscall can go on with.
// riscv64 has no register for that (orig_a0 is hidden, and a0 is put back before a tracer looks), but at the entry of the call
// that the kernel makes again the number shows. So a task that stands before a call which may be one of these is let into the call
// and stopped in it again. Should the engine die, it goes on in its call.
func (t *Tracee) Settle(deadline time.Time) error {
	// Once to find out; once more for a task that had not begun its call, or was on its way out of it.
	for range 4 {
		r, err := t.Regs()
		if err != nil {
			return err
		}
		if !continued(&r) || !t.atCall(r.Pc) {
			return nil
		}
		mask, err := t.SigMask()
		if err != nil {
			return err
		}
		stopped, err := t.enterCall(mask, deadline)
		if err == nil {
			err = t.trap(deadline)
		}
		if stopped {
			_ = unix.Tgkill(t.Tid, t.Tid, unix.SIGSTOP)
		}
		if err != nil {
			return fmt.Errorf("in its system call %d: %w", r.X[xA7], err)
		}
	}
	return nil
}

// continued tells whether a call with these registers goes on by restart_syscall when it was interrupted (ERESTART_RESTARTBLOCK).
func continued(r *Regs) bool {
	const (
		futexWait, futexWaitBitset = 0, 9
		futexCmdMask               = 0x7f
	)
	switch r.X[xA7] {
	case unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP:
		return true
	case unix.SYS_FUTEX:
		op := r.X[xA0+1] & futexCmdMask
		return r.X[xA0+3] != 0 && (op == futexWait || op == futexWaitBitset)
	}
	return false
}

// enterCall lets a task that stands before a system call instruction run to the entry of the call. A signal that comes first is
// blocked and with that queued again by the kernel (ptrace_signal in kernel/signal.c), until the task is there and has its mask
// back: in the call it then interrupts it as the kernel's rules say. SIGSTOP, which can't be blocked, is told.
func (t *Tracee) enterCall(mask uint64, deadline time.Time) (stopped bool, err error) {
	if err := t.SetOptions(unix.PTRACE_O_TRACESYSGOOD); err != nil {
		return false, err
	}
	now := mask
	var sig unix.Signal
	for {
		if err := ptrace(unix.PTRACE_SYSCALL, t.Tid, 0, uintptr(sig)); err != nil {
			return stopped, err
		}
		sig = 0
		st, err := t.Poll(deadline)
		if err != nil {
			return stopped, err
		}
		switch st.Kind {
		case StopSyscall:
			if now != mask {
				return stopped, t.SetSigMask(mask)
			}
			return stopped, nil
		case StopExited:
			return stopped, fmt.Errorf("task %d: %w", t.Tid, ErrGone)
		case StopSignal:
			if st.Signal == unix.SIGSTOP {
				stopped = true
				continue
			}
			now |= 1 << (st.Signal - 1)
			if err := t.SetSigMask(now); err != nil {
				return stopped, err
			}
			sig = st.Signal
		}
	}
}

// trap stops a task, which was let into a call, in it.
func (t *Tracee) trap(deadline time.Time) error {
	if err := t.Interrupt(); err != nil {
		return err
	}
	// The kernel comes to the trap before it looks at signals (get_signal), so none is reported first.
	for {
		if err := t.Cont(0); err != nil {
			return err
		}
		st, err := t.Poll(deadline)
		switch {
		case err != nil:
			return err
		case st.Kind == StopTrap || st.Kind == StopGroup:
			return nil
		case st.Kind == StopExited:
			return fmt.Errorf("task %d: %w", t.Tid, ErrGone)
		}
	}
}

// rejoin brings a thread that has its own registers back to where the kernel's rules for its system call hold again: into the
// call, if it stands before one. Elsewhere it gets its vector registers back, which remote calls have clobbered. What the kernel knew of an interrupted call at the first stop it has forgotten since.
func (s *Session) rejoin(t *Tracee, orig *Regs, mask uint64) error {
	if !t.atCall(orig.Pc) {
		if s.more != nil {
			return t.SetMoreRegs(s.more)
		}
		return nil
	}
	stopped, err := t.enterCall(mask, s.deadline)
	s.StopPending = s.StopPending || stopped
	return err
}
