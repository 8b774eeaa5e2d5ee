// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"math"
	"os/exec"
	"time"

	"github.com/trapline/trapline/probes"
)

// How often the calibration's loop goes round, and how often it is run: the quickest run is the one that was disturbed
// least. A uprobe costs a microsecond, the others a tenth of that; one whose instruction is stepped over costs ten where the
// machine is a virtual one.
const (
	calibrationRounds        = 20000
	calibrationUprobeRounds  = 4000
	calibrationSteppedRounds = 500
	calibrationRuns          = 3
)

// measureCosts measures what latency probes cost themselves, once for each of the keys that their cost depends on. What can't
// be measured is a warning, and its rows are not corrected.
func measureCosts[K comparable](keys []K, name func(K) string, measure func(K) (probes.Cost, error), warn func(error)) map[K]probes.Cost {
	costs := map[K]probes.Cost{}
	for _, key := range keys {
		if _, done := costs[key]; done {
			continue
		}
		cost, err := measure(key)
		if err != nil {
			warn(fmt.Errorf("latencies by %s are not corrected: what such a probe costs can't be measured: %w", name(key), err))
		}
		costs[key] = cost
	}
	return costs
}

// A calibrated session has one latency probe, which the calibration's loop hits once a round.
type calibrated interface {
	Enable()
	Launch(*exec.Cmd) error
	Close() error
	stats() probes.Stats
}

// measureCost runs the loop without a probe and with the one of the session that open opens.
//
//	Bias  the latency that it measures of an empty function or of getppid: what is above 0 there is nearly all its own.
//	      The few ns of the function itself are in it too, so corrected times begin at those.
//	Hit   how much longer a round of the loop takes with the probe than without.
func measureCost(program string, rounds uint32, open func() (calibrated, error)) (probes.Cost, error) {
	without, with, bias := math.Inf(1), math.Inf(1), math.Inf(1)
	for range calibrationRuns {
		t, err := timeRun((*exec.Cmd).Start, program)
		if err != nil {
			return probes.Cost{}, err
		}
		without = min(without, t)
	}
	session, err := open()
	if err != nil {
		return probes.Cost{}, err
	}
	defer session.Close()
	session.Enable()
	var before probes.Stats
	for range calibrationRuns {
		t, err := timeRun(session.Launch, program)
		if err != nil {
			return probes.Cost{}, err
		}
		with = min(with, t)
		now := session.stats()
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
