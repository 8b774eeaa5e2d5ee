// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrGone says that a task ended while it was traced.
var ErrGone = errors.New("task is gone")

// ErrNotSupported says that this architecture, or the kernel, lacks what a call needs.
var ErrNotSupported = errors.New("not supported")

// Options of ptrace, see ptrace(2).
const (
	OptExitKill       = unix.PTRACE_O_EXITKILL
	OptSuspendSeccomp = 1 << 21 // PTRACE_O_SUSPEND_SECCOMP, needs CAP_SYS_ADMIN
)

const (
	ptraceGetSigmask    = 0x420a
	ptraceSetSigmask    = 0x420b
	ptracePeekSiginfo   = 0x4209
	ptraceGetRseqConfig = 0x420f
	ptraceSeccompFilter = 0x420c
	ptraceSeccompMeta   = 0x420d

	eventStop = unix.PTRACE_EVENT_STOP
)

// Tracee is a task (thread) that this OS thread traces.
type Tracee struct {
	// Tid is its id in the PID namespace of the engine.
	Tid int
}

// StopKind says why a tracee stopped.
type StopKind int

// The kinds of Stop.
const (
	StopSignal  StopKind = iota // signal-delivery-stop: Signal is about to be delivered
	StopEvent                   // PTRACE_EVENT_*: Event
	StopTrap                    // PTRACE_EVENT_STOP after PTRACE_INTERRUPT, or a new, auto-attached task
	StopGroup                   // group-stop: Signal stopped the thread group
	StopExited                  // the task ended: Status is its wait status
	StopSyscall                 // system-call stop (PTRACE_O_TRACESYSGOOD)
)

// Stop is one report of wait4.
type Stop struct {
	Tid    int
	Kind   StopKind
	Signal unix.Signal
	Event  int
	Status unix.WaitStatus
}

// ptrace is for requests whose data is a number, ptraceAt for those that the kernel reads or writes memory for. A pointer must not become a
// number before the system call itself: the stack may move in between.
func ptrace(req uintptr, tid int, addr, data uintptr) error {
	return again(func() unix.Errno {
		_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, req, uintptr(tid), addr, data, 0, 0)
		return e
	})
}

func ptraceAt(req uintptr, tid int, addr uintptr, data unsafe.Pointer) error {
	return again(func() unix.Errno {
		_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, req, uintptr(tid), addr, uintptr(data), 0, 0)
		return e
	})
}

func again(call func() unix.Errno) error {
	for {
		e := call()
		switch e {
		case 0:
			return nil
		case unix.EAGAIN:
			continue
		case unix.ESRCH:
			return ErrGone
		}
		return e
	}
}

// Seize makes this OS thread the tracer of task tid (PTRACE_SEIZE: it runs on). Errors: ErrGone, EPERM.
func Seize(tid int, options uintptr) (*Tracee, error) {
	if err := ptrace(unix.PTRACE_SEIZE, tid, 0, options); err != nil {
		return nil, fmt.Errorf("seizing task %d: %w", tid, err)
	}
	return &Tracee{Tid: tid}, nil
}

// adopt is for a task that a tracee made with CLONE_PTRACE: it is traced by the same thread, with the same options. It returns
// when the task has stopped, before its first instruction.
func adopt(tid int, deadline time.Time) (*Tracee, error) {
	t := &Tracee{Tid: tid}
	st, err := t.Poll(deadline)
	if err != nil {
		return nil, err
	}
	if st.Kind == StopExited {
		return nil, fmt.Errorf("task %d: %w", tid, ErrGone)
	}
	return t, nil
}

// SetOptions replaces the ptrace options of a stopped tracee.
func (t *Tracee) SetOptions(o uintptr) error {
	return ptrace(unix.PTRACE_SETOPTIONS, t.Tid, 0, o)
}

// Interrupt asks the tracee to stop (PTRACE_INTERRUPT).
func (t *Tracee) Interrupt() error { return ptrace(unix.PTRACE_INTERRUPT, t.Tid, 0, 0) }

// Cont lets a stopped tracee run, delivering sig unless it is 0.
func (t *Tracee) Cont(sig unix.Signal) error {
	return ptrace(unix.PTRACE_CONT, t.Tid, 0, uintptr(sig))
}

// Detach ends tracing of a stopped tracee, delivering sig unless it is 0.
func (t *Tracee) Detach(sig unix.Signal) error {
	return ptrace(unix.PTRACE_DETACH, t.Tid, 0, uintptr(sig))
}

// Wait blocks until the tracee reports something. It looks a few times first: to be woken can take longer than what the
// tracee has to do.
func (t *Tracee) Wait() (Stop, error) {
	for range 20 {
		if s, err := wait(t.Tid, unix.WNOHANG); err != nil || s.Tid != 0 {
			return s, err
		}
	}
	return wait(t.Tid, 0)
}

// Poll is Wait with a deadline; os.ErrDeadlineExceeded when it passes. Most stops come within microseconds, so it looks
// some times and then sleeps with growing pauses.
func (t *Tracee) Poll(deadline time.Time) (Stop, error) {
	pause := unix.Timespec{Nsec: 5000}
	for i := 0; ; i++ {
		s, err := wait(t.Tid, unix.WNOHANG)
		if err != nil || s.Tid != 0 {
			return s, err
		}
		switch {
		case i < 20:
		default:
			if i%8 == 0 && time.Now().After(deadline) {
				return Stop{}, fmt.Errorf("task %d does not stop: %w", t.Tid, os.ErrDeadlineExceeded)
			}
			// not time.Sleep, which hands this thread over and comes back some 50 µs later
			_ = unix.Nanosleep(&pause, nil)
			pause.Nsec = min(2*pause.Nsec, 500_000)
		}
	}
}

func wait(pid, flags int) (Stop, error) {
	var ws unix.WaitStatus
	for {
		var tid int
		var err error
		if flags&unix.WNOHANG != 0 {
			r, _, e := unix.RawSyscall6(unix.SYS_WAIT4, uintptr(pid), uintptr(unsafe.Pointer(&ws)), uintptr(flags|unix.WALL), 0, 0, 0)
			tid = int(r)
			if e != 0 {
				err = e
			}
		} else {
			tid, err = unix.Wait4(pid, &ws, flags|unix.WALL, nil)
		}
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECHILD || err == unix.ESRCH:
			return Stop{}, ErrGone
		case err != nil:
			return Stop{}, fmt.Errorf("wait4 %d: %w", pid, err)
		}
		if tid == 0 {
			return Stop{}, nil
		}
		return parseStop(tid, ws), nil
	}
}

func parseStop(tid int, ws unix.WaitStatus) Stop {
	s := Stop{Tid: tid, Status: ws}
	if ws.Exited() || ws.Signaled() {
		s.Kind = StopExited
		return s
	}
	s.Signal = ws.StopSignal()
	ev := int(uint32(ws) >> 16)
	switch {
	case ev == eventStop && s.Signal == unix.SIGTRAP:
		s.Kind, s.Event = StopTrap, ev
	case ev == eventStop:
		s.Kind, s.Event = StopGroup, ev
	case ev != 0:
		s.Kind, s.Event = StopEvent, ev
	case s.Signal == unix.SIGTRAP|0x80:
		s.Kind = StopSyscall
	default:
		s.Kind = StopSignal
	}
	return s
}

func (t *Tracee) regset(req uintptr, kind uintptr, buf []byte) (int, error) {
	iov := unix.Iovec{Base: &buf[0]}
	iov.SetLen(len(buf))
	err := ptraceAt(req, t.Tid, kind, unsafe.Pointer(&iov))
	if err != nil {
		return 0, fmt.Errorf("task %d: register set %#x: %w", t.Tid, kind, err)
	}
	return int(iov.Len), nil
}

// RegSet reads a register set (NT_*) whole, whatever its size up to that of buf, and returns how many bytes it has.
func (t *Tracee) RegSet(kind int, buf []byte) (int, error) {
	return t.regset(unix.PTRACE_GETREGSET, uintptr(kind), buf)
}

// SetRegSet writes a register set. Fewer bytes than the kernel's own size of NT_X86_XSTATE are EFAULT.
func (t *Tracee) SetRegSet(kind int, buf []byte) error {
	_, err := t.regset(unix.PTRACE_SETREGSET, uintptr(kind), buf)
	return err
}

// SigMask is the mask of blocked signals, bit n-1 for signal n; for a task in sigsuspend or ppoll it is the mask that
// comes back after the call.
func (t *Tracee) SigMask() (uint64, error) {
	var m uint64
	err := ptraceAt(ptraceGetSigmask, t.Tid, 8, unsafe.Pointer(&m))
	if err != nil {
		return 0, fmt.Errorf("task %d: signal mask: %w", t.Tid, err)
	}
	return m, nil
}

// SetSigMask sets it.
func (t *Tracee) SetSigMask(m uint64) error {
	if err := ptraceAt(ptraceSetSigmask, t.Tid, 8, unsafe.Pointer(&m)); err != nil {
		return fmt.Errorf("task %d: setting signal mask: %w", t.Tid, err)
	}
	return nil
}

// SigInfoSize is the size of siginfo_t in bytes, on every 64-bit Linux.
const SigInfoSize = 128

// SigInfo is one siginfo_t as the kernel lays it out.
type SigInfo [SigInfoSize]byte

// Signo is the signal's number.
func (i *SigInfo) Signo() unix.Signal { return unix.Signal(binary.NativeEndian.Uint32(i[:])) }

// Pending returns the queue of pending signals in its order, of the thread, or of its process if shared.
func (t *Tracee) Pending(shared bool) ([]SigInfo, error) {
	var out []SigInfo
	args := struct {
		off   uint64
		flags uint32
		nr    int32
	}{nr: 16}
	if shared {
		args.flags = 1 // PTRACE_PEEKSIGINFO_SHARED
	}
	var buf [16]SigInfo
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_PTRACE, ptracePeekSiginfo, uintptr(t.Tid), uintptr(unsafe.Pointer(&args)), uintptr(unsafe.Pointer(&buf)), 0, 0)
		if e != 0 {
			return nil, fmt.Errorf("task %d: pending signals: %w", t.Tid, e)
		}
		out = append(out, buf[:n]...)
		if int(n) < len(buf) {
			return out, nil
		}
		args.off += uint64(n)
	}
}

// Rseq is struct ptrace_rseq_configuration (Linux 5.13).
type Rseq struct {
	Ptr       uint64 // rseq_abi_pointer, 0: not registered
	Size      uint32
	Signature uint32
	Flags     uint32
	_         uint32
}

// Rseq returns the registration of restartable sequences.
func (t *Tracee) Rseq() (Rseq, error) {
	var r Rseq
	err := ptraceAt(ptraceGetRseqConfig, t.Tid, unsafe.Sizeof(r), unsafe.Pointer(&r))
	if err != nil {
		return r, fmt.Errorf("task %d: rseq configuration: %w", t.Tid, err)
	}
	return r, nil
}

// SeccompFilter returns filter i, 0 being the newest, as an array of struct sock_filter (8 bytes each), and its
// SECCOMP_FILTER_FLAG_* flags. ENOENT past the last one.
func (t *Tracee) SeccompFilter(i int) ([]byte, uint64, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_PTRACE, ptraceSeccompFilter, uintptr(t.Tid), uintptr(i), 0, 0, 0)
	if e != 0 {
		return nil, 0, fmt.Errorf("task %d: seccomp filter %d: %w", t.Tid, i, e)
	}
	buf := make([]byte, int(n)*8)
	_, _, e = unix.RawSyscall6(unix.SYS_PTRACE, ptraceSeccompFilter, uintptr(t.Tid), uintptr(i), uintptr(unsafe.Pointer(&buf[0])), 0, 0)
	if e != 0 {
		return nil, 0, fmt.Errorf("task %d: seccomp filter %d: %w", t.Tid, i, e)
	}
	meta := struct{ off, flags uint64 }{off: uint64(i)}
	if _, _, e = unix.RawSyscall6(unix.SYS_PTRACE, ptraceSeccompMeta, uintptr(t.Tid), unsafe.Sizeof(meta), uintptr(unsafe.Pointer(&meta)), 0, 0); e != 0 {
		return nil, 0, fmt.Errorf("task %d: seccomp metadata %d: %w", t.Tid, i, e)
	}
	return buf, meta.flags, nil
}

// Poke writes one word of the tracee's memory whatever its protection (PTRACE_POKEDATA).
func (t *Tracee) poke(addr uint64, word uint64) error {
	return ptrace(unix.PTRACE_POKEDATA, t.Tid, uintptr(addr), uintptr(word))
}
