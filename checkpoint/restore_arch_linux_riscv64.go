// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"golang.org/x/sys/unix"
)

const coreMarch = criu_core.CoreEntry_RISCV64

func loadRegisters(*task, *thread) error {
	return fmt.Errorf("restoring on riscv64: %w yet", ErrNotSupported)
}

func clearTid(c *criu_core.CoreEntry) uint64 { return c.GetTiRiscv64().GetClearTidAddr() }

func setRegisters(*thread) error { return fmt.Errorf("restoring on riscv64: %w yet", ErrNotSupported) }

func setClearTid(c *criu_core.CoreEntry) (nr uintptr, arg uint64) {
	return unix.SYS_SET_TID_ADDRESS, clearTid(c)
}

func xcompPermissions(*task) error { return nil }

func wholeState(*task, *thread) error { return nil }
