// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// A functionSpan is a stage by one function of the map.
type functionSpan struct {
	span
	function int
	owner    uint32 // the process, also of a stage of the whole operation
	depth    int    // calls of the function within it that have not returned
	done     bool
}

// functionSpans are the stages by a map: from the entry to the return of its functions, and system calls outside of them.
func (r *Recorder) functionSpans(calls []call) []span {
	slices.SortStableFunc(r.marks, func(a, b mark) int { return cmp.Compare(a.at, b.at) })
	over := r.bounds()
	var spans []functionSpan
	open := map[uint32][]int{} // by thread, or process: its spans that have not ended, the innermost last
	for _, m := range r.marks {
		task := m.tid
		if r.opts.Map.moves {
			task = m.pid
		}
		if m.entry {
			if !r.again(spans, open[task], m) {
				open[task] = append(open[task], len(spans))
				spans = append(spans, r.begin(m))
			}
			continue
		}
		open[task] = leave(spans, open[task], m)
	}
	last := map[uint32]int64{} // of each process, the last thing that is known
	for _, m := range r.marks {
		last[m.pid] = max(last[m.pid], m.at)
	}
	for _, c := range calls {
		last[c.pid] = max(last[c.pid], c.end)
	}
	var list []span
	busy := map[uint32][]span{}
	for _, s := range spans {
		if !s.done {
			s.end = max(s.start, min(last[s.owner], over))
		}
		busy[s.owner] = append(busy[s.owner], s.span)
		list = append(list, s.span)
	}
	return append(list, r.callSpans(list, calls, busy)...)
}

// begin starts a span.
func (r *Recorder) begin(m mark) functionSpan {
	s := functionSpan{span: span{stage: r.stageOf[m.function], pid: int(m.pid), start: m.at}, function: m.function, owner: m.pid}
	if r.opts.Map.functions()[m.function].whole {
		s.pid = 0
	}
	return s
}

// again says whether an entry is one of a function that the program is in already, where functions belong to the process: by recursion or
// in another goroutine. Its span then lasts until the last of them has returned.
func (r *Recorder) again(spans []functionSpan, open []int, m mark) bool {
	if !r.opts.Map.moves {
		return false
	}
	i := slices.IndexFunc(open, func(s int) bool { return spans[s].function == m.function })
	if i >= 0 && behindStackCheck {
		spans[open[i]].depth++
	}
	return i >= 0
}

// leave ends the span of a function that returns, and gives those that stay open. What is inside of it never returned: it was left by a
// long jump.
func leave(spans []functionSpan, open []int, m mark) []int {
	at := len(open) - 1
	for at >= 0 && spans[open[at]].function != m.function {
		at--
	}
	switch {
	case at < 0: // entered before the probes were there, or in the parent before a fork
		return open
	case spans[open[at]].depth > 0:
		spans[open[at]].depth--
		return open
	}
	for _, s := range open[at:] {
		spans[s].end, spans[s].done = m.at, true
	}
	return open[:at]
}

// bounds finds what the map says of the whole operation: from when to when what is dumped stood still, and when the operation was over.
// Marks behind that are dropped.
func (r *Recorder) bounds() (over int64) {
	find := func(name string, entry bool, after int64) (at int64, ok bool) {
		functions := r.opts.Map.functions()
		i := slices.IndexFunc(r.marks, func(m mark) bool {
			return m.entry == entry && m.at >= after && functions[m.function].function == name
		})
		if i < 0 {
			return 0, false
		}
		return r.marks[i].at, true
	}
	for _, f := range r.opts.Map.frozen {
		froze, ok := find(f.from, false, 0)
		thawed, ok2 := find(f.to, true, froze)
		if ok && ok2 {
			r.froze, r.thawed, r.report.Frozen = froze, thawed, time.Duration(thawed-froze)
		}
	}
	over = math.MaxInt64
	for _, e := range r.opts.Map.ends {
		if at, ok := find(e.from, false, 0); ok {
			over = min(over, at)
		}
	}
	r.marks = slices.DeleteFunc(r.marks, func(m mark) bool { return m.at > over })
	return over
}

// callSpans are the stages that are system calls, of processes that are in no function of the map.
func (r *Recorder) callSpans(functions []span, calls []call, busy map[uint32][]span) []span {
	stages := r.opts.Map.calls()
	_, from, to := outside(functions)
	switch {
	case len(r.opts.Map.functions()) == 0: // stages are system calls alone
		from, to = math.MinInt64, math.MaxInt64
	case len(stages) == 0 || len(functions) == 0:
		return nil
	}
	byProbe := map[uint16]int{}
	for i, p := range r.probes {
		if s, ok := stages[bare(p.Label)]; ok {
			byProbe[uint16(i)] = s
		}
	}
	var spans []span
	for _, c := range calls {
		s, ok := byProbe[c.probe]
		if !ok || c.start < from || c.end > to || slices.ContainsFunc(busy[c.pid], func(f span) bool { return f.start <= c.start && c.end <= f.end }) {
			continue
		}
		spans = append(spans, span{stage: s, pid: int(c.pid), start: c.start, end: c.end})
	}
	return spans
}
