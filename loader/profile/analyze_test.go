// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestShares has one instant of each kind.
func TestShares(t *testing.T) {
	// Stage 0 of the whole tree 0…100, in it stage 1 of process 7 from 20 to 60.
	spans := []span{{0, 0, 0, 100}, {1, 7, 20, 60}}
	calls := []call{
		{start: 0, end: 10, tid: 1, pid: 1, probe: 0},    // stage 0, alone
		{start: 15, end: 30, tid: 1, pid: 1, probe: 0},   // from stage 0 into stage 1
		{start: 18, end: 25, tid: 1, pid: 1, probe: 1},   // in it: the innermost has the time
		{start: 25, end: 50, tid: 7, pid: 7, probe: 2},   // the target's
		{start: 30, end: 55, tid: 1, pid: 1, probe: 3},   // waits for it
		{start: 90, end: 110, tid: 1, pid: 1, probe: 1},  // beyond the end
		{start: 95, end: 95, tid: 1, pid: 1, probe: 4},   // takes no time
		{start: 200, end: 300, tid: 1, pid: 1, probe: 1}, // in no stage
	}
	a := analyze(2, 5, spans, calls, []bool{3: true, 4: false})
	want := []share{
		{wall: 60, unexplained: 35, self: []int64{13, 12, 0, 0, 0}, ran: true},
		{wall: 40, unexplained: 5, self: []int64{3, 5, 22, 5, 0}, ran: true},
	}
	for i, w := range want {
		got := a.shares[i]
		if got.wall != w.wall || got.unexplained != w.unexplained || !equal(got.self, w.self) {
			t.Errorf("stage %d: %+v, want %+v", i, got, w)
		}
	}
	if p := a.placed[2]; p.stage != 0 || p.depth != 1 {
		t.Errorf("the call within another: %+v", p)
	}
	if p := a.placed[3]; p.stage != 1 || a.lanes[p.lane].pid != 7 {
		t.Errorf("the target's call: %+v", p)
	}
	if p := a.placed[7]; p.stage != -1 {
		t.Errorf("the call in no stage: %+v", p)
	}
}

func equal(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestSum holds the rule that the parts of a stage and its unexplained rest are its time, for stages and calls at random.
func TestSum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		m := random(rng)
		var r Report
		m.fill(&r)
		checkSum(t, r.Stages)
		for _, p := range r.Processes {
			checkSum(t, p.Stages)
		}
		var covered time.Duration
		for _, s := range r.Stages {
			covered += s.Wall
		}
		if covered+r.Outside < r.Total {
			t.Errorf("stages %v and %v outside are less than %v", covered, r.Outside, r.Total)
		}
		if t.Failed() {
			return
		}
	}
}

// checkSum fails unless each stage's parts add up, to the nanosecond.
func checkSum(t *testing.T, stages []Stage) {
	t.Helper()
	for _, s := range stages {
		sum := s.Unexplained
		for _, p := range s.Parts {
			sum += p.Self
			if p.Self < 0 {
				t.Errorf("%s: %s has %v", s.Name, p.Label, p.Self)
			}
		}
		if sum != s.Wall {
			t.Errorf("%s: the parts and the rest are %v, the stage %v", s.Name, sum, s.Wall)
		}
	}
}

// random makes stages of some processes and calls of their tasks, nested as calls are.
func random(rng *rand.Rand) *measured {
	m := &measured{comms: map[uint32]string{1: "engine"}}
	for i := range 1 + rng.IntN(6) {
		m.stages = append(m.stages, StageInfo{Name: string(rune('a' + i))})
	}
	for i := range 1 + rng.IntN(5) {
		m.probes = append(m.probes, Probe{Label: string(rune('p' + i)), Wait: rng.IntN(4) == 0})
	}
	for range 1 + rng.IntN(30) {
		start := rng.Int64N(10000)
		m.spans = append(m.spans, span{rng.IntN(len(m.stages)), rng.IntN(4), start, start + rng.Int64N(3000)})
	}
	var nest func(tid uint32, from, to int64, depth int)
	nest = func(tid uint32, from, to int64, depth int) {
		for at := from; at < to && len(m.calls) < 2000; {
			start := at + rng.Int64N(400)
			end := min(start+rng.Int64N(500), to)
			if start >= end {
				return
			}
			m.calls = append(m.calls, call{start: start, end: end, tid: tid, pid: tid % 4, probe: uint16(rng.IntN(len(m.probes)))})
			if depth < 4 && rng.IntN(2) == 0 {
				nest(tid, start, end, depth+1)
			}
			at = end
		}
	}
	for tid := range uint32(1 + rng.IntN(6)) {
		nest(tid+1, -500, 15000, 0)
	}
	rng.Shuffle(len(m.calls), func(i, j int) { m.calls[i], m.calls[j] = m.calls[j], m.calls[i] })
	return m
}

func TestTable(t *testing.T) {
	m := random(rand.New(rand.NewPCG(3, 4)))
	m.spans = append(m.spans, span{0, 1, 100, 900})
	r := Report{What: "dump", Engine: "trapline", Kernel: "6.12", Arch: "riscv64", Warnings: []string{"a warning"}}
	m.fill(&r)
	var b bytes.Buffer
	if err := r.WriteTable(&b, TableOptions{All: true, Processes: true}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"dump by trapline", "STAGE", "(unexplained)", "a warning", "pid 1 engine"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
