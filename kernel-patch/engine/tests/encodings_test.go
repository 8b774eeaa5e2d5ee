// SPDX-License-Identifier: Apache-2.0

package tests

import (
	"math/rand/v2"
	"testing"
)

// Every combination of the fields that tell 32-bit instructions apart, and random words: known if and only if binutils knows them as
// an instruction of RV64GC, and then what the manual says.
func Test32BitEncodings(t *testing.T) {
	var words []uint32
	for opcode := uint32(3); opcode < 0x80; opcode += 4 {
		if longer(opcode) {
			continue
		}
		for funct7 := range uint32(128) {
			for funct3 := range uint32(8) {
				for _, rs2 := range []uint32{0, 1, 2, 3, 4, 5, 8, 31} {
					rd, rs1 := rs2&1, funct7&1*5
					word := opcode | rd<<7 | funct3<<12 | rs1<<15 | rs2<<20 | funct7<<25
					if !exactConversion(word) {
						words = append(words, word)
					}
				}
			}
		}
	}
	random := rand.New(rand.NewPCG(20260401, 4))
	for range 100000 {
		if word := random.Uint32() | 3; !longer(word) && !exactConversion(word) {
			words = append(words, word)
		}
	}
	checkAll(t, words, classify(t, words))
}

// longer says whether a word begins an encoding of more than 32 bits.
func longer(word uint32) bool { return word&0x1c == 0x1c }

// exactConversion says whether a word is fcvt.d.s, fcvt.d.w or fcvt.d.wu with a rounding mode, which binutils does not know. The
// manual allows any valid one, though none of them can round.
func exactConversion(word uint32) bool {
	rounds := word>>12&7 != 0
	return rounds && (word&0xfff0007f == 0x42000053 || word&0xffe0007f == 0xd2000053)
}
