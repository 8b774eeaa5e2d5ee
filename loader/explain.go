// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"errors"
	"slices"

	"github.com/trapline/trapline/internal/feature"
	"github.com/trapline/trapline/loader/ebpf"
	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/loader/patch"
	"github.com/trapline/trapline/loader/perf"
	"github.com/trapline/trapline/probes"
)

// A Place is where an expression leads, and what can be done there.
type Place struct {
	Name      string // as tables show it
	Symbol    string // of kernel functions, with Module and Address (of the instruction)
	Module    string
	Address   uint64
	Prototype string // of kernel functions that BTF knows, with the names by which a probe reads the parameters
	Ways      []Way
}

// A Way is one kind of probe at a place: how it would get its hits, or why it can't.
type Way struct {
	Kind      probes.Kind
	Mechanism string   // "" if Err is set
	Detail    string   // what the kernel does at the place, if it tells: the backend patch's instruction and slot
	Err       error    // why not
	Instead   []string // expressions that work here
}

// Possible says whether some kind of probe can be placed.
func (p *Place) Possible() bool {
	for _, w := range p.Ways {
		if w.Err == nil {
			return true
		}
	}
	return false
}

// Explain says whether and how the places of an expression can be probed here. It tries: each probe is placed and removed
// again, and never counts. If the expression names one kind, only that is tried. The error is about the expression as
// a whole: there is no such place.
func Explain(ctx context.Context, spec *probes.Spec) ([]Place, error) {
	kinds := []probes.Kind{spec.Kind}
	if spec.Kind == probes.KindDefault {
		kinds = []probes.Kind{probes.KindEntry, probes.KindLatency}
	}
	var list []Place
	index := map[string]int{}
	for _, kind := range kinds {
		try := *spec
		try.Kind = kind
		attempts, err := attempt(ctx, &try)
		if err != nil {
			var e *PlaceError
			if errors.As(err, &e) {
				e.Place = spec.Place() // not with the kind that was tried first
			}
			return nil, err
		}
		for _, a := range attempts {
			i, ok := index[a.place.Name]
			if !ok {
				i = len(list)
				index[a.place.Name] = i
				list = append(list, describe(a.place))
			}
			list[i].Ways = append(list[i].Ways, a.way)
		}
	}
	return list, nil
}

// An attempted probe is one that was tried.
type attempted struct {
	place *place.Place
	way   Way
}

// attempt tries the probes of an expression, by the backend that Open would pick.
func attempt(ctx context.Context, spec *probes.Spec) (list []attempted, err error) {
	why := unavailable()
	if why != nil && patch.Usable() == nil {
		placed, failed, err := patch.Try(ctx, spec)
		for _, p := range append(placed, failed...) {
			w := wayOf(p.Kind, p.Method.String(), p.Err())
			w.Detail = p.Detail()
			list = append(list, attempted{&p.Place, w})
		}
		return list, err
	}
	if why != nil {
		placed, failed, err := perf.Try(spec, why)
		for _, p := range append(placed, failed...) {
			list = append(list, attempted{&p.Place, wayOf(p.Kind, p.Mechanism, p.Err())})
		}
		return list, err
	}
	placed, failed, err := ebpf.Try(ctx, spec)
	for _, p := range append(placed, failed...) {
		list = append(list, attempted{&p.Place, wayOf(p.Kind, string(p.Mechanism), p.Err())})
	}
	return list, err
}

func wayOf(kind probes.Kind, mechanism string, err error) Way {
	if err == nil {
		return Way{Kind: kind, Mechanism: mechanism}
	}
	w := Way{Kind: kind, Err: err}
	var e *PlaceError
	if errors.As(err, &e) {
		w.Err, w.Instead = e.Err, e.Instead
	}
	return w
}

func describe(p *place.Place) Place {
	d := Place{Name: p.Name, Symbol: p.Symbol.Name, Module: p.Symbol.Module, Address: p.Symbol.Address + p.Spec.Offset}
	if d.Symbol == "" {
		d.Address = 0
		return d
	}
	d.Prototype = ebpf.Prototype(d.Symbol)
	return d
}

// Features gives what the backends use of a kernel, each to be tested: what is here, what is not, and why.
func Features() []*feature.Feature {
	return slices.Concat(ebpf.Features(), perf.Features(), patch.Features())
}
