// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Row is a stage over all processes.
type Row struct {
	Stage Name          `json:"stage"`
	Start time.Duration `json:"start_ns"` // of the first process, ns
	Dur   time.Duration `json:"dur_ns"`   // the sum over the processes, ns
	N     int           `json:"n"`        // how often the stage ran
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
	for _, info := range Of(t.op) {
		row := Row{Stage: info.Name}
		for i := range r.Records {
			rec := &r.Records[i]
			if rec.Stage != info.Name {
				continue
			}
			if row.N == 0 {
				row.Start = rec.Start
			}
			row.N++
			row.Dur += max(rec.Dur, 0)
			row.add(rec.Counts)
		}
		if row.N > 0 {
			r.Stages = append(r.Stages, row)
		}
	}
	return r
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
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
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
			for i := range r.Records {
				if rec := &r.Records[i]; rec.PID == pid {
					line(fmt.Sprintf("%d %s", pid, rec.Stage), rec.Start, max(rec.Dur, 0), rec.Counts)
				}
			}
		}
	}
	return tw.Flush()
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
