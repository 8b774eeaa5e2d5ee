// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// returnsIn gives the offsets of the return instructions in a function's code.
func returnsIn(code []byte) (offsets []uint64, err error) {
	for at := 0; at < len(code); {
		inst, err := x86asm.Decode(code[at:], 64)
		if err != nil { // as of AVX, which the decoder does not know
			return nil, fmt.Errorf("the instruction at +%#x, and so the returns behind it: %w", at, err)
		}
		if inst.Op == x86asm.RET {
			offsets = append(offsets, uint64(at))
		}
		at += inst.Len
	}
	return offsets, nil
}

// behindStackCheck says that an entry is seen once for each call: a Go function whose stack has to grow begins again.
const behindStackCheck = true

// stackCheck gives the offset behind a Go function's check of its stack, which is a comparison with the goroutine's limit and a jump (two, if
// the frame is huge) to where the stack is made to grow; 0 if it has none.
func stackCheck(code []byte) (offset uint64) {
	const longest = 10 // instructions
	for at, n := 0, 0; at < len(code) && n < longest; n++ {
		inst, err := x86asm.Decode(code[at:], 64)
		if err != nil {
			return offset
		}
		at += inst.Len
		switch inst.Op {
		case x86asm.JBE, x86asm.JB:
			offset = uint64(at)
		case x86asm.CMP, x86asm.LEA, x86asm.MOV, x86asm.SUB:
		default: // as PUSH: the frame is made
			return offset
		}
	}
	return offset
}
