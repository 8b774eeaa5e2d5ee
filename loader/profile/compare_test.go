// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func stageDelta(t *testing.T, c *Comparison, name string) *StageDelta {
	t.Helper()
	for i := range c.Stages {
		if c.Stages[i].Name == name {
			return &c.Stages[i]
		}
	}
	t.Fatalf("no stage %q in the comparison", name)
	return nil
}

func partDelta(t *testing.T, s *StageDelta, label string) *PartDelta {
	t.Helper()
	for i := range s.Parts {
		if s.Parts[i].Label == label {
			return &s.Parts[i]
		}
	}
	t.Fatalf("no part %q in stage %q", label, s.Name)
	return nil
}

func TestCompareFindsWhatIsSlower(t *testing.T) {
	a, b := syntheticReport(6, 20000, 1, 1), syntheticReport(6, 20000, 1, 1)
	pages := slices.IndexFunc(b.Stages, func(s Stage) bool { return s.Name == "pages" })
	scan := slices.IndexFunc(b.Stages[pages].Parts, func(p Part) bool { return p.Label == "pagemap_scan" })
	part := &b.Stages[pages].Parts[scan]
	more := part.Self / 2
	part.Self += more
	part.Total += more
	part.Calls += 5
	b.Stages[pages].Wall += more
	b.Total += more
	c := Compare(a, b)
	if c.Method != Within || c.A.Runs != 1 {
		t.Errorf("the method is %q, with %d runs", c.Method, c.A.Runs)
	}
	s := stageDelta(t, c, "pages")
	p := s.Parts[0]
	if p.Label != "pagemap_scan" || p.Self.Verdict != More || p.Self.Diff != float64(more) || p.Calls.Verdict != More {
		t.Errorf("the part with the largest difference is %+v; expected pagemap_scan with %v more and more calls", p, more)
	}
	if p.Self.Percent == nil || math.Abs(*p.Self.Percent-50) > 0.1 {
		t.Errorf("it is %v %% more; expected 50", p.Self.Percent)
	}
	if s.Wall.Diff != float64(more) {
		t.Errorf("the stage takes %v more; expected %v", s.Wall.Diff, more)
	}
	for _, s := range c.Stages {
		for _, p := range s.Parts {
			if p.Label != "pagemap_scan" && (p.Self.Verdict != Noise || p.Calls.Verdict != Noise) {
				t.Errorf("%s, %s: equal on both sides, and the verdicts are %s and %s", s.Name, p.Label, p.Self.Verdict, p.Calls.Verdict)
			}
		}
	}
}

// Runs that differ by chance only: nearly all is noise. Twice the time: nearly nothing is.
func TestCompareTellsNoise(t *testing.T) {
	runs := func(n int, scale float64, seed uint64) []*Report {
		var all []*Report
		for i := range n {
			all = append(all, syntheticReport(3, 6000, scale, seed+uint64(i)))
		}
		return all
	}
	verdicts := func(c *Comparison) (noise, all int) {
		for _, s := range c.Stages {
			for _, p := range s.Parts {
				all++
				if p.Self.Verdict == Noise {
					noise++
				}
			}
		}
		return noise, all
	}
	for _, k := range []struct {
		runs   int
		method Method
		most   float64 // of parts that may differ by chance
		total  bool    // whether the total's verdict is sure
	}{{1, Within, 0.25, true}, {3, Welch, 0.12, true}, {6, UTest, 0.12, true}} {
		same, err := CompareRuns(runs(k.runs, 1, 1), runs(k.runs, 1, 100))
		if err != nil {
			t.Fatal(err)
		}
		if same.Method != k.method {
			t.Errorf("%d runs: the method is %q, expected %q", k.runs, same.Method, k.method)
		}
		noise, all := verdicts(same)
		t.Logf("%d runs of the same: %d of %d parts are noise", k.runs, noise, all)
		if float64(all-noise) > k.most*float64(all) {
			t.Errorf("%d runs of the same: only %d of %d parts are called noise", k.runs, noise, all)
		}
		twice, err := CompareRuns(runs(k.runs, 1, 1), runs(k.runs, 2, 100))
		if err != nil {
			t.Fatal(err)
		}
		if twice.Total.Verdict != More {
			t.Errorf("%d runs, twice the time: the total is %+v", k.runs, twice.Total)
		}
		noise, all = verdicts(twice)
		t.Logf("%d runs of twice the time: %d of %d parts are noise", k.runs, noise, all)
		if float64(noise) > 0.3*float64(all) {
			t.Errorf("%d runs of twice the time: %d of %d parts are called noise", k.runs, noise, all)
		}
	}
}

func TestCompareOneSidedStages(t *testing.T) {
	part := Part{Label: "p", Self: 50, Total: 50, Calls: 5}
	a := &Report{
		Engine: "trapline", Total: 300, Probes: []Probe{{Label: "p"}, {Label: "q"}},
		Stages: []Stage{{Name: "freeze", Wall: 100, Unexplained: 50, Parts: []Part{part}}, {Name: "pages", Wall: 100, Unexplained: 100}, {Name: "cure", Wall: 100}, {Name: "fs", Wall: 10}},
	}
	b := &Report{
		Engine: "criu", Total: 300, Frozen: 20, Probes: []Probe{{Label: "p"}},
		Stages: []Stage{{Name: "freeze", Wall: 100}, {Name: "collect", Wall: 100}, {Name: "cure", Wall: 0}, {Name: "own", Wall: 5}, {Name: "fs", Wall: 300}},
		Lost:   Lost{Dropped: 4},
	}
	c := Compare(a, b)
	var names []string
	for _, s := range c.Stages {
		names = append(names, s.Name+" "+string(s.Wall.Verdict))
	}
	if got, expected := strings.Join(names, ", "), "freeze noise, collect only_b, pages only_a, cure less, own only_b, fs more"; got != expected {
		t.Errorf("the stages are %s; expected %s", got, expected)
	}
	if p := partDelta(t, stageDelta(t, c, "freeze"), "p"); p.Self.Verdict != OnlyA || p.Calls.Verdict != OnlyA {
		t.Errorf("the part that only A has is %+v", p)
	}
	if c.Frozen == nil || c.Frozen.Verdict != OnlyB || c.Frozen.Percent != nil {
		t.Errorf("frozen is %+v; expected it only in B, with no percentage", c.Frozen)
	}
	warnings := strings.Join(c.Warnings, "\n")
	for _, expected := range []string{"only A has probes on q", "B, run 1: 4 events dropped"} {
		if !strings.Contains(warnings, expected) {
			t.Errorf("no warning says %q:\n%s", expected, warnings)
		}
	}
	var table bytes.Buffer
	if err := c.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, expected := range []string{"only A", "only B", "faster", "by criu", "×30", "warning: only A has probes"} {
		if !strings.Contains(table.String(), expected) {
			t.Errorf("the table does not say %q:\n%s", expected, table.String())
		}
	}
}

func TestCompareTable(t *testing.T) {
	a, b := syntheticReport(6, 20000, 1, 1), syntheticReport(6, 20000, 1.2, 2)
	c := Compare(a, b)
	var table, text bytes.Buffer
	if err := errors.Join(c.WriteTable(&table), c.WriteJSON(&text)); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", table.String())
	if strings.ContainsAny(table.String(), "\x1b\u2028") {
		t.Error("the table has control characters of a name in it")
	}
	var back Comparison
	if err := json.Unmarshal(text.Bytes(), &back); err != nil || len(back.Stages) != len(a.Stages) || back.Total.B != float64(b.Total) {
		t.Errorf("the JSON does not have the comparison: %v", err)
	}
	for _, err := range []error{c.WriteTable(&failingWriter{10}), c.WriteJSON(&failingWriter{10})} {
		if !errors.Is(err, errFull) {
			t.Errorf("no room: the error is %v", err)
		}
	}
}

// One call that writes nearly everything, and some that write little: the spread of such calls is no noise.
func TestCompareCallsOfDifferentSizes(t *testing.T) {
	run := func(large time.Duration) *Report {
		p := Part{Label: "pwritev", Self: large + 8, Total: large + 8, Calls: 9, StdDev: float64(large) / 3}
		return &Report{Total: p.Self, Probes: []Probe{{Label: p.Label}}, Stages: []Stage{{Name: "pages", Wall: p.Self, Parts: []Part{p}}}}
	}
	if c := Compare(run(1e9), run(2e8)); c.Total.Verdict != Less || c.Stages[0].Parts[0].Self.Verdict != Less {
		t.Errorf("a fifth of the time is %+v", c.Total)
	}
	if c := Compare(run(1e9), run(8e8)); c.Total.Verdict != Noise {
		t.Errorf("four fifths of the time are %+v", c.Total)
	}
}

func TestCompareRunsNeedsReports(t *testing.T) {
	r := &Report{}
	for _, sides := range [][2][]*Report{{nil, {r}}, {{r}, nil}, {{r}, {r, nil}}} {
		if _, err := CompareRuns(sides[0], sides[1]); !errors.Is(err, ErrNoReports) {
			t.Errorf("%v: the error is %v, expected ErrNoReports", sides, err)
		}
	}
	if c, err := CompareRuns([]*Report{r}, []*Report{r}); err != nil || c.Total.Verdict != Noise {
		t.Errorf("empty reports: %v, %v", c, err)
	}
}

// Runs that all take exactly as long have no spread; the t test must not be asked.
func TestCompareConstantRuns(t *testing.T) {
	run := func(total time.Duration) *Report { return &Report{Total: total} }
	c, err := CompareRuns([]*Report{run(100), run(100)}, []*Report{run(150), run(150)})
	if err != nil || c.Total.Verdict != More {
		t.Errorf("100 ns twice and 150 ns twice: %+v, %v", c.Total, err)
	}
	c, err = CompareRuns([]*Report{run(100), run(100)}, []*Report{run(100), run(100)})
	if err != nil || c.Total.Verdict != Noise {
		t.Errorf("100 ns four times: %+v, %v", c.Total, err)
	}
}
