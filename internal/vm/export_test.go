// SPDX-License-Identifier: Apache-2.0

package vm

import "syscall"

// Freeze stops QEMU, as a guest that hangs looks from here.
func Freeze(g *Guest) { _ = g.qemu.cmd.Process.Signal(syscall.SIGSTOP) }
