// SPDX-License-Identifier: Apache-2.0

package place

import "debug/elf"

const (
	hostMachine    = elf.EM_AARCH64
	maxInstruction = 4 // bytes
)

// instructionLength gives the bytes of an instruction; 0 if it is not whole.
func instructionLength(code []byte) int {
	if len(code) < 4 {
		return 0
	}
	return 4
}
