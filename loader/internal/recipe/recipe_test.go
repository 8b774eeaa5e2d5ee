// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/probes"
)

// compile makes the recipe of an expression for RISC-V.
func compile(t *testing.T, text string, from Source) (*Recipe, error) {
	t.Helper()
	spec, err := probes.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return Compile(&Site{
		Kernel: place.NewKernel(), Arch: probes.RISCV64, Place: &place.Place{Spec: spec, Event: spec.Symbol},
		Kind: place.KindOf(spec, false), From: from,
	})
}

// Parameters of a system call are where its function finds them.
func TestParameters(t *testing.T) {
	const a0, a2, origA0 = 10, 12, 35 // words of struct pt_regs
	for _, c := range []struct {
		text string
		from Source
		want Fetch
	}{
		{"vfs_write x=%a2", FromRegisters, Fetch{Index: a2, Size: 8}},
		{"vfs_write x=%a2", FromFunction, Fetch{Index: 2, Size: 8}},
		{"syscall:write x=%a2:u32", FromSyscall, Fetch{Index: a2, Size: 4}},
		{"syscall:write x=%a0", FromSyscall, Fetch{Index: origA0, Size: 8}},
		{"syscall:write x=%a0", FromCallByValue, Fetch{Index: a0, Size: 8}},
		{"syscall:write x=%a2", FromCallByValue, Fetch{Index: a2, Size: 8}},
		{"syscall:write x=%a0", FromCallByPtRegs, Fetch{Index: a0, Derefs: 1, Offset: [MaxDerefs]int32{origA0 * 8}, Size: 8}},
		{"syscall:write x=%a2:s16", FromCallByPtRegs, Fetch{Index: a0, Derefs: 1, Offset: [MaxDerefs]int32{a2 * 8}, Size: 2, Format: FormatSigned}},
		{"syscall:openat x=%a1:ustring", FromCallByPtRegs, Fetch{Index: a0, Derefs: 2, Offset: [MaxDerefs]int32{11 * 8, 0}, User: 2, Format: FormatUserString}},
		{"syscall:write x=$retval", FromCallByPtRegs, Fetch{Base: BaseRetval, Size: 8, Format: FormatSigned, AtReturn: true}},
		{"vfs_write x=$stack1", FromRegisters, Fetch{Index: 2, Derefs: 1, Offset: [MaxDerefs]int32{8}, Size: 8}},
	} {
		r, err := compile(t, c.text, c.from)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if len(r.Fetches) != 1 || !reflect.DeepEqual(r.Fetches[0], c.want) {
			t.Errorf("%s from %d: %+v, want %+v", c.text, c.from, r.Fetches, c.want)
		}
	}
}

// A predicate is divided between entry and return, in postfix order, with its values and strings once each.
func TestPredicate(t *testing.T) {
	r, err := compile(t, `vfs_write len=%a2 ret=$retval if len > 4 && ($comm ~ "a*" || !(len == 9)) && ret < 0`, FromRegisters)
	if err != nil {
		t.Fatal(err)
	}
	entry := []Test{
		{Op: OpGreater, Left: 0, Value: 4}, {Op: OpGlob, Left: 2}, {Op: OpEqual, Left: 0, Value: 9}, {Op: OpNot}, {Op: OpOr}, {Op: OpAnd},
	}
	if !reflect.DeepEqual(r.Tests, entry) || len(r.ReturnTests) != 1 || r.ReturnTests[0].Left != 1 {
		t.Errorf("entry %+v, return %+v; want %+v, and one of value 1", r.Tests, r.ReturnTests, entry)
	}
	if len(r.Fetches) != 3 || len(r.Shown) != 2 || r.Strings != 1 || !reflect.DeepEqual(r.Constants, []string{"a*"}) || !r.Globs || r.Empty() {
		t.Errorf("%+v", r)
	}
}

// What is too much, or not there, is an error at its place in the expression.
func TestErrors(t *testing.T) {
	for text, says := range map[string]string{
		"vfs_write if " + strings.Repeat("%a0 == 1 || ", 8) + "%a0 == 2": "16 steps",
		"vfs_write x=+1(+2(+3(+4($stack1))))":                            "4 memory reads",
		"vfs_write if %a2 < 0":                                           "never below 0",
	} {
		_, err := compile(t, text, FromRegisters)
		if _, ok := errors.AsType[*probes.ParseError](err); !ok || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want that it says %q", text, err, says)
		}
	}
	spec, err := probes.Parse("vfs_write x=+0(%a0)")
	if err != nil {
		t.Fatal(err)
	}
	site := &Site{Arch: probes.RISCV64, Place: &place.Place{Spec: spec}, Kind: probes.KindEntry, Memory: func() error { return errors.New("no reading here") }}
	if _, err := Compile(site); err == nil || !strings.Contains(err.Error(), "no reading here; registers") {
		t.Errorf("%v", err)
	}
}
