// SPDX-License-Identifier: Apache-2.0

package place

import (
	"fmt"
	"strings"
	"sync"

	"github.com/cilium/ebpf/btf"

	"github.com/trapline/trapline/loader/internal/tracefs"
	"github.com/trapline/trapline/probes"
)

// A Kernel is what a session reads of the running kernel, each part once and only if something asks for it.
type Kernel struct {
	Symbols   func() (*probes.Symbols, error)
	available func() *probes.FunctionSet // what ftrace can hook; nil if that is not known
	blacklist func() *probes.FunctionSet // what kprobes refuse; nil if that is not known
}

// NewKernel reads nothing yet.
func NewKernel() *Kernel {
	return &Kernel{
		Symbols: sync.OnceValues(probes.LoadSymbols),
		available: sync.OnceValue(func() *probes.FunctionSet {
			set, err := probes.AvailableFunctions()
			if err != nil {
				return nil
			}
			return set
		}),
		blacklist: sync.OnceValue(func() *probes.FunctionSet {
			set, err := probes.KprobeBlacklist()
			if err != nil {
				return nil
			}
			return set
		}),
	}
}

// maxPlaces bounds what one expression may resolve to.
const maxPlaces = 65536

// Resolve gives the places of an expression. Its errors are an [Error].
func (k *Kernel) Resolve(spec *probes.Spec) ([]*Place, error) {
	list, err := k.places(spec)
	if err != nil {
		return nil, &Error{Place: spec.Place(), Err: err, Instead: k.Instead(spec, err)}
	}
	if len(list) > maxPlaces {
		return nil, &Error{Place: spec.Place(), Err: fmt.Errorf("%d places, more than %d; narrow the pattern", len(list), maxPlaces)}
	}
	for _, p := range list {
		p.Spec = spec
	}
	return list, nil
}

func (k *Kernel) places(spec *probes.Spec) ([]*Place, error) {
	switch spec.Provider {
	case probes.ProviderTracepoint:
		return tracepointPlaces(spec)
	case probes.ProviderRawTracepoint:
		return rawTracepointPlaces(spec)
	case probes.ProviderSyscall:
		return syscallPlaces(spec)
	case probes.ProviderUprobe:
		return uprobePlaces(spec)
	}
	return k.functionPlaces(spec)
}

// functionPlaces resolves kernel functions. A name that several functions share gives all of them, told apart by
// their addresses.
func (k *Kernel) functionPlaces(spec *probes.Spec) ([]*Place, error) {
	symbols, err := k.Symbols()
	if err != nil {
		return nil, err
	}
	if spec.Address != 0 {
		s, off, ok := symbols.At(spec.Address)
		if !ok || !s.Function() {
			return nil, fmt.Errorf("address %#x is in no function of the kernel", spec.Address)
		}
		s.Address += off
		return []*Place{{Name: fmt.Sprintf("%s+%#x", s.Name, off+spec.Offset), Symbol: s, Ambiguous: true}}, nil
	}
	if spec.Glob() {
		return k.globPlaces(symbols, spec)
	}
	found, err := symbols.Functions(spec.Module, spec.Symbol)
	if err != nil {
		return nil, perhapsTracepoint(spec, err)
	}
	var list []*Place
	for _, s := range found {
		name := s.String()
		if len(found) > 1 {
			name = fmt.Sprintf("%s@%#x", name, s.Address)
		}
		if spec.Offset != 0 {
			if s.Size != 0 && spec.Offset >= s.Size {
				return nil, fmt.Errorf("offset %#x lies behind the end of %s, which has %#x bytes", spec.Offset, s.Name, s.Size)
			}
			name += fmt.Sprintf("+%#x", spec.Offset)
		}
		list = append(list, &Place{Name: name, Symbol: s, Ambiguous: len(symbols.Lookup(s.Name)) > 1})
	}
	return list, nil
}

// globPlaces leaves out what nothing could hook: functions that neither ftrace nor kprobes take are no surprise in a glob.
func (k *Kernel) globPlaces(symbols *probes.Symbols, spec *probes.Spec) ([]*Place, error) {
	var list []*Place
	available, blacklist := k.available(), k.blacklist()
	seen := map[uint64]bool{}
	for _, s := range symbols.Glob(spec.Symbol, spec.Module) {
		if available != nil && !available.Has(s) || blacklist.Has(s) || s.Address != 0 && seen[s.Address] {
			continue
		}
		seen[s.Address] = true
		ambiguous := len(symbols.Lookup(s.Name)) > 1
		name := s.String()
		if ambiguous {
			name = fmt.Sprintf("%s@%#x", name, s.Address)
		}
		list = append(list, &Place{Name: name, Symbol: s, Ambiguous: ambiguous})
	}
	if len(list) == 0 {
		return nil, perhapsTracepoint(spec, fmt.Errorf("no function that can be probed matches: %w", probes.ErrNoSymbol))
	}
	return list, nil
}

// tracepointPlaces resolves classic tracepoints.
func tracepointPlaces(spec *probes.Spec) ([]*Place, error) {
	events, err := tracefs.Events(spec.Group, spec.Symbol)
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		err := fmt.Errorf("tracepoint %s:%s: %w", spec.Group, spec.Symbol, probes.ErrNoSymbol)
		return nil, didYouMean(err, nearTracepoints(spec.Group, spec.Symbol))
	}
	var list []*Place
	for _, e := range events {
		list = append(list, &Place{Name: "tracepoint:" + e[0] + ":" + e[1], Group: e[0], Event: e[1]})
	}
	return list, nil
}

// rawTracepointPlaces resolves raw tracepoints, which BTF lists as types btf_trace_NAME.
func rawTracepointPlaces(spec *probes.Spec) ([]*Place, error) {
	types, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("raw tracepoints: the kernel has no BTF (CONFIG_DEBUG_INFO_BTF): %w", err)
	}
	if !spec.Glob() {
		var t *btf.Typedef
		if err := types.TypeByName(rawPrefix+spec.Symbol, &t); err != nil {
			err := fmt.Errorf("raw tracepoint %s: %w", spec.Symbol, probes.ErrNoSymbol)
			names, _ := rawTracepoints(types, "*")
			return nil, didYouMean(err, prefixed("rawtp:", probes.Nearest(spec.Symbol, names, mostNear)))
		}
		return []*Place{{Name: "rawtp:" + spec.Symbol, Event: spec.Symbol}}, nil
	}
	names, err := rawTracepoints(types, spec.Symbol)
	if err != nil {
		return nil, err
	}
	var list []*Place
	for _, name := range names {
		list = append(list, &Place{Name: "rawtp:" + name, Event: name})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("raw tracepoint %s: %w", spec.Symbol, probes.ErrNoSymbol)
	}
	return list, nil
}

// rawPrefix stands before the names of raw tracepoints in BTF.
const rawPrefix = "btf_trace_"

// rawTracepoints gives the names that match a glob.
func rawTracepoints(types *btf.Spec, pattern string) ([]string, error) {
	var names []string
	for t, err := range types.All() {
		if err != nil {
			return nil, fmt.Errorf("raw tracepoints: %w", err)
		}
		d, ok := t.(*btf.Typedef)
		if !ok {
			continue
		}
		if name, ok := strings.CutPrefix(d.Name, rawPrefix); ok && probes.MatchGlob(pattern, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// syscallPlaces resolves names of system calls.
func syscallPlaces(spec *probes.Spec) ([]*Place, error) {
	var list []*Place
	for nr, name := range Syscalls() {
		if name != "" && probes.MatchGlob(spec.Symbol, name) {
			list = append(list, &Place{Name: "syscall:" + name, Syscall: nr, Event: name})
		}
	}
	if len(list) == 0 {
		err := fmt.Errorf("system call %s: %w on this architecture", spec.Symbol, probes.ErrNoSymbol)
		return nil, didYouMean(err, prefixed("syscall:", probes.Nearest(spec.Symbol, Syscalls(), mostNear)))
	}
	return list, nil
}
