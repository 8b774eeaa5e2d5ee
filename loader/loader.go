// SPDX-License-Identifier: Apache-2.0

// Package loader places probes and reads what they measure, by the best means that the running kernel has.
//
//	specs := []*probes.Spec{spec} // of probes.Parse
//	s, err := loader.Open(ctx, specs, nil)
//	defer s.Close()
//	s.Enable()
//	rows := s.Rows(nil)
//
// A session is a fixed set of probes. Backends are packages below this one: ebpf; patch for kernels with Trapline's patch, which need
// no eBPF; and perf for where neither is to be had, which only counts.
// Each places what its kernel can, and says of the rest why not and what comes nearest. Nothing outlives the process that
// opened a session, even if that is killed.
package loader

import (
	"context"
	"log/slog"
	"os/exec"

	"github.com/trapline/trapline/loader/ebpf"
	"github.com/trapline/trapline/probes"
)

// Errors that a caller can act on.
var (
	ErrNotSupported = ebpf.ErrNotSupported // this kernel can't do it
	ErrNoSymbol     = probes.ErrNoSymbol   // it has no such function
)

// Options say what a session measures beyond counts and latencies. The zero value, and nil, is a table of all tasks.
type Options struct {
	Backend  string        // "ebpf", "patch", or "perf", which only counts; "" picks the first of these that is usable
	Contexts uint32        // contexts told apart, from 0 on; the last one takes all above. 0 means 1
	Filter   bool          // only tasks named by Follow and Launch, and what they start
	CPUTime  bool          // also the time on CPU
	Events   *EventOptions // send single events too. It makes a bare kernel function an entry, not a latency probe
	Strict   bool          // a place that can't be probed fails Open, also one of a glob
	Log      *slog.Logger  // nil is silent

	// NoCalibration leaves out measuring what the probes themselves cost, some ms for each mechanism. Rows then have no Cost.
	NoCalibration bool
}

// EventOptions say what an event carries besides arguments and return value.
type EventOptions struct {
	Registers bool // as the Trapframe; kernel functions are then probed by kprobes, which cost more
	Stack     bool // of the kernel
	RingBytes int  // what can wait to be read; 0 means 8 MiB, by backend patch 1 MiB
}

// A Probe is a placed probe.
type Probe struct {
	Label     string // as rows and events show it
	Spec      *probes.Spec
	Kind      probes.Kind // never KindDefault
	Mechanism string      // by what it gets its hits: "fentry", "kprobe.session" …
}

// A Session is a set of placed probes. Its methods may be called from any goroutine.
type Session struct {
	backend backend
	probes  []Probe
}

// Open places probes, which count from [Session.Enable] on. If at least one could be placed, what could not be is a
// warning; with Strict it is an error. Errors wrap [ErrNotSupported], [ErrNoSymbol], a [probes.ParseError] or unix.EPERM,
// and say what works instead. If no eBPF program may be loaded and the kernel does not have Trapline's patch, hits are
// counted through perf events, and a warning says what is lost by that and why.
func Open(ctx context.Context, specs []*probes.Spec, opts *Options) (*Session, error) {
	if opts == nil {
		opts = &Options{}
	}
	b, err := openBackend(ctx, specs, opts)
	if err != nil {
		return nil, err
	}
	return &Session{backend: b, probes: b.placed()}, nil
}

// Probes gives what was placed.
func (s *Session) Probes() []Probe { return s.probes }

// Warnings gives what could not be placed, and what could not be measured about the probes themselves.
func (s *Session) Warnings() []error { return s.backend.Warnings() }

// Enable begins to count, everywhere at once; backend perf needs a moment for each probe.
func (s *Session) Enable() { s.backend.Enable() }

// SetContext names what the traced system is doing now: every row and event carries it from here on. It is a store to
// memory that the kernel shares, and no system call.
func (s *Session) SetContext(context uint32) { s.backend.SetContext(context) }

// Rows appends what was measured so far to dst, which may be nil: a row for each probe, and for each further context in
// which it has seen something. Rates are the caller's, by [probes.Table.SetRates]. Only one call may run at a time.
func (s *Session) Rows(dst []probes.Row) []probes.Row { return s.backend.Rows(dst) }

// SharedMissed is what the kernel could not deliver to a group of probes that share one attachment, and of how many probes:
// which of them lost it is not known. Rows do not contain it.
func (s *Session) SharedMissed() (missed uint64, among int) { return s.backend.SharedMissed() }

// Unfollowed is how many tasks could not be marked when traced ones started them, mostly for want of memory: their hits do not
// count, unless Follow has found them since.
func (s *Session) Unfollowed() uint64 { return s.backend.Unfollowed() }

// Events calls f for every event until ctx ends; then what is still waiting is delivered too. The event is valid only during
// the call. Only one call may run at a time. Events that were dropped stand in the rows.
func (s *Session) Events(ctx context.Context, f func(*probes.Event)) error {
	return s.backend.Events(ctx, f)
}

// Follow traces a process that runs already, with all its threads and what they start from now on. Needs Options.Filter.
func (s *Session) Follow(pid int) error { return s.backend.Follow(pid) }

// Launch starts a command that is traced from its execve on, or by backend perf from its first instruction on. The caller
// waits for the command. Needs Options.Filter.
func (s *Session) Launch(cmd *exec.Cmd) error { return s.backend.Launch(cmd) }

// Detach removes the probes; rows can still be read.
func (s *Session) Detach() error { return s.backend.Detach() }

// Close removes the probes and gives everything back.
func (s *Session) Close() error { return s.backend.Close() }
