// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"fmt"

	core_x86 "github.com/checkpoint-restore/go-criu/v8/crit/images/core-x86"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/cpu"
	"github.com/trapline/trapline/checkpoint/inject"
)

const (
	coreArch  = criu_core.CoreEntry_X86_64
	fpuRegSet = 0x202 // NT_X86_XSTATE
)

// archTypes are for Warm.
func archTypes() []proto.Message {
	return []proto.Message{&core_x86.ThreadInfoX86{}, &core_x86.UserX86RegsEntry{}, &core_x86.UserX86FpregsEntry{}, &core_x86.UserX86XsaveEntry{}}
}

// regsSupported refuses a task whose registers an image or a restore can't take.
func regsSupported(r *inject.Regs) error {
	const user32 = 0x23 // __USER32_CS
	if r.Cs == user32 {
		return refuse("runs 32-bit code; only 64-bit programs can be carried")
	}
	return nil
}

func regsPC(r *inject.Regs) uint64        { return r.Rip }
func setRegsPC(r *inject.Regs, pc uint64) { r.Rip, r.Orig_rax = pc, ^uint64(0) }

// putRegs writes the registers into the entry. A system call that was interrupted is made again or fails with EINTR, as
// the kernel's own rules say; what only the kernel knows of it (ERESTART_RESTARTBLOCK) can't be carried over.
func putRegs(e *criu_core.CoreEntry, th *targetThread) error {
	r := inject.Resumable(th.regs, false)
	fp, err := cpu.EncodeFP(th.fpu)
	if err != nil {
		return fmt.Errorf("thread %d: %w", th.tid, err)
	}
	e.ThreadInfo = &core_x86.ThreadInfoX86{
		ClearTidAddr: proto.Uint64(th.tidAddress),
		Gpregs: &core_x86.UserX86RegsEntry{
			R15: &r.R15, R14: &r.R14, R13: &r.R13, R12: &r.R12, Bp: &r.Rbp, Bx: &r.Rbx, R11: &r.R11, R10: &r.R10, R9: &r.R9, R8: &r.R8,
			Ax: &r.Rax, Cx: &r.Rcx, Dx: &r.Rdx, Si: &r.Rsi, Di: &r.Rdi, OrigAx: &th.regs.Orig_rax, Ip: &r.Rip, Cs: &r.Cs, Flags: &r.Eflags,
			Sp: &r.Rsp, Ss: &r.Ss, FsBase: &r.Fs_base, GsBase: &r.Gs_base, Ds: &r.Ds, Es: &r.Es, Fs: &r.Fs, Gs: &r.Gs,
			Mode: core_x86.UserX86RegsMode_NATIVE.Enum(),
		},
		Fpregs: fp,
	}
	// The three TLS descriptors of the GDT; 64-bit programs use FS and GS bases in their place.
	for i := uint32(12); i < 15; i++ {
		e.ThreadInfo.Tls = append(e.ThreadInfo.Tls, &core_x86.UserDescT{
			EntryNumber: proto.Uint32(i), BaseAddr: proto.Uint32(0), Limit: proto.Uint32(0), Seg_32Bit: proto.Bool(false),
			ContentsH: proto.Bool(false), ContentsL: proto.Bool(false), ReadExecOnly: proto.Bool(true), LimitInPages: proto.Bool(false),
			SegNotPresent: proto.Bool(true), Usable: proto.Bool(false),
		})
	}
	return nil
}

// wholeRegs returns the extended registers if CRIU's image has no field for some of them.
func wholeRegs(th *targetThread) ([]byte, error) {
	if cpu.Lossy(th.fpu) {
		return th.fpu, nil
	}
	return nil, nil
}

// archGetXCompPerm is ARCH_GET_XCOMP_PERM of arch_prctl(2), Linux 5.16.
const archGetXCompPerm = 0x1022

// dynamicXComp are the XSAVE components that a process must ask for: AMX tile data.
const dynamicXComp = 1 << 18

// archQuestions are those of this architecture.
func archQuestions(a *answers) []question {
	return []question{{
		what: "dynamic XSAVE components", nr: unix.SYS_ARCH_PRCTL, args: [6]uint64{archGetXCompPerm}, size: 8, mem: 1, may: ignoreAll,
		take: func(_ uint64, m []byte) { a.xcomp = binary.NativeEndian.Uint64(m) & dynamicXComp },
	}}
}

// sigActionSize is that of struct sigaction: handler, flags, restorer, mask.
const sigActionSize = 32

func parseSigAction(m []byte) sigAction {
	le := binary.NativeEndian
	return sigAction{handler: le.Uint64(m[0:]), flags: le.Uint64(m[8:]), restorer: le.Uint64(m[16:]), mask: le.Uint64(m[24:])}
}

func (a sigAction) bytes() []byte {
	b := make([]byte, 0, sigActionSize)
	for _, v := range []uint64{a.handler, a.flags, a.restorer, a.mask} {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return b
}
