// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"fmt"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/inject"
)

const coreMarch = criu_core.CoreEntry_RISCV64

// loadRegisters checks that a thread's registers can be those of this machine.
func loadRegisters(_ *task, th *thread) error {
	ti := th.core.GetTiRiscv64()
	if ti.GetGpregs() == nil {
		return fmt.Errorf("no registers: %w", ErrImage)
	}
	fp := ti.GetFpsimd()
	if fp == nil {
		return nil
	}
	if len(fp.GetF()) != 32 {
		return fmt.Errorf("%d floating-point registers, expected 32: %w", len(fp.GetF()), ErrImage)
	}
	th.fp = make([]byte, fpRegsSize)
	for i, v := range fp.GetF() {
		binary.NativeEndian.PutUint64(th.fp[8*i:], v)
	}
	binary.NativeEndian.PutUint32(th.fp[32*8:], fp.GetFcsr())
	return nil
}

func clearTid(c *criu_core.CoreEntry) uint64 { return c.GetTiRiscv64().GetClearTidAddr() }

// setRegisters loads the thread's own registers: the last thing before it runs. The thread pointer is one of them.
func setRegisters(th *thread) error {
	if th.fp != nil {
		if err := th.t.SetRegSet(fpuRegSet, th.fp); err != nil {
			return err
		}
	}
	var r inject.Regs
	for i, f := range regFields(th.core.TiRiscv64.Gpregs) {
		if *f == nil {
			return fmt.Errorf("register x%d is missing: %w", i, ErrImage)
		}
		if i == 0 {
			r.Pc = **f
		} else {
			r.X[i-1] = **f
		}
	}
	return th.t.SetRegs(&r)
}

// setClearTid is set_tid_address for the leader: other threads get it by clone3.
func setClearTid(c *criu_core.CoreEntry) (nr uintptr, arg uint64) {
	return unix.SYS_SET_TID_ADDRESS, clearTid(c)
}

func xcompPermissions(*task) error { return nil }

// wholeState takes the vector registers that our own dump kept, and gives the thread such.
func wholeState(t *task, th *thread) error {
	x := t.extra.thread(th.tid)
	if x == nil || len(x.XState) == 0 {
		return nil
	}
	if len(x.XState) > inject.VectorMax {
		return fmt.Errorf("%d bytes of vector registers: %w", len(x.XState), ErrImage)
	}
	if err := th.s.UseVector(); err != nil {
		return fmt.Errorf("using a vector instruction: %w", err)
	}
	th.more = x.XState
	return nil
}
