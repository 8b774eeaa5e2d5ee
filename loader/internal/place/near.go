// SPDX-License-Identifier: Apache-2.0

package place

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trapline/trapline/loader/internal/tracefs"
	"github.com/trapline/trapline/probes"
)

// mostNear is how many names an error suggests.
const mostNear = 3

// didYouMean adds suggestions to an error, if there are any.
func didYouMean(err error, names []string) error {
	if len(names) == 0 {
		return err
	}
	return fmt.Errorf("%w; did you mean %s?", err, strings.Join(names, " or "))
}

func prefixed(prefix string, names []string) []string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = prefix + name
	}
	return list
}

// nearTracepoints gives expressions for tracepoints whose names are close to one that does not exist: the same event of
// another group, or a few letters changed in one or both.
func nearTracepoints(group, event string) []string {
	all, err := tracefs.Events("*", "*")
	if err != nil {
		return nil
	}
	var same, groups, names []string
	for _, e := range all {
		names = append(names, e[0]+":"+e[1])
		if probes.MatchGlob(event, e[1]) {
			same = append(same, e[0]+":"+e[1])
			if !slices.Contains(groups, e[0]) {
				groups = append(groups, e[0])
			}
		}
	}
	switch {
	case !probes.IsGlob(group) && probes.IsGlob(event):
		same = nil
		for _, g := range probes.Nearest(group, groups, mostNear) {
			same = append(same, g+":"+event)
		}
	case probes.IsGlob(group) && !probes.IsGlob(event) && len(same) == 0:
		for _, e := range all {
			if probes.MatchGlob(group, e[0]) && len(probes.Nearest(event, []string{e[1]}, 1)) > 0 {
				same = append(same, e[0]+":"+e[1])
			}
		}
	case len(same) == 0:
		same = probes.Nearest(group+":"+event, names, mostNear)
	}
	return prefixed("tracepoint:", same[:min(len(same), mostNear)])
}

// perhapsTracepoint adds to the error about a function MODULE:SYMBOL that there is a tracepoint of that name: perf and
// others take it without a word before it.
func perhapsTracepoint(spec *probes.Spec, err error) error {
	if spec.Provider != probes.ProviderFunction || spec.Module == "" || !errors.Is(err, probes.ErrNoSymbol) {
		return err
	}
	if events, e := tracefs.Events(spec.Module, spec.Symbol); e != nil || len(events) == 0 {
		return err
	}
	return fmt.Errorf("%w; there is a tracepoint of this name: tracepoint:%s:%s", err, spec.Module, spec.Symbol)
}

// Instead gives what comes nearest to a place that can't be had: the system call whose work a function does.
func (k *Kernel) Instead(spec *probes.Spec, err error) []string {
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
	for _, call := range Syscalls() {
		if call != "" && call == name {
			near = append(near, "syscall:"+call)
		}
	}
	for _, call := range Syscalls() {
		if call != name && len(name) > 2 && (strings.HasPrefix(call, name) || len(call) > 3 && strings.HasPrefix(name, call+"_")) && len(near) < 3 {
			near = append(near, "syscall:"+call)
		}
	}
	return near
}
