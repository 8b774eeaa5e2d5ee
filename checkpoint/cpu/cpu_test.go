// SPDX-License-Identifier: Apache-2.0

//go:build linux && amd64

package cpu

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

func TestCurrentHasBaseline(t *testing.T) {
	f := Current()
	for _, n := range []string{"sse2", "cx8", "fxsr", "lm"} {
		if !slices.Contains(f.Names, n) {
			t.Errorf("x86-64 CPU without %s: %v", n, f.Names)
		}
	}
	if !slices.IsSorted(f.Names) {
		t.Errorf("names are not sorted: %v", f.Names)
	}
	if err := f.Covers(f); err != nil {
		t.Errorf("the CPU does not cover itself: %v", err)
	}
	more := f
	more.Names = append(slices.Clone(f.Names), "zz_none_such")
	if err := f.Covers(more); !errors.Is(err, ErrMissing) {
		t.Errorf("a feature that does not exist is covered: %v", err)
	}
}

func TestFPRoundTrip(t *testing.T) {
	f := Current()
	if f.XSaveSize == 0 {
		t.Fatal("this test needs a CPU with XSAVE")
	}
	area := make([]byte, f.XSaveSize)
	for i := range area {
		area[i] = byte(i*7 + 1)
	}
	clear(area[416:legacySize])
	clear(area[legacySize:headerEnd])
	bv := f.XCR0 & criuComponents
	for i := range 8 {
		area[464+i] = byte(f.XCR0 >> (8 * i))
		area[legacySize+i] = byte(bv >> (8 * i))
	}
	// What the image has no field for, and the gaps between components, come back as zeros.
	want := bytes.Clone(area)
	used := make([]bool, len(area))
	for i := range headerEnd {
		used[i] = true
	}
	sizes := map[int]uint32{xAVX: 256, xBNDRegs: 64, xBNDCSR: 16, xOpmask: 64, xZMMHi: 512, xHi16ZMM: 1024, xPKRU: 8}
	for i, c := range layout() {
		for k := c.off; k < c.off+sizes[i]; k++ {
			used[k] = true
		}
	}
	for i := range want {
		if !used[i] {
			want[i] = 0
		}
	}
	e, err := EncodeFP(area)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeFP(e)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("byte %d is %#x, want %#x", i, got[i], want[i])
			}
		}
		t.Fatalf("got %d bytes, want %d", len(got), len(want))
	}
	if _, err := EncodeFP(area[:100]); !errors.Is(err, ErrFormat) {
		t.Errorf("a short area: %v", err)
	}
}

func TestMeets(t *testing.T) {
	f := Features{Arch: "amd64", Vendor: "A", Family: 6, XCR0: 7, Names: []string{"avx", "sse"}}
	names, xsave, vendor, arch := f, f, f, f
	names.Names = []string{"amx", "avx", "sse"}
	xsave.XCR0 = 0xf
	vendor.Vendor = "B"
	arch.Arch = "riscv64"
	for _, c := range []struct {
		name string
		want Features
		need Need
		ok   bool
	}{
		{"itself", f, NeedFPU | NeedInstructions | NeedSame, true},
		{"an instruction", names, NeedInstructions, false},
		{"an instruction, registers only", names, NeedFPU, true},
		{"a register", xsave, NeedFPU, false},
		{"a register, instructions only", xsave, NeedInstructions, true},
		{"another vendor", vendor, NeedFPU | NeedInstructions, true},
		{"another vendor, exactly", vendor, NeedSame, false},
		{"another architecture", arch, NeedFPU, false},
		{"nothing", names, 0, true},
	} {
		if err := f.Meets(c.want, c.need); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrMissing) {
			t.Errorf("%s: %v, want ok %t", c.name, err, c.ok)
		}
	}
}
