// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"errors"
	"fmt"
	"slices"
)

// Stop ends the measuring and gives the report; the probes are gone then.
func (r *Recorder) Stop() (*Report, error) {
	if err := r.end(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &measured{stages: r.stages, probes: r.probes, calls: slices.Concat(r.chunks...), comms: r.comms}
	r.chunks = nil
	if r.opts.Map != nil {
		m.spans = r.functionSpans(m.calls)
	} else {
		m.spans = r.timelineSpans()
	}
	if len(m.spans) == 0 {
		return nil, errors.New("profile: no stage ran: nothing to report")
	}
	m.calls = r.within(m.spans, m.calls)
	report := r.report
	report.Lost.Beyond = r.beyond
	report.Warnings = r.warnings
	m.fill(&report)
	return &report, nil
}

// Close gives everything back without a report. After Stop it does nothing.
func (r *Recorder) Close() error {
	return r.end()
}

// end removes the probes and waits for the last events.
func (r *Recorder) end() error {
	r.mu.Lock()
	ended := r.stopped
	r.stopped = true
	r.mu.Unlock()
	if ended {
		return nil
	}
	err := r.session.Detach()
	r.cancel()
	if e := <-r.read; e != nil {
		err = errors.Join(err, e)
	}
	r.mu.Lock()
	r.lose()
	r.mu.Unlock()
	if err = errors.Join(err, r.session.Close()); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

// lose reads what the kernel counted, and what of it never came.
func (r *Recorder) lose() {
	var marks uint64
	for _, row := range r.session.Rows(nil) {
		role, ok := r.byLabel[row.Probe]
		if !ok {
			continue
		}
		r.report.Lost.Dropped += row.Losses.Dropped
		r.report.Lost.Missed += row.Losses.Missed
		if role.probe < 0 {
			marks += row.Losses.Dropped + row.Losses.Missed
			continue
		}
		p := &r.probes[role.probe]
		p.Calls += row.Stats.Count
		p.Bias = max(p.Bias, row.Cost.Bias)
	}
	if marks > 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("%d entries or returns of the stages' own functions were lost: stages are too short, too long or missing", marks))
	}
	if n := r.session.Unfollowed(); n > 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("tasks that were started and could not be marked: %d; they are not in the profile", n))
	}
	missed, _ := r.session.SharedMissed()
	r.report.Lost.Missed += missed
}

// timelineSpans are the stages of our engine.
func (r *Recorder) timelineSpans() []span {
	var spans []span
	report := r.timeline.Report()
	r.report.Frozen = report.Frozen
	for _, rec := range report.Records {
		s := slices.IndexFunc(r.stages, func(i StageInfo) bool { return i.Name == string(rec.Stage) })
		if s < 0 || rec.Dur < 0 {
			continue // one that still runs when the operation has ended did not come to its end: it failed
		}
		start := r.base + int64(rec.Start)
		spans = append(spans, span{stage: s, pid: rec.PID, start: start, end: start + int64(rec.Dur)})
	}
	return spans
}

// within leaves the calls that matter: those that touch a stage, and of the processes that are worked on those that they were made to do:
// while they were frozen, or where that is not known, from the first stage on.
func (r *Recorder) within(spans []span, calls []call) []call {
	_, from, to := outside(spans)
	froze, thawed := r.froze, r.thawed
	if froze == 0 {
		froze = from
	}
	if thawed == 0 {
		thawed = to
	}
	return slices.DeleteFunc(calls, func(c call) bool {
		return c.end < from || c.start > to || r.targets[int(c.pid)] && (c.start < froze || c.start > thawed)
	})
}
