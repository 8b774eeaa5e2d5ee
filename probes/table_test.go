// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// testTable has a row of each sort: with latency and loss, below the noise floor, and one that only counts.
func testTable() *Table {
	return &Table{
		Elapsed: 2 * time.Second,
		Rows: []Row{
			{
				Probe: "vfs_read%entry", Mechanism: "fentry", Stats: Stats{Count: 1000}, Rate: 500,
			},
			{
				Probe: "vfs_write%latency", Mechanism: "fentry", HasLatency: true, Cost: Cost{Bias: 40, Hit: 30}, Rate: 1,
				Stats: measure(1000, 3000), Losses: Losses{Missed: 12, Unpaired: 1},
			},
			{
				Probe: "a_very_long_function_name_that_a_compiler_made.constprop.0%latency", Mechanism: "kprobe", HasLatency: true,
				Cost: Cost{Bias: 40}, Stats: measure(60, 50), Rate: 1.5,
			},
		},
	}
}

func text(t *testing.T, table *Table, width, height int) string {
	t.Helper()
	var b strings.Builder
	if err := table.WriteText(&b, width, height); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTableText(t *testing.T) {
	want := `
PROBE                                                               COUNT  RATE/s   TOTAL     AVG  CORRECT     P50     P99     MAX  MISSED
──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
vfs_write%latency                                                       2    1.00  4.00µs  2.00µs   1.96µs  1.02µs  2.98µs  3.00µs      12
a_very_long_function_name_that_a_compiler_made.constprop.0%latency      2    1.50   110ns   ~55ns    ~15ns    55ns    60ns    60ns       0
vfs_read%entry                                                       1000     500       -       -        -       -       -       -       0
~ below the noise floor: shorter than twice what the probe itself takes (40ns); CORRECT is a rough guess
missed: 12 hits could not be counted; COUNT and TOTAL are too low by that
unpaired: 1 call from before the probe was placed returned; not counted
`
	if got := "\n" + text(t, testTable(), 0, 0); got != want {
		t.Errorf("got:%s\nwant:%s", got, want)
	}
	counts := &Table{Rows: []Row{{Probe: "b", Stats: Stats{Count: 3}}, {Probe: "a", Stats: Stats{Count: 3}}, {Probe: "c\x1b[2J", Stats: Stats{Count: 4}}}}
	want = `
PROBE     COUNT  MISSED
───────────────────────
c\x1b[2J      4       0
a             3       0
b             3       0
`
	if got := "\n" + text(t, counts, 0, 0); got != want {
		t.Errorf("got:%s\nwant:%s", got, want)
	}
}

func TestTableContext(t *testing.T) {
	table := &Table{Notes: []string{"foo: not placed"}, Rows: []Row{
		{Probe: "f", Context: 2, ContextName: "pages", HasCPU: true, HasErrors: true, Stats: Stats{Count: 1, CPU: 1500, Errors: 3}, Losses: Losses{Dropped: 4, Active: 5}},
		{Probe: "f", Context: 7, Stats: Stats{Count: 2}},
	}}
	want := `
PROBE  CONTEXT  COUNT     CPU  ERRORS  MISSED
─────────────────────────────────────────────
f      7            2       -       -       0
f      pages        1  1.50µs       3       0
dropped: 4 events found the buffer full and can't be shown; the counts are right
active: 5 calls in progress; not counted yet
foo: not placed
`
	if got := "\n" + text(t, table, 0, 0); got != want {
		t.Errorf("got:%s\nwant:%s", got, want)
	}
}

// TestTableFits checks that a table never leaves its terminal, whatever the size, and that it keeps what matters.
func TestTableFits(t *testing.T) {
	table := testTable()
	for i := range table.Rows {
		table.Rows[i].HasCPU, table.Rows[i].HasErrors, table.Rows[i].ContextName = true, true, "dump/collect/a-long-stage-name"
	}
	for width := 1; width < 200; width++ {
		for _, line := range strings.Split(text(t, table, width, 0), "\n") {
			if n := utf8.RuneCountInString(line); n > width {
				t.Fatalf("at width %d a line has %d characters: %s", width, n, line)
			}
		}
	}
	at100 := text(t, testTable(), 100, 0)
	for _, want := range []string{"PROBE", "COUNT", "RATE/s", "TOTAL", "AVG", "CORRECT", "P50", "P99", "MAX", "MISSED", "…", "%latency"} {
		if !strings.Contains(at100, want) {
			t.Errorf("at width 100 %s is missing:\n%s", want, at100)
		}
	}
	if at60 := text(t, table, 60, 0); !strings.Contains(at60, "COUNT") || !strings.Contains(at60, "AVG") || !strings.Contains(at60, "MISSED") {
		t.Errorf("at width 60 something important is missing:\n%s", at60)
	}
	for range 20 {
		table.Rows = append(table.Rows, Row{Probe: "one more"})
	}
	for height := 12; height < 40; height++ {
		got := text(t, table, 100, height)
		lines := strings.Count(got, "\n")
		if all := len(table.Rows) + 2 + 4; lines > height || height >= all && strings.Contains(got, "more\n") || height < all && lines != height {
			t.Fatalf("at height %d it has %d lines:\n%s", height, lines, got)
		}
	}
}

func TestTableSort(t *testing.T) {
	row := func(probe string, count, total uint64, rate float64) Row {
		return Row{Probe: probe, Rate: rate, HasLatency: true, Stats: Stats{Count: count, Total: total}}
	}
	table := &Table{Rows: []Row{row("b", 1, 10, 3), row("c", 2, 30, 2), row("a", 3, 10, 1), row("d", 3, 10, 1)}}
	for name, want := range map[string]string{
		"total": "cadb", "count": "adcb", "RATE/s": "bcad", "probe": "abcd", "avg": "cbad", "AVG": "cbad", "missed": "abcd", "correct": "cbad",
	} {
		var err error
		if table.Sort, err = ParseSort(name); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, r := range table.Sorted() {
			got += r.Probe
		}
		if got != want {
			t.Errorf("by %s: got %s, want %s", name, got, want)
		}
	}
	table.Sort, table.Reverse = ColumnCount, true
	if got := table.Sorted(); got[0].Probe != "b" || got[2].Probe != "a" || got[3].Probe != "d" {
		t.Errorf("reversed by count: got %v", got)
	}
	if _, err := ParseSort("toatl"); err == nil || !strings.Contains(err.Error(), "did you mean total?") {
		t.Errorf("ParseSort(toatl): %v", err)
	}
	for _, c := range shownColumns {
		if got, err := ParseSort(c.String()); got != c || err != nil {
			t.Errorf("ParseSort(%s) = %v, %v", c, got, err)
		}
	}
}

func TestTableSince(t *testing.T) {
	before := &Table{Elapsed: time.Second, Rows: []Row{{Probe: "f", Stats: measure(5), Losses: Losses{Missed: 1, Active: 3}}}}
	now := &Table{Elapsed: 3 * time.Second, Rows: []Row{
		{Probe: "f", Stats: measure(5, 9, 9, 9, 9), Losses: Losses{Missed: 3, Active: 2}}, {Probe: "f", Context: 1, Stats: measure(1, 1)},
	}}
	d := now.Since(before)
	if d.Elapsed != 2*time.Second || d.Rows[0].Stats.Count != 4 || d.Rows[0].Rate != 2 || d.Rows[1].Rate != 1 {
		t.Errorf("got %+v", d)
	}
	if want := (Losses{Missed: 2, Active: 2}); d.Rows[0].Losses != want {
		t.Errorf("losses %+v, want %+v", d.Rows[0].Losses, want)
	}
	if now.Rows[0].Stats.Count != 5 || now.Rows[0].Rate != 0 {
		t.Error("Since changed the table itself")
	}
	now.SetRates(nil)
	if got := now.Rows[0].Rate; got < 1.66 || got > 1.67 {
		t.Errorf("5 in 3 s are %v a second", got)
	}
	now.SetRates(now)
	if got := now.Rows[0].Rate; got != 0 {
		t.Errorf("in no time: %v a second", got)
	}
}

func TestTableJSON(t *testing.T) {
	var b bytes.Buffer
	table := testTable()
	table.Rows[1].HasCPU = true
	if err := table.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want 3:\n%s", len(lines), b.String())
	}
	want := `{"type":"stats","final":false,"probe":"vfs_write%latency","mechanism":"fentry","context":0,"elapsed_ns":2000000000,"count":2,"rate":1,` +
		`"total_ns":4000,"avg_ns":2000,"min_ns":1000,"max_ns":3000,"p50_ns":1024,"p90_ns":2810,"p99_ns":2981,"corrected_total_ns":3920,"corrected_avg_ns":1960,` +
		`"bias_ns":40,"below_floor":false,"hist":[{"low":512,"high":1024,"count":1},{"low":2048,"high":4096,"count":1}],` +
		`"cpu_ns":0,"nested":0,"missed":12,"dropped":0,"unpaired":1,"active":0,"ended":0,"unread":0}`
	if lines[0] != want {
		t.Errorf("got\n%s\nwant\n%s", lines[0], want)
	}
	var counted map[string]any
	if err := json.Unmarshal([]byte(lines[2]), &counted); err != nil {
		t.Fatal(err)
	}
	if _, ok := counted["total_ns"]; ok || counted["count"] != 1000.0 || counted["missed"] != 0.0 {
		t.Errorf("of a probe that only counts: %s", lines[2])
	}
}

func TestWriteHist(t *testing.T) {
	r := Row{Probe: "f", Mechanism: "fentry", HasLatency: true, Cost: Cost{Bias: 1}, Stats: measure(0, 600, 600, 600, 700, 1500, 5000), Losses: Losses{Missed: 2}}
	var b strings.Builder
	if err := WriteHist(&b, r, 60); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, want := range []string{
		"f (fentry): 7 hits, average 1.29µs (corrected 1.28µs),", "2 missed", "                 0  1  14.3% │██████",
		"  [512ns, 1.02µs)  4  57.1% │███", "  [2.05µs, 4.10µs)  0   0.0% │\n", "  [4.10µs, 8.19µs)  1  14.3% │",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	for _, line := range strings.Split(got, "\n") {
		if n := utf8.RuneCountInString(line); n > 60 {
			t.Errorf("a line has %d characters: %s", n, line)
		}
	}
	b.Reset()
	if err := WriteHist(&b, Row{Probe: "g", Stats: Stats{Count: 3}}, 0); err != nil || b.String() != "g: 3 hits\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
	last := Row{Probe: "h", HasLatency: true, Stats: measure(1 << 50)}
	b.Reset()
	if err := WriteHist(&b, last, 10); err != nil || !strings.Contains(b.String(), "70369s …") {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

func TestFormatNS(t *testing.T) {
	for ns, want := range map[float64]string{
		0: "0ns", 1: "1ns", 0.4: "0.40ns", 12.34: "12.3ns", 999: "999ns", 999.6: "1.00µs", 1000: "1.00µs", 1234: "1.23µs", 12345: "12.3µs", 123456: "123µs",
		999499: "999µs", 999500: "1.00ms", 1.5e6: "1.50ms", 2e9: "2.00s", 99.96e9: "100s", 1234e9: "1234s", -5: "-5ns",
	} {
		if got := FormatNS(ns); got != want {
			t.Errorf("FormatNS(%v) = %s, want %s", ns, got, want)
		}
	}
	for rate, want := range map[float64]string{0: "0", 0.5: "0.50", 12: "12.0", 999.6: "1.00k", 1234567: "1.23M", 5e9: "5.00G", -1: "-"} {
		if got := formatRate(rate); got != want {
			t.Errorf("formatRate(%v) = %s, want %s", rate, got, want)
		}
	}
}

func ExampleTable_WriteText() {
	table := &Table{Elapsed: time.Second, Rows: []Row{{Probe: "vfs_write%latency", HasLatency: true, Rate: 2, Stats: measure(1000, 1000)}}}
	var b strings.Builder
	_ = table.WriteText(&b, 80, 24)
	fmt.Print(b.String())
	// Output:
	// PROBE              COUNT  RATE/s   TOTAL     AVG     P50     P99     MAX  MISSED
	// ────────────────────────────────────────────────────────────────────────────────
	// vfs_write%latency      2    2.00  2.00µs  1.00µs  1.00µs  1.00µs  1.00µs       0
}
