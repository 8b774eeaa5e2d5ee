// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"errors"
	"fmt"

	"github.com/trapline/trapline/loader/internal/place"
	neutral "github.com/trapline/trapline/loader/internal/recipe"
	"github.com/trapline/trapline/probes"
)

// fentryMost is up to how many kernel functions of a session get a trampoline each. It is the cheapest way to hit a function,
// but each one is a program of its own, so many functions share one program through kprobe.multi, where the kernel has that.
const fentryMost = 24

// candidates are the mechanisms that can serve a probe, the best first.
func (s *Session) candidates(p *Probe) []Mechanism {
	if s.opts.Only != "" {
		return []Mechanism{s.opts.Only}
	}
	switch p.Spec.Provider {
	case probes.ProviderTracepoint:
		return []Mechanism{MechanismTracepoint}
	case probes.ProviderRawTracepoint:
		return []Mechanism{MechanismRawTracepoint}
	case probes.ProviderSyscall:
		return []Mechanism{MechanismSyscall}
	case probes.ProviderUprobe:
		return []Mechanism{MechanismUprobeMulti, MechanismUprobe}
	}
	multi := MechanismKprobeMulti
	if p.Kind == probes.KindLatency {
		multi = MechanismKprobeSession
	}
	switch {
	case p.Spec.Offset != 0 || p.Spec.Address != 0:
		return []Mechanism{MechanismKprobe} // only that can be inside a function
	case p.Spec.Provider == probes.ProviderFentry:
		return []Mechanism{MechanismFentry}
	case p.Spec.Provider == probes.ProviderKprobe && len(s.all) <= fentryMost, s.needsRegisters(p):
		return []Mechanism{MechanismKprobe}
	case p.Spec.Provider == probes.ProviderKprobe:
		return []Mechanism{multi, MechanismKprobeMulti, MechanismKprobe}
	case p.Ambiguous:
		return []Mechanism{multi, MechanismKprobeMulti, MechanismKprobe} // a trampoline is found by name
	case len(s.all) <= fentryMost:
		return []Mechanism{MechanismFentry, multi, MechanismKprobeMulti, MechanismKprobe}
	}
	return []Mechanism{multi, MechanismKprobeMulti, MechanismKprobe}
}

// needsRegisters says whether the probe reads more than parameters.
func (s *Session) needsRegisters(p *Probe) bool {
	if s.opts.Events != nil && s.opts.Events.Registers {
		return true
	}
	r, err := compile(s.kernel, p, neutral.FromRegisters, false)
	return err != nil || r.Registers // an error stands best beside what has most
}

// attach places every probe, each by the first of its mechanisms that works.
func (s *Session) attach(ctx context.Context) error {
	left := map[*Probe][]Mechanism{}
	for _, p := range s.all {
		left[p] = s.candidates(p)
	}
	var failed []error
	for len(left) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		// Probes that share a mechanism are attached together, in the order of the session.
		byMechanism := map[Mechanism][]*Probe{}
		var order []Mechanism
		for _, p := range s.all {
			list, ok := left[p]
			if !ok {
				continue
			}
			if len(list) == 0 {
				failed = append(failed, s.unplaced(p))
				delete(left, p)
				continue
			}
			if byMechanism[list[0]] == nil {
				order = append(order, list[0])
			}
			byMechanism[list[0]] = append(byMechanism[list[0]], p)
		}
		for _, m := range order {
			for p, err := range s.attachBy(ctx, m, byMechanism[m]) {
				if err == nil {
					p.Mechanism = m
					delete(left, p)
					continue
				}
				var parse *probes.ParseError
				if errors.As(err, &parse) {
					return err // an argument that can't be read is wrong everywhere
				}
				p.tried = append(p.tried, fmt.Errorf("%s: %w", m, err))
				left[p] = left[p][1:]
			}
		}
	}
	if len(failed) == 0 {
		return nil
	}
	if s.opts.Strict || len(failed) == len(s.all) {
		return place.JoinFew(failed)
	}
	for _, err := range failed {
		s.Warn(err)
	}
	return nil
}

// unplaced says why a probe could not be placed. Of several mechanisms that failed, the last one says most: it asks for least.
func (s *Session) unplaced(p *Probe) error {
	p.dropped = true
	err := errors.New("no means to place it")
	if n := len(p.tried); n > 0 {
		err = p.tried[n-1]
		if lockedDown() && p.KernelFunction() {
			err = fmt.Errorf("the kernel is locked down (confidentiality), which forbids probes of its functions: %w", err)
		}
	}
	p.err = &place.Error{Place: p.Name, Err: err, Instead: s.kernel.Instead(p.Spec, err)}
	return p.err
}

// Try places the probes of an expression and removes them again. It gives those that could be placed and those that could
// not, each with its error (see [Probe.Err]); its own error is about the expression as a whole.
func Try(ctx context.Context, spec *probes.Spec) (placed, failed []*Probe, err error) {
	s := &Session{}
	if err := s.open(ctx, []*probes.Spec{spec}, nil); err != nil && len(s.all) == 0 {
		return nil, nil, err
	}
	err = s.Close()
	for _, p := range s.all {
		if p.err == nil && p.Mechanism != "" {
			placed = append(placed, p)
		} else {
			failed = append(failed, p)
		}
	}
	return placed, failed, err
}

// attachBy places probes by one mechanism, and gives what went wrong for each.
func (s *Session) attachBy(ctx context.Context, m Mechanism, list []*Probe) map[*Probe]error {
	out := make(map[*Probe]error, len(list))
	ready := list[:0:0]
	for _, p := range list {
		if err := s.setRecipe(p, m); err != nil {
			out[p] = err
			continue
		}
		ready = append(ready, p)
	}
	each := func(f func(*Probe) error) {
		for _, p := range ready {
			out[p] = f(p)
		}
	}
	switch m {
	case MechanismFentry:
		var all []request
		for _, p := range ready {
			all = append(all, fentryPrograms(p)...)
		}
		s.objects.preload(all)
		each(s.attachFentry)
	case MechanismKprobeSession:
		s.attachMulti(ctx, ready, out, true)
	case MechanismKprobeMulti:
		s.attachMulti(ctx, ready, out, false)
	case MechanismKprobe:
		s.attachKprobes(ready, out)
	case MechanismTracepoint:
		each(s.attachTracepoint)
	case MechanismRawTracepoint:
		each(s.attachRawTracepoint)
	case MechanismSyscall:
		s.attachSyscalls(ready, out)
	case MechanismUprobeMulti:
		s.attachUprobesMulti(ready, out)
	case MechanismUprobe:
		each(s.attachUprobe)
	default:
		each(func(*Probe) error { return fmt.Errorf("mechanism %s: %w", m, ErrNotSupported) })
	}
	return out
}
