// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"

	"github.com/trapline/trapline/bpf"
	"github.com/trapline/trapline/loader/internal/place"
	neutral "github.com/trapline/trapline/loader/internal/recipe"
	"github.com/trapline/trapline/probes"
)

const recipeEvent = 1

// A recipe is what the programs read and decide at one probe.
type recipe struct {
	*neutral.Recipe
	wire bpf.TraceRecipe
}

// empty says whether the programs can do without it.
func (r *recipe) empty() bool { return r.Empty() && r.wire.Flags == 0 }

// compile makes the recipe of a probe.
func compile(k *place.Kernel, p *Probe, from neutral.Source, events bool) (*recipe, error) {
	made, err := neutral.Compile(&neutral.Site{
		Kernel: k, Arch: probes.HostArch(), Place: &p.Place, Kind: p.Kind, From: from, Memory: memoryReadable,
	})
	if err != nil {
		return nil, err
	}
	r := &recipe{made, wireOf(made)}
	if events {
		r.wire.Flags |= recipeEvent
	}
	return r, nil
}

// memoryReadable says why programs can't read the kernel's memory, or nil.
func memoryReadable() error {
	switch {
	case kernelReadable():
		return nil
	case lockedDown():
		return errors.New("programs may not read the kernel's memory here: the kernel is locked down (confidentiality)")
	}
	return errors.New("programs may not read the kernel's memory here")
}

// wireOf writes a recipe as the programs read it. The numbers of bases, formats and steps are theirs already.
func wireOf(r *neutral.Recipe) (w bpf.TraceRecipe) {
	w.Fetches, w.Tests, w.ReturnTests, w.Strings = uint32(len(r.Fetches)), uint32(len(r.Tests)), uint32(len(r.ReturnTests)), uint32(r.Strings)
	for i, f := range r.Fetches {
		w.Fetch[i] = bpf.TraceFetch{
			Value: f.Value, Offset: f.Offset, Base: uint8(f.Base), Index: f.Index, Derefs: f.Derefs, User: f.User, Format: uint8(f.Format),
			Size: f.Size, String: f.String, AtReturn: uint8(flag(f.AtReturn)), Shift: f.Shift,
		}
	}
	for phase, tests := range [][]neutral.Test{r.Tests, r.ReturnTests} {
		for i, t := range tests {
			w.Test[phase*len(r.Tests)+i] = bpf.TraceTest{Value: t.Value, Op: uint8(t.Op), IsSigned: uint8(flag(t.Signed)), Left: t.Left, Right: t.Right}
		}
	}
	for i, text := range r.Constants {
		for j := range len(text) {
			w.Constant[i][j] = int8(text[j])
		}
	}
	return w
}

// singleTest gives a predicate as constants of a program, if it is one comparison of a word with a constant and nothing else is
// read. That is what most predicates are, and it costs a program a few instructions where the recipe's interpreter takes hundreds.
func (r *recipe) singleTest() constants {
	if r.wire.Flags != 0 || len(r.Fetches) != 1 || len(r.Tests) != 1 || len(r.ReturnTests) != 0 || r.Strings != 0 {
		return nil
	}
	f, t := &r.Fetches[0], &r.Tests[0]
	switch {
	case t.Left != 0, t.Right != 0, t.Op > neutral.OpBits:
		return nil
	case f.Base != neutral.BaseWord, f.Derefs != 0, f.AtReturn:
		return nil
	}
	return constants{
		"tested_word": uint32(f.Index) + 1, "tested_op": uint32(t.Op), "tested_signed": flag(t.Signed), "tested_shift": uint32(f.Shift),
		"tested_size": uint32(f.Size), "tested_format": uint32(f.Format), "tested_value": t.Value,
	}
}
