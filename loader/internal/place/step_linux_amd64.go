// SPDX-License-Identifier: Apache-2.0

package place

// stepsOver says whether the kernel has the processor step over an instruction that has a uprobe. It carries out itself
// (arch/x86/kernel/uprobes.c, branch_setup_xol_ops and push_setup_xol_ops): push of a register, nop, relative jumps and calls.
func stepsOver(code []byte) bool {
	if len(code) == 0 {
		return true
	}
	switch op := code[0]; {
	case 0x50 <= op && op <= 0x57, 0x70 <= op && op <= 0x7f, op == 0x90, op == 0xe8, op == 0xe9, op == 0xeb:
		return false
	case op == 0x41 && len(code) > 1:
		return code[1] < 0x50 || code[1] > 0x57 // push %r8 … %r15
	case op == 0x0f && len(code) > 1:
		return code[1] < 0x80 || code[1] > 0x8f
	}
	return true
}
