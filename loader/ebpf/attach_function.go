// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/probes"
)

// attachFentry gives one function a trampoline. The exit's program comes first: a call that is entered is then also seen
// to return.
func (s *Session) attachFentry(p *Probe) error {
	var links []link.Link
	var entry *ebpf.Program
	fail := func(err error) error {
		for _, l := range links {
			l.Close()
		}
		return err
	}
	for _, r := range fentryPrograms(p) {
		prog, err := s.objects.load(r.name, r.variant)
		if err != nil {
			return fail(explainFentry(err))
		}
		l, err := link.AttachTracing(link.TracingOptions{Program: prog, AttachType: r.attachType, Cookie: uint64(p.index)})
		if err != nil {
			prog.Close()
			return fail(explainFentry(err))
		}
		links = append(links, l)
		entry = prog
		s.stack.push(prog.Close)
	}
	for _, l := range links {
		s.stack.pushLink(l.Close)
	}
	p.missed = append(p.missed, programMisses(entry))
	return nil
}

// fentryPrograms are the programs of one function's trampoline, in the order in which they are attached.
func fentryPrograms(p *Probe) []request {
	at := func(name string, typ ebpf.AttachType) request {
		return request{name, variant{attachType: typ, attachTo: p.Symbol.Name, consts: alone(p)}}
	}
	switch p.Kind {
	case probes.KindLatency:
		return []request{at("fexit_end", ebpf.AttachTraceFExit), at("fentry_begin", ebpf.AttachTraceFEntry)}
	case probes.KindReturn:
		return []request{at("fexit_count", ebpf.AttachTraceFExit)}
	}
	return []request{at("fentry_count", ebpf.AttachTraceFEntry)}
}

// alone are the constants of a program that serves one probe, and so needs no cookie to know which.
// Its predicate, if that is a single test, is part of it.
func alone(p *Probe) constants {
	consts := constants{"probe_here": p.index + 1}
	maps.Copy(consts, p.tested)
	return consts
}

// explainFentry says what an error of the kernel means for a trampoline.
func explainFentry(err error) error {
	switch {
	case errors.Is(err, unix.EPERM) && lockedDown():
		return fmt.Errorf("the kernel is locked down (confidentiality): %w", unix.EPERM)
	case errors.Is(err, unix.EPERM):
		// The library guesses at a limit of locked memory, which is not it: other programs load.
		return fmt.Errorf("this kernel refuses BPF trampolines, also to those with all rights: %w", unix.EPERM)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("another tracer holds the function: %w", unix.EBUSY)
	}
	return err
}

// programMisses counts the hits that the kernel did not deliver because the program ran already on that CPU.
func programMisses(prog *ebpf.Program) func() uint64 {
	return func() uint64 {
		st, err := prog.Stats()
		if err != nil {
			return 0
		}
		return st.RecursionMisses
	}
}

// linkMisses counts the hits that the kernel says a link has lost (Linux 6.7; 0 before).
func linkMisses(l link.Link) func() uint64 {
	return func() uint64 {
		info, err := l.Info()
		if err != nil {
			return 0
		}
		if m := info.KprobeMulti(); m != nil {
			return m.Missed
		}
		if e := info.PerfEvent(); e != nil && e.Kprobe() != nil {
			return e.Kprobe().Missed
		}
		return 0
	}
}

// attachKprobes places kprobes one by one, all with the same programs.
func (s *Session) attachKprobes(list []*Probe, out map[*Probe]error) {
	programs := map[string]*ebpf.Program{}
	var consts constants
	if len(list) == 1 {
		consts = alone(list[0])
	}
	program := func(name string) (*ebpf.Program, error) {
		if p := programs[name]; p != nil {
			return p, nil
		}
		prog, err := s.objects.load(name, variant{consts: consts})
		if err != nil {
			return nil, err
		}
		programs[name] = prog
		s.stack.push(prog.Close)
		return prog, nil
	}
	for _, p := range list {
		out[p] = s.attachKprobe(p, program)
	}
	for name, prog := range programs {
		returns := name == "kretprobe_end"
		s.multis = append(s.multis, multiMisses{programMisses(prog), list, returns})
	}
}

// half is one event of a probe: at the entry or at the return.
type half struct {
	program string
	ret     bool
}

// halves are the events of a probe, in the order in which they are placed.
func halves(k probes.Kind) []half {
	switch k {
	case probes.KindLatency:
		return []half{{"kretprobe_end", true}, {"kprobe_begin", false}}
	case probes.KindReturn:
		return []half{{"kretprobe_count", true}}
	}
	return []half{{"kprobe_count", false}}
}

func (s *Session) attachKprobe(p *Probe, program func(string) (*ebpf.Program, error)) error {
	var links []link.Link
	for _, h := range halves(p.Kind) {
		prog, err := program(h.program)
		if err == nil {
			var l link.Link
			if l, err = s.linkKprobe(p, prog, h.ret); err == nil {
				links = append(links, l)
			}
		}
		if err != nil {
			for _, l := range links {
				l.Close()
			}
			return err
		}
	}
	for i, l := range links {
		s.stack.pushLink(l.Close)
		if halves(p.Kind)[i].ret && p.Kind == probes.KindLatency {
			p.lost = append(p.lost, linkMisses(l))
		} else {
			p.missed = append(p.missed, linkMisses(l))
		}
	}
	return nil
}

// linkKprobe places one kprobe by its address; if the kernel hides addresses, by its name, which must then be the only one of
// its kind.
func (s *Session) linkKprobe(p *Probe, prog *ebpf.Program, ret bool) (link.Link, error) {
	if p.Symbol.Address != 0 {
		fd, err := perfKprobe(p.Address(), ret)
		if err != nil {
			return nil, err
		}
		return linkPerf(fd, prog, uint64(p.index))
	}
	if p.Ambiguous {
		return nil, s.hidden()
	}
	attach := link.Kprobe
	if ret {
		attach = link.Kretprobe
	}
	l, err := attach(p.Symbol.Name, prog, &link.KprobeOptions{Cookie: uint64(p.index), Offset: p.Spec.Offset})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// hidden says why addresses are not known.
func (s *Session) hidden() error {
	symbols, err := s.kernel.Symbols()
	if err != nil {
		return err
	}
	return symbols.Restricted()
}

// attachMulti places many probes through one link (two without sessions), in one system call.
func (s *Session) attachMulti(ctx context.Context, list []*Probe, out map[*Probe]error, session bool) {
	byKind := map[probes.Kind][]*Probe{}
	for _, p := range list {
		byKind[p.Kind] = append(byKind[p.Kind], p)
	}
	for kind, group := range byKind {
		m := multi{s: s, ctx: ctx, out: out, session: session && kind == probes.KindLatency, kind: kind}
		if len(group) == 1 {
			m.consts = alone(group[0])
		}
		if err := m.load(); err != nil {
			for _, p := range group {
				out[p] = err
			}
			continue
		}
		for _, layer := range layers(group) {
			m.place(layer)
		}
	}
}

// layers divides probes so that no address is twice in one: a link finds what a hit belongs to by its address.
func layers(group []*Probe) (list [][]*Probe) {
	taken := map[string]int{}
	for _, p := range group {
		place := p.Symbol.String()
		if p.Symbol.Address != 0 {
			place = fmt.Sprint(p.Symbol.Address)
		}
		n := taken[place]
		taken[place]++
		if n == len(list) {
			list = append(list, nil)
		}
		list[n] = append(list[n], p)
	}
	return list
}

// multi places a group of probes of one kind.
type multi struct {
	s        *Session
	ctx      context.Context
	out      map[*Probe]error
	session  bool
	kind     probes.Kind
	consts   constants // of its programs
	halves   []half
	programs []*ebpf.Program
}

func (m *multi) load() error {
	m.halves = halves(m.kind)
	at := ebpf.AttachTraceKprobeMulti
	if m.session {
		m.halves, at = []half{{program: "session"}}, ebpf.AttachTraceKprobeSession
	}
	for _, h := range m.halves {
		prog, err := m.s.objects.load(h.program, variant{attachType: at, consts: m.consts})
		if err != nil {
			return err
		}
		m.s.stack.push(prog.Close)
		m.programs = append(m.programs, prog)
	}
	return nil
}

// place attaches a group. One bad address fails all, so a group that fails is halved until the bad ones stand alone: a few
// bad ones among thousands cost a few calls.
func (m *multi) place(group []*Probe) {
	if len(group) == 0 {
		return
	}
	err := m.link(group)
	if err == nil || len(group) == 1 || m.ctx.Err() != nil || errors.Is(err, link.ErrNotSupported) || errors.Is(err, unix.EPERM) {
		for _, p := range group {
			m.out[p] = err
		}
		return
	}
	m.place(group[:len(group)/2])
	m.place(group[len(group)/2:])
}

// link attaches a group or nothing of it.
func (m *multi) link(group []*Probe) error {
	opts := link.KprobeMultiOptions{Session: m.session}
	for _, p := range group {
		opts.Cookies = append(opts.Cookies, uint64(p.index))
		switch {
		case p.Symbol.Address != 0:
			opts.Addresses = append(opts.Addresses, uintptr(p.Symbol.Address))
		case p.Ambiguous:
			return m.s.hidden()
		default:
			opts.Symbols = append(opts.Symbols, p.Symbol.Name)
		}
	}
	var links []link.Link
	for i, h := range m.halves {
		attach := link.KprobeMulti
		if h.ret {
			attach = link.KretprobeMulti
		}
		l, err := attach(m.programs[i], opts)
		if err != nil {
			for _, l := range links {
				l.Close()
			}
			return err
		}
		links = append(links, l)
	}
	for i, l := range links {
		m.s.stack.pushLink(l.Close)
		missed := linkMisses(l)
		if m.session {
			// The kernel counts misses of entries and of returns together: the link's, and those of its program.
			ofLink, ofProgram := missed, programMisses(m.programs[i])
			missed = func() uint64 { return ofLink() + ofProgram() }
		}
		m.s.multis = append(m.s.multis, multiMisses{missed, group, m.session || m.halves[i].ret && m.kind == probes.KindLatency})
	}
	return nil
}

// multiMisses is what a link that serves many probes has lost: it does not know at which.
type multiMisses struct {
	missed  func() uint64
	group   []*Probe
	returns bool // of calls whose entries have another link
}
