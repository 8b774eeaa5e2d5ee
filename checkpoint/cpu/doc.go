// SPDX-License-Identifier: Apache-2.0

// Package cpu knows what differs between processors of one architecture: which features a program may have found, and
// how its extended register state (XSAVE on x86-64) is laid out, in the kernel and in CRIU's images.
//
//	XSAVE area, standard format (Intel SDM vol. 1, 13.4), as NT_X86_XSTATE has it
//	+-----------------+ 0
//	| legacy (FXSAVE) | x87, MMX, SSE; bytes 464 to 511 are the software's: XCR0 at 464
//	+-----------------+ 512
//	| header          | XSTATE_BV: which components are not in their initial state
//	+-----------------+ 576
//	| AVX             | components 2 and up, each where CPUID leaf 0xd says
//	| …               |
//	+-----------------+
package cpu

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrMissing is wrapped by the error of a CPU that lacks a feature which the dumped programs could use.
var ErrMissing = errors.New("this CPU lacks features of the one where the dump was made")

// ErrFormat is wrapped by the error of register state in an image that can't be.
var ErrFormat = errors.New("malformed register state")

// Features is what a program can find out about its CPU and must find again.
type Features struct {
	Arch   string `json:"arch"`
	Vendor string `json:"vendor,omitempty"`
	Model  string `json:"model,omitempty"`
	// Family, ModelNr and Stepping as CPUID leaf 1 gives them.
	Family   uint32 `json:"family,omitempty"`
	ModelNr  uint32 `json:"model_nr,omitempty"`
	Stepping uint32 `json:"stepping,omitempty"`
	// XCR0 are the state components that the kernel enables, XSaveSize the bytes of their area in standard format.
	XCR0      uint64 `json:"xcr0,omitempty"`
	XSaveSize uint32 `json:"xsave_size,omitempty"`
	// Names are the instruction set features, sorted.
	Names []string `json:"features,omitempty"`
}

// Need says what of a CPU has to be as it was.
type Need uint

// The parts of a CPU, as CRIU's --cpu-cap has them.
const (
	NeedFPU          Need = 1 << iota // register state: every XSAVE component that the other one had
	NeedInstructions                  // every instruction set feature
	NeedSame                          // vendor, family, and no feature more or less
)

// Covers checks that a program which ran with the features want can run with have. A missing feature matters only if
// programs may use it without the kernel's help, so all that Names lists do. The error wraps [ErrMissing].
func (have Features) Covers(want Features) error {
	return have.Meets(want, NeedFPU|NeedInstructions)
}

// Meets is Covers for some parts only. Another architecture is an error, unless nothing is needed.
func (have Features) Meets(want Features, need Need) error {
	if need == 0 {
		return nil
	}
	if want.Arch != "" && want.Arch != have.Arch {
		return fmt.Errorf("dumped on %s, this is %s: %w", want.Arch, have.Arch, ErrMissing)
	}
	if need&NeedSame != 0 && (want.Vendor != have.Vendor || want.Family != have.Family || want.XCR0 != have.XCR0 || !slices.Equal(want.Names, have.Names)) {
		return fmt.Errorf("it is %s, not exactly like the %s of the dump: %w", have.Model, want.Model, ErrMissing)
	}
	var missing []string
	for _, n := range want.Names {
		if _, ok := slices.BinarySearch(have.Names, n); !ok && need&NeedInstructions != 0 {
			missing = append(missing, n)
		}
	}
	if lack := want.XCR0 &^ have.XCR0; lack != 0 && need&NeedFPU != 0 {
		missing = append(missing, fmt.Sprintf("XSAVE components %#x", lack))
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing %s (%s here, %s there): %w", strings.Join(missing, ", "), have.Model, want.Model, ErrMissing)
	}
	return nil
}
