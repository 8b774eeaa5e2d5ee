// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrNoReports is the error of [CompareRuns] when a side has no report.
var ErrNoReports = errors.New("no report to compare")

// A Verdict says what a difference is.
type Verdict string

// Verdicts. Less and More are of B against A.
const (
	Noise Verdict = "noise" // no difference that these runs could prove
	Less  Verdict = "less"
	More  Verdict = "more"
	OnlyA Verdict = "only_a" // B has no such stage or part
	OnlyB Verdict = "only_b"
)

// A Comparison is what differs between two sides, A and B, of one or several reports each. Times are in ns; those of a side of several
// runs are medians.
type Comparison struct {
	A        Side         `json:"a"`
	B        Side         `json:"b"`
	Method   Method       `json:"method"`
	Total    Delta        `json:"total"`
	Frozen   *Delta       `json:"frozen,omitempty"` // if either side knows it
	Stages   []StageDelta `json:"stages"`           // in their order; also those that only one side has
	Warnings []string     `json:"warnings,omitempty"`
}

// A Side is where the figures of A or B come from.
type Side struct {
	What    string    `json:"what"`
	Engine  string    `json:"engine"`
	Command []string  `json:"command,omitempty"` // of the first run, as are the others
	Kernel  string    `json:"kernel"`
	Arch    string    `json:"arch"`
	Began   time.Time `json:"began"`
	Runs    int       `json:"runs"`
}

// A Delta is a time on both sides.
type Delta struct {
	A       float64  `json:"a_ns"`
	B       float64  `json:"b_ns"`
	Diff    float64  `json:"diff_ns"`            // B − A
	Percent *float64 `json:"percent,omitempty"`  // of A; nil if A is 0
	Error   *float64 `json:"error_ns,omitempty"` // by method within: differences up to it count as noise
	P       *float64 `json:"p,omitempty"`        // of the methods by runs: how likely chance alone makes such a difference
	Verdict Verdict  `json:"verdict"`
}

// A StageDelta is a stage on both sides.
type StageDelta struct {
	Name        string      `json:"name"`
	Wall        Delta       `json:"wall"`
	Unexplained Delta       `json:"unexplained"`
	Parts       []PartDelta `json:"parts"` // the largest difference first
}

// A PartDelta is one probe's part of a stage on both sides.
type PartDelta struct {
	Label string     `json:"label"`
	Self  Delta      `json:"self"`
	Calls CallsDelta `json:"calls"`
}

// A CallsDelta is a number of calls on both sides. It is counted, not measured, so of one run a side every difference is one.
type CallsDelta struct {
	A       float64 `json:"a"` // the median, of several runs
	B       float64 `json:"b"`
	Verdict Verdict `json:"verdict"` // of several runs a side it is Noise unless all of one side have more than all of the other
}

// Compare compares two reports, stage by stage, and within a stage probe by probe; both go by their names. The reports may be of
// different engines. How it is decided what is noise says [Method].
func Compare(a, b *Report) *Comparison {
	c, err := CompareRuns([]*Report{a}, []*Report{b})
	if err != nil { // there are reports
		return &Comparison{Warnings: []string{err.Error()}}
	}
	return c
}

// CompareRuns compares two sides of one or more reports of the same operation each. The only error is [ErrNoReports].
func CompareRuns(a, b []*Report) (*Comparison, error) {
	for i, side := range [][]*Report{a, b} {
		if len(side) == 0 || slices.Contains(side, nil) {
			return nil, fmt.Errorf("%w: on side %c", ErrNoReports, 'A'+i)
		}
	}
	c := &Comparison{A: sideOf(a), B: sideOf(b), Method: methodFor(len(a), len(b))}
	c.Total = c.delta(totals(a), totals(b))
	frozenA, frozenB := frozen(a), frozen(b)
	if frozenA.any() || frozenB.any() {
		d := c.delta(frozenA, frozenB)
		c.Frozen = &d
	}
	var names [][]string
	for _, r := range slices.Concat(a, b) {
		list := make([]string, len(r.Stages))
		for i := range r.Stages {
			list[i] = r.Stages[i].Name
		}
		names = append(names, list)
	}
	for _, name := range mergeOrders(names) {
		c.Stages = append(c.Stages, c.stage(name, stagesNamed(a, name), stagesNamed(b, name)))
	}
	c.warn("A", a)
	c.warn("B", b)
	c.warnProbes(a, b)
	return c, nil
}

func sideOf(runs []*Report) Side {
	r := runs[0]
	return Side{r.What, r.Engine, r.Command, r.Kernel, r.Arch, r.Began, len(runs)}
}

// mergeOrders puts all names into one order: that of the first list, and each that it does not have behind the one that it follows.
func mergeOrders(lists [][]string) []string {
	var order []string
	for _, list := range lists {
		at := 0
		for _, name := range list {
			if i := slices.Index(order, name); i >= 0 {
				at = i + 1
				continue
			}
			order = slices.Insert(order, at, name)
			at++
		}
	}
	return order
}

// stagesNamed gives the stage of each run, nil where a run has none.
func stagesNamed(runs []*Report, name string) []*Stage {
	stages := make([]*Stage, len(runs))
	for i, r := range runs {
		for j := range r.Stages {
			if r.Stages[j].Name == name {
				stages[i] = &r.Stages[j]
			}
		}
	}
	return stages
}

func (c *Comparison) stage(name string, a, b []*Stage) StageDelta {
	s := StageDelta{
		Name: name, Wall: c.delta(walls(a), walls(b)), Unexplained: c.delta(unexplained(a), unexplained(b)),
	}
	var labels [][]string
	for _, stage := range slices.Concat(a, b) {
		if stage == nil {
			continue
		}
		list := make([]string, len(stage.Parts))
		for i := range stage.Parts {
			list[i] = stage.Parts[i].Label
		}
		labels = append(labels, list)
	}
	for _, label := range mergeOrders(labels) {
		ofA, ofB := partsLabelled(a, label), partsLabelled(b, label)
		s.Parts = append(s.Parts, PartDelta{label, c.delta(selves(ofA), selves(ofB)), callsDelta(ofA, ofB)})
	}
	slices.SortStableFunc(s.Parts, func(x, y PartDelta) int { return compareSize(y.Self.Diff, x.Self.Diff) })
	return s
}

// partsLabelled gives the part of each run, nil where a run has none.
func partsLabelled(stages []*Stage, label string) []*Part {
	parts := make([]*Part, len(stages))
	for i, s := range stages {
		if s == nil {
			continue
		}
		for j := range s.Parts {
			if s.Parts[j].Label == label {
				parts[i] = &s.Parts[j]
			}
		}
	}
	return parts
}

// warn says what of a side makes its figures doubtful.
func (c *Comparison) warn(side string, runs []*Report) {
	for i, r := range runs {
		if r.Lost.Any() {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s, run %d: %d events dropped, %d hits missed, %d calls not kept: its parts are too small, its unexplained rests too large",
				side, i+1, r.Lost.Dropped, r.Lost.Missed, r.Lost.Beyond))
		}
		if first := runs[0]; r.What != first.What || r.Engine != first.Engine || r.Kernel != first.Kernel || r.Arch != first.Arch {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s: run %d is %s by %s on Linux %s, %s, and not what run 1 is: the spread between them is no noise",
				side, i+1, r.What, r.Engine, r.Kernel, r.Arch))
		}
	}
}

// warnProbes names the probes that only one side has: the same work is in a part on one side and unexplained on the other.
func (c *Comparison) warnProbes(a, b []*Report) {
	placed := func(runs []*Report) map[string]bool {
		labels := map[string]bool{}
		for _, r := range runs {
			for _, p := range r.Probes {
				labels[p.Label] = true
			}
		}
		return labels
	}
	inA, inB := placed(a), placed(b)
	for _, only := range []struct {
		side, other string
		has, misses map[string]bool
	}{{"A", "B", inA, inB}, {"B", "A", inB, inA}} {
		var labels []string
		for label := range only.has {
			if !only.misses[label] {
				labels = append(labels, label)
			}
		}
		if len(labels) > 0 {
			slices.Sort(labels)
			const named = 5
			if more := len(labels) - named; more > 1 {
				labels = append(labels[:named], fmt.Sprintf("%d more", more))
			}
			c.Warnings = append(c.Warnings, fmt.Sprintf("only %s has probes on %s: what they explain there is in other parts or unexplained in %s",
				only.side, strings.Join(labels, ", "), only.other))
		}
	}
}
