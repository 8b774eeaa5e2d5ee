// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Regs is NT_PRSTATUS (struct user_regs_struct of asm/ptrace.h), and what has to be known beside it.
type Regs struct {
	Pc uint64
	X  [31]uint64 // x1 … x31
	// AtCall: the task stands before a system call instruction and is to go on with a call that was interrupted, by
	// restart_syscall. A debugger sees no more of an interrupted call than this: the kernel has no register for it, and has moved
	// the program counter back and put the first argument back when it stops for a tracer (arch_do_signal_or_restart).
	AtCall bool
	// compat: a 32-bit task, whose register set is shorter.
	compat bool
}

const regsSize = 32 * 8

// The places in X.
const (
	xS0 = 7
	xA0 = 9
	xA7 = 16
)

// Numbers that the logic needs by name on every architecture.
const (
	sysMmap           = unix.SYS_MMAP
	sysMunmap         = unix.SYS_MUNMAP
	sysRestartSyscall = unix.SYS_RESTART_SYSCALL
)

// syscallInsn is ecall; instructions lie at multiples of insnAlign.
const (
	syscallInsn = "\x73\x00\x00\x00"
	insnAlign   = 2
)

// The nursery's ELF machine, and its code: ppoll(NULL, 0, NULL, NULL) for ever.
const (
	elfMachine = 243
	pauseLoop  = "\x01\x45\x81\x45\x01\x46\x81\x46\x93\x08\x90\x04\x73\x00\x00\x00\xc5\xbf\x01\x00"
)

// Regs reads the general registers of a stopped tracee.
func (t *Tracee) Regs() (Regs, error) {
	var r Regs
	n, err := t.RegSet(unix.NT_PRSTATUS, r.bytes())
	if err != nil {
		return r, err
	}
	r.compat = n < regsSize
	r.AtCall = r.X[xA7] == sysRestartSyscall && t.atCall(r.Pc)
	return r, nil
}

func (r *Regs) bytes() []byte { return (*[regsSize]byte)(unsafe.Pointer(&r.Pc))[:] }

// SetRegs writes them.
func (t *Tracee) SetRegs(r *Regs) error { return t.SetRegSet(unix.NT_PRSTATUS, r.bytes()) }

// atCall tells whether there is a system call instruction at pc. Eight bytes are read at a time: they must not lead past the end
// of the last page.
func (t *Tracee) atCall(pc uint64) bool {
	var w uint64
	shift := 0
	if ptraceAt(unix.PTRACE_PEEKTEXT, t.Tid, uintptr(pc), unsafe.Pointer(&w)) != nil {
		if ptraceAt(unix.PTRACE_PEEKTEXT, t.Tid, uintptr(pc-4), unsafe.Pointer(&w)) != nil {
			return false
		}
		shift = 32
	}
	return uint32(w>>shift) == 0x73
}

// setCall makes r run the system call instruction at pc.
func setCall(r *Regs, pc uint64, nr uint64, a [6]uint64) {
	r.Pc = pc
	r.X[xA7] = nr
	copy(r.X[xA0:], a[:])
}

func setBatch(r *Regs, pc, entries uint64) { r.Pc, r.X[xS0] = pc, entries }

func callResult(r *Regs) uint64    { return r.X[xA0] }
func batchPosition(r *Regs) uint64 { return r.X[xS0] }
func pc(r *Regs) uint64            { return r.Pc }

// Resumable turns the registers of a stop inside an interrupted system call into such that make the call again when they are
// loaded by whatever means. The kernel has done so already; but a call whose rest only the kernel knows (nanosleep, futex with a
// timeout) goes on through restart_syscall if the task lives on, and fails with EINTR in a new task, which has no such rest.
func Resumable(r Regs, sameTask bool) Regs {
	if r.AtCall && !sameTask {
		r.X[xA0] = ^uint64(unix.EINTR) + 1
		r.Pc += uint64(len(syscallInsn))
		r.AtCall = false
	}
	return r
}

// The way back as the blob reads it (blob_riscv64.S): struct rt_sigframe from its uc_stack on.
const (
	ctxStart  = 144
	ctxMask   = 168 - ctxStart
	ctxArea   = 176 - ctxStart
	ctxAgain  = 192 - ctxStart
	ctxRegs   = 304 - ctxStart
	ctxFPRegs = 560 - ctxStart

	contextSize = 1088 - ctxStart

	fpRegsSize = 33 * 8 // NT_PRFPREG: f0 … f31, fcsr
)

// putContext lays it out. The floating-point registers, which neither blob nor kernel change, come from the thread as it is.
func putContext(t *Tracee, b []byte, r *Regs, mask uint64, noSyscalls bool, area, size uint64) error {
	le := binary.LittleEndian
	clear(b[:contextSize])
	// The alternate stack is left alone: the kernel ignores flags that can't be (restore_altstack).
	le.PutUint32(b[8:], ^uint32(0))
	le.PutUint64(b[ctxMask:], mask)
	if !noSyscalls {
		le.PutUint64(b[ctxArea:], area)
		le.PutUint64(b[ctxArea+8:], size)
		if r.AtCall {
			le.PutUint64(b[ctxAgain:], r.Pc+uint64(len(syscallInsn)))
		}
	}
	copy(b[ctxRegs:], r.bytes())
	var fp [fpRegsSize]byte
	if _, err := t.RegSet(unix.NT_PRFPREG, fp[:]); err != nil {
		return err
	}
	copy(b[ctxFPRegs:], fp[:fpRegsSize-4])
	return nil
}

// supported says whether this architecture has a blob.
func supported(r *Regs) error {
	if r.compat {
		return fmt.Errorf("a 32-bit task: %w", ErrNotSupported)
	}
	return nil
}

// Compat tells whether the registers are those of a 32-bit task.
func (r *Regs) Compat() bool { return r.compat }

// unused is where in a vDSO that begins as it does the bytes begin that no program looks for: behind what its program headers say
// is loaded. Section headers lie there, for debuggers.
func unused(vdso []byte) int {
	const phSize = 56
	le := binary.LittleEndian
	if len(vdso) < 64 || string(vdso[:5]) != "\x7fELF\x02" {
		return len(vdso)
	}
	off, n := le.Uint64(vdso[32:]), int(le.Uint16(vdso[56:]))
	end := uint64(0)
	for i := range n {
		at := off + uint64(i)*phSize
		if off > uint64(len(vdso)) || at+phSize > uint64(len(vdso)) {
			return len(vdso)
		}
		ph := vdso[at:]
		if first, size := le.Uint64(ph[8:]), le.Uint64(ph[32:]); le.Uint32(ph) == 1 && first < uint64(len(vdso)) && size <= uint64(len(vdso))-first {
			end = max(end, first+size)
		}
	}
	if end == 0 {
		return len(vdso)
	}
	return int(end)
}
