// SPDX-License-Identifier: Apache-2.0

package probes

// AMD64 is x86-64. Register numbers are DWARF's: 0 … 15 are ax dx cx bx si di bp sp r8 … r15, and 16 is ip; 17 is flags.
// The words are those of struct pt_regs in Linux' arch/x86/include/asm/ptrace.h, the conventions those of the System V
// ABI, and of the kernel for system calls (r10 in place of cx).
var AMD64 = Arch{
	name: "amd64",
	words: []string{
		"r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di",
		"orig_ax", "ip", "cs", "flags", "sp", "ss",
	},
	numbered: []string{
		"ax", "dx", "cx", "bx", "si", "di", "bp", "sp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "ip", "flags",
	},
	aliases: map[string]string{
		"rax": "ax", "rbx": "bx", "rcx": "cx", "rdx": "dx", "rsi": "si", "rdi": "di", "rbp": "bp", "rsp": "sp", "rip": "ip",
		"eax": "ax", "ebx": "bx", "ecx": "cx", "edx": "dx", "esi": "si", "edi": "di", "ebp": "bp", "esp": "sp", "eip": "ip",
		"pc": "ip", "fp": "bp", "rflags": "flags", "eflags": "flags", "orig_rax": "orig_ax",
	},
	args:        []string{"di", "si", "dx", "cx", "r8", "r9"},
	syscallArgs: []string{"di", "si", "dx", "r10", "r8", "r9"},
	ret:         "ax",
	sp:          "sp",
	pc:          "ip",
	stackArgs:   1, // above the return address
}.build()
