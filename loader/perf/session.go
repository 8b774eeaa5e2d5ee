// SPDX-License-Identifier: Apache-2.0

package perf

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/probes"
)

// Options say what a session counts. The zero value is hits of all tasks.
type Options struct {
	Filter bool  // only tasks named by Follow and Launch, and what they start
	Strict bool  // a place that can't be probed fails Open, also one out of many
	Why    error // why eBPF is not to be had, for errors about what needs it; nil if the caller does not want it
}

// A Session is a set of placed probes. Its methods may be called from any goroutine.
type Session struct {
	opts Options

	mu       sync.Mutex
	all      []*Probe // those that could be placed
	warnings []error
	threads  map[int]bool // that are followed
	forks    *Probe       // counts what they start while they are being found; nil if that does not matter
	enabled  bool
	over     bool // the counters are closed
	shared   bool // that counters were not always counting was said
}

// Open resolves the expressions and places the probes, which begin to count at [Session.Enable]. A place of a glob, or one
// expression out of several, that can't be counted is a warning (see [Session.Warnings]), unless Strict is set; if nothing at
// all could be placed it is an error. Errors wrap [ErrNotSupported], [probes.ErrNoSymbol] or [unix.EPERM].
func Open(ctx context.Context, specs []*probes.Spec, opts *Options) (*Session, error) {
	s := &Session{threads: map[int]bool{}}
	if opts != nil {
		s.opts = *opts
	}
	if err := Usable(); err != nil {
		return nil, err
	}
	cpus, err := ebpf.PossibleCPU() // reads a file
	if err != nil {
		return nil, fmt.Errorf("perf events: number of CPUs: %w", err)
	}
	k := place.NewKernel()
	found, failed := s.resolve(k, specs)
	byNumber := syscalls(found) > syscallsByName
	for _, p := range found {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		if err := s.place(p, byNumber, cpus); err != nil {
			p.err = &place.Error{Place: p.Name, Err: err, Instead: k.Instead(p.Spec, err)}
			failed = append(failed, p.err)
			continue
		}
		s.all = append(s.all, p)
	}
	if len(failed) > 0 && (s.opts.Strict || len(s.all) == 0) {
		return nil, errors.Join(place.JoinFew(failed), s.Close())
	}
	if s.opts.Filter {
		if err := s.watchForks(); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	s.warnings = append(failed, s.aboutForks()...)
	return s, nil
}

// resolve gives the probes of all expressions, and what is wrong with the others.
func (s *Session) resolve(k *place.Kernel, specs []*probes.Spec) (found []*Probe, failed []error) {
	for _, spec := range specs {
		if err := refuse(spec, s.opts.Why); err != nil {
			failed = append(failed, &place.Error{Place: spec.Place(), Err: err})
			continue
		}
		list, err := newProbes(k, spec)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		found = append(found, list...)
	}
	return found, failed
}

// syscallsByName is up to how many system calls of a session are counted by a tracepoint each. Giving up a tracepoint takes the
// kernel a grace period of RCU, some 40 ms, one after another; counters that share one and tell calls apart by number cost each
// call some 10 ns for each of them.
const syscallsByName = 16

func syscalls(list []*Probe) (n int) {
	for _, p := range list {
		if p.Spec.Provider == probes.ProviderSyscall {
			n++
		}
	}
	return n
}

// place opens the counters of a probe: one a CPU, or with a filter none yet but what shows that there can be.
func (s *Session) place(p *Probe, byNumber bool, cpus int) error {
	if err := p.describe(byNumber); err != nil {
		return err
	}
	if s.opts.Filter {
		return p.hold()
	}
	for cpu := range cpus {
		err := p.open(-1, cpu)
		if errors.Is(err, unix.ENODEV) {
			continue // the CPU is not online
		}
		if err != nil {
			return errors.Join(err, p.close(false))
		}
	}
	return nil
}

// aboutForks says of which probes the hits in what traced tasks start are not counted.
func (s *Session) aboutForks() []error {
	if !s.opts.Filter {
		return nil
	}
	for _, p := range s.all {
		if p.event.Placed() {
			return []error{fmt.Errorf("%s counts only in threads that exist when tracing begins, not in those that they start: without eBPF the kernel would refuse their forks", p.Mechanism)}
		}
	}
	return nil
}

// Try says which probes of an expression could be placed; nothing is counted. The probes that could not be have an error, see
// [Probe.Err]; its own error is about the expression as a whole.
func Try(spec *probes.Spec, why error) (placed, failed []*Probe, err error) {
	if err := Usable(); err != nil {
		return nil, nil, err
	}
	k := place.NewKernel()
	list, err := newProbes(k, spec)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range list {
		err := refuse(spec, why)
		if err == nil {
			err = p.describe(false)
		}
		if err == nil {
			err = p.hold()
		}
		err = errors.Join(err, p.close(false))
		if err != nil {
			p.err = &place.Error{Place: p.Name, Err: err, Instead: k.Instead(spec, err)}
			failed = append(failed, p)
			continue
		}
		placed = append(placed, p)
	}
	return placed, failed, nil
}

// Enable begins to count: probe by probe, not everywhere at once.
func (s *Session) Enable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enabled = true
	for _, p := range s.all {
		var err error
		if p.before, err = p.read(); err != nil {
			s.warnings = append(s.warnings, err)
		}
	}
}

// Probes gives the placed probes.
func (s *Session) Probes() []*Probe { return s.all }

// Warnings gives what could not be placed, and what is not counted.
func (s *Session) Warnings() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]error(nil), s.warnings...)
}

// Warn adds a warning.
func (s *Session) Warn(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnings = append(s.warnings, err)
}

// Rows appends what was counted so far to dst: a row for each probe.
func (s *Session) Rows(dst []probes.Row) []probes.Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.all {
		c, err := p.read()
		if err != nil {
			s.warnings = append(s.warnings, err)
		}
		c = c.since(p.before)
		if !s.enabled {
			c = count{}
		}
		if c.running < c.enabled && !s.shared {
			s.shared = true
			s.warnings = append(s.warnings, fmt.Errorf("probe %s: its counter counted for %d of %d ns only: the kernel shared it out; counts are too low", p.Name, c.running, c.enabled))
		}
		dst = append(dst, probes.Row{Probe: p.Label(), Mechanism: p.Mechanism, Stats: probes.Stats{Count: c.hits}})
	}
	return dst
}

// Detach stops counting and removes the probes; what they counted can still be read.
func (s *Session) Detach() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	return s.close(true)
}

// Close removes the probes and gives everything back.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.close(false)
}

func (s *Session) close(keep bool) error {
	s.over = true
	var errs []error
	for _, p := range s.all {
		errs = append(errs, p.close(keep))
	}
	if s.forks != nil {
		errs = append(errs, s.forks.close(false))
	}
	return errors.Join(errs...)
}
