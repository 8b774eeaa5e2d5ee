// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/trapline/trapline/probes"
)

// StageInfo names a stage of the report.
type StageInfo struct {
	Name string
	What string // one line, for a reader
	Peer string // as in Stage
}

// measured is everything that a report is made of.
type measured struct {
	stages []StageInfo
	probes []Probe
	spans  []span
	calls  []call
	comms  map[uint32]string // by thread
}

// fill puts into the report what stages and calls say.
func (m *measured) fill(r *Report) {
	gap, from, to := outside(m.spans)
	r.Outside, r.Total = gap, time.Duration(to-from)
	r.Probes = m.probes
	waits := make([]bool, len(m.probes))
	for i, p := range m.probes {
		waits[i] = p.Wait
	}
	a := analyze(len(m.stages), len(m.probes), m.spans, m.calls, waits)

	all, byLane := make([]int, 0, len(m.calls)), make([][]int, len(a.lanes))
	for c, p := range a.placed {
		if p.stage >= 0 {
			all, byLane[p.lane] = append(all, c), append(byLane[p.lane], c)
		}
	}
	whole := m.group(a, a.shares, all)
	for i := range a.lanes {
		l := &a.lanes[i]
		byStage := m.group(a, l.shares, byLane[i])
		p := Process{PID: l.pid, Comm: m.comms[uint32(l.pid)]}
		for s := range m.stages {
			if stage := byStage[s]; l.shares[s].ran {
				stage.Start, stage.N = m.start(s, from, l.pid), 1
				p.Stages = append(p.Stages, stage)
				if whole[s].SlowestWall < stage.Wall && l.pid != 0 {
					whole[s].Slowest, whole[s].SlowestWall = l.pid, stage.Wall
				}
				if l.pid != 0 {
					whole[s].N++
				}
			}
		}
		r.Processes = append(r.Processes, p)
	}
	for s := range m.stages {
		if !a.shares[s].ran {
			continue
		}
		stage := &whole[s]
		stage.Start = m.start(s, from, -1)
		if stage.N < 2 { // with one process there is no slowest
			stage.N, stage.Slowest, stage.SlowestWall = 1, 0, 0
		}
		r.Stages = append(r.Stages, *stage)
	}
	m.keepSpans(r, from)
	m.keepCalls(r, a, from)
}

// start is when the first span of a stage began; of one process, or with pid -1 of any.
func (m *measured) start(stage int, from int64, pid int) time.Duration {
	first := int64(math.MaxInt64)
	for _, s := range m.spans {
		if s.stage == stage && (pid < 0 || s.pid == pid) {
			first = min(first, s.start)
		}
	}
	return time.Duration(first - from)
}

// group makes the stages of shares, with the figures of the calls that belong to them.
func (m *measured) group(a *analysis, shares []share, calls []int) []Stage {
	type key struct{ stage, probe int }
	durations := map[key][]int64{}
	errors := map[key]uint64{}
	for _, i := range calls {
		c := &m.calls[i]
		k := key{int(a.placed[i].stage), int(c.probe)}
		durations[k] = append(durations[k], c.end-c.start)
		if c.fail {
			errors[k]++
		}
	}
	stages := make([]Stage, len(m.stages))
	for s, info := range m.stages {
		stage := &stages[s]
		stage.Parts = []Part{} // an empty list to programs, not null
		stage.Name, stage.What, stage.Peer = info.Name, info.What, info.Peer
		stage.Wall, stage.Unexplained = time.Duration(shares[s].wall), time.Duration(shares[s].unexplained)
		for p := range m.probes {
			k := key{s, p}
			self := shares[s].self[p]
			if self == 0 && len(durations[k]) == 0 {
				continue
			}
			part := Part{Probe: p, Label: m.probes[p].Label, Self: time.Duration(self), Errors: errors[k]}
			if shares[s].wall > 0 {
				part.Share = float64(self) / float64(shares[s].wall)
			}
			part.figures(durations[k])
			stage.Parts = append(stage.Parts, part)
		}
		slices.SortStableFunc(stage.Parts, func(x, y Part) int {
			return cmp.Or(cmp.Compare(y.Self, x.Self), cmp.Compare(y.Total, x.Total))
		})
	}
	return stages
}

// figures fills in what the latencies of the part's calls say. It sorts them.
func (p *Part) figures(durations []int64) {
	n := len(durations)
	if n == 0 {
		return
	}
	slices.Sort(durations)
	var sum, squares float64
	var hist [probes.Buckets]uint64
	for _, d := range durations {
		p.Total += time.Duration(d)
		sum += float64(d)
		hist[probes.Bucket(uint64(d))]++
	}
	mean := sum / float64(n)
	for _, d := range durations {
		squares += (float64(d) - mean) * (float64(d) - mean)
	}
	p.Calls = uint64(n)
	p.P50, p.P99 = time.Duration(durations[(n-1)/2]), time.Duration(durations[(n*99+99)/100-1])
	p.Max = time.Duration(durations[n-1])
	p.StdDev = math.Sqrt(squares / float64(max(n-1, 1)))
	last := probes.Buckets
	for hist[last-1] == 0 {
		last--
	}
	p.Hist = slices.Clone(hist[:last])
}

func (m *measured) keepSpans(r *Report, from int64) {
	for _, s := range m.spans {
		r.Spans = append(r.Spans, Span{
			Stage: m.stages[s.stage].Name, PID: s.pid, Start: time.Duration(s.start - from), Dur: time.Duration(s.end - s.start),
		})
	}
	slices.SortStableFunc(r.Spans, func(x, y Span) int { return cmp.Compare(x.Start, y.Start) })
}

func (m *measured) keepCalls(r *Report, a *analysis, from int64) {
	index := make([]int16, len(m.stages)) // of a stage, in the report
	for s, info := range m.stages {
		index[s] = int16(slices.IndexFunc(r.Stages, func(x Stage) bool { return x.Name == info.Name }))
	}
	r.Tasks = map[uint32]Task{}
	r.Calls = make([]Call, 0, len(m.calls))
	for i, c := range m.calls {
		p := a.placed[i]
		stage := int16(-1)
		if p.stage >= 0 {
			stage = index[p.stage]
		}
		r.Calls = append(r.Calls, Call{
			Start: time.Duration(c.start - from), Dur: time.Duration(c.end - c.start), TID: c.tid, Probe: c.probe, Stage: stage, Depth: p.depth, Fail: c.fail,
		})
		if _, ok := r.Tasks[c.tid]; !ok {
			r.Tasks[c.tid] = Task{PID: c.pid, Comm: m.comms[c.tid]}
		}
	}
	slices.SortStableFunc(r.Calls, func(x, y Call) int {
		return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(x.Depth, y.Depth))
	})
}
