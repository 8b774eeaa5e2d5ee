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
