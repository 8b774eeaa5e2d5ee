// SPDX-License-Identifier: Apache-2.0

package tests

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// The engine's enums, as in insn.h.
type (
	policy uint8
	flow   uint8
)

const (
	reject policy = iota
	simulate
	slot
)

const (
	flowNext flow = iota
	flowBranch
	flowJump
	flowCall
	flowJumpReg
	flowCallReg
)

func (p policy) String() string {
	return [...]string{"reject", "simulate", "slot"}[p]
}

func (f flow) String() string {
	return [...]string{"next", "branch", "jump", "call", "jump to a register", "call of a register"}[f]
}

// record is what the engine says of a word; struct record of programs/classify.c.
type record struct {
	Bits, Full uint32
	Length     uint8
	Policy     policy
	Flow       flow
	Simulate   uint8
	Reserve    uint8
	PCRelative bool
	Known      bool
	_          uint8
	Target     int64
}

func (r record) String() string {
	return fmt.Sprintf("%0*x: policy %v, flow %v, simulation %d, reservation %d, target %d, known %v", 2*int(r.Length),
		r.Bits, r.Policy, r.Flow, r.Simulate, r.Reserve, r.Target, r.Known)
}

// classify asks the engine.
func classify(t *testing.T, words []uint32) []record {
	t.Helper()
	input := make([]byte, 0, 4*len(words))
	for _, word := range words {
		input = binary.LittleEndian.AppendUint32(input, word)
	}
	output := run(t, input, classifyProgram.build(t))
	records := make([]record, len(words))
	if err := binary.Read(bytes.NewReader(output), binary.LittleEndian, records); err != nil {
		t.Fatalf("%d bytes for %d words: %v", len(output), len(words), err)
	}
	return records
}

// isCompressed says whether a word's low half is an instruction of its own.
func isCompressed(word uint32) bool { return word&3 != 3 }
