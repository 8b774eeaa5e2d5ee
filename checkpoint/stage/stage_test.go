// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"encoding/json"
	"strings"
	"testing"
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
