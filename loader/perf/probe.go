// SPDX-License-Identifier: Apache-2.0

package perf

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/trapline/trapline/loader/internal/perfevent"
	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/loader/internal/tracefs"
	"github.com/trapline/trapline/probes"
)

// A Probe is one place whose hits are counted. A specification with a glob has several.
type Probe struct {
	place.Place
	Kind      probes.Kind // KindEntry or KindReturn
	Mechanism string      // "perf:tracepoint", "perf:kprobe" or "perf:uprobe"

	event    *perfevent.Event
	filter   string // of a tracepoint's record; "" for every hit
	holder   int    // a counter that counts nothing; -1 for none
	counters []int
	before   count // what they had when the session was enabled
	closed   count // what those had that are closed
	err      error // why it could not be placed: a [place.Error]
}

// Label is how tables show the probe: its place, and its kind where that is not the place's usual one.
func (p *Probe) Label() string {
	if p.Kind == probes.KindReturn {
		return p.Name + "%return"
	}
	return p.Name
}

// Err says why the probe could not be placed, or is nil.
func (p *Probe) Err() error { return p.err }

// kindOf is what an expression asks for: its hits, if it does not say.
func kindOf(spec *probes.Spec) probes.Kind {
	if spec.Kind == probes.KindDefault {
		return probes.KindEntry
	}
	return spec.Kind
}

// refuse says what of an expression can't be had by counting; nil if all can.
func refuse(spec *probes.Spec, why error) error {
	switch {
	case spec.Kind == probes.KindLatency:
		return NeedsEBPF("latencies", why)
	case spec.If != nil:
		return NeedsEBPF("predicates", why)
	case len(spec.Args) > 0:
		return NeedsEBPF("arguments", why)
	case spec.Provider == probes.ProviderFentry:
		return NeedsEBPF("fentry and fexit", why)
	}
	return nil
}

// newProbes gives a probe for each place of an expression.
func newProbes(k *place.Kernel, spec *probes.Spec) ([]*Probe, error) {
	places, err := k.Resolve(spec)
	if err != nil {
		return nil, err
	}
	list := make([]*Probe, 0, len(places))
	for _, p := range places {
		list = append(list, &Probe{Place: *p, Kind: kindOf(spec), holder: -1})
	}
	return list, nil
}

// NeedsEBPF says that something can't be had by counting. why says why eBPF is not to be had; nil if the caller did not
// want it.
func NeedsEBPF(what string, why error) error {
	if why == nil {
		return fmt.Errorf("%s: %w by backend perf, which only counts; backend ebpf has them", what, ErrNotSupported)
	}
	return fmt.Errorf("%s need eBPF, and perf events only count: %w", what, why)
}

// describe finds the event that counts the probe's hits. byNumber tells system calls apart by their number.
func (p *Probe) describe(byNumber bool) (err error) {
	ret := p.Kind == probes.KindReturn
	switch p.Spec.Provider {
	case probes.ProviderTracepoint:
		return p.tracepoint(p.Group, p.Event)
	case probes.ProviderRawTracepoint:
		group, err := groupOf(p.Event)
		if err != nil {
			return err
		}
		return p.tracepoint(group, p.Event)
	case probes.ProviderSyscall:
		return p.syscall(ret, byNumber)
	case probes.ProviderUprobe:
		p.Mechanism = "perf:uprobe"
		p.event, err = perfevent.Uprobe(p.Path, p.FileOffset, ret)
		return err
	}
	p.Mechanism = "perf:kprobe"
	if a := p.Address(); a != 0 {
		p.event, err = perfevent.Kprobe(a, ret)
	} else {
		p.event, err = perfevent.KprobeByName(p.Symbol.Name, p.Spec.Offset, ret)
	}
	return err
}

func (p *Probe) tracepoint(group, event string) error {
	f, err := tracefs.ReadFormat(group, event)
	if _, mounted := tracefs.FS(); mounted == nil && errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; tracefs shows its events to root and to the group that it is mounted for (mount -o remount,gid=GROUP,mode=750)", err)
	}
	if err != nil {
		return err
	}
	p.Mechanism, p.event = "perf:tracepoint", perfevent.Tracepoint(f.ID)
	return nil
}

// syscall takes the tracepoint that the kernel has for the system call. Some have none, or one of another name (uname's is
// sys_enter_newuname): they are picked out of all calls by their number. A call of a 32-bit program that has the same number
// then counts too.
func (p *Probe) syscall(ret, byNumber bool) error {
	at := "sys_enter"
	if ret {
		at = "sys_exit"
	}
	if !byNumber {
		err := p.tracepoint("syscalls", at+"_"+p.Place.Event)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	p.filter = fmt.Sprintf("id == %d", p.Syscall)
	return p.tracepoint("raw_syscalls", at)
}

// groupOf finds the group of a raw tracepoint's classic one. Events of some groups are no tracepoints of the kernel.
func groupOf(event string) (string, error) {
	found, err := tracefs.Events("*", event)
	if err != nil {
		return "", err
	}
	var groups []string
	for _, f := range found {
		switch f[0] {
		case "ftrace", "syscalls", "kprobes", "uprobes", "synthetic":
		default:
			groups = append(groups, f[0])
		}
	}
	switch len(groups) {
	case 0:
		return "", fmt.Errorf("no event of tracefs is this raw tracepoint: %w without eBPF", ErrNotSupported)
	case 1:
		return groups[0], nil
	}
	return "", fmt.Errorf("events of several groups have its name (%q); name one: tracepoint:%s:%s", groups, groups[0], event)
}
