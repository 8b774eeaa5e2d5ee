// SPDX-License-Identifier: Apache-2.0

package place

import "debug/elf"

const (
	hostMachine    = elf.EM_RISCV
	maxInstruction = 4 // bytes
)

// instructionLength gives the bytes of an instruction, which its lowest bits tell; 0 if it is not whole or one of the
// lengths beyond 4 bytes, which no processor has yet.
func instructionLength(code []byte) int {
	switch {
	case len(code) >= 2 && code[0]&3 != 3:
		return 2
	case len(code) >= 4 && code[0]&0x1c != 0x1c:
		return 4
	}
	return 0
}
