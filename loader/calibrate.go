// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"time"

	"github.com/trapline/trapline/loader/ebpf"
	"github.com/trapline/trapline/probes"
)

// costKey is what the cost of a probe depends on.
type costKey struct {
	mechanism ebpf.Mechanism
	stepped   bool
}

func keyOf(p *ebpf.Probe) costKey { return costKey{p.Mechanism, p.Stepped} }

// How often the calibration's loop goes round, and how often it is run: the quickest run is the one that was disturbed
// least. A uprobe costs a microsecond, the others a tenth of that; one whose instruction is stepped over costs ten where the
// machine is a virtual one.
const (
	calibrationRounds        = 20000
	calibrationUprobeRounds  = 4000
	calibrationSteppedRounds = 500
	calibrationRuns          = 3
)

// calibrate measures what the session's latency probes cost themselves: each mechanism that it uses is placed on something
// that takes next to no time, and run in a loop. A mechanism that can't be measured is a warning, and its rows are not
// corrected.
func (b *ebpfBackend) calibrate(ctx context.Context) {
	b.costs = map[costKey]probes.Cost{}
	for _, p := range b.Probes() {
		if _, done := b.costs[keyOf(p)]; done || !p.HasLatency() {
			continue
		}
		cost, err := b.measureCost(ctx, p.Mechanism, p.Stepped)
		if err != nil {
			b.Warn(fmt.Errorf("latencies by %s are not corrected: what such a probe costs can't be measured: %w", p.Mechanism, err))
		}
		b.costs[keyOf(p)] = cost
	}
}

// measureCost measures one mechanism.
//
//	Bias  the latency that it measures of an empty function or of getppid: what is above 0 there is nearly all its own.
//	      The few ns of the function itself are in it too, so corrected times begin at those.
//	Hit   how much longer a round of the loop takes with the probe than without.
func (b *ebpfBackend) measureCost(ctx context.Context, m ebpf.Mechanism, stepped bool) (probes.Cost, error) {
	rounds := uint32(calibrationRounds)
	switch {
	case stepped:
		rounds = calibrationSteppedRounds
	case m == ebpf.MechanismUprobe || m == ebpf.MechanismUprobeMulti:
		rounds = calibrationUprobeRounds
	}
	program, function, err := calibrationProgram(rounds, stepped)
	if err != nil {
		return probes.Cost{}, err
	}
	defer program.Close()
	spec, err := calibrationSpec(m, program.Name(), function)
	if err != nil {
		return probes.Cost{}, err
	}
	without, with, bias := math.Inf(1), math.Inf(1), math.Inf(1)
	for range calibrationRuns {
		t, err := timeRun((*exec.Cmd).Start, program.Name())
		if err != nil {
			return probes.Cost{}, err
		}
		without = min(without, t)
	}
	session, err := ebpf.Open(ctx, []*probes.Spec{spec}, &ebpf.Options{Filter: true, CPUTime: b.opts.CPUTime, Only: m})
	if err != nil {
		return probes.Cost{}, err
	}
	defer session.Close()
	session.Enable()
	var before probes.Stats
	for range calibrationRuns {
		t, err := timeRun(session.Launch, program.Name())
		if err != nil {
			return probes.Cost{}, err
		}
		with = min(with, t)
		now := session.Read(nil)[0].Stats
		run := now.Sub(before)
		before = now
		// The program's start and end may hit a kernel function too.
		if n := uint64(rounds); run.Count < n || run.Count > n+n/100 {
			return probes.Cost{}, fmt.Errorf("%d hits where there were %d", run.Count, rounds)
		}
		bias = min(bias, run.Avg())
	}
	hit := max(0, (with-without)/float64(rounds))
	return probes.Cost{Bias: bias, Hit: hit}, nil
}

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

// timeRun runs the loop once and gives how long that took, in ns.
func timeRun(start func(*exec.Cmd) error, program string) (float64, error) {
	cmd := exec.Command(program)
	cmd.Dir = "/"
	if err := start(cmd); err != nil {
		return 0, fmt.Errorf("start the loop: %w", err)
	}
	begin := time.Now()
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("the loop: %w", err)
	}
	return float64(time.Since(begin)), nil
}
