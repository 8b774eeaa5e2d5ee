// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/probes"
)

// A Mechanism is how a probe gets its hits.
type Mechanism string

// The mechanisms, cheapest first.
const (
	MechanismRawTracepoint Mechanism = "tp_btf"
	MechanismSyscall       Mechanism = "raw_syscall"
	MechanismFentry        Mechanism = "fentry" // and fexit: a BPF trampoline
	MechanismKprobeSession Mechanism = "kprobe.session"
	MechanismKprobeMulti   Mechanism = "kprobe.multi"
	MechanismTracepoint    Mechanism = "tracepoint"
	MechanismKprobe        Mechanism = "kprobe" // and kretprobe
	MechanismUprobeMulti   Mechanism = "uprobe.multi"
	MechanismUprobe        Mechanism = "uprobe" // and uretprobe
)

// A Probe is one place that is to be probed. A specification with a glob has several.
type Probe struct {
	place.Place
	Kind      probes.Kind // never KindDefault
	Mechanism Mechanism

	index   uint32    // in the session: its rows and recipe
	tested  constants // of a program for this probe alone: its predicate, if that is a single test
	repeat  int       // which of several with one label it is, from 2 on
	tried   []error
	missed  []func() uint64 // what the kernel says it did not deliver
	lost    []func() uint64 // and, of the returns of calls that it had delivered
	dropped bool            // could not be placed
	err     error           // then: why

	kernelMissed uint64 // what missed said last,
	kernelLost   uint64 // and lost
}

// HasLatency says whether the probe measures time.
func (p *Probe) HasLatency() bool { return p.Kind == probes.KindLatency }

// Label is how tables show the probe: see [place.Place.Label].
func (p *Probe) Label() string { return p.Place.Label(p.Kind, p.repeat) }

// HasErrors says whether the probe counts returned errors.
func (p *Probe) HasErrors() bool {
	return p.HasLatency() && p.Spec.Provider == probes.ProviderSyscall
}

// Err says why the probe could not be placed: a [PlaceError], or nil.
func (p *Probe) Err() error { return p.err }
