// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

const pageSize = 4096

// callTime is how long a single remote call may take.
const callTime = 10 * time.Second

// allSignals blocks what can be blocked.
const allSignals = ^uint64(0)

// Range is a half-open range of addresses.
type Range struct{ Start, End Addr }

// Target says what Infect must know of a process. All of it is read from outside.
type Target struct {
	Leader *Tracee // stopped, seized with OptSuspendSeccomp if Seccomp is not 0
	Mem    *os.File
	// VPid and VTid are the ids of the leader as the process itself sees them (last of NStgid, NSpid).
	VPid, VTid int
	VDSO       Range
	// Mapped are all its maps in ascending order.
	Mapped []Range
	// SigCaught and SigIgnored are SigCgt and SigIgn of /proc/PID/status.
	SigCaught, SigIgnored uint64
	Seccomp               int // mode: 0 none, 1 strict, 2 filter
	AreaSize              uint64
	// Deadline for the stops of single remote calls; zero: ten seconds from now.
	Deadline time.Time
}

type unwindEntry struct {
	nr   uintptr
	args [6]uint64
}

// Session is one process into which remote calls can be made: its leader is parked between them.
type Session struct {
	T        *Tracee
	Area     Addr // scratch mapping
	AreaSize uint64
	// Calls counts the remote system calls made.
	Calls int64
	// StopPending is set when SIGSTOP arrived meanwhile; Cure sends it again.
	StopPending bool

	mem      *os.File
	orig     Regs
	mask     uint64
	pid, tid int
	code     Addr
	saved    []byte
	sig      unix.Signal
	stepOnly bool
	stuck    bool // a thread could not be brought out of the blob, which must stay
	noSys    bool
	unwind   []unwindEntry
	deadline time.Time
	entry    Addr // where the next batch begins, if not at the blob's start
	target   Target
	more     []byte // of orig: what MoreRegs says
	cured    bool
}

// Infect gives the process of a stopped leader a scratch area and parks the leader. On error the target is as it was.
func Infect(g Target) (*Session, error) {
	i, err := InfectBegin(g)
	if err != nil {
		return nil, err
	}
	if err := i.Enter(); err != nil {
		return nil, err
	}
	return i.End()
}

// Infection is an Infect at work: Enter and End must follow in this order. The process runs between them, so that those of
// several processes can be interleaved. On error the target is as it was.
type Infection struct{ s *Session }

// InfectBegin does the first part of Infect.
func InfectBegin(g Target) (_ *Infection, err error) {
	s := &Session{
		T: g.Leader, AreaSize: (g.AreaSize + pageSize - 1) &^ (pageSize - 1), mem: g.Mem,
		pid: g.VPid, tid: g.VTid, stepOnly: g.Seccomp != 0, noSys: g.Seccomp == 1, deadline: g.Deadline, target: g,
	}
	if s.AreaSize == 0 {
		s.AreaSize = 256 << 10
	}
	if s.deadline.IsZero() {
		s.deadline = time.Now().Add(callTime)
	}
	if s.orig, err = s.T.Regs(); err != nil {
		return nil, err
	}
	if err := supported(&s.orig); err != nil {
		return nil, fmt.Errorf("task %d: %w", s.T.Tid, err)
	}
	if s.more, err = s.T.MoreRegs(&s.orig); err != nil {
		return nil, err
	}
	if s.mask, err = s.T.SigMask(); err != nil {
		return nil, err
	}
	if !s.pickSignal(g.SigCaught, g.SigIgnored, s.mask) {
		s.stepOnly = true
	}
	if s.code, s.saved, err = room(g.Mem, g.VDSO); err != nil {
		return nil, fmt.Errorf("task %d: %w", s.T.Tid, err)
	}
	if s.Area, err = hole(g.Mapped, s.AreaSize); err != nil {
		return nil, fmt.Errorf("task %d: %w", s.T.Tid, err)
	}
	b := append([]byte(nil), blob...)
	back := Resumable(s.orig, true)
	if err := putContext(s.T, b[blobLeaderCtx:], &back, s.mask, s.noSys, s.Area, s.AreaSize); err != nil {
		return nil, err
	}
	if err := s.writeCode(s.code, b); err != nil {
		return nil, fmt.Errorf("task %d: writing to the vDSO's tail: %w", s.T.Tid, err)
	}
	i := &Infection{s}
	if err := s.enter(s.T, blobLeaderCall, s.sigBit()); err != nil {
		return nil, i.fail(err)
	}
	if err := s.callBegin(s.T, blobLeaderCall, sysMmap, [6]uint64{
		s.Area, s.AreaSize, unix.PROT_READ | unix.PROT_WRITE,
		unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0,
	}); err != nil {
		return nil, i.fail(err)
	}
	return i, nil
}

// fail takes back what was done.
func (i *Infection) fail(err error) error {
	if s := i.s; !errors.Is(err, ErrGone) {
		// The order of the way back: registers that need no blob, then the blob. A thread that could not be brought out of it goes
		// the way back in it, some time.
		if s.leave(s.T, &s.orig, s.mask) == nil {
			_ = s.writeCode(s.code, s.saved)
		}
		if s.StopPending {
			_ = unix.Tgkill(s.T.Tid, s.T.Tid, unix.SIGSTOP)
		}
	}
	return err
}

// Enter does the second part.
func (i *Infection) Enter() error {
	if err := i.s.callEnter(i.s.T); err != nil {
		return i.fail(err)
	}
	return nil
}

// End does the last part.
func (i *Infection) End() (*Session, error) {
	s := i.s
	a, err := s.callEnd(s.T)
	if err != nil {
		return nil, i.fail(err)
	}
	if _, err := errnoOf(a); err != nil {
		return nil, i.fail(fmt.Errorf("task %d: mapping %d bytes of scratch memory: %w", s.T.Tid, s.AreaSize, err))
	}
	return s, nil
}

// pickSignal chooses what ends a batch: a signal that does nothing if it is delivered, without a tracer. One that is
// blocked may be waited for (sigwait, signalfd), and be pending: the batch, which has to let it through, would eat it.
func (s *Session) pickSignal(caught, ignored, blocked uint64) bool {
	bit := func(sig unix.Signal) uint64 { return 1 << (sig - 1) }
	for _, sig := range []unix.Signal{unix.SIGURG, unix.SIGWINCH, unix.SIGCHLD} {
		if (caught|blocked)&bit(sig) == 0 {
			s.sig = sig
			return true
		}
	}
	for sig := unix.Signal(1); sig <= 64; sig++ {
		if ignored&^blocked&bit(sig) != 0 && sig != unix.SIGTRAP && sig != unix.SIGCONT {
			s.sig = sig
			return true
		}
	}
	return false
}

// enter readies a stopped thread for remote calls on the stub: first the registers that lead back, then the mask, so
// that a thread let go in between goes the way back, which sets the mask. open are the signals that are let through.
func (s *Session) enter(t *Tracee, stub Addr, open uint64) error {
	r, err := t.Regs()
	if err != nil {
		return err
	}
	// past the system call instruction: the way back
	setCall(&r, s.code+stub+Addr(len(syscallInsn)), 0, [6]uint64{})
	if err := t.SetRegs(&r); err != nil {
		return err
	}
	return t.SetSigMask(allSignals &^ open)
}

// sigBit is the bit in a mask of the signal that ends a batch, 0 if there is none.
func (s *Session) sigBit() uint64 {
	if s.sig == 0 {
		return 0
	}
	return 1 << (s.sig - 1)
}

// call makes one remote call with the instruction at stub, from system-call stop to system-call stop: no signal is
// involved, so the target's action for SIGTRAP stays what it is.
func (s *Session) call(t *Tracee, stub Addr, nr uint64, args [6]uint64) (uint64, error) {
	if err := s.callBegin(t, stub, nr, args); err != nil {
		return 0, err
	}
	if err := s.callEnter(t); err != nil {
		return 0, err
	}
	return s.callEnd(t)
}

// callBegin, callEnter and callEnd are the parts of call. The tracee runs between them, so that those of several processes
// can be interleaved.
func (s *Session) callBegin(t *Tracee, stub Addr, nr uint64, args [6]uint64) error {
	s.Calls++
	// a session may be older than what a call may take
	if d := time.Now().Add(callTime); s.deadline.Before(d) {
		s.deadline = d
	}
	r, err := t.Regs()
	if err != nil {
		return err
	}
	setCall(&r, s.code+stub, nr, args)
	if err := t.SetRegs(&r); err != nil {
		return err
	}
	if err := t.SetOptions(s.options()); err != nil {
		return err
	}
	return ptrace(unix.PTRACE_SYSCALL, t.Tid, 0, 0)
}

func (s *Session) callEnter(t *Tracee) error {
	if err := s.awaitSyscall(t); err != nil {
		return err
	}
	return ptrace(unix.PTRACE_SYSCALL, t.Tid, 0, 0)
}

func (s *Session) callEnd(t *Tracee) (uint64, error) {
	if err := s.awaitSyscall(t); err != nil {
		return 0, err
	}
	r, err := t.Regs()
	if err != nil {
		return 0, err
	}
	return callResult(&r), nil
}

// awaitSyscall waits for a system-call stop.
func (s *Session) awaitSyscall(t *Tracee) error {
	for {
		st, err := t.Poll(s.deadline)
		if err != nil {
			return err
		}
		switch st.Kind {
		case StopSyscall:
			return nil
		case StopExited:
			return fmt.Errorf("task %d: %w", t.Tid, ErrGone)
		case StopSignal:
			if st.Signal == unix.SIGSTOP {
				s.StopPending = true
			} else if st.Signal != s.sig {
				return fmt.Errorf("task %d: %v during a remote call", t.Tid, st.Signal)
			}
		}
		if err := ptrace(unix.PTRACE_SYSCALL, t.Tid, 0, 0); err != nil {
			return err
		}
	}
}

func (s *Session) options() uintptr {
	o := uintptr(unix.PTRACE_O_TRACESYSGOOD)
	if s.stepOnly && s.saved != nil {
		o |= OptSuspendSeccomp
	}
	if s.saved == nil { // a restore's own process
		o |= OptExitKill | OptSuspendSeccomp
	}
	return o
}

// leave gives a thread its own context back, at a stop inside the kernel's signal handling, where a system call that
// waits for its restart gets it, or its EINTR, as the kernel's rules say.
func (s *Session) leave(t *Tracee, orig *Regs, mask uint64) error {
	if err := s.trapBegin(t); err != nil {
		return err
	}
	return s.leaveEnd(t, orig, mask)
}

func (s *Session) leaveEnd(t *Tracee, orig *Regs, mask uint64) error {
	if err := s.trapEnd(t); err != nil {
		return err
	}
	if err := t.SetSigMask(mask); err != nil {
		return err
	}
	if err := t.SetRegs(orig); err != nil {
		return err
	}
	return s.rejoin(t, orig, mask)
}

// trapBegin lets the tracee run into the stop of PTRACE_INTERRUPT, before its next instruction; trapEnd waits for it.
func (s *Session) trapBegin(t *Tracee) error {
	if err := t.Interrupt(); err != nil {
		return err
	}
	return t.Cont(0)
}

func (s *Session) trapEnd(t *Tracee) error {
	for {
		st, err := t.Poll(s.deadline)
		if err != nil {
			return err
		}
		if st.Kind == StopExited {
			return fmt.Errorf("task %d: %w", t.Tid, ErrGone)
		}
		if st.Kind == StopTrap || st.Kind == StopGroup {
			return nil
		}
		if st.Kind == StopSignal && st.Signal == unix.SIGSTOP {
			s.StopPending = true
		}
		if err := t.Cont(0); err != nil {
			return err
		}
	}
}

func (s *Session) callRaw(nr uint64, args [6]uint64) (uint64, error) {
	return s.call(s.T, blobLeaderCall, nr, args)
}

// Call makes one remote call in the leader. The second error is the call's own (a unix.Errno).
func (s *Session) Call(nr uintptr, args ...uint64) (uint64, error) {
	var a [6]uint64
	copy(a[:], args)
	v, err := s.callRaw(uint64(nr), a)
	if err != nil {
		return 0, err
	}
	return errnoOf(v)
}

// RemoteCall is one call for CallThread, and its result.
type RemoteCall struct {
	Nr     uintptr
	Args   [6]uint64
	Result uint64
	Err    error // a unix.Errno
}

// Cure takes the scratch area and the blob out again and gives the leader its own context back. It stays stopped.
func (s *Session) Cure() error {
	for _, part := range s.CureParts() {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// CureParts are the parts of Cure, to be done in this order. The process runs between them, so that those of several processes can be
// interleaved.
func (s *Session) CureParts() [4]func() error {
	if s.cured {
		done := func() error { return nil }
		return [...]func() error{done, done, done, done}
	}
	return [...]func() error{
		func() error {
			for _, u := range s.unwind {
				if _, err := s.callRaw(uint64(u.nr), u.args); err != nil {
					return err
				}
			}
			s.unwind = nil
			return s.callBegin(s.T, blobLeaderCall, sysMunmap, [6]uint64{s.Area, s.AreaSize})
		},
		func() error { return s.callEnter(s.T) },
		func() error {
			v, err := s.callEnd(s.T)
			if err != nil {
				return err
			}
			if _, err := errnoOf(v); err != nil {
				return fmt.Errorf("task %d: unmapping scratch memory: %w", s.T.Tid, err)
			}
			return s.trapBegin(s.T)
		},
		func() error {
			if err := s.leaveEnd(s.T, &s.orig, s.mask); err != nil {
				return err
			}
			if !s.stuck {
				if err := s.writeCode(s.code, s.saved); err != nil {
					return fmt.Errorf("task %d: putting the vDSO's tail back: %w", s.T.Tid, err)
				}
			}
			s.cured = true
			if s.StopPending {
				return unix.Tgkill(s.T.Tid, s.T.Tid, unix.SIGSTOP)
			}
			return nil
		},
	}
}

// ReadMem and WriteMem go through /proc/PID/mem.
func (s *Session) ReadMem(addr Addr, p []byte) error {
	if n, err := s.mem.ReadAt(p, int64(addr)); n != len(p) {
		return fmt.Errorf("task %d: reading %d bytes at %#x: %w", s.T.Tid, len(p), addr, err)
	}
	return nil
}

// WriteMem writes the target's memory.
func (s *Session) WriteMem(addr Addr, p []byte) error {
	if n, err := s.mem.WriteAt(p, int64(addr)); n != len(p) {
		return fmt.Errorf("task %d: writing %d bytes at %#x: %w", s.T.Tid, len(p), addr, err)
	}
	return nil
}

// writeCode writes to memory that the target itself may not write; where /proc/PID/mem does not override protections
// (proc_mem.force_override=never, Linux 6.12), word by word through ptrace.
func (s *Session) writeCode(addr Addr, p []byte) error {
	if n, _ := s.mem.WriteAt(p, int64(addr)); n == len(p) {
		return nil
	}
	for i := 0; i < len(p); i += 8 {
		var w [8]byte
		if len(p)-i < 8 {
			if err := s.ReadMem(addr+Addr(i), w[:]); err != nil {
				return err
			}
		}
		copy(w[:], p[i:])
		var v uint64
		for k, c := range w {
			v |= uint64(c) << (8 * k)
		}
		if err := s.T.poke(addr+Addr(i), v); err != nil {
			return err
		}
	}
	return nil
}

// room finds place for the blob in the vDSO behind what is in use of it, and returns what lies there.
func room(mem *os.File, vdso Range) (Addr, []byte, error) {
	if vdso.End <= vdso.Start {
		return 0, nil, fmt.Errorf("the process has no vDSO (started with vdso=0?), so there is no place for remote calls: %w", ErrNotSupported)
	}
	const limit = 1 << 20
	if vdso.End-vdso.Start > limit {
		return 0, nil, fmt.Errorf("a vDSO of %d bytes: %w", vdso.End-vdso.Start, ErrNotSupported)
	}
	all := make([]byte, vdso.End-vdso.Start)
	if _, err := mem.ReadAt(all, int64(vdso.Start)); err != nil {
		return 0, nil, fmt.Errorf("reading the vDSO: %w", err)
	}
	// an engine that was killed leaves its blob there: that place is as good as free
	at := Leftover(all)
	if at < 0 {
		at = (unused(all) + 31) &^ 15
	} else if err := Tidy(all, at); err != nil {
		return 0, nil, err
	}
	if at < len(all)-pageSize || at+len(blob) > len(all) {
		return 0, nil, fmt.Errorf("the vDSO has %d free bytes at its end, remote calls need %d: %w", len(all)-at, len(blob), ErrNotSupported)
	}
	return vdso.Start + Addr(at), all[at : at+len(blob)], nil
}

func sortRanges(r []Range) {
	sort.Slice(r, func(i, j int) bool { return r[i].Start < r[j].Start })
}

// Leftover is where in a vDSO the blob of an engine begins that died, of any version of it; -1 if there is none.
func Leftover(vdso []byte) int {
	// the loop of the batch, which every version begins with
	return bytes.Index(vdso, blob[:blobLeaderCall])
}

// ownVDSO is the engine's own, which is the same on the same kernel; zeros if it is not of that size.
func ownVDSO(size int) ([]byte, error) {
	all := make([]byte, size)
	maps, err := namedMaps(os.Getpid())
	if err != nil {
		return nil, err
	}
	for _, m := range maps {
		if m.Name != "[vdso]" || m.End-m.Start != uint64(size) {
			continue
		}
		mem, err := os.Open("/proc/self/mem")
		if err != nil {
			return nil, err
		}
		defer mem.Close()
		if _, err := mem.ReadAt(all, int64(m.Start)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Tidy puts back what was in a vDSO before the blob at offset at came.
func Tidy(vdso []byte, at int) error {
	if at < 0 || at > len(vdso) {
		return fmt.Errorf("offset %d of a vDSO of %d bytes", at, len(vdso))
	}
	own, err := ownVDSO(len(vdso))
	if err != nil {
		return fmt.Errorf("reading the engine's own vDSO: %w", err)
	}
	copy(vdso[at:], own[at:])
	return nil
}

// hole finds the lowest free range of size bytes above 1 MiB, where the kernel itself places nothing: should the
// engine die, another thread's mmap can't land there before the parked leader unmaps it.
func hole(mapped []Range, size uint64) (Addr, error) {
	const low = 1 << 20
	if !sort.SliceIsSorted(mapped, func(i, j int) bool { return mapped[i].Start < mapped[j].Start }) {
		return 0, errors.New("maps are not in ascending order")
	}
	at := Addr(low)
	for _, m := range mapped {
		// a page between neighbours, so that a stack may grow and nothing merges
		if m.Start >= at && m.Start-at >= size+2*pageSize {
			break
		}
		if m.End+pageSize > at {
			at = m.End + pageSize
		}
	}
	if at+size > addressLimit(mapped) {
		return 0, fmt.Errorf("no free %d bytes in its address space: %w", size, unix.ENOMEM)
	}
	return at, nil
}

// addressLimit is the end of the address space of a process with these maps: what a page table of that many levels reaches
// (Sv39, Sv48, Sv57; 47 bits on x86-64), by its highest map, as a rule the stack. A vsyscall page is outside.
func addressLimit(mapped []Range) Addr {
	limit := Addr(1) << 38 // Sv39, the smallest
	for _, m := range mapped {
		for m.End > limit && m.End < 1<<56 {
			limit <<= 1
		}
	}
	return limit - pageSize
}

// Hole finds size free bytes of address space outside of used, in any order.
func Hole(used []Range, size uint64) (Addr, error) {
	u := append([]Range(nil), used...)
	sortRanges(u)
	return hole(u, size)
}
