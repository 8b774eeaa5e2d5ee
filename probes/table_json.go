// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"bytes"
	"encoding/json"
	"io"
	"time"
)

// rowJSON is a row for programs. Field names stay as they are; new ones may come. Times are in ns, of the raw
// measurement unless the name says "corrected". Fields that were not measured are left out.
type rowJSON struct {
	Type        string `json:"type"`           // "stats"
	Time        string `json:"time,omitempty"` // RFC 3339, with ns
	Final       bool   `json:"final"`
	Probe       string `json:"probe"`
	Mechanism   string `json:"mechanism,omitempty"`
	Context     uint32 `json:"context"`
	ContextName string `json:"context_name,omitempty"`
	Elapsed     int64  `json:"elapsed_ns"` // since the probes were placed

	Count uint64  `json:"count"`
	Rate  float64 `json:"rate"` // a second

	*latencyJSON

	CPU    *uint64 `json:"cpu_ns,omitempty"`
	Errors *uint64 `json:"errors,omitempty"`
	Nested uint64  `json:"nested"`

	Missed   uint64 `json:"missed"`
	Dropped  uint64 `json:"dropped"`
	Unpaired uint64 `json:"unpaired"`
	Active   uint64 `json:"active"`
	Ended    uint64 `json:"ended"`
	Unread   uint64 `json:"unread"`
}

// latencyJSON is the part of a row that only probes with a latency have.
type latencyJSON struct {
	Total          uint64       `json:"total_ns"`
	Avg            float64      `json:"avg_ns"`
	Min            uint64       `json:"min_ns"`
	Max            uint64       `json:"max_ns"`
	P50            uint64       `json:"p50_ns"`
	P90            uint64       `json:"p90_ns"`
	P99            uint64       `json:"p99_ns"`
	CorrectedTotal float64      `json:"corrected_total_ns"`
	CorrectedAvg   float64      `json:"corrected_avg_ns"`
	Bias           float64      `json:"bias_ns"` // of each call, already taken off in the corrected ones
	BelowFloor     bool         `json:"below_floor"`
	Hist           []bucketJSON `json:"hist"`
}

// bucketJSON counts the latencies from low on and below high. Buckets without any are left out.
type bucketJSON struct {
	Low   uint64 `json:"low"`
	High  uint64 `json:"high"`
	Count uint64 `json:"count"`
}

// WriteJSON writes the table for programs, in one Write: a line a row, in the table's order. A line is an object with
//
//	type                "stats"
//	time                of the table, by the wall clock (RFC 3339), if it is known
//	final               whether this is the last table
//	probe, mechanism    which probe, and how it was placed
//	context, context_name
//	elapsed_ns          since the probes were placed
//	count, rate         hits, and hits a second lately
//	total_ns avg_ns min_ns max_ns p50_ns p90_ns p99_ns
//	corrected_total_ns corrected_avg_ns bias_ns below_floor
//	hist                a list of {low, high, count} without the empty ones; the latencies from low on and below high
//	cpu_ns, errors      if they were asked for
//	nested              hits of other probes inside these calls
//	missed dropped unpaired active
//
// Everything from total_ns to hist is left out if the probe measures no latency.
func (t *Table) WriteJSON(w io.Writer) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, r := range t.Sorted() {
		if err := e.Encode(t.json(&r)); err != nil {
			return err
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (t *Table) json(r *Row) rowJSON {
	s := &r.Stats
	j := rowJSON{
		Type: "stats", Final: t.Final, Probe: r.Probe, Mechanism: r.Mechanism, Context: r.Context, ContextName: r.ContextName, Elapsed: t.Elapsed.Nanoseconds(),
		Count: s.Count, Rate: r.Rate, Nested: s.Nested,
		Missed: r.Losses.Missed, Dropped: r.Losses.Dropped, Unpaired: r.Losses.Unpaired, Active: r.Losses.Active, Ended: r.Losses.Ended, Unread: r.Losses.Unread,
	}
	if !t.Time.IsZero() {
		j.Time = t.Time.Format(time.RFC3339Nano)
	}
	if r.HasCPU {
		j.CPU = &s.CPU
	}
	if r.HasErrors {
		j.Errors = &s.Errors
	}
	if !r.HasLatency {
		return j
	}
	l := &latencyJSON{
		Total: s.Total, Avg: s.Avg(), Min: s.Min, Max: s.Max, P50: s.Percentile(50), P90: s.Percentile(90), P99: s.Percentile(99),
		Bias: r.Cost.Bias, BelowFloor: r.below(), Hist: []bucketJSON{},
	}
	l.CorrectedTotal, l.CorrectedAvg = s.Corrected(r.Cost)
	for i, n := range s.Hist {
		if n > 0 {
			low, high := BucketRange(i)
			l.Hist = append(l.Hist, bucketJSON{low, high, n})
		}
	}
	j.latencyJSON = l
	return j
}
