// SPDX-License-Identifier: Apache-2.0

package tests

import (
	"strings"
	"testing"
)

// checkAll compares what the engine says of words with what binutils does.
func checkAll(t *testing.T, words []uint32, records []record) {
	t.Helper()
	for i, d := range disassemble(t, words) {
		if problem := check(records[i], d); problem != "" {
			t.Errorf("%v; binutils: %v: %s", records[i], d, problem)
		}
	}
}

// check says what is wrong with a record, or nothing.
func check(got record, d disassembled) string {
	want, ok := judge(d)
	if !ok {
		switch {
		case got.Known:
			return "must be unknown"
		case got.Policy != reject:
			return "must be rejected"
		case d.known() && !drafts[d.mnemonic]:
			return "is no instruction that may be missing"
		}
		return ""
	}
	switch {
	case !got.Known:
		return "must be known"
	case got.Policy != want.policy:
		return "policy must be " + want.policy.String()
	case got.Policy == simulate && got.Simulate == 0:
		return "has no simulation"
	case got.Flow != want.flow:
		return "flow must be " + want.flow.String()
	}
	direct := got.Flow == flowBranch || got.Flow == flowJump || got.Flow == flowCall
	if direct && got.Target != d.target {
		return "has another target"
	}
	if got.PCRelative != (direct || d.mnemonic == "auipc") {
		return "depends on the pc, or not, unlike what is said"
	}
	return reservation(got, d)
}

func reservation(got record, d disassembled) string {
	var want uint8
	switch {
	case strings.HasPrefix(d.mnemonic, "lr."):
		want = 1
	case strings.HasPrefix(d.mnemonic, "sc."):
		want = 2
	}
	if got.Reserve != want {
		return "is the other, or no, half of a reservation"
	}
	return ""
}
