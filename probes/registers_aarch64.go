// SPDX-License-Identifier: Apache-2.0

package probes

// ARM64 is AArch64. Register numbers: 0 … 30 are x0 … x30, and 31 is sp, as in DWARF. The words are those of struct
// pt_regs in Linux' arch/arm64/include/asm/ptrace.h up to orig_x0, the conventions those of the AAPCS64.
var ARM64 = Arch{
	name: "arm64",
	words: []string{
		"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
		"x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30",
		"sp", "pc", "pstate", "orig_x0",
	},
	numbered: []string{
		"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
		"x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp",
	},
	aliases: map[string]string{"fp": "x29", "lr": "x30", "ra": "x30", "cpsr": "pstate"},
	args:    []string{"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"},
	// x0 gets the result while the call is still running; orig_x0 keeps the parameter.
	syscallArgs: []string{"orig_x0", "x1", "x2", "x3", "x4", "x5"},
	ret:         "x0",
	sp:          "sp",
	pc:          "pc",
	ra:          "x30",
}.build()
