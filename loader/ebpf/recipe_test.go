// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"testing"
	"unsafe"

	"github.com/trapline/trapline/bpf"
	neutral "github.com/trapline/trapline/loader/internal/recipe"
)

// The numbers and the limits of recipes are those of the programs' wire.h.
func TestRecipeNumbers(t *testing.T) {
	var r bpf.TraceRecipe
	var e bpf.TraceEvent
	cases := []struct {
		name       string
		ours, wire int
	}{
		{"first base", int(neutral.BaseWord), int(bpf.TraceBaseBASE_WORD)},
		{"base return value", int(neutral.BaseRetval), int(bpf.TraceBaseBASE_RETVAL)},
		{"base uid", int(neutral.BaseUID), int(bpf.TraceBaseBASE_UID)},
		{"base context", int(neutral.BaseContext), int(bpf.TraceBaseBASE_CONTEXT)},
		{"base record", int(neutral.BaseRecord), int(bpf.TraceBaseBASE_RECORD)},
		{"last base", int(neutral.BaseDataLoc), int(bpf.TraceBaseBASE_DATA_LOC)},
		{"format signed", int(neutral.FormatSigned), int(bpf.TraceFormatFORMAT_SIGNED)},
		{"last format", int(neutral.FormatUserString), int(bpf.TraceFormatFORMAT_USER_STRING)},
		{"first step", int(neutral.OpEqual), int(bpf.TraceTestOpTEST_EQUAL)},
		{"step bits", int(neutral.OpBits), int(bpf.TraceTestOpTEST_BITS)},
		{"step glob", int(neutral.OpGlob), int(bpf.TraceTestOpTEST_GLOB)},
		{"last step", int(neutral.OpNot), int(bpf.TraceTestOpTEST_NOT)},
		{"fetches", neutral.MaxFetches, len(r.Fetch)},
		{"tests", neutral.MaxTests, len(r.Test)},
		{"derefs", neutral.MaxDerefs, len(r.Fetch[0].Offset)},
		{"constants", neutral.MaxStrings, len(r.Constant)},
		{"a constant's bytes", neutral.MaxConstant + 1, int(unsafe.Sizeof(r.Constant[0]))},
		{"values", neutral.MaxValues, len(e.Number)},
	}
	for _, c := range cases {
		if c.ours != c.wire {
			t.Errorf("%s: %d, in the programs %d", c.name, c.ours, c.wire)
		}
	}
}
