// SPDX-License-Identifier: Apache-2.0

package place

import "fmt"

// maxCode bounds how much of one function is decoded, in bytes.
const maxCode = 16 << 20

// checkInstruction says whether an instruction of a function begins at an offset: a breakpoint inside one makes another
// instruction of it, and mostly ends the program.
func (p *program) checkInstruction(fn function, offset uint64) error {
	if offset > maxCode {
		return fmt.Errorf("offset %#x of %s is too far behind its start to be checked (%d MiB at most)", offset, fn.name, maxCode>>20)
	}
	code := p.codeAt(fn.address, offset+maxInstruction)
	if uint64(len(code)) <= offset {
		return fmt.Errorf("%s: %s+%#x is in no part of the file that holds code", p.path, fn.name, offset)
	}
	for at := uint64(0); at < offset; {
		n := uint64(instructionLength(code[at:]))
		switch {
		case n == 0:
			return fmt.Errorf("whether an instruction begins at %s+%#x is not known: the one at +%#x is of a kind that can't be told apart; offsets up to it can be probed", fn.name, offset, at)
		case at+n > offset && fn.size != 0 && at+n >= fn.size:
			return fmt.Errorf("%s+%#x is inside an instruction: the last one begins at +%#x", fn.name, offset, at)
		case at+n > offset:
			return fmt.Errorf("%s+%#x is inside an instruction: one begins at +%#x, the next at +%#x", fn.name, offset, at, at+n)
		}
		at += n
	}
	if instructionLength(code[offset:]) == 0 {
		return fmt.Errorf("at %s+%#x is no instruction that is known", fn.name, offset)
	}
	return nil
}
