// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	ntRISCVVector = 0x901 // NT_RISCV_VECTOR, Linux 6.5
	// vectorHeader is the part of struct __riscv_v_regset_state before the registers: vstart, vl, vtype, vcsr, vlenb.
	vectorHeader = 5 * 8
	// VectorMax is more than any vector registers take: 32 of at most 8,192 bytes.
	VectorMax = vectorHeader + 32*8192
)

// MoreRegs reads the registers of a stopped task that are in none of the usual sets: the vector registers, nil if there are none
// that it could miss. Kernels without the extension, and tasks that have not used it, have none; and a system call clobbers them,
// so before and after one nobody relies on them.
func (t *Tracee) MoreRegs(r *Regs) ([]byte, error) {
	if t.atCall(r.Pc) || t.atCall(r.Pc-uint64(len(syscallInsn))) {
		return nil, nil
	}
	// most have a few hundred bytes: a large buffer only if it is needed
	for size := vectorHeader + 32*64; ; size = VectorMax {
		buf := make([]byte, size)
		n, err := t.RegSet(ntRISCVVector, buf)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENODATA):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("vector registers: %w", err)
		case n < len(buf) || size == VectorMax:
			return buf[:n], nil
		}
	}
}

// SetMoreRegs writes them. The task must have used the extension (UseVector).
func (t *Tracee) SetMoreRegs(b []byte) error {
	if err := t.SetRegSet(ntRISCVVector, b); err != nil {
		return fmt.Errorf("vector registers, %d bytes: %w", len(b), err)
	}
	return nil
}

// vectorOffset is where UseVector has its way into a batch:
//
//	vsetvli zero, zero, e8, m1, ta, ma; j batch
const vectorOffset = 0xc00

// UseVector lets the thread of a restore use a vector instruction: the kernel gives a thread vector registers when it first does
// (riscv_v_first_use_handler).
func (s *Session) UseVector() error {
	const (
		vsetvli = 0x0c007057
		back    = uint32(1<<21 - (vectorOffset + 4 - blobBatch)) // 21 bits, two's complement
	)
	jal := uint32(0x6f) | back>>20&1<<31 | back>>1&0x3ff<<21 | back>>11&1<<20 | back>>12&0xff<<12
	var c [8]byte
	binary.LittleEndian.PutUint32(c[:], vsetvli)
	binary.LittleEndian.PutUint32(c[4:], jal)
	if err := s.WriteMem(s.code+vectorOffset, c[:]); err != nil {
		return err
	}
	s.entry = s.code + vectorOffset
	defer func() { s.entry = 0 }()
	b := s.NewBatch()
	b.Call(unix.SYS_GETPID)
	return s.Run(b)
}
