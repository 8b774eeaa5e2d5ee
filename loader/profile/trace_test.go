// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// traceEvent has the fields of Chrome's trace events that viewers ask for. Numbers stay as they are written.
type traceEvent struct {
	Ph   string         `json:"ph"`
	Name *string        `json:"name"`
	Cat  string         `json:"cat"`
	PID  *int           `json:"pid"`
	TID  *int           `json:"tid"`
	TS   json.Number    `json:"ts"`
	Dur  json.Number    `json:"dur"`
	Args map[string]any `json:"args"`
}

// traceNS gives a time of a trace in ns.
func traceNS(t *testing.T, n json.Number) time.Duration {
	t.Helper()
	whole, fraction, point := strings.Cut(n.String(), ".")
	var us, ns int64
	if _, err := fmt.Sscan(whole, &us); err != nil || !point || len(fraction) != 3 || us < 0 {
		t.Fatalf("a time is %q: it must be µs with three places", n)
	}
	if _, err := fmt.Sscanf(fraction, "%03d", &ns); err != nil {
		t.Fatalf("a time is %q: %v", n, err)
	}
	return time.Duration(1000*us + ns)
}

func readTrace(t *testing.T, r *Report) []traceEvent {
	t.Helper()
	var text bytes.Buffer
	if err := r.WriteTrace(&text); err != nil {
		t.Fatal(err)
	}
	var trace struct {
		Unit   string         `json:"displayTimeUnit"`
		Events []traceEvent   `json:"traceEvents"`
		Other  map[string]any `json:"otherData"`
	}
	decoder := json.NewDecoder(&text)
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	if err := decoder.Decode(&trace); err != nil {
		t.Fatal(err)
	}
	if trace.Unit != "ns" || fmt.Sprint(trace.Other["total_ns"]) != fmt.Sprint(int64(r.Total)) {
		t.Errorf("unit %q, total %v; expected ns, %d", trace.Unit, trace.Other["total_ns"], r.Total)
	}
	return trace.Events
}

type slice struct {
	start, end time.Duration
	name       string
}

// checkTrace checks each event against the format, and that slices nest on each track. It returns the slices of each category.
func checkTrace(t *testing.T, events []traceEvent) map[string][]slice {
	t.Helper()
	type track struct{ pid, tid int }
	processes, threads := map[int]string{}, map[track]string{}
	tracks, found := map[track][]slice{}, map[string][]slice{}
	for i, e := range events {
		if e.Name == nil || e.PID == nil || e.TID == nil {
			t.Fatalf("event %d has no name, pid or tid: %+v", i, e)
		}
		on := track{*e.PID, *e.TID}
		switch e.Ph {
		case "M":
			switch value := e.Args["name"]; *e.Name {
			case "process_name":
				processes[*e.PID] = value.(string)
			case "thread_name":
				if _, twice := threads[on]; twice {
					t.Errorf("track %v has two names", on)
				}
				threads[on] = value.(string)
			case "process_sort_index", "thread_sort_index":
			default:
				t.Errorf("event %d: metadata %q", i, *e.Name)
			}
		case "X":
			if threads[on] == "" || processes[*e.PID] == "" {
				t.Fatalf("event %d is on track %v, which has no name yet, in process %q", i, on, processes[*e.PID])
			}
			start := traceNS(t, e.TS)
			s := slice{start, start + traceNS(t, e.Dur), *e.Name}
			tracks[on] = append(tracks[on], s)
			found[e.Cat] = append(found[e.Cat], s)
		case "C":
			traceNS(t, e.TS)
			found["counter"] = append(found["counter"], slice{name: *e.Name})
		default:
			t.Fatalf("event %d: ph is %q", i, e.Ph)
		}
	}
	for on, slices := range tracks {
		checkNesting(t, fmt.Sprint(on), slices)
	}
	return found
}

func checkNesting(t *testing.T, on string, all []slice) {
	t.Helper()
	slices.SortStableFunc(all, func(a, b slice) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end)) })
	var open []slice
	for _, s := range all {
		for len(open) > 0 && open[len(open)-1].end <= s.start {
			open = open[:len(open)-1]
		}
		if len(open) > 0 && s.end > open[len(open)-1].end {
			t.Errorf("track %s: %+v overlaps %+v and is not in it", on, s, open[len(open)-1])
			return
		}
		open = append(open, s)
	}
}

func TestTrace(t *testing.T) {
	r := syntheticReport(6, 20000, 1, 1)
	found := checkTrace(t, readTrace(t, r))
	if len(found["stage"]) != len(r.Spans) {
		t.Errorf("%d stages, expected %d", len(found["stage"]), len(r.Spans))
	}
	if n := len(found["call"]) + len(found["wait"]); n != len(r.Calls) || len(found["wait"]) == 0 {
		t.Errorf("%d calls, %d of them waits; expected %d calls", n, len(found["wait"]), len(r.Calls))
	}
	// Every call is there with its time, to the ns, and its name.
	var expected, seen []string
	for _, c := range r.Calls {
		expected = append(expected, fmt.Sprint(int64(c.Start), int64(c.Dur), strings.ToValidUTF8(r.Probes[c.Probe].Label, "\ufffd")))
	}
	for _, s := range append(found["call"], found["wait"]...) {
		seen = append(seen, fmt.Sprint(int64(s.start), int64(s.end-s.start), s.name))
	}
	slices.Sort(expected)
	slices.Sort(seen)
	if !slices.Equal(expected, seen) {
		t.Error("the calls of the trace are not those of the report")
	}
}

// What a trace must stay readable for: nothing at all, unknown tasks, calls that began early, and slices that overlap.
func TestTraceOfOddReports(t *testing.T) {
	checkTrace(t, readTrace(t, &Report{}))
	found := checkTrace(t, readTrace(t, &Report{
		Probes: []Probe{{Label: "p"}},
		Stages: []Stage{{Name: "s"}},
		Spans:  []Span{{"s", 5, 0, 100}, {"t", 5, 50, 100}, {"s", 0, 10, 0}},
		Calls: []Call{
			{Start: -30, Dur: 60, TID: 7},
			{Start: 10, Dur: 60, TID: 7, Stage: -1, Fail: true},
			{Start: 10, Dur: 20, TID: 7, Stage: 9},
			{Start: 10, Dur: 20, TID: 7, Probe: 3}, // no such probe
		},
	}))
	if len(found["call"]) != 3 || len(found["stage"]) != 3 {
		t.Errorf("%v; expected 3 calls and 3 stages", found)
	}
	if first := found["call"][0]; first.start != 0 || first.end != 60 {
		t.Errorf("the call that began early is %+v; expected it at 0", first)
	}
}
