// SPDX-License-Identifier: Apache-2.0

package probes

// RISCV64 is RV64. Register numbers: 0 … 31 are x0 … x31, named as the ABI does; register 0 is always 0. The words are
// those of struct pt_regs in Linux' arch/riscv/include/asm/ptrace.h, the conventions those of the psABI.
var RISCV64 = Arch{
	name: "riscv64",
	words: []string{
		"epc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
		"s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
		"status", "badaddr", "cause", "orig_a0",
	},
	numbered: []string{
		"", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
		"s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
	},
	aliases: map[string]string{
		"x0": "zero", "x1": "ra", "x2": "sp", "x3": "gp", "x4": "tp", "x5": "t0", "x6": "t1", "x7": "t2", "x8": "s0", "x9": "s1",
		"x10": "a0", "x11": "a1", "x12": "a2", "x13": "a3", "x14": "a4", "x15": "a5", "x16": "a6", "x17": "a7",
		"x18": "s2", "x19": "s3", "x20": "s4", "x21": "s5", "x22": "s6", "x23": "s7", "x24": "s8", "x25": "s9",
		"x26": "s10", "x27": "s11", "x28": "t3", "x29": "t4", "x30": "t5", "x31": "t6",
		"fp": "s0", "pc": "epc", "sstatus": "status", "stval": "badaddr", "scause": "cause",
	},
	args: []string{"a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"},
	// a0 gets the result while the call is still running; orig_a0 keeps the parameter.
	syscallArgs: []string{"orig_a0", "a1", "a2", "a3", "a4", "a5"},
	ret:         "a0",
	sp:          "sp",
	pc:          "epc",
	ra:          "ra",
}.build()
