// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"fmt"
	"strings"

	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/loader/internal/recipe"
	"github.com/trapline/trapline/probes"
)

// newProbes gives a probe for each place of an expression. Errors are a [place.Error].
func newProbes(k *place.Kernel, spec *probes.Spec, events bool) ([]*Probe, error) {
	if err := served(k, spec); err != nil {
		return nil, err
	}
	places, err := k.Resolve(spec)
	if err != nil {
		return nil, err
	}
	list := make([]*Probe, 0, len(places))
	var last error
	for _, at := range places {
		p := &Probe{Place: *at, Kind: place.KindOf(spec, events), fd: -1, from: recipe.FromRegisters}
		if spec.Provider == probes.ProviderSyscall {
			if err := p.findCall(k); err != nil {
				if !spec.Glob() {
					return nil, &place.Error{Place: spec.Place(), Err: err}
				}
				last = err // a glob means those that there are
				continue
			}
		}
		if spec.Address != 0 && spec.Kind == probes.KindDefault && !startsFunction(k, p.address()) {
			p.Kind = probes.KindEntry
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		return nil, &place.Error{Place: spec.Place(), Err: last}
	}
	return list, nil
}

// served says whether the patch has what an expression asks for: functions of the kernel and system calls.
func served(k *place.Kernel, spec *probes.Spec) error {
	e := &place.Error{Place: spec.Place()}
	unserved := func(what string) error {
		e.Err = fmt.Errorf("%s: %w by backend patch, which probes functions of the kernel; backend ebpf has them", what, ErrNotSupported)
		return e
	}
	switch spec.Provider {
	case probes.ProviderFentry:
		plain := *spec
		plain.Provider = probes.ProviderFunction
		e.Instead = []string{plain.Place()}
		return unserved("trampolines of eBPF")
	case probes.ProviderTracepoint:
		e.Instead = callsOf(k, spec)
		return unserved("tracepoints")
	case probes.ProviderRawTracepoint:
		return unserved("raw tracepoints")
	case probes.ProviderUprobe:
		return unserved("probes of programs")
	}
	return nil
}

// callsOf gives the system call whose tracepoint an expression names.
func callsOf(k *place.Kernel, spec *probes.Spec) []string {
	name, entry := strings.CutPrefix(spec.Symbol, "sys_enter_")
	if !entry {
		name = strings.TrimPrefix(spec.Symbol, "sys_exit_")
	}
	symbols, err := k.Symbols()
	if err != nil || spec.Group != "syscalls" || place.SyscallNumber(name) < 0 {
		return nil
	}
	if _, _, err := callFunction(symbols, name); err != nil {
		return nil
	}
	if entry {
		return []string{"syscall:" + name + "%entry"}
	}
	return []string{"syscall:" + name + "%return"}
}

// startsFunction says whether a function begins at an address.
func startsFunction(k *place.Kernel, address uint64) bool {
	symbols, err := k.Symbols()
	if err != nil {
		return false
	}
	_, offset, ok := symbols.At(address)
	return ok && offset == 0
}

// findCall finds the function that serves the probe's system call.
func (p *Probe) findCall(k *place.Kernel) error {
	symbols, err := k.Symbols()
	if err != nil {
		return err
	}
	p.call, p.from, err = callFunction(symbols, p.Event)
	return err
}

// A prefix of the functions that serve system calls, and how they get the call's parameters.
var callPrefixes = []struct {
	prefix string
	from   recipe.Source
}{
	{"__riscv_sys_", recipe.FromCallByPtRegs}, // since Linux 6.6, CONFIG_ARCH_HAS_SYSCALL_WRAPPER
	{"__se_sys_", recipe.FromCallByValue},
	{"sys_", recipe.FromCallByValue}, // those without parameters have no __se_sys_
}

// otherNames are system calls whose function is called otherwise: 64-bit RISC-V's include/uapi/asm-generic/unistd.h.
var otherNames = map[string]string{
	"uname": "newuname", "fstat": "newfstat", "umount2": "umount", "sendfile": "sendfile64", "fadvise64": "fadvise64_64",
}

// callFunction gives the function that serves a system call.
func callFunction(symbols *probes.Symbols, call string) (probes.Symbol, recipe.Source, error) {
	name := call
	if other := otherNames[call]; other != "" {
		name = other
	}
	absent := map[uint64]bool{} // calls that are configured out share a function
	for _, p := range callPrefixes {
		for _, s := range symbols.Lookup(p.prefix + "ni_syscall") {
			absent[s.Address] = s.Address != 0
		}
	}
	for _, p := range callPrefixes {
		for _, s := range symbols.Lookup(p.prefix + name) {
			if s.Function() && !absent[s.Address] {
				return s, p.from, nil
			}
		}
	}
	return probes.Symbol{}, 0, fmt.Errorf("this kernel has no function of its own for system call %s: %w", call, probes.ErrNoSymbol)
}

// cutSyscall gives the system call of an expression as place.Kernel.Instead makes it.
func cutSyscall(expression string) (call string, ok bool) {
	return strings.CutPrefix(expression, "syscall:")
}
