// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"

	core_x86 "github.com/checkpoint-restore/go-criu/v8/crit/images/core-x86"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/cpu"
	"github.com/trapline/trapline/checkpoint/inject"
)

const coreMarch = criu_core.CoreEntry_X86_64

const ntX86XState = 0x202

// loadRegisters checks that a thread's registers can be those of this machine.
func loadRegisters(t *task, th *thread) error {
	ti := th.core.GetThreadInfo()
	if ti.GetGpregs() == nil {
		return fmt.Errorf("no registers: %w", ErrImage)
	}
	if ti.Gpregs.GetMode() == core_x86.UserX86RegsMode_COMPAT {
		return refuse("a 32-bit task; only 64-bit programs can be restored")
	}
	if ti.Fpregs != nil {
		fp, err := cpu.DecodeFP(ti.Fpregs)
		if err != nil {
			return err
		}
		if cpu.Lossy(fp) {
			if own := t.extra.thread(th.tid); own == nil || len(own.XState) == 0 {
				return refuse("its register state has components (%#x) such as AMX tiles, which CRIU's images have no field for; dump it with Trapline",
					cpu.XStateBV(fp))
			}
		}
		th.fp = fp
	}
	return nil
}

func clearTid(c *criu_core.CoreEntry) uint64 { return c.GetThreadInfo().GetClearTidAddr() }

// eflagsUser are the bits of RFLAGS that a program owns: the kernel drops the others.
const eflagsUser = 0x244dd5

// setRegisters loads the thread's own registers: the last thing before it runs.
func setRegisters(th *thread) error {
	if th.fp != nil {
		if err := th.t.SetRegSet(ntX86XState, th.fp); err != nil {
			return err
		}
	}
	g := th.core.ThreadInfo.Gpregs
	r := inject.Regs{
		R15: g.GetR15(), R14: g.GetR14(), R13: g.GetR13(), R12: g.GetR12(), Rbp: g.GetBp(), Rbx: g.GetBx(),
		R11: g.GetR11(), R10: g.GetR10(), R9: g.GetR9(), R8: g.GetR8(), Rax: g.GetAx(), Rcx: g.GetCx(), Rdx: g.GetDx(),
		Rsi: g.GetSi(), Rdi: g.GetDi(), Orig_rax: g.GetOrigAx(), Rip: g.GetIp(), Cs: g.GetCs(), Eflags: g.GetFlags()&eflagsUser | 2,
		Rsp: g.GetSp(), Ss: g.GetSs(), Fs_base: g.GetFsBase(), Gs_base: g.GetGsBase(),
		Ds: g.GetDs(), Es: g.GetEs(), Fs: g.GetFs(), Gs: g.GetGs(),
	}
	r = inject.Resumable(r, false)
	return th.t.SetRegs(&r)
}

// archReqXCompPerm is ARCH_REQ_XCOMP_PERM of arch_prctl(2), Linux 5.16.
const archReqXCompPerm = 0x1023

// xcompPermissions asks for the dynamic XSAVE components that a process had: once, for all its threads to come.
func xcompPermissions(t *task) error {
	if t.extra == nil || t.extra.XComp == 0 {
		return nil
	}
	for _, i := range []uint64{18} {
		if t.extra.XComp>>i&1 == 0 {
			continue
		}
		if _, err := one(t.s, unix.SYS_ARCH_PRCTL, archReqXCompPerm, i); err != nil {
			return fmt.Errorf("permission for XSAVE component %d (AMX): %w", i, err)
		}
	}
	return nil
}

// wholeState takes the XSAVE area that our own dump kept where CRIU's form loses some, and gives the thread room for it:
// the kernel enlarges a thread's area when it first uses a tile.
func wholeState(t *task, th *thread) error {
	x := t.extra.thread(th.tid)
	if x == nil || len(x.XState) == 0 {
		return nil
	}
	if len(x.XState) < 576 || len(x.XState) > 1<<16 {
		return fmt.Errorf("%d bytes of XSAVE area: %w", len(x.XState), ErrImage)
	}
	if cpu.XStateBV(x.XState)&dynamicXComp != 0 {
		if err := th.s.UseTiles(); err != nil {
			return fmt.Errorf("using an AMX tile: %w", err)
		}
	}
	th.fp = x.XState
	return nil
}

// setClearTid is set_tid_address for the leader: other threads get it by clone3.
func setClearTid(c *criu_core.CoreEntry) (nr uintptr, arg uint64) {
	return unix.SYS_SET_TID_ADDRESS, clearTid(c)
}
