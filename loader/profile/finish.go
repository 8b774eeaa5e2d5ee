// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
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
	m := &measured{stages: r.stages, probes: r.probes, calls: r.calls, comms: r.comms}
	if r.opts.Map != nil {
		m.spans = r.functionSpans()
	} else {
		m.spans = r.timelineSpans()
	}
	if len(m.spans) == 0 {
		return nil, errors.New("profile: no stage ran: nothing to report")
	}
	m.calls = r.within(m.spans)
	report := r.report
	report.Lost.Beyond = r.beyond
	report.Warnings = r.warnings
	m.fill(&report)
	return &report, nil
}

// Close gives everything back without a report. After Stop it does nothing.
func (r *Recorder) Close() error {
	err := r.end()
	if err != nil {
		return err
	}
	return nil
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
	for _, row := range r.session.Rows(nil) {
		r.report.Lost.Dropped += row.Losses.Dropped
		r.report.Lost.Missed += row.Losses.Missed
		if role, ok := r.byLabel[row.Probe]; ok && role.probe >= 0 {
			p := &r.probes[role.probe]
			p.Calls += row.Stats.Count
			p.Bias = max(p.Bias, row.Cost.Bias)
		}
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

// functionSpans are the stages by a map: from the entry to the return of its functions.
func (r *Recorder) functionSpans() []span {
	slices.SortStableFunc(r.marks, func(a, b mark) int { return cmp.Compare(a.at, b.at) })
	var (
		spans []span
		open  = map[uint32][]int{} // by thread, or process: its spans that have not ended, the innermost last
		which = map[int]int{}      // the function of a span
		of    = r.stageOf
	)
	for _, m := range r.marks {
		task := m.tid
		if r.opts.Map.moves {
			task = m.pid
		}
		stack := open[task]
		if m.entry {
			// A Go function whose stack has to grow begins a second time.
			if r.opts.Map.moves && slices.ContainsFunc(stack, func(s int) bool { return which[s] == m.function }) {
				continue
			}
			which[len(spans)] = m.function
			open[task] = append(stack, len(spans))
			spans = append(spans, span{stage: of[m.function], pid: int(m.pid), start: m.at, end: -1})
			continue
		}
		at := len(stack) - 1
		for at >= 0 && which[stack[at]] != m.function {
			at--
		}
		if at < 0 {
			continue // entered before the probes were there, or in the parent before a fork
		}
		for _, s := range stack[at:] { // what is inside never returned: it was left by a long jump
			spans[s].end = m.at
		}
		open[task] = stack[:at]
	}
	last := map[uint32]int64{} // of each process, the last thing that is known
	for _, m := range r.marks {
		last[m.pid] = max(last[m.pid], m.at)
	}
	for _, c := range r.calls {
		last[c.pid] = max(last[c.pid], c.end)
	}
	for i := range spans {
		if spans[i].end < 0 {
			spans[i].end = max(spans[i].start, last[uint32(spans[i].pid)])
		}
	}
	return append(spans, r.callSpans(spans)...)
}

// callSpans are the stages that are system calls, of processes that are in no function of the map.
func (r *Recorder) callSpans(functions []span) []span {
	stages := r.opts.Map.calls()
	if len(stages) == 0 || len(functions) == 0 {
		return nil
	}
	byProbe := map[uint16]int{}
	for i, p := range r.probes {
		if s, ok := stages[bare(p.Label)]; ok {
			byProbe[uint16(i)] = s
		}
	}
	busy := map[int][]span{}
	_, from, to := outside(functions)
	for _, s := range functions {
		busy[s.pid] = append(busy[s.pid], s)
	}
	var spans []span
	for _, c := range r.calls {
		s, ok := byProbe[c.probe]
		if !ok || c.start < from || c.end > to || slices.ContainsFunc(busy[int(c.pid)], func(f span) bool { return f.start <= c.start && c.end <= f.end }) {
			continue
		}
		spans = append(spans, span{stage: s, pid: int(c.pid), start: c.start, end: c.end})
	}
	return spans
}

// within leaves the calls that matter: those that touch a stage, and of the processes that are worked on those that they were made to do:
// while they were frozen, or where that is not known, from the first stage on.
func (r *Recorder) within(spans []span) []call {
	_, from, to := outside(spans)
	froze, thawed := r.froze, r.thawed
	if froze == 0 {
		froze = from
	}
	if thawed == 0 {
		thawed = to
	}
	return slices.DeleteFunc(r.calls, func(c call) bool {
		return c.end < from || c.start > to || r.targets[int(c.pid)] && (c.start < froze || c.start > thawed)
	})
}
