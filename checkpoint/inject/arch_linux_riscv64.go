// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Regs is NT_PRSTATUS: struct user_regs_struct.
type Regs struct {
	Pc uint64
	X  [31]uint64 // x1 … x31
}

// Numbers that the logic needs by name on every architecture.
const (
	sysMmap           = unix.SYS_MMAP
	sysMunmap         = unix.SYS_MUNMAP
	sysRestartSyscall = unix.SYS_RESTART_SYSCALL
)

const syscallInsn = "\x73\x00\x00\x00"

const (
	elfMachine = 243
	pauseLoop  = ""
)

const (
	blobBatch      = 0
	blobBatchRet   = 0
	blobEnd        = 0
	blobLeaderCall = 0
	blobLeaderCtx  = 0
	blobThreadCall = 0
	blobThreadCtx  = 0
	contextSize    = 168
)

// The machine code for riscv64 is not written yet: a dump or restore says so (supported).
var blob []byte

// Regs reads the general registers of a stopped tracee.
func (t *Tracee) Regs() (Regs, error) {
	var r Regs
	_, err := t.RegSet(unix.NT_PRSTATUS, (*[unsafe.Sizeof(r)]byte)(unsafe.Pointer(&r))[:])
	return r, err
}

// SetRegs writes them.
func (t *Tracee) SetRegs(r *Regs) error {
	return t.SetRegSet(unix.NT_PRSTATUS, (*[unsafe.Sizeof(*r)]byte)(unsafe.Pointer(r))[:])
}

func setCall(*Regs, uint64, uint64, [6]uint64)               {}
func setBatch(*Regs, uint64, uint64)                         {}
func callResult(r *Regs) uint64                              { return r.X[9] }
func batchPosition(*Regs) uint64                             { return 0 }
func pc(r *Regs) uint64                                      { return r.Pc }
func putContext([]byte, *Regs, uint64, bool, uint64, uint64) {}
func supported(*Regs) error                                  { return fmt.Errorf("riscv64: %w", ErrNotSupported) }

// InSyscall needs PTRACE_GET_SYSCALL_INFO on riscv64; not written yet.
func InSyscall(*Regs) (nr int64, restart int64) { return -1, 0 }

// Resumable returns r: at a stop inside a blocked call the PC already stands on the ecall.
func Resumable(r Regs, _ bool) Regs { return r }
