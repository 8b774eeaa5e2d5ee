// SPDX-License-Identifier: Apache-2.0

package cpu

// Current describes this machine's CPU. Of RISC-V extensions nothing is recorded yet.
func Current() Features { return Features{Arch: "riscv64"} }
