// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/loader/ebpf"
	"github.com/trapline/trapline/loader/patch"
	"github.com/trapline/trapline/loader/perf"
	"github.com/trapline/trapline/probes"
)

// A backend has placed the probes of a session. Its methods do what those of [Session] say.
type backend interface {
	placed() []Probe
	Warnings() []error
	Enable()
	SetContext(uint32)
	Rows([]probes.Row) []probes.Row
	SharedMissed() (missed uint64, among int)
	Unfollowed() uint64
	Events(context.Context, func(*probes.Event)) error
	Follow(pid int) error
	Launch(*exec.Cmd) error
	Detach() error
	Close() error
}

// openBackend places the probes by the backend that the options name, or else by the best that may be used.
func openBackend(ctx context.Context, specs []*probes.Spec, opts *Options) (backend, error) {
	switch opts.Backend {
	case "ebpf":
		return openEBPF(ctx, specs, opts)
	case "perf":
		return openPerf(ctx, specs, opts, nil)
	case "patch":
		return openPatch(ctx, specs, opts)
	case "":
		why := unavailable()
		switch {
		case why == nil:
			return openEBPF(ctx, specs, opts) // also where there is the patch: it has programs and tracepoints too
		case patch.Usable() == nil:
			return openPatch(ctx, specs, opts)
		}
		if err := perf.Usable(); err != nil {
			return nil, fmt.Errorf("%w; %w; %w", why, err, patch.Usable())
		}
		return openPerf(ctx, specs, opts, why)
	}
	return nil, fmt.Errorf("there is no backend %q; there are ebpf, patch and perf", opts.Backend)
}

// unavailable says why eBPF can't be used at all, if that is for want of a right or of the kernel's; nil if it may be used.
func unavailable() error {
	err := ebpf.Usable()
	if errors.Is(err, unix.EPERM) || errors.Is(err, ErrNotSupported) {
		return err
	}
	return nil
}

// perfBackend is a session of counters.
type perfBackend struct {
	*perf.Session
	why error // why eBPF is not to be had; nil if it was not asked for
}

// openPerf opens counters. why says why eBPF is not to be had; nil if it was not asked for.
func openPerf(ctx context.Context, specs []*probes.Spec, opts *Options, why error) (*perfBackend, error) {
	if opts.Events != nil {
		return nil, perf.NeedsEBPF("single events", why)
	}
	session, err := perf.Open(ctx, specs, &perf.Options{Filter: opts.Filter, Strict: opts.Strict, Why: why})
	if err != nil && why != nil {
		return nil, fmt.Errorf("%w\n(through perf events, because %w)", err, why)
	}
	if err != nil {
		return nil, err
	}
	if why != nil {
		session.Warn(fmt.Errorf("hits are only counted, through perf events, without latencies, arguments, predicates, events and contexts: %w", why))
	}
	return &perfBackend{session, why}, nil
}

func (b *perfBackend) placed() []Probe {
	var list []Probe
	for _, p := range b.Probes() {
		list = append(list, Probe{Label: p.Label(), Spec: p.Spec, Kind: p.Kind, Mechanism: p.Mechanism})
	}
	return list
}

// SetContext does nothing: a counter can't tell contexts apart.
func (b *perfBackend) SetContext(uint32) {}

// SharedMissed is 0: the counters share nothing.
func (b *perfBackend) SharedMissed() (missed uint64, among int) { return 0, 0 }

// Unfollowed is 0: a fork fails if the kernel can't copy its counters.
func (b *perfBackend) Unfollowed() uint64 { return 0 }

func (b *perfBackend) Events(context.Context, func(*probes.Event)) error {
	return perf.NeedsEBPF("single events", b.why)
}
