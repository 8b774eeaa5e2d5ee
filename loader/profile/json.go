// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/trapline/trapline/probes"
)

// ErrBadReport is the error of [Read] for what is not the JSON of a report, or contradicts itself. It is wrapped with what is wrong.
var ErrBadReport = errors.New("not a report of a profile")

// What Read takes at most. A report of 1,000 processes in 13 stages with 40 probes has some 150 MB.
const (
	maxJSON   = 512 << 20 // bytes
	maxStages = 10_000    // of all processes together, or of one
	maxName   = 4096      // bytes of a stage's or a probe's name

	// maxTime is the longest time, in ns, and the most calls: 19 hours, as in a histogram's last bucket. The sum over maxProcesses
	// still fits an int64.
	maxTime      = 1 << 46
	maxProcesses = 1 << 16
)

// WriteJSON writes the report as one line of JSON, which [Read] takes. The single calls are not in it.
func (r *Report) WriteJSON(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(r); err != nil {
		return fmt.Errorf("write the report as JSON: %w", err)
	}
	return nil
}

// Read reads a report that [Report.WriteJSON] wrote. It takes no other [Format], and checks what the other functions of this package
// rely on; the error then wraps [ErrBadReport].
func Read(r io.Reader) (*Report, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxJSON+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read a report: %w", err)
	case len(text) > maxJSON:
		return nil, fmt.Errorf("%w: it has more than %d MiB", ErrBadReport, maxJSON>>20)
	}
	// The version first: fields of another one may well have other types.
	var version struct {
		Format *int `json:"format"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadReport, err)
	}
	if version.Format == nil {
		return nil, fmt.Errorf("%w: it has no format number; it must come from `trapline profile -o json`", ErrBadReport)
	}
	if *version.Format != Format {
		return nil, fmt.Errorf("%w: its format is %d, and this program reads format %d: take the program that wrote it, or profile anew",
			ErrBadReport, *version.Format, Format)
	}
	report := new(Report)
	if err := json.Unmarshal(text, report); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadReport, err)
	}
	if err := report.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadReport, err)
	}
	return report, nil
}

// check says what of a report from outside is impossible.
func (r *Report) check() error {
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"total_ns", r.Total}, {"frozen_ns", r.Frozen}, {"outside_ns", r.Outside}} {
		if err := checkTime(d.name, d.d); err != nil {
			return err
		}
	}
	if len(r.Probes) > math.MaxUint16 {
		return fmt.Errorf("it has %d probes; the most is %d", len(r.Probes), math.MaxUint16)
	}
	for i, p := range r.Probes {
		if len(p.Label) > maxName {
			return fmt.Errorf("probe %d: its label has %d bytes", i, len(p.Label))
		}
		if math.Abs(p.Bias) > maxTime {
			return fmt.Errorf("probe %d: its bias is %g ns", i, p.Bias)
		}
	}
	if err := r.checkStages(r.Stages); err != nil {
		return err
	}
	if len(r.Processes) > maxProcesses {
		return fmt.Errorf("it has %d processes; the most is %d", len(r.Processes), maxProcesses)
	}
	seen := map[int]bool{}
	for _, p := range r.Processes {
		if p.PID < 0 || seen[p.PID] {
			return fmt.Errorf("process %d: it is there twice, or is no process", p.PID)
		}
		seen[p.PID] = true
		if err := r.checkStages(p.Stages); err != nil {
			return fmt.Errorf("process %d: %w", p.PID, err)
		}
	}
	for i, s := range r.Spans {
		if s.PID < 0 {
			return fmt.Errorf("span %d, stage %.100q: process %d can't be", i, s.Stage, s.PID)
		}
		if err := errors.Join(checkTime("start_ns", s.Start), checkTime("dur_ns", s.Dur)); err != nil {
			return fmt.Errorf("span %d, stage %.100q: %w", i, s.Stage, err)
		}
	}
	return nil
}

func (r *Report) checkStages(stages []Stage) error {
	if len(stages) > maxStages {
		return fmt.Errorf("it has %d stages; the most is %d", len(stages), maxStages)
	}
	names := map[string]bool{}
	for i := range stages {
		s := &stages[i]
		if len(s.Name) > maxName {
			return fmt.Errorf("stage %d: its name has %d bytes", i, len(s.Name))
		}
		if names[s.Name] {
			return fmt.Errorf("stage %.100q is there twice", s.Name)
		}
		names[s.Name] = true
		if err := r.checkStage(s); err != nil {
			return fmt.Errorf("stage %.100q: %w", s.Name, err)
		}
	}
	return nil
}

func (r *Report) checkStage(s *Stage) error {
	if err := errors.Join(checkTime("start_ns", s.Start), checkTime("wall_ns", s.Wall), checkTime("unexplained_ns", s.Unexplained),
		checkTime("slowest_wall_ns", s.SlowestWall)); err != nil {
		return err
	}
	if s.N < 0 || s.Slowest < 0 {
		return fmt.Errorf("n is %d and slowest_pid %d: neither can be below 0", s.N, s.Slowest)
	}
	seen := map[int]bool{}
	for i := range s.Parts {
		p := &s.Parts[i]
		if p.Probe < 0 || p.Probe >= len(r.Probes) {
			return fmt.Errorf("part %d: its probe is %d, and there are %d", i, p.Probe, len(r.Probes))
		}
		if seen[p.Probe] {
			return fmt.Errorf("part %d: probe %d is there twice", i, p.Probe)
		}
		seen[p.Probe] = true
		if err := p.check(); err != nil {
			return fmt.Errorf("part %d, %.100q: %w", i, p.Label, err)
		}
	}
	return nil
}

func (p *Part) check() error {
	if len(p.Label) > maxName {
		return fmt.Errorf("its label has %d bytes", len(p.Label))
	}
	if err := errors.Join(checkTime("self_ns", p.Self), checkTime("total_ns", p.Total), checkTime("p50_ns", p.P50),
		checkTime("p99_ns", p.P99), checkTime("max_ns", p.Max)); err != nil {
		return err
	}
	if p.Share < 0 || p.StdDev < 0 || p.StdDev > maxTime {
		return fmt.Errorf("share is %g and stddev_ns %g: neither can be", p.Share, p.StdDev)
	}
	if len(p.Hist) > probes.Buckets {
		return fmt.Errorf("its histogram has %d buckets; the most is %d", len(p.Hist), probes.Buckets)
	}
	if p.Calls > maxTime || p.Errors > p.Calls {
		return fmt.Errorf("it has %d errors in %d calls", p.Errors, p.Calls)
	}
	return nil
}

func checkTime(name string, d time.Duration) error {
	if d < 0 || d > maxTime {
		return fmt.Errorf("%s is %d: a time in ns can't be that", name, int64(d))
	}
	return nil
}
