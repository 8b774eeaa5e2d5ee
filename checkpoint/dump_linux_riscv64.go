// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"fmt"

	core_riscv64 "github.com/checkpoint-restore/go-criu/v8/crit/images/core-riscv64"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/inject"
)

const (
	coreArch  = criu_core.CoreEntry_RISCV64
	fpuRegSet = 2 // NT_PRFPREG
	// fpRegsSize is that of struct __riscv_d_ext_state with its padding: f0 … f31, fcsr.
	fpRegsSize = 33 * 8
)

// archTypes are for Warm.
func archTypes() []proto.Message {
	return []proto.Message{&core_riscv64.ThreadInfoRiscv64{}, &core_riscv64.UserRiscv64RegsEntry{}, &core_riscv64.UserRiscv64DExtEntry{}}
}

// regsSupported refuses a task whose registers an image or a restore can't take.
func regsSupported(r *inject.Regs) error {
	if r.Compat() {
		return refuse("runs 32-bit code; only 64-bit programs can be carried")
	}
	return nil
}

func regsPC(r *inject.Regs) uint64        { return r.Pc }
func setRegsPC(r *inject.Regs, pc uint64) { r.Pc, r.AtCall = pc, false }

// regFields are the fields of an image's registers in the order of struct user_regs_struct, pc first.
func regFields(e *core_riscv64.UserRiscv64RegsEntry) [32]**uint64 {
	return [...]**uint64{
		&e.Pc, &e.Ra, &e.Sp, &e.Gp, &e.Tp, &e.T0, &e.T1, &e.T2, &e.S0, &e.S1, &e.A0, &e.A1, &e.A2, &e.A3, &e.A4, &e.A5,
		&e.A6, &e.A7, &e.S2, &e.S3, &e.S4, &e.S5, &e.S6, &e.S7, &e.S8, &e.S9, &e.S10, &e.S11, &e.T3, &e.T4, &e.T5, &e.T6,
	}
}

// putRegs writes the registers into the entry. What only the kernel knows of an interrupted system call can't be carried
// over: it fails with EINTR (inject.Resumable).
func putRegs(e *criu_core.CoreEntry, th *targetThread) error {
	r := inject.Resumable(th.regs, false)
	if len(th.fpu) < fpRegsSize {
		return fmt.Errorf("thread %d: %d bytes of floating-point registers, expected %d", th.tid, len(th.fpu), fpRegsSize)
	}
	gp := &core_riscv64.UserRiscv64RegsEntry{}
	for i, f := range regFields(gp) {
		v := r.Pc
		if i > 0 {
			v = r.X[i-1]
		}
		*f = &v
	}
	fp := &core_riscv64.UserRiscv64DExtEntry{Fcsr: proto.Uint32(binary.NativeEndian.Uint32(th.fpu[32*8:]))}
	for i := range 32 {
		fp.F = append(fp.F, binary.NativeEndian.Uint64(th.fpu[8*i:]))
	}
	e.TiRiscv64 = &core_riscv64.ThreadInfoRiscv64{
		ClearTidAddr: proto.Uint64(th.tidAddress), Tls: proto.Uint64(gp.GetTp()), Gpregs: gp, Fpsimd: fp,
	}
	return nil
}

// wholeRegs returns the vector registers, for which CRIU's image has no field.
func wholeRegs(th *targetThread) ([]byte, error) { return th.tracee.MoreRegs(&th.regs) }

func archQuestions(*answers) []question { return nil }

// sigActionSize is that of struct sigaction, which has no restorer: handler, flags, mask.
const sigActionSize = 24

func parseSigAction(m []byte) sigAction {
	le := binary.NativeEndian
	return sigAction{handler: le.Uint64(m[0:]), flags: le.Uint64(m[8:]), mask: le.Uint64(m[16:])}
}

func (a sigAction) bytes() []byte {
	b := make([]byte, 0, sigActionSize)
	for _, v := range []uint64{a.handler, a.flags, a.mask} {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return b
}
