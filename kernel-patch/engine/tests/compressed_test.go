// SPDX-License-Identifier: Apache-2.0

package tests

import (
	"encoding/binary"
	"testing"

	"golang.org/x/arch/riscv64/riscv64asm"
)

// Every first halfword there is: those that begin a 32-bit instruction have that length, and each of the others is what binutils
// says it is.
func TestEvery16BitEncoding(t *testing.T) {
	words := make([]uint32, 1<<16)
	for i := range words {
		words[i] = uint32(i)
	}
	got := classify(t, words)
	compressed := words[:0:0]
	var records []record
	for i, word := range words {
		if !isCompressed(word) {
			if got[i].Length != 4 {
				t.Errorf("%04x: length %d, though it begins a longer instruction", word, got[i].Length)
			}
			continue
		}
		if got[i].Length != 2 || got[i].Bits != word {
			t.Errorf("%04x: length %d, bits %x", word, got[i].Length, got[i].Bits)
		}
		compressed = append(compressed, word)
		records = append(records, got[i])
	}
	checkAll(t, compressed, records)
}

// What a 16-bit instruction stands for, by the manual's words (expand_test.go), is what the engine takes it for.
func TestCompressedStandsFor(t *testing.T) {
	var words []uint32
	for word := range uint32(1 << 16) {
		if isCompressed(word) {
			words = append(words, word)
		}
	}
	records := classify(t, words)
	full := make([]uint32, len(words))
	for i := range records {
		full[i] = records[i].Full
		if !records[i].Known {
			full[i] = 0x00000013 // a nop, in place of nothing
		}
	}
	short, long := disassemble(t, words), disassemble(t, full)
	compared := 0
	for i, word := range words {
		if !records[i].Known {
			continue
		}
		compared++
		if want := short[i].expanded(); want != long[i] {
			t.Errorf("%04x is %v, which stands for %v; the engine takes it for %08x, %v, %d bytes on", word, short[i], want, full[i],
				long[i], long[i].target)
		}
	}
	if compared < 45000 {
		t.Errorf("only %d encodings are known", compared)
	}
}

// The same question asked of another disassembler, as to which encodings exist. It leaves out the hints, and takes the illegal 0 for
// a csrrw.
func TestCompressedAgreesWithGo(t *testing.T) {
	var words []uint32
	for word := range uint32(1 << 16) {
		if isCompressed(word) {
			words = append(words, word)
		}
	}
	for i, record := range classify(t, words) {
		if words[i] == 0 {
			continue
		}
		raw := binary.LittleEndian.AppendUint16(nil, uint16(words[i]))
		inst, err := riscv64asm.Decode(raw)
		if known := err == nil || isHint(record.Full); known != record.Known {
			t.Errorf("%v; riscv64asm: %v, %v", record, inst, err)
		}
	}
}

// isHint says whether an instruction that a 16-bit one stands for changes no register: it writes x0, or leaves rd as it is.
func isHint(full uint32) bool {
	const opImm, op, lui, addi = 0x13, 0x33, 0x37, 0
	rd, funct3, rs1, imm := full>>7&31, full>>12&7, full>>15&31, full>>20
	switch full & 0x7f {
	case opImm:
		shift := funct3 == 1 || funct3 == 5
		return rd == 0 || rd == rs1 && (funct3 == addi && imm == 0 || shift && imm&63 == 0)
	case op, lui:
		return rd == 0
	}
	return false
}
