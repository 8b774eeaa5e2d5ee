// SPDX-License-Identifier: Apache-2.0

package ebpf

//go:generate go run ./internal/syscallgen

import "slices"

// syscallNames are the names of this architecture's system calls by number, "" where there is none.
func syscallNames() []string { return syscallTable[:] }

// syscallNumber gives a system call's number, or -1.
func syscallNumber(name string) int { return slices.Index(syscallTable[:], name) }
