// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"fmt"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/loader/internal/recipe"
	"github.com/trapline/trapline/probes"
)

// compile makes what probe_open is asked for: the probe's recipe, in the call's own structs.
func (s *Session) compile(p *Probe) (*request, error) {
	made, err := recipe.Compile(&recipe.Site{Kernel: s.kernel, Arch: probes.RISCV64, Place: &p.Place, Kind: p.Kind, From: p.from})
	if err != nil {
		return nil, err
	}
	r := &request{attr: abi.Attr{Kind: uint32(p.Kind), Offset: p.Spec.Offset, GroupFD: -1, Contexts: s.opts.Contexts}}
	if err := r.take(made, p.Kind); err != nil {
		return nil, &place.Error{Place: p.Name, Err: err}
	}
	p.shown = made.Shown
	// By its address, where that is known: a name may be that of several functions, and is looked up among all.
	if at := p.symbol(); at.Address != 0 {
		r.attr.Address = at.Address
	} else {
		r.symbol = at.Name
	}
	s.options(p, &r.attr)
	return r, nil
}

// options sets what the session asks of all its probes.
func (s *Session) options(p *Probe, a *abi.Attr) {
	set := func(yes bool, flag uint64) {
		if yes {
			a.Flags |= flag
		}
	}
	set(s.opts.Filter, abi.FlagFilter)
	set(s.opts.CPUTime && p.HasLatency(), abi.FlagCPUTime)
	set(p.HasErrors(), abi.FlagErrors)
	set(s.opts.Only == MethodSlot || s.opts.Only == MethodSimulate, abi.FlagNoJump)
	if e := s.opts.Events; e != nil {
		a.Flags |= abi.FlagEvents
		a.Wakeup = uint32(s.ringBytes / ringPart)
		if e.Registers {
			a.Flags |= abi.FlagRegs
			a.StackWords = stackWords
		}
		if e.Stack {
			a.Frames = abi.FramesMax
		}
	}
}

const (
	// ringPart is which part of the ring has to fill before its reader is woken: the one that looks by itself every eventWait.
	ringPart = 8
	// stackWords is how much of the stack comes with registers: parameters that no register has room for.
	stackWords = 8
)

// take writes a recipe as the system call reads it. The numbers of bases, formats and steps are its own already. What a return
// probe reads and decides, it does at the return.
func (r *request) take(made *recipe.Recipe, kind probes.Kind) error {
	atReturn := kind == probes.KindReturn
	for _, f := range made.Fetches {
		if f.Base == recipe.BaseWord && f.Index >= abi.RegsMax {
			return fmt.Errorf("register %s: %w by backend patch, which has pc and x1 to x31", probes.RISCV64.WordName(int(f.Index)), ErrNotSupported)
		}
		if f.Base > recipe.BaseContext || f.Shift != 0 {
			return fmt.Errorf("fields of records: %w by backend patch", ErrNotSupported)
		}
		w := abi.Fetch{
			Value: f.Value, Offset: f.Offset, Base: uint8(f.Base), Index: f.Index, Derefs: f.Derefs, User: f.User, Format: uint8(f.Format),
			Size: f.Size, String: f.String,
		}
		if f.Format == recipe.FormatString || f.Format == recipe.FormatUserString {
			w.Size = 1 // of a character
		}
		if f.AtReturn || atReturn {
			w.AtReturn = 1
		}
		r.fetches = append(r.fetches, w)
	}
	for _, t := range append(made.Tests[:len(made.Tests):len(made.Tests)], made.ReturnTests...) {
		w := abi.Test{Value: t.Value, Op: uint8(t.Op), Left: t.Left, Right: t.Right}
		if t.Signed {
			w.IsSigned = 1
		}
		r.tests = append(r.tests, w)
	}
	if len(made.Constants) > 0 {
		r.constants = &[abi.StringsMax][abi.ConstantSize]byte{}
		for i, text := range made.Constants {
			copy(r.constants[i][:abi.ConstantSize-1], text)
		}
	}
	r.attr.FetchCount = uint32(len(r.fetches))
	r.attr.TestCount, r.attr.ReturnTestCount = uint32(len(made.Tests)), uint32(len(made.ReturnTests))
	if atReturn {
		r.attr.TestCount, r.attr.ReturnTestCount = 0, uint32(len(made.Tests))
	}
	return nil
}
