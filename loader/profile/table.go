// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/trapline/trapline/internal/columns"
	"github.com/trapline/trapline/probes"
)

// TableOptions say how much of a report WriteTable shows. The zero value is the whole tree, without the parts that are too small to
// matter.
type TableOptions struct {
	All       bool // every part, however small
	Processes bool // below, the stages of each process
}

// uretprobeCall is how a function that has a uretprobe returns, on kernels since 6.11: the cost of a stage map.
const uretprobeCall = "syscall:uretprobe"

// smallShare is the part of a stage below which parts are put together in one row.
const smallShare = 0.01

// WriteTable writes the report for people: stage × probe, in one Write. The rows of a stage's parts and its unexplained rest add up to
// the stage's row.
func (r *Report) WriteTable(w io.Writer, o TableOptions) error {
	var b strings.Builder
	r.writeHead(&b)
	r.writeStages(&b, r.Stages, r.Total, r.Outside, o)
	if o.Processes {
		for _, p := range r.Processes {
			name := "whole tree"
			if p.PID != 0 {
				name = strings.TrimSpace(fmt.Sprintf("pid %d %s", p.PID, columns.Printable(p.Comm)))
			}
			fmt.Fprintf(&b, "\n%s\n", name)
			r.writeStages(&b, p.Stages, r.Total, 0, o)
		}
	}
	for _, note := range r.notes() {
		fmt.Fprintf(&b, "%s\n", columns.Printable(note))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeHead is the line above the table.
func (r *Report) writeHead(b *strings.Builder) {
	own := 0 // processes, but for the whole tree
	for _, p := range r.Processes {
		if p.PID != 0 {
			own++
		}
	}
	title := r.What
	if first, _, _ := strings.Cut(r.What, " "); first != r.Engine {
		title += " by " + r.Engine
	}
	fmt.Fprintf(b, "%s: %s", columns.Printable(title), ns(r.Total))
	if r.Frozen > 0 {
		fmt.Fprintf(b, ", frozen %s", ns(r.Frozen))
	}
	switch {
	case own > 0 && r.StageMap != "": // those of the program; what it works on has no stages of its own
		fmt.Fprintf(b, ", stages in %d %s", own, plural(own, "process", "processes"))
	case own > 0:
		fmt.Fprintf(b, ", %d %s", own, plural(own, "process", "processes"))
	}
	fmt.Fprintf(b, ", %d %s of %d probes; Linux %s, %s\n", len(r.Calls), plural(len(r.Calls), "call", "calls"), len(r.Probes), r.Kernel, r.Arch)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

var (
	tableHeader = []string{"STAGE", "PROBE", "SELF", "SHARE", "CALLS", "TOTAL", "P50", "P99", "MAX", "ERRORS", ""}
	tableRight  = "llrrrrrrrrl"
)

// writeStages writes the table. total is what shares of stages are of.
func (r *Report) writeStages(b *strings.Builder, stages []Stage, total, outside time.Duration, o TableOptions) {
	var rows [][]string
	for i := range stages {
		s := &stages[i]
		note := ""
		if s.Slowest != 0 {
			note = fmt.Sprintf("slowest of %d: %s, %s", s.N, r.process(s.Slowest), ns(s.SlowestWall))
		}
		rows = append(rows, []string{columns.Printable(s.Name), "", ns(s.Wall), ofWhole(s.Wall, total), "", "", "", "", "", "", note})
		rows = append(rows, r.parts(s, o)...)
		if s.Unexplained > 0 {
			rows = append(rows, []string{"", "(unexplained)", ns(s.Unexplained), ofWhole(s.Unexplained, s.Wall)})
		}
	}
	if outside > 0 {
		rows = append(rows, []string{"(no stage)", "", ns(outside), ofWhole(outside, total)})
	}
	columns.Write(b, tableHeader, tableRight, rows)
}

// parts are the rows of one stage.
func (r *Report) parts(s *Stage, o TableOptions) [][]string {
	var rows [][]string
	var rest Part
	more := 0
	for _, p := range s.Parts {
		if !o.All && p.Share < smallShare {
			rest.Self, rest.Calls, rest.Total, rest.Errors = rest.Self+p.Self, rest.Calls+p.Calls, rest.Total+p.Total, rest.Errors+p.Errors
			rest.Max = max(rest.Max, p.Max)
			more++
			continue
		}
		note := ""
		switch {
		case p.Probe < len(r.Probes) && r.Probes[p.Probe].Wait:
			note = "waits"
		case bare(p.Label) == uretprobeCall:
			note = "the profiler's own"
		}
		row := []string{"", columns.Printable(p.Label), ns(p.Self), percent(p.Share), count(p.Calls), "", "", "", "", nonzero(p.Errors), note}
		if p.Calls > 0 {
			row[5], row[6], row[7], row[8] = ns(p.Total), ns(p.P50), ns(p.P99), ns(p.Max)
		}
		rows = append(rows, row)
	}
	if more > 0 {
		rows = append(rows, []string{
			"", fmt.Sprintf("(%d smaller)", more), ns(rest.Self), ofWhole(rest.Self, s.Wall), count(rest.Calls), ns(rest.Total), "", "", ns(rest.Max), nonzero(rest.Errors),
		})
	}
	return rows
}

// process names a process.
func (r *Report) process(pid int) string {
	for _, p := range r.Processes {
		if p.PID == pid && p.Comm != "" {
			return fmt.Sprintf("pid %d (%s)", pid, columns.Printable(p.Comm))
		}
	}
	return fmt.Sprintf("pid %d", pid)
}

// notes are the lines below the table: what it lacks.
func (r *Report) notes() []string {
	notes := append([]string(nil), r.Warnings...)
	if r.Lost.Any() {
		notes = append(notes, fmt.Sprintf("incomplete: %d calls found the event ring full, %d hits were missed by the kernel, %d were beyond what a report keeps; parts are too small by them, and unexplained rests too large",
			r.Lost.Dropped, r.Lost.Missed, r.Lost.Beyond))
	}
	return notes
}

// ns writes a time; none is a dash.
func ns(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return probes.FormatNS(float64(d))
}

func ofWhole(part, of time.Duration) string {
	if of == 0 {
		return "-"
	}
	return percent(float64(part) / float64(of))
}

func percent(f float64) string { return fmt.Sprintf("%.1f%%", 100*f) }

func count(n uint64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func nonzero(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
