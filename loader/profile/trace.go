// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// Linux numbers tasks below 1<<22 (PID_MAX_LIMIT), so tracks that stand for no task have numbers from there on.
const (
	treeTrack  = 1 << 22       // the process that stands for the whole tree
	firstTrack = treeTrack + 1 // of all other tracks
)

// WriteTrace writes what happened when, in the JSON of Chrome's trace events, which Perfetto (ui.perfetto.dev) and chrome://tracing open.
//
// Every process has a track of its stages, and one for each thread with the calls of probed functions, nested as they were. The
// process "whole tree" has the stages that were done for all at once, and a counter of how many tasks were in a probed function: where
// it is 0, time is unexplained. Times are in µs with the ns behind the point. They count from the first stage's begin, or from the first
// call if one was under way already.
//
// Slices of one track nest. Should two of a track overlap otherwise, as threads of one process may be in two stages, the later one is on
// a track of its own below. When the target was frozen is not marked, as a report knows only for how long: see "otherData".
func (r *Report) WriteTrace(w io.Writer) error {
	t := &traceWriter{w: bufio.NewWriterSize(w, 1<<16), report: r, next: firstTrack, comms: map[int]string{}}
	for _, c := range r.Calls {
		t.origin = max(t.origin, -c.Start)
	}
	if err := t.write(); err != nil {
		return fmt.Errorf("write the report as a trace: %w", err)
	}
	return nil
}

type traceWriter struct {
	w      *bufio.Writer
	report *Report
	origin time.Duration // what is added to every time, so that none is negative
	next   int           // the next number of a track
	comms  map[int]string
	begun  bool
	err    error
}

func (t *traceWriter) write() error {
	r := t.report
	fmt.Fprint(t.w, `{"displayTimeUnit":"ns","traceEvents":[`)
	t.processes()
	t.stages()
	t.calls()
	t.counter()
	other, err := json.Marshal(map[string]any{
		"what": r.What, "command": r.Command, "began": r.Began, "kernel": r.Kernel, "arch": r.Arch, "cpus": r.CPUs,
		"engine": r.Engine, "total_ns": r.Total, "frozen_ns": r.Frozen, "lost": r.Lost, "warnings": r.Warnings,
	})
	if t.err == nil {
		t.err = err
	}
	fmt.Fprintf(t.w, "\n],\"otherData\":%s}\n", other)
	if err := t.w.Flush(); err != nil {
		return err // it is the first one of all writes
	}
	return t.err
}

// event writes one event. What bufio can't write any more is Flush's error.
func (t *traceWriter) event(format string, args ...any) {
	if t.begun {
		t.w.WriteByte(',')
	}
	t.begun = true
	t.w.WriteByte('\n')
	fmt.Fprintf(t.w, format, args...)
}

// quote gives a name as JSON.
func (t *traceWriter) quote(s string) []byte {
	text, err := json.Marshal(s)
	if err != nil && t.err == nil {
		t.err = err
	}
	return text
}

func (t *traceWriter) meta(what string, pid, tid int, key string, value []byte) {
	t.event(`{"ph":"M","name":%q,"pid":%d,"tid":%d,"args":{%q:%s}}`, what, pid, tid, key, value)
}

// us writes a time of the report as µs. It is exact, which a float64 would not be after 104 days.
func (t *traceWriter) us(d time.Duration) string {
	return fmt.Sprintf("%d.%03d", d/1000, d%1000)
}

// processes names all processes: the whole tree, those that have stages, and those that only have calls.
func (t *traceWriter) processes() {
	r := t.report
	order := []int{0}
	add := func(pid int, comm string) {
		if _, known := t.comms[pid]; !known {
			t.comms[pid] = comm
			order = append(order, pid)
		}
	}
	t.comms[0] = "whole tree"
	for _, p := range r.Processes {
		add(p.PID, p.Comm)
	}
	for _, s := range r.Spans {
		add(s.PID, "")
	}
	for _, tid := range sortedTasks(r.Tasks) {
		add(int(r.Tasks[tid].PID), r.Tasks[tid].Comm)
	}
	for _, c := range r.Calls {
		add(r.processOf(c.TID), "")
	}
	for i, pid := range order {
		name := cmp.Or(t.comms[pid], fmt.Sprintf("process %d", pid))
		t.meta("process_name", tracePID(pid), 0, "name", t.quote(name))
		t.meta("process_sort_index", tracePID(pid), 0, "sort_index", fmt.Append(nil, i))
	}
}

// tracePID gives the number that stands for a process: viewers take 0 for the idle task.
func tracePID(pid int) int {
	if pid == 0 {
		return treeTrack
	}
	return pid
}

func sortedTasks(tasks map[uint32]Task) []uint32 {
	tids := make([]uint32, 0, len(tasks))
	for tid := range tasks {
		tids = append(tids, tid)
	}
	slices.Sort(tids)
	return tids
}

// lanes finds tracks on which slices nest. Slices must come in order of their start, longer ones first.
type lanes struct{ ends [][]time.Duration } // of each track, of the slices that are open

func (l *lanes) place(start, end time.Duration) int {
	for i := range l.ends {
		open := l.ends[i]
		for len(open) > 0 && open[len(open)-1] <= start {
			open = open[:len(open)-1]
		}
		l.ends[i] = open
		if len(open) == 0 || end <= open[len(open)-1] {
			l.ends[i] = append(open, end)
			return i
		}
	}
	l.ends = append(l.ends, []time.Duration{end})
	return len(l.ends) - 1
}

func (t *traceWriter) track(pid, tid int, name string, sort int) {
	t.meta("thread_name", tracePID(pid), tid, "name", t.quote(name))
	t.meta("thread_sort_index", tracePID(pid), tid, "sort_index", fmt.Append(nil, sort))
}

// stages writes the spans of stages.
func (t *traceWriter) stages() {
	spans := slices.Clone(t.report.Spans)
	slices.SortStableFunc(spans, func(a, b Span) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.Start, b.Start), cmp.Compare(b.Dur, a.Dur))
	})
	var l lanes
	var tracks []int
	for i, s := range spans {
		if i == 0 || spans[i-1].PID != s.PID {
			l, tracks = lanes{}, nil
		}
		lane := l.place(s.Start, s.Start+s.Dur)
		if lane == len(tracks) {
			name := "stages"
			if lane > 0 {
				name = fmt.Sprintf("stages (%d)", lane+1)
			}
			t.track(s.PID, t.next, name, -1000+lane)
			tracks = append(tracks, t.next)
			t.next++
		}
		t.event(`{"ph":"X","cat":"stage","name":%s,"pid":%d,"tid":%d,"ts":%s,"dur":%s}`,
			t.quote(s.Stage), tracePID(s.PID), tracks[lane], t.us(s.Start+t.origin), t.us(s.Dur))
	}
}

// calls writes all calls, thread by thread.
func (t *traceWriter) calls() {
	r := t.report
	labels, categories := make([][]byte, len(r.Probes)), make([]string, len(r.Probes))
	for i, p := range r.Probes {
		labels[i], categories[i] = t.quote(p.Label), "call"
		if p.Wait {
			categories[i] = "wait"
		}
	}
	stages := make([][]byte, len(r.Stages))
	for i, s := range r.Stages {
		stages[i] = t.quote(s.Name)
	}
	calls := slices.Clone(r.Calls)
	slices.SortStableFunc(calls, func(a, b Call) int {
		return cmp.Or(cmp.Compare(a.TID, b.TID), cmp.Compare(a.Start, b.Start), cmp.Compare(b.Dur, a.Dur), cmp.Compare(a.Depth, b.Depth))
	})
	var l lanes
	var tracks []int
	pid := 0
	for i, c := range calls {
		if int(c.Probe) >= len(labels) {
			continue
		}
		if i == 0 || calls[i-1].TID != c.TID {
			l, tracks = lanes{}, nil
			pid = r.processOf(c.TID)
		}
		lane := l.place(c.Start, c.Start+c.Dur)
		if lane == len(tracks) {
			tid, name := int(c.TID), cmp.Or(r.Tasks[c.TID].Comm, fmt.Sprintf("task %d", c.TID))
			if lane > 0 {
				tid, name = t.next, fmt.Sprintf("%s (%d)", name, lane+1)
				t.next++
			}
			t.track(pid, tid, name, i)
			tracks = append(tracks, tid)
		}
		args := ""
		if s := int(c.Stage); s >= 0 && s < len(stages) {
			args = `"stage":` + string(stages[s])
		}
		if c.Fail {
			if args != "" {
				args += ","
			}
			args += `"failed":true`
		}
		t.event(`{"ph":"X","cat":%q,"name":%s,"pid":%d,"tid":%d,"ts":%s,"dur":%s,"args":{%s}}`, categories[c.Probe], labels[c.Probe],
			tracePID(pid), tracks[lane], t.us(c.Start+t.origin), t.us(c.Dur), args)
	}
}

// processOf says which process a thread is of. One that nobody knows counts as a process.
func (r *Report) processOf(tid uint32) int {
	if task, known := r.Tasks[tid]; known {
		return int(task.PID)
	}
	return int(tid)
}

// counter writes how many tasks were in a probed function, whenever it changes.
func (t *traceWriter) counter() {
	type change struct {
		at time.Duration
		by int
	}
	var changes []change
	for _, c := range t.report.Calls {
		if c.Depth == 0 {
			changes = append(changes, change{c.Start, 1}, change{c.Start + c.Dur, -1})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.at, b.at) })
	n := 0
	for i, c := range changes {
		n += c.by
		if i+1 < len(changes) && changes[i+1].at == c.at {
			continue
		}
		t.event(`{"ph":"C","name":"tasks in probed functions","pid":%d,"tid":0,"ts":%s,"args":{"tasks":%d}}`, treeTrack, t.us(c.at+t.origin), n)
	}
}
