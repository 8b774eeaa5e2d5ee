// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"bytes"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Row is a stage over all processes, or over one.
type Row struct {
	Stage Name          `json:"stage"`
	Start time.Duration `json:"start_ns"` // of the first record, ns
	Dur   time.Duration `json:"dur_ns"`   // wall time in which the stage was at work, ns: what runs at once or one within the other counts once
	N     int           `json:"n"`        // in how many processes the stage ran; 1 for one that is only of the whole tree
	Counts
}

// Report is a timeline as data; it marshals to JSON.
type Report struct {
	Op      Op            `json:"op"`
	Total   time.Duration `json:"total_ns"`  // from the start to the end of the last stage, ns
	Frozen  time.Duration `json:"frozen_ns"` // ns
	Stages  []Row         `json:"stages"`    // in the order of [Of]; stages that did not run are left out
	Records []Record      `json:"records"`   // each stage of each process, in order of their start
}

// Report returns what has been recorded so far. A nil Timeline gives an empty report.
func (t *Timeline) Report() Report {
	if t == nil {
		return Report{}
	}
	frozen := t.Frozen()
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Report{Op: t.op, Total: t.end, Frozen: frozen, Records: append([]Record(nil), t.recs...)}
	r.Stages = r.rows(func(*Record) bool { return true })
	return r
}

// Process returns the stages of one process, in the order of [Of].
func (r Report) Process(pid int) []Row {
	return r.rows(func(rec *Record) bool { return rec.PID == pid })
}

// rows sums the chosen records up, a row a stage.
func (r Report) rows(choose func(*Record) bool) []Row {
	type sum struct {
		Row
		end  time.Duration // of what has been added
		pids map[int]bool
	}
	sums := map[Name]*sum{}
	for i := range r.Records { // in order of their start
		rec := &r.Records[i]
		if !choose(rec) {
			continue
		}
		s := sums[rec.Stage]
		if s == nil {
			s = &sum{Row: Row{Stage: rec.Stage, Start: rec.Start}, end: rec.Start, pids: map[int]bool{}}
			sums[rec.Stage] = s
		}
		end := rec.Start + max(rec.Dur, 0)
		s.Dur += max(end-max(rec.Start, s.end), 0)
		s.end = max(s.end, end)
		if rec.PID != 0 {
			s.pids[rec.PID] = true
		}
		s.add(rec.Counts)
	}
	var rows []Row
	for _, info := range Of(r.Op) {
		if s := sums[info.Name]; s != nil {
			s.N = max(len(s.pids), 1)
			rows = append(rows, s.Row)
		}
	}
	return rows
}

// Of returns the total time and counts of one stage.
func (r Report) Of(n Name) Row {
	for _, row := range r.Stages {
		if row.Stage == n {
			return row
		}
	}
	return Row{Stage: n}
}

// WriteTable prints the report for a reader: a line a stage, the frozen time on its own line, and with more than one
// process the stages of each process below.
func (t *Timeline) WriteTable(w io.Writer) error {
	return t.Report().WriteTable(w)
}

// WriteTable prints the report; see [Timeline.WriteTable].
func (r Report) WriteTable(w io.Writer) error {
	var all bytes.Buffer // a tabwriter writes cell by cell
	tw := tabwriter.NewWriter(&all, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "stage\tstart ms\tms\t%\tpages\tbytes\tcalls\t")
	line := func(name string, start, dur time.Duration, c Counts) {
		pct := 0.0
		if r.Total > 0 {
			pct = 100 * float64(dur) / float64(r.Total)
		}
		fmt.Fprintf(tw, "%s\t%.3f\t%.3f\t%.1f\t%s\t%s\t%s\t\n", name, ms(start), ms(dur), pct, num(c.Pages), num(c.Bytes), num(c.Calls))
	}
	var sum Counts
	for _, row := range r.Stages {
		line(string(row.Stage), row.Start, row.Dur, row.Counts)
		sum.add(row.Counts)
	}
	line("total", 0, r.Total, sum)
	if r.Op == Dump {
		line("frozen", r.Total-r.Frozen, r.Frozen, Counts{})
	}
	if pids := r.pids(); len(pids) > 1 {
		for _, pid := range pids {
			for _, row := range r.Process(pid) {
				line(fmt.Sprintf("%d %s", pid, row.Stage), row.Start, row.Dur, row.Counts)
			}
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := w.Write(all.Bytes())
	return err
}

// pids returns the processes of the records in order of their appearance.
func (r Report) pids() []int {
	var pids []int
	seen := map[int]bool{0: true}
	for i := range r.Records {
		if pid := r.Records[i].PID; !seen[pid] {
			seen[pid] = true
			pids = append(pids, pid)
		}
	}
	return pids
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// num leaves zeros out, so that the eye finds the figures.
func num(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
