// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"fmt"

	"github.com/trapline/trapline/loader/ebpf"
	"github.com/trapline/trapline/probes"
)

// ebpfBackend is a session of eBPF programs, with what its probes cost.
type ebpfBackend struct {
	*ebpf.Session
	opts     *Options
	costs    map[costKey]probes.Cost
	readings []ebpf.Reading
}

func openEBPF(ctx context.Context, specs []*probes.Spec, opts *Options) (*ebpfBackend, error) {
	o := &ebpf.Options{Contexts: opts.Contexts, Filter: opts.Filter, CPUTime: opts.CPUTime, Strict: opts.Strict, Log: opts.Log}
	if e := opts.Events; e != nil {
		o.Events = &ebpf.EventOptions{Registers: e.Registers, Stack: e.Stack, RingBytes: e.RingBytes}
	}
	session, err := ebpf.Open(ctx, specs, o)
	if err != nil {
		return nil, err
	}
	b := &ebpfBackend{Session: session, opts: opts}
	if !opts.NoCalibration {
		b.calibrate(ctx)
	}
	return b, nil
}

func (b *ebpfBackend) placed() []Probe {
	var list []Probe
	for _, p := range b.Probes() {
		list = append(list, Probe{Label: p.Label(), Spec: p.Spec, Kind: p.Kind, Mechanism: string(p.Mechanism)})
	}
	return list
}

func (b *ebpfBackend) Rows(dst []probes.Row) []probes.Row {
	b.readings = b.Read(b.readings[:0])
	for i := range b.readings {
		r := &b.readings[i]
		row := probes.Row{
			Probe: r.Probe.Label(), Mechanism: string(r.Probe.Mechanism), Context: r.Context, Stats: r.Stats, Losses: r.Losses,
			HasLatency: r.Probe.HasLatency(), HasErrors: r.Probe.HasErrors(),
		}
		row.HasCPU = b.opts.CPUTime && row.HasLatency
		if row.HasLatency {
			row.Cost = b.costs[keyOf(r.Probe)]
		}
		dst = append(dst, row)
	}
	return dst
}

// costKey is what the cost of a probe depends on.
type costKey struct {
	mechanism ebpf.Mechanism
	stepped   bool
}

func keyOf(p *ebpf.Probe) costKey { return costKey{p.Mechanism, p.Stepped} }

// calibrate measures what the session's latency probes cost themselves: each mechanism that it uses is placed on something
// that takes next to no time, and run in a loop.
func (b *ebpfBackend) calibrate(ctx context.Context) {
	var keys []costKey
	for _, p := range b.Probes() {
		if p.HasLatency() {
			keys = append(keys, keyOf(p))
		}
	}
	name := func(k costKey) string { return string(k.mechanism) }
	b.costs = measureCosts(keys, name, func(k costKey) (probes.Cost, error) { return b.measureCost(ctx, k) }, b.Warn)
}

// measureCost measures one mechanism.
func (b *ebpfBackend) measureCost(ctx context.Context, k costKey) (probes.Cost, error) {
	rounds := uint32(calibrationRounds)
	switch {
	case k.stepped:
		rounds = calibrationSteppedRounds
	case k.mechanism == ebpf.MechanismUprobe || k.mechanism == ebpf.MechanismUprobeMulti:
		rounds = calibrationUprobeRounds
	}
	program, function, err := calibrationProgram(rounds, k.stepped)
	if err != nil {
		return probes.Cost{}, err
	}
	defer program.Close()
	spec, err := calibrationSpec(k.mechanism, program.Name(), function)
	if err != nil {
		return probes.Cost{}, err
	}
	return measureCost(program.Name(), rounds, func() (calibrated, error) {
		session, err := ebpf.Open(ctx, []*probes.Spec{spec}, &ebpf.Options{Filter: true, CPUTime: b.opts.CPUTime, Only: k.mechanism})
		if err != nil {
			return nil, err
		}
		return calibratedEBPF{session}, nil
	})
}

// calibratedEBPF is a session that has one probe.
type calibratedEBPF struct{ *ebpf.Session }

func (s calibratedEBPF) stats() probes.Stats { return s.Read(nil)[0].Stats }

// calibrationSpec is a latency probe of a mechanism at what the loop calls.
func calibrationSpec(m ebpf.Mechanism, program string, function uint64) (*probes.Spec, error) {
	switch m {
	case ebpf.MechanismSyscall:
		return probes.Parse("syscall:getppid%latency")
	case ebpf.MechanismUprobe, ebpf.MechanismUprobeMulti:
		return probes.Parse(fmt.Sprintf("uprobe:%s:%#x%%latency", program, function))
	}
	// getppid calls it once. The system call's own function has no BTF in some kernels, and then no trampoline.
	return probes.Parse("__task_pid_nr_ns%latency")
}
