// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"errors"
	"fmt"

	"github.com/trapline/trapline/loader/patch"
	"github.com/trapline/trapline/probes"
)

// patchBackend is a session of probes of the kernel's patch, with what they cost.
type patchBackend struct {
	*patch.Session
	opts     *Options
	costs    map[patch.Method]probes.Cost
	readings []patch.Reading
}

func openPatch(ctx context.Context, specs []*probes.Spec, opts *Options) (*patchBackend, error) {
	o := &patch.Options{Contexts: opts.Contexts, Filter: opts.Filter, CPUTime: opts.CPUTime, Strict: opts.Strict, Log: opts.Log}
	if e := opts.Events; e != nil {
		o.Events = &patch.EventOptions{Registers: e.Registers, Stack: e.Stack, RingBytes: e.RingBytes}
	}
	session, err := patch.Open(ctx, specs, o)
	if err != nil {
		return nil, err
	}
	b := &patchBackend{Session: session, opts: opts}
	if !opts.NoCalibration {
		b.calibrate(ctx)
	}
	return b, nil
}

func (b *patchBackend) placed() []Probe {
	var list []Probe
	for _, p := range b.Probes() {
		list = append(list, Probe{Label: p.Label(), Spec: p.Spec, Kind: p.Kind, Mechanism: p.Method.String()})
	}
	return list
}

func (b *patchBackend) Rows(dst []probes.Row) []probes.Row {
	b.readings = b.Read(b.readings[:0])
	for i := range b.readings {
		r := &b.readings[i]
		row := probes.Row{
			Probe: r.Probe.Label(), Mechanism: r.Probe.Method.String(), Context: r.Context, Stats: r.Stats, Losses: r.Losses,
			HasLatency: r.Probe.HasLatency(), HasErrors: r.Probe.HasErrors(),
		}
		row.HasCPU = b.opts.CPUTime && row.HasLatency
		if row.HasLatency {
			row.Cost = b.costs[r.Probe.Method]
		}
		dst = append(dst, row)
	}
	return dst
}

// calibrate measures what the session's latency probes cost themselves, by each method that it uses.
func (b *patchBackend) calibrate(ctx context.Context) {
	var methods []patch.Method
	for _, p := range b.Probes() {
		if p.HasLatency() {
			methods = append(methods, p.Method)
		}
	}
	measure := func(m patch.Method) (probes.Cost, error) { return b.measureCost(ctx, m) }
	b.costs = measureCosts(methods, patch.Method.String, measure, b.Warn)
}

// patchTargets are functions that a getppid of the calibration's loop runs once, and that take next to no time. By which methods
// one of them can be probed depends on its first instruction, which is the compiler's choice.
var patchTargets = []string{"__task_pid_nr_ns", "syscall:getppid"}

// measureCost measures one method. If no function of the loop can be probed by simulation, that takes what a slot takes: both
// trap, and what they do there differs by some instructions.
func (b *patchBackend) measureCost(ctx context.Context, m patch.Method) (cost probes.Cost, err error) {
	program, _, err := calibrationProgram(calibrationRounds, false)
	if err != nil {
		return probes.Cost{}, err
	}
	defer program.Close()
	methods := []patch.Method{m}
	if m == patch.MethodSimulate {
		methods = append(methods, patch.MethodSlot)
	}
	for _, method := range methods {
		for _, target := range patchTargets {
			cost, err = measureCost(program.Name(), calibrationRounds, func() (calibrated, error) {
				spec, err := probes.Parse(target + "%latency")
				if err != nil {
					return nil, err
				}
				session, err := patch.Open(ctx, []*probes.Spec{spec}, &patch.Options{Filter: true, CPUTime: b.opts.CPUTime, Only: method, Like: b.Session})
				if err != nil {
					return nil, err
				}
				return calibratedPatch{session}, nil
			})
			if err == nil || !errors.Is(err, ErrNotSupported) {
				return cost, err
			}
		}
	}
	return probes.Cost{}, fmt.Errorf("none of %q can be probed so: %w", patchTargets, err)
}

// calibratedPatch is a session that has one probe.
type calibratedPatch struct{ *patch.Session }

func (s calibratedPatch) stats() probes.Stats { return s.Read(nil)[0].Stats }
