// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Regs is NT_PRSTATUS: struct user_regs_struct.
type Regs = unix.PtraceRegsAmd64

// Numbers that the logic needs by name on every architecture.
const (
	sysMmap           = unix.SYS_MMAP
	sysMunmap         = unix.SYS_MUNMAP
	sysRestartSyscall = unix.SYS_RESTART_SYSCALL
)

// syscallInsn is syscall; instructions lie at multiples of insnAlign.
const (
	syscallInsn = "\x0f\x05"
	insnAlign   = 1
)

// The nursery's ELF machine, and its code: pause() for ever.
const (
	elfMachine = 62
	pauseLoop  = "\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7"
)

const (
	eflagsCF, eflagsPF, eflagsAF = 1 << 0, 1 << 2, 1 << 4
	eflagsZF, eflagsSF           = 1 << 6, 1 << 7
	eflagsDF, eflagsOF           = 1 << 10, 1 << 11
)

// Regs reads the general registers of a stopped tracee.
func (t *Tracee) Regs() (Regs, error) {
	var r Regs
	b := (*[unsafe.Sizeof(r)]byte)(unsafe.Pointer(&r))[:]
	_, err := t.RegSet(unix.NT_PRSTATUS, b)
	return r, err
}

// SetRegs writes them.
func (t *Tracee) SetRegs(r *Regs) error {
	return t.SetRegSet(unix.NT_PRSTATUS, (*[unsafe.Sizeof(*r)]byte)(unsafe.Pointer(r))[:])
}

// setCall makes r run the system call instruction at pc; the kernel must not take it for an interrupted call.
func setCall(r *Regs, pc uint64, nr uint64, a [6]uint64) {
	r.Rip = pc
	r.Rax = nr
	r.Orig_rax = ^uint64(0)
	r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9 = a[0], a[1], a[2], a[3], a[4], a[5]
	r.Eflags &^= eflagsDF | 1<<8
}

func setBatch(r *Regs, pc, entries uint64) {
	r.Rip = pc
	r.Rbx = entries
	r.Rax = 0
	r.Orig_rax = ^uint64(0)
	r.Eflags &^= eflagsDF | 1<<8
}

func callResult(r *Regs) uint64    { return r.Rax }
func batchPosition(r *Regs) uint64 { return r.Rbx }
func pc(r *Regs) uint64            { return r.Rip }

// The kernel's own error numbers for "start this call again", include/linux/errno.h.
const (
	erestartSys          = 512
	erestartNoIntr       = 513
	erestartNoHand       = 514
	erestartRestartBlock = 516
)

// InSyscall reports whether a stopped task was interrupted inside a system call, and which error the kernel wants to
// turn into a restart (0: none).
func InSyscall(r *Regs) (nr int64, restart int64) {
	if int64(r.Orig_rax) < 0 {
		return -1, 0
	}
	switch e := -int64(r.Rax); e {
	case erestartSys, erestartNoIntr, erestartNoHand, erestartRestartBlock:
		return int64(r.Orig_rax), e
	}
	return int64(r.Orig_rax), 0
}

// Resumable turns the registers of a stop inside an interrupted system call into such that make the call again when
// they are loaded by whatever means. The call whose rest only the kernel knows (ERESTART_RESTARTBLOCK: nanosleep,
// futex with a timeout, poll) goes on through restart_syscall if the task lives on; in a new task, which has no such
// rest, it fails with EINTR.
func Resumable(r Regs, sameTask bool) Regs {
	nr, e := InSyscall(&r)
	if nr >= 0 && e != 0 {
		switch {
		case e != erestartRestartBlock:
			r.Rax = r.Orig_rax
			r.Rip -= uint64(len(syscallInsn))
		case sameTask:
			r.Rax = sysRestartSyscall
			r.Rip -= uint64(len(syscallInsn))
		default:
			r.Rax = ^uint64(unix.EINTR) + 1
		}
	}
	r.Orig_rax = ^uint64(0)
	return r
}

const contextSize = 168

// putContext lays out the way back as the blob reads it (blob_amd64.S, NAME_ctx).
func putContext(_ *Tracee, b []byte, r *Regs, mask uint64, noSyscalls bool, area, size uint64) error {
	for i, v := range [...]uint64{
		mask, r.Rax, r.Rbx, r.Rcx, r.Rdx, r.Rsi, r.Rdi, r.Rbp,
		r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15, r.Rip,
	} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	flags := uint32(r.Eflags&(eflagsCF|eflagsPF|eflagsAF|eflagsZF|eflagsSF)|2) << 8
	if r.Eflags&eflagsOF != 0 {
		flags |= 1
	}
	binary.LittleEndian.PutUint32(b[136:], flags)
	binary.LittleEndian.PutUint32(b[140:], uint32(r.Eflags>>10&1))
	var no uint32
	if noSyscalls {
		no, size = 1, 0
	}
	binary.LittleEndian.PutUint32(b[144:], no)
	if len(b) >= contextSize {
		binary.LittleEndian.PutUint64(b[152:], area)
		binary.LittleEndian.PutUint64(b[160:], size)
	}
	return nil
}

// supported says whether this architecture has a blob.
func supported(r *Regs) error {
	if r.Cs == 0x23 {
		return fmt.Errorf("a 32-bit task: %w", ErrNotSupported)
	}
	return nil
}

// unused is where in a vDSO the zeros begin that fill its last page.
func unused(vdso []byte) int {
	n := len(vdso)
	for n > 0 && vdso[n-1] == 0 {
		n--
	}
	return n
}

// MoreRegs is for architectures with registers that a system call clobbers and that no other register set has.
func (*Tracee) MoreRegs(*Regs) ([]byte, error) { return nil, nil }

// SetMoreRegs likewise.
func (*Tracee) SetMoreRegs([]byte) error { return nil }

// Settle is for architectures whose registers do not tell all of an interrupted system call.
func (*Tracee) Settle(time.Time) error { return nil }

// rejoin likewise: with the registers goes the kernel's knowledge of the call, orig_rax.
func (*Session) rejoin(*Tracee, *Regs, uint64) error { return nil }
