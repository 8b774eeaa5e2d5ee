// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"encoding/binary"
	"regexp"
	"strconv"
	"sync"

	"golang.org/x/arch/riscv64/riscv64asm"

	"github.com/trapline/trapline/probes"
)

// decoding guards the decoder, which writes to a variable of its package.
var decoding sync.Mutex

// register is how the decoder writes one.
var register = regexp.MustCompile(`\bx[0-9]+\b`)

// disassemble gives an instruction as an assembler writes it, with the ABI's names of registers, or "" if the decoder does not know
// it.
func disassemble(instruction uint32) string {
	decoding.Lock()
	defer decoding.Unlock()
	inst, err := riscv64asm.Decode(binary.LittleEndian.AppendUint32(nil, instruction))
	if err != nil || instruction&0xffff == 0 { // it takes 0, which is no instruction, for one
		return ""
	}
	return register.ReplaceAllStringFunc(riscv64asm.GNUSyntax(inst), func(name string) string {
		n, err := strconv.Atoi(name[1:])
		if err != nil || n == 0 {
			return name
		}
		return probes.RISCV64.RegName(n)
	})
}
