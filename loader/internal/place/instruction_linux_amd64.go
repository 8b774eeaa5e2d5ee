// SPDX-License-Identifier: Apache-2.0

package place

import (
	"bytes"
	"debug/elf"

	"golang.org/x/arch/x86/x86asm"
)

const (
	hostMachine    = elf.EM_X86_64
	maxInstruction = 15 // bytes
)

// endbr64 begins functions that may be called through pointers; the decoder does not know it.
var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// instructionLength gives the bytes of an instruction; 0 if it is not known.
func instructionLength(code []byte) int {
	if bytes.HasPrefix(code, endbr64) {
		return len(endbr64)
	}
	inst, err := x86asm.Decode(code, 64)
	if err != nil {
		return 0
	}
	return inst.Len
}
