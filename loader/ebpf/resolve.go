// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/trapline/trapline/loader/internal/tracefs"
	"github.com/trapline/trapline/probes"
)

// kernel is what a session reads of the running kernel, each part once and only if something asks for it.
type kernel struct {
	symbols   func() (*probes.Symbols, error)
	available func() *probes.FunctionSet // what ftrace can hook; nil if that is not known
	blacklist func() *probes.FunctionSet // what kprobes refuse; nil if that is not known
}

func newKernel() *kernel {
	return &kernel{
		symbols: sync.OnceValues(probes.LoadSymbols),
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

// resolve gives the places of an expression. events says what a bare name means: see Options.
func (k *kernel) resolve(spec *probes.Spec, events bool) ([]*Probe, error) {
	list, err := k.places(spec)
	if err != nil {
		return nil, &PlaceError{Place: spec.Place(), Err: err, Instead: k.instead(spec, err)}
	}
	if len(list) > maxPlaces {
		return nil, &PlaceError{Place: spec.Place(), Err: fmt.Errorf("%d places, more than %d; narrow the pattern", len(list), maxPlaces)}
	}
	for _, p := range list {
		p.Spec = spec
		p.Kind = spec.Kind
		if p.Kind == probes.KindDefault {
			p.Kind = probes.KindLatency
			if spec.Offset != 0 || events && spec.Provider != probes.ProviderSyscall {
				p.Kind = probes.KindEntry
			}
		}
	}
	return list, nil
}

func (k *kernel) places(spec *probes.Spec) ([]*Probe, error) {
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
func (k *kernel) functionPlaces(spec *probes.Spec) ([]*Probe, error) {
	symbols, err := k.symbols()
	if err != nil {
		return nil, err
	}
	if spec.Address != 0 {
		s, off, ok := symbols.At(spec.Address)
		if !ok || !s.Function() {
			return nil, fmt.Errorf("address %#x is in no function of the kernel", spec.Address)
		}
		s.Address += off
		return []*Probe{{Name: fmt.Sprintf("%s+%#x", s.Name, off+spec.Offset), Symbol: s, ambiguous: true}}, nil
	}
	if spec.Glob() {
		return k.globPlaces(symbols, spec)
	}
	found, err := symbols.Functions(spec.Module, spec.Symbol)
	if err != nil {
		return nil, err
	}
	var list []*Probe
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
		list = append(list, &Probe{Name: name, Symbol: s, ambiguous: len(symbols.Lookup(s.Name)) > 1})
	}
	return list, nil
}

// globPlaces leaves out what nothing could hook: functions that neither ftrace nor kprobes take are no surprise in a glob.
func (k *kernel) globPlaces(symbols *probes.Symbols, spec *probes.Spec) ([]*Probe, error) {
	var list []*Probe
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
		list = append(list, &Probe{Name: name, Symbol: s, ambiguous: ambiguous})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no function that can be probed matches: %w", probes.ErrNoSymbol)
	}
	return list, nil
}

// tracepointPlaces resolves classic tracepoints.
func tracepointPlaces(spec *probes.Spec) ([]*Probe, error) {
	events, err := tracefs.Events(spec.Group, spec.Symbol)
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		near, _ := tracefs.Events("*", spec.Symbol)
		err := fmt.Errorf("tracepoint %s:%s: %w", spec.Group, spec.Symbol, probes.ErrNoSymbol)
		if len(near) > 0 {
			err = fmt.Errorf("%w; did you mean tracepoint:%s:%s?", err, near[0][0], near[0][1])
		}
		return nil, err
	}
	var list []*Probe
	for _, e := range events {
		list = append(list, &Probe{Name: "tracepoint:" + e[0] + ":" + e[1], group: e[0], event: e[1]})
	}
	return list, nil
}

// syscallPlaces resolves names of system calls.
func syscallPlaces(spec *probes.Spec) ([]*Probe, error) {
	var list []*Probe
	for nr, name := range syscallNames() {
		if name != "" && probes.MatchGlob(spec.Symbol, name) {
			list = append(list, &Probe{Name: "syscall:" + name, syscall: nr, event: name})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("system call %s: %w on this architecture", spec.Symbol, probes.ErrNoSymbol)
	}
	return list, nil
}

// instead gives what comes nearest to a place that can't be had: the system call whose work a function does.
func (k *kernel) instead(spec *probes.Spec, err error) []string {
	if errors.Is(err, probes.ErrNoSymbol) {
		return nil // a wrong name: the error has the nearest ones
	}
	switch spec.Provider {
	case probes.ProviderFunction, probes.ProviderKprobe, probes.ProviderFentry:
		return nearSyscalls(spec.Symbol)
	}
	return nil
}

// nearSyscalls finds system calls in a function's name: vfs_write and __x64_sys_write are close to write.
func nearSyscalls(function string) []string {
	name := function
	for _, prefix := range []string{"__x64_sys_", "__arm64_sys_", "__riscv_sys_", "__se_sys_", "__do_sys_", "ksys_", "do_sys_", "vfs_", "do_", "kernel_", "sys_", "new_sync_"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			name = rest
			break
		}
	}
	var near []string
	for _, call := range syscallNames() {
		if call != "" && call == name {
			near = append(near, "syscall:"+call)
		}
	}
	for _, call := range syscallNames() {
		if call != name && len(name) > 2 && (strings.HasPrefix(call, name) || len(call) > 3 && strings.HasPrefix(name, call+"_")) && len(near) < 3 {
			near = append(near, "syscall:"+call)
		}
	}
	return near
}
