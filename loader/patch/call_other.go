// SPDX-License-Identifier: Apache-2.0

//go:build !riscv64

package patch

import "github.com/trapline/trapline/kernel-patch/abi"

import "golang.org/x/sys/unix"

// rawOpen is the system call, which no kernel of this architecture has.
func rawOpen(*abi.Attr, uintptr, uint32) (int, error) { return -1, unix.ENOSYS }
