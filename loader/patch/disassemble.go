// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"encoding/binary"
	"sync"

	"golang.org/x/arch/riscv64/riscv64asm"
)

// decoding guards the decoder, which writes to a variable of its package.
var decoding sync.Mutex

// disassemble gives an instruction as an assembler writes it, or "" if the decoder does not know it.
func disassemble(instruction uint32) string {
	decoding.Lock()
	defer decoding.Unlock()
	inst, err := riscv64asm.Decode(binary.LittleEndian.AppendUint32(nil, instruction))
	if err != nil || instruction&0xffff == 0 { // it takes 0, which is no instruction, for one
		return ""
	}
	return riscv64asm.GNUSyntax(inst)
}
