// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNilTimeline(t *testing.T) {
	var tl *Timeline
	n := testing.AllocsPerRun(100, func() {
		tl.Freeze()
		s := tl.Begin(Pages, 1)
		s.Add(Counts{Pages: 1})
		s.Progress(1, 2)
		s.End()
		tl.Thaw()
		tl.Listen(nil)
	})
	if n != 0 {
		t.Errorf("a nil timeline allocates %v times, want 0", n)
	}
	if r := tl.Report(); len(r.Stages) != 0 || tl.Frozen() != 0 {
		t.Errorf("a nil timeline reports %+v", r)
	}
}

func TestReport(t *testing.T) {
	tl := New(Dump)
	var evs []Event
	tl.Listen(func(e Event) { evs = append(evs, e) })
	tl.Freeze()
	for _, pid := range []int{7, 8} {
		s := tl.Begin(Pages, pid)
		s.Add(Counts{Pages: 2, Bytes: 8192, Calls: 1})
		s.Progress(8192, 8192)
		s.End()
		s.End()
	}
	tl.Begin(Finish, 0).End()
	tl.Thaw()
	tl.Thaw()

	r := tl.Report()
	if got := r.Of(Pages); got.N != 2 || got.Pages != 4 || got.Bytes != 16384 || got.Calls != 2 {
		t.Errorf("pages row: %+v", got)
	}
	if len(r.Stages) != 2 || r.Stages[0].Stage != Pages || r.Stages[1].Stage != Finish {
		t.Errorf("stages: %+v", r.Stages)
	}
	if r.Frozen <= 0 || r.Frozen != tl.Frozen() {
		t.Errorf("frozen %v, then %v: want one fixed time", r.Frozen, tl.Frozen())
	}
	var kinds []EventKind
	for _, e := range evs {
		kinds = append(kinds, e.Kind)
	}
	want := []EventKind{Froze, Began, Progress, Ended, Began, Progress, Ended, Began, Ended, Thawed}
	if len(kinds) != len(want) {
		t.Fatalf("events %v, want %v", kinds, want)
	}
	for i := range want {
		if kinds[i] != want[i] {
			t.Fatalf("events %v, want %v", kinds, want)
		}
	}

	var sb strings.Builder
	if err := tl.WriteTable(&sb); err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"pages", "finish", "total", "frozen", "7 pages", "8 pages"} {
		if !strings.Contains(sb.String(), w) {
			t.Errorf("table has no %q:\n%s", w, sb.String())
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil || back.Of(Pages) != r.Of(Pages) {
		t.Errorf("JSON: %v, %+v", err, back)
	}
}

// TestNested has a stage of the whole tree with spans of processes within it: time and counts are there once.
func TestNested(t *testing.T) {
	const ms = time.Millisecond
	r := Report{Op: Restore, Total: 100 * ms, Records: []Record{
		{Stage: Load, Start: 0, Dur: 10 * ms},
		{Stage: Pages, Start: 10 * ms, Dur: 50 * ms, Counts: Counts{Calls: 1}},
		{Stage: Pages, PID: 7, Start: 11 * ms, Dur: 20 * ms, Counts: Counts{Pages: 2, Bytes: 8192, Calls: 3}},
		{Stage: Pages, PID: 8, Start: 31 * ms, Dur: 20 * ms, Counts: Counts{Pages: 1, Bytes: 4096, Calls: 2}},
		// two parts of a stage, and two at once
		{Stage: Files, PID: 7, Start: 60 * ms, Dur: 5 * ms},
		{Stage: Files, PID: 8, Start: 70 * ms, Dur: 5 * ms},
		{Stage: Files, PID: 7, Start: 72 * ms, Dur: 8 * ms},
		{Stage: State, PID: 7, Start: 80 * ms, Dur: -1},
	}}
	r.Stages = r.rows(func(*Record) bool { return true })
	want := []Row{
		{Stage: Load, Dur: 10 * ms, N: 1},
		{Stage: Files, Start: 60 * ms, Dur: 15 * ms, N: 2},
		{Stage: Pages, Start: 10 * ms, Dur: 50 * ms, N: 2, Counts: Counts{Pages: 3, Bytes: 12288, Calls: 6}},
		{Stage: State, Start: 80 * ms, N: 1},
	}
	if !slices.Equal(r.Stages, want) {
		t.Errorf("rows:\n%+v, want\n%+v", r.Stages, want)
	}
	want = []Row{
		{Stage: Files, Start: 60 * ms, Dur: 13 * ms, N: 1},
		{Stage: Pages, Start: 11 * ms, Dur: 20 * ms, N: 1, Counts: Counts{Pages: 2, Bytes: 8192, Calls: 3}},
		{Stage: State, Start: 80 * ms, N: 1},
	}
	if got := r.Process(7); !slices.Equal(got, want) {
		t.Errorf("rows of 7:\n%+v, want\n%+v", got, want)
	}
	var w countingWriter
	if err := r.WriteTable(&w); err != nil || w.writes != 1 {
		t.Errorf("the table took %d writes (%v), want 1", w.writes, err)
	}
	// A stage a process: the two parts of files are one line.
	if n := strings.Count(w.String(), "7 files"); n != 1 {
		t.Errorf("%d lines of 7 files, want 1:\n%s", n, w.String())
	}
}

type countingWriter struct {
	strings.Builder
	writes int
}

func (w *countingWriter) Write(b []byte) (int, error) {
	w.writes++
	return w.Builder.Write(b)
}

func TestNamesAreUnique(t *testing.T) {
	for _, op := range []Op{Dump, Restore} {
		seen := map[Name]bool{}
		for _, i := range Of(op) {
			if seen[i.Name] || i.What == "" || i.CRIU == "" {
				t.Errorf("%s: stage %+v is doubled or incomplete", op, i)
			}
			seen[i.Name] = true
		}
	}
}
