// SPDX-License-Identifier: Apache-2.0

package place

//go:generate go run ./internal/syscallgen

import "slices"

// Syscalls gives the names of this architecture's system calls by number, "" where there is none.
func Syscalls() []string { return syscallTable[:] }

// SyscallNumber gives a system call's number, or -1.
func SyscallNumber(name string) int { return slices.Index(syscallTable[:], name) }
