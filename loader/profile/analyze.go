// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"slices"
	"time"
)

// A span is a stage at work for a process, a call a probed function at work in a task. Times are ns of CLOCK_MONOTONIC.
type (
	span struct {
		stage      int // index into the stages that are analyzed
		pid        int // 0: the whole tree
		start, end int64
	}
	call struct {
		start, end int64
		tid, pid   uint32
		probe      uint16
		fail       bool
	}
)

// placed is where a call began.
type placed struct {
	stage int16 // -1: in no stage
	lane  int32 // index into analysis.lanes, of the span that it worked for; -1: none
	depth uint16
}

// share is what the probes had of one stage, of the whole tree or of one process.
type share struct {
	wall, unexplained int64
	self              []int64 // by probe
	ran               bool
}

// A lane is the stages of one process; of pid 0 those of the whole tree.
type lane struct {
	pid    int
	open   []int // spans, indexes; the last one that began is the last
	index  int   // in analysis.busy
	shares []share
}

// An analysis gives each instant to one thing; see the package's comment.
type analysis struct {
	spans []span
	calls []call
	waits []bool // by probe: it only waits

	lanes  []lane
	byPID  map[int]int // index into lanes
	shares []share     // by stage
	placed []placed    // by call
	tasks  map[uint32]*task

	running []int   // all open spans, in the order in which they began
	busy    []int   // lanes that have open spans
	active  []*task // those in a call
	split   []split // by stage, scratch of instant
	owns    []split // by lane
}

// A task is a thread and the probed calls that it is in, the innermost last.
type task struct {
	pid   int
	open  []int
	index int // in analysis.active
}

// split collects who is at work for something at an instant.
type split struct {
	work, wait []uint16 // probes, one for each task
}

func (s *split) reset() { s.work, s.wait = s.work[:0], s.wait[:0] }

// edge is a moment at which something begins or ends.
type edge struct {
	at    int64
	kind  edgeKind
	index int
}

// The kinds of edges, in the order in which those of one moment are taken: what ends at a moment is over before the next thing begins,
// and a stage is there before the calls in it.
type edgeKind uint8

const (
	callEnds edgeKind = iota
	spanEnds
	spanBegins
	callBegins
)

// analyze goes once through all moments. Spans and calls must not end before they start.
func analyze(stages, probes int, spans []span, calls []call, waits []bool) *analysis {
	a := &analysis{spans: spans, calls: calls, waits: waits, byPID: map[int]int{}, tasks: map[uint32]*task{}}
	a.shares = newShares(stages, probes)
	a.placed = make([]placed, len(calls))
	a.split = make([]split, stages)
	edges := make([]edge, 0, 2*(len(spans)+len(calls)))
	for i, s := range spans {
		if _, ok := a.byPID[s.pid]; !ok {
			a.byPID[s.pid] = len(a.lanes)
			a.lanes = append(a.lanes, lane{pid: s.pid, shares: newShares(stages, probes)})
		}
		edges = append(edges, edge{s.start, spanBegins, i}, edge{s.end, spanEnds, i})
	}
	a.owns = make([]split, len(a.lanes))
	for i, c := range calls {
		edges = append(edges, edge{c.start, callBegins, i}, edge{c.end, callEnds, i})
	}
	slices.SortFunc(edges, func(x, y edge) int { return a.order(x, y) })
	for i, e := range edges {
		if i > 0 && e.at > edges[i-1].at {
			a.instant(e.at - edges[i-1].at)
		}
		a.take(e)
	}
	return a
}

func newShares(stages, probes int) []share {
	shares := make([]share, stages)
	for i := range shares {
		shares[i].self = make([]int64, probes)
	}
	return shares
}

// order sorts edges. What takes no time would end before it began by the order of kinds alone.
func (a *analysis) order(x, y edge) int {
	if c := cmp.Compare(x.at, y.at); c != 0 {
		return c
	}
	if c := cmp.Compare(a.rank(x), a.rank(y)); c != 0 {
		return c
	}
	switch x.kind {
	case callBegins: // the outer one first: it ends later, and if the clock does not tell, it came later, as calls come when they end
		return cmp.Or(cmp.Compare(a.calls[y.index].end, a.calls[x.index].end), cmp.Compare(y.index, x.index))
	case spanBegins:
		if c := cmp.Compare(a.spans[y.index].end, a.spans[x.index].end); c != 0 {
			return c
		}
	}
	return cmp.Compare(x.index, y.index)
}

// rank is the kind; the ends of what takes no time come behind all begins.
func (a *analysis) rank(e edge) int {
	switch {
	case e.kind == callEnds && a.calls[e.index].start == e.at:
		return int(callBegins) + 1
	case e.kind == spanEnds && a.spans[e.index].start == e.at:
		return int(callBegins) + 2
	}
	return int(e.kind)
}

func (a *analysis) take(e edge) {
	switch e.kind {
	case spanBegins:
		i := a.byPID[a.spans[e.index].pid]
		l := &a.lanes[i]
		if len(l.open) == 0 {
			l.index = len(a.busy)
			a.busy = append(a.busy, i)
		}
		l.open = append(l.open, e.index)
		a.running = append(a.running, e.index)
		l.shares[a.spans[e.index].stage].ran = true
		a.shares[a.spans[e.index].stage].ran = true
	case spanEnds:
		l := &a.lanes[a.byPID[a.spans[e.index].pid]]
		l.open = remove(l.open, e.index)
		a.running = remove(a.running, e.index)
		if len(l.open) == 0 {
			last := a.busy[len(a.busy)-1]
			a.busy[l.index], a.lanes[last].index = last, l.index
			a.busy = a.busy[:len(a.busy)-1]
		}
	case callBegins:
		a.begin(e.index)
	case callEnds:
		a.end(e.index)
	}
}

func (a *analysis) begin(index int) {
	c := &a.calls[index]
	t := a.tasks[c.tid]
	if t == nil {
		t = &task{}
		a.tasks[c.tid] = t
	}
	t.pid = int(c.pid)
	if len(t.open) == 0 {
		t.index = len(a.active)
		a.active = append(a.active, t)
	}
	p := placed{stage: -1, lane: -1, depth: uint16(min(len(t.open), 1<<16-1))}
	if s := a.worksFor(t, a.latest()); s >= 0 {
		p.stage, p.lane = int16(a.spans[s].stage), int32(a.byPID[a.spans[s].pid])
	}
	a.placed[index] = p
	t.open = append(t.open, index)
}

func (a *analysis) end(index int) {
	t := a.tasks[a.calls[index].tid]
	t.open = remove(t.open, index)
	if len(t.open) == 0 {
		last := a.active[len(a.active)-1]
		a.active[t.index], last.index = last, t.index
		a.active = a.active[:len(a.active)-1]
	}
}

// remove takes an index out; it is nearly always the last one.
func remove(open []int, index int) []int {
	if i := slices.Index(open, index); i >= 0 {
		return slices.Delete(open, i, i+1)
	}
	return open
}

// current is what a lane is in; -1 if that is nothing.
func (l *lane) current() int {
	if len(l.open) == 0 {
		return -1
	}
	return l.open[len(l.open)-1]
}

// latest is the open span that began last, of any lane; -1 if there is none.
func (a *analysis) latest() int {
	if len(a.running) == 0 {
		return -1
	}
	return a.running[len(a.running)-1]
}

// worksFor is the span that a task works for; -1 if none.
func (a *analysis) worksFor(t *task, latest int) int {
	if i, ok := a.byPID[t.pid]; ok {
		if s := a.lanes[i].current(); s >= 0 {
			return s
		}
	}
	return latest
}

// instant gives a time in which nothing begins or ends to whom it belongs.
func (a *analysis) instant(ns int64) {
	latest := a.latest()
	if latest < 0 {
		return
	}
	for i := range a.split {
		a.split[i].reset()
	}
	for _, i := range a.busy {
		a.owns[i].reset()
	}
	for _, t := range a.active {
		s := a.worksFor(t, latest)
		probe := a.calls[t.open[len(t.open)-1]].probe
		stage, own := &a.split[a.spans[s].stage], &a.owns[a.byPID[a.spans[s].pid]]
		if a.waits[probe] {
			stage.wait, own.wait = append(stage.wait, probe), append(own.wait, probe)
		} else {
			stage.work, own.work = append(stage.work, probe), append(own.work, probe)
		}
	}
	var done uint64 // stages that have got it; two processes may be in one
	for _, i := range a.busy {
		s := a.lanes[i].current()
		// A stage of the whole tree is not at work itself while one of a process is that began inside of it.
		if a.lanes[i].pid == 0 && s != latest {
			continue
		}
		stage := a.spans[s].stage
		a.lanes[i].shares[stage].give(ns, &a.owns[i])
		if done&(1<<stage) == 0 {
			done |= 1 << stage
			a.shares[stage].give(ns, &a.split[stage])
		}
	}
}

// give shares ns out; what can't be divided goes to the first.
func (s *share) give(ns int64, who *split) {
	s.wall += ns
	probes := who.work
	if len(probes) == 0 {
		probes = who.wait
	}
	if len(probes) == 0 {
		s.unexplained += ns
		return
	}
	each := ns / int64(len(probes))
	for _, p := range probes {
		s.self[p] += each
	}
	s.self[probes[0]] += ns - each*int64(len(probes))
}

// outside is how much of the time from the first span's start to the last one's end is in no span, and these two moments.
func outside(spans []span) (gap time.Duration, from, to int64) {
	if len(spans) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(x, y span) int { return cmp.Compare(x.start, y.start) })
	from, to = sorted[0].start, sorted[0].start
	for _, s := range sorted {
		if s.start > to {
			gap += time.Duration(s.start - to)
		}
		to = max(to, s.end)
	}
	return gap, from, to
}
