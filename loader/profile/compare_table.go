// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/trapline/trapline/internal/columns"
	"github.com/trapline/trapline/probes"
)

// WriteJSON writes the comparison as one line of JSON.
func (c *Comparison) WriteJSON(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(c); err != nil {
		return fmt.Errorf("write the comparison as JSON: %w", err)
	}
	return nil
}

var (
	compareHeader = []string{"STAGE", "PROBE", "A", "B", "B−A", "%", "NOISE", "CALLS A", "CALLS B", ""}
	compareRight  = "llrrrrrrrl"
)

// labelWidth is the most characters of a probe in the table.
const labelWidth = 48

// WriteTable writes the comparison for people, in one Write: a row a stage, and below it its parts, those with the largest difference
// first. Parts of less than 1 % of their stage are put together in one row, unless they got faster or slower. The column NOISE has the
// largest difference that would still count as noise, or p.
func (c *Comparison) WriteTable(w io.Writer) error {
	var b strings.Builder
	c.A.describe(&b, "A")
	c.B.describe(&b, "B")
	rows := [][]string{c.Total.row("total", "", nil)}
	if c.Frozen != nil {
		rows = append(rows, c.Frozen.row("frozen", "", nil))
	}
	for i := range c.Stages {
		rows = append(rows, c.Stages[i].rows()...)
	}
	columns.Write(&b, compareHeader, compareRight, rows)
	fmt.Fprintf(&b, "%s\n", c.Method.describe())
	for _, warning := range c.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", columns.Printable(warning))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the comparison: %w", err)
	}
	return nil
}

func (s *Side) describe(b *strings.Builder, name string) {
	runs := "1 run"
	if s.Runs > 1 {
		runs = fmt.Sprintf("%d runs, medians", s.Runs)
	}
	fmt.Fprintf(b, "%s  %s by %s, %s; Linux %s, %s; %s\n", name, columns.Printable(s.What), columns.Printable(s.Engine), runs,
		columns.Printable(s.Kernel), columns.Printable(s.Arch), s.Began.Format(time.DateTime))
}

func (m Method) describe() string {
	switch m {
	case UTest:
		return "noise: p of the U test between the runs is 0.05 or more, or the difference below 1 %"
	case Welch:
		return "noise: p of Welch's t test between the runs is 0.05 or more, or the difference below 1 %; four runs a side would need no assumption"
	}
	return "noise: the difference is within the 95 % error of the calls and 5 % of the times; what moves a whole run only more runs can tell"
}

func (s *StageDelta) rows() [][]string {
	rows := [][]string{s.Wall.row(s.Name, "", nil)}
	hidden, hiddenA, hiddenB := 0, 0.0, 0.0
	for i := range s.Parts {
		p := &s.Parts[i]
		if p.Self.Verdict != Less && p.Self.Verdict != More && p.Self.A <= tooSmall*s.Wall.A && p.Self.B <= tooSmall*s.Wall.B {
			hidden++
			hiddenA += p.Self.A
			hiddenB += p.Self.B
			continue
		}
		rows = append(rows, p.Self.row("", p.Label, &p.Calls))
	}
	if hidden > 0 {
		rows = append(rows, []string{
			"", fmt.Sprintf("(%d small)", hidden), probes.FormatNS(hiddenA), probes.FormatNS(hiddenB), signed(hiddenB - hiddenA),
		})
	}
	if s.Unexplained.A != 0 || s.Unexplained.B != 0 {
		rows = append(rows, s.Unexplained.row("", frameUnexplained, nil))
	}
	return rows
}

// tenfold is ten times A, in percent more than it: from there on a factor says more.
const tenfold = 900

func (d *Delta) row(stage, probe string, calls *CallsDelta) []string {
	row := []string{columns.Printable(stage), columns.CutMiddle(columns.Printable(probe), labelWidth), probes.FormatNS(d.A), probes.FormatNS(d.B), signed(d.Diff), "", "", "", "", ""}
	switch {
	case d.Verdict == OnlyA:
		row[3] = ""
	case d.Verdict == OnlyB:
		row[2] = ""
	case d.Percent != nil && *d.Percent >= tenfold:
		row[5] = fmt.Sprintf("×%.0f", d.B/d.A)
	case d.Percent != nil:
		row[5] = fmt.Sprintf("%+.1f", *d.Percent)
	}
	if d.Error != nil {
		row[6] = "±" + probes.FormatNS(*d.Error)
	} else if d.P != nil {
		row[6] = fmt.Sprintf("p=%.3f", *d.P)
	}
	row[9] = d.Verdict.word()
	if calls != nil {
		row[7], row[8] = number64(calls.A), number64(calls.B)
		if calls.Verdict == Less || calls.Verdict == More {
			row[9] += ", calls differ"
		}
	}
	return row
}

// word is a verdict on a time, for people.
func (v Verdict) word() string {
	switch v {
	case Less:
		return "faster"
	case More:
		return "slower"
	case OnlyA:
		return "only A"
	case OnlyB:
		return "only B"
	}
	return "noise"
}

func signed(ns float64) string {
	if ns > 0 {
		return "+" + probes.FormatNS(math.Round(ns))
	}
	return probes.FormatNS(math.Round(ns))
}

// number64 writes a number of calls: a whole one, or the middle of two.
func number64(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
