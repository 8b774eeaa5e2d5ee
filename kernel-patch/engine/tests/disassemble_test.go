// SPDX-License-Identifier: Apache-2.0

package tests

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// disassembled is an instruction as binutils reads it.
type disassembled struct {
	mnemonic string
	operands string
	target   int64 // of jumps and branches: from the instruction
}

// known is false for what binutils writes as data, and for what is reserved though it has a name for it.
func (d disassembled) known() bool {
	switch {
	case strings.HasPrefix(d.mnemonic, "."), d.mnemonic == "c.unimp":
		return false
	case d.mnemonic == "c.addi16sp" && d.operands == "x2,0":
		return false
	}
	// A reserved rounding mode; a fence with an empty set is none.
	return !strings.HasSuffix(d.operands, ",unknown") || strings.HasPrefix(d.mnemonic, "fence")
}

// jumps says whether the last operand is where it goes to.
func (d disassembled) jumps() bool {
	switch strings.TrimPrefix(d.mnemonic, "c.") {
	case "beq", "bne", "blt", "bge", "bltu", "bgeu", "beqz", "bnez", "j", "jal":
		return true
	}
	return false
}

// disassemble has binutils read each word alone, without the assembler's short forms such as li and ret.
func disassemble(t *testing.T, words []uint32) []disassembled {
	t.Helper()
	const nop = 1 // c.nop, behind a 16-bit instruction
	raw := make([]byte, 0, 4*len(words))
	for _, word := range words {
		if isCompressed(word) {
			word = word&0xffff | nop<<16
		}
		raw = binary.LittleEndian.AppendUint32(raw, word)
	}
	path := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	output := run(t, nil, "riscv64-linux-gnu-objdump", "-z", "-D", "-b", "binary", "-m", "riscv:rv64",
		"-M", "numeric,no-aliases", path)
	list := make([]disassembled, len(words))
	scanner := bufio.NewScanner(bytes.NewReader(output))
	for scanner.Scan() {
		parseLine(list, scanner.Text())
	}
	for i := range list {
		if list[i].mnemonic == "" {
			t.Fatalf("objdump says nothing of word %d, %08x", i, words[i])
		}
	}
	return list
}

// parseLine notes what a line such as "  10:\t8082\tc.jr\tx1" says.
func parseLine(list []disassembled, line string) {
	fields := strings.Split(line, "\t")
	if len(fields) < 3 {
		return
	}
	address, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(fields[0], ":")), 16, 64)
	if err != nil || address%4 != 0 || address/4 >= uint64(len(list)) {
		return
	}
	d := &list[address/4]
	d.mnemonic = strings.TrimSpace(fields[2])
	if len(fields) == 3 {
		return
	}
	d.operands, _, _ = strings.Cut(fields[3], " #")
	d.operands = strings.TrimSpace(d.operands)
	if !d.jumps() {
		return
	}
	others := d.operands[:strings.LastIndex(d.operands, ",")+1]
	target, err := strconv.ParseUint(strings.TrimPrefix(d.operands[len(others):], "0x"), 16, 64)
	if err == nil {
		d.target = int64(target - address)
		d.operands = others + "target"
	}
}
