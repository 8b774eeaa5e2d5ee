// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The table has a row for each part and each unexplained rest, sorts by what its heading says, and its filter leaves what it names.
func TestPageTables(t *testing.T) {
	r := syntheticReport(6, 20000, 1, 1)
	file := pageFile(t, r)
	b := openBrowser(t, 1400, 900)
	b.open(file, "#small=too")
	var names []string
	selfs := map[string]float64{}
	for _, s := range r.Stages {
		for _, p := range s.Parts {
			names = append(names, p.Label)
			selfs[s.Name+" "+p.Label] = float64(p.Self) / 1e6
		}
	}
	rows := len(names) + len(r.Stages)
	if n := len(b.texts("#table-parts tbody tr:not(.group)")); n != rows {
		t.Errorf("the table has %d rows, expected %d", n, rows)
	}
	if n := len(b.texts("#table-parts tr.group")); n != len(r.Stages) {
		t.Errorf("the table has %d groups, expected %d", n, len(r.Stages))
	}
	if groups := strings.Join(b.texts("#table-parts tr.group"), "\n"); !strings.Contains(groups, fmt.Sprintf("slowest nginx %d", r.Processes[2].PID)) {
		t.Errorf("the slowest process is not named:\n%s", groups)
	}

	column := func(n int) []float64 {
		var values []float64
		for _, text := range b.texts(fmt.Sprintf("#table-parts tbody td:nth-child(%d)", n)) {
			if text == "" {
				values = append(values, math.Inf(-1)) // rows with no figure come last
				continue
			}
			v, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", ""), 64)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, v)
		}
		return values
	}
	for i, name := range []string{"self", "share", "calls", "total", "p50", "p99", "max"} {
		n := i + 3
		b.press(fmt.Sprintf("#table-parts th:nth-child(%d) button", n))
		if v := column(n); len(v) != rows || !slices.IsSortedFunc(v, func(x, y float64) int { return cmp.Compare(y, x) }) {
			t.Errorf("sorted by %s: %v", name, v)
		}
		if sorted := b.text(fmt.Sprintf("document.querySelector('#table-parts th:nth-child(%d)').ariaSort", n)); sorted != "descending" {
			t.Errorf("the heading of %s says %q", name, sorted)
		}
		if hash := b.text("location.hash"); hash != "#sort="+name+"-down&small=too" {
			t.Errorf("sorted by %s: the address has %q", name, hash)
		}
	}
	b.press("#table-parts th:nth-child(3) button")
	b.press("#table-parts th:nth-child(3) button")
	if v := column(3); !slices.IsSorted(v) {
		t.Errorf("sorted by self, upwards: %v", v)
	}
	for _, line := range b.texts("#table-parts tbody tr") {
		cells := strings.Split(line, "\t")
		label := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(cells[1]), "waits"))
		if self, known := selfs[cells[0]+" "+label]; known && strings.ReplaceAll(cells[2], ",", "") != fmt.Sprintf("%.3f", self) {
			t.Errorf("%s: self is %s ms on the page, %.3f in the report", label, cells[2], self)
		}
	}

	b.eval(`(() => { const f = document.getElementById('filter'); f.value = 'PAGEMAP'; f.dispatchEvent(new Event('input')); })()`, nil)
	expected := 0
	for _, name := range names {
		if strings.Contains(name, "pagemap") {
			expected++
		}
	}
	if left := b.texts("#table-parts tbody tr"); len(left) != expected || expected == 0 {
		t.Errorf("filtered by PAGEMAP: %d rows, expected %d: %q", len(left), expected, left)
	}
}

// An address shows the page as it was looked at.
func TestPageFollowsItsAddress(t *testing.T) {
	r := syntheticReport(6, 5000, 1, 1)
	parts := r.Stages[5].Parts
	for i := len(parts) - 3; i < len(parts); i++ {
		parts[0].Self += parts[i].Self - 1000
		parts[i].Self = 1000
	}
	file := pageFile(t, r)
	b := openBrowser(t, 1400, 900)
	pid := strconv.Itoa(r.Processes[3].PID)
	b.open(file, "#tab=processes&sort=wall-down&process="+pid+"&theme=dark")
	if shown := b.text("document.getElementById('process').value"); shown != pid {
		t.Errorf("process %s is shown, expected %s", shown, pid)
	}
	rows := b.texts("#table-processes tbody tr")
	if len(rows) != len(r.Processes) {
		t.Errorf("%d rows, expected %d", len(rows), len(r.Processes))
	}
	var all []float64
	for _, row := range rows {
		v, err := strconv.ParseFloat(strings.Split(row, "\t")[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, -v)
	}
	if !slices.IsSorted(all) {
		t.Errorf("sorted by wall time: %v", all)
	}
	if bars := len(b.texts("#bars .bar-row:not(.head)")); bars != len(r.Processes[3].Stages) {
		t.Errorf("%d bars, expected those of process %s: %d", bars, pid, len(r.Processes[3].Stages))
	}
	// Parts below 1 % are in one row, and the rows still add up to the stages.
	b.open(file, "")
	var walls, shown float64
	for _, s := range r.Stages {
		walls += float64(s.Wall) / 1e6
	}
	smaller := 0
	for _, row := range b.texts("#table-parts tbody tr:not(.group)") {
		cells := strings.Split(row, "\t") // the stage is empty: it stands above
		v, err := strconv.ParseFloat(strings.ReplaceAll(cells[1], ",", ""), 64)
		if err != nil {
			t.Fatal(err)
		}
		shown += v
		if strings.HasSuffix(strings.TrimSpace(cells[0]), "3 smaller") {
			smaller++
		}
	}
	if math.Abs(shown-walls) > 0.1 || smaller != 1 {
		t.Errorf("the rows add up to %.3f ms, the stages to %.3f; %d rows are of smaller parts", shown, walls, smaller)
	}
	b.open(file, "#tab=probes&filter=fsync")
	if rows := b.texts("#table-probes tbody tr"); len(rows) != 1 || !strings.HasPrefix(rows[0], "vfs_fsync_range") {
		t.Errorf("filtered by fsync: %q", rows)
	}
	// What no page wrote is not followed.
	b.open(file, "#tab=constructor&sort=)(&process=-1&theme=x&from-to=9-1&filter=<b>")
	if rows := b.texts("#table-parts tbody tr"); len(rows) != 0 {
		t.Errorf("filtered by <b>: %q", rows)
	}
}

// Names are text wherever they are.
func TestPageShowsHostileNames(t *testing.T) {
	r := syntheticReport(6, 5000, 1, 1)
	r.What = hostileScript
	r.Stages[5].Name = hostileScript + "pages"
	for i := range r.Spans {
		if r.Spans[i].Stage == "pages" {
			r.Spans[i].Stage = r.Stages[5].Name
		}
	}
	b := openBrowser(t, 1400, 900)
	b.open(pageFile(t, r), "")
	for _, tab := range []string{"processes", "probes", "parts"} {
		b.press("#tab-" + tab)
	}
	if title := b.text("document.title"); title != "Profile of "+hostileScript+" by trapline" {
		t.Errorf("the title is %q", title)
	}
	if heading := b.texts("h1"); heading[0] != "Profile of "+hostileScript {
		t.Errorf("the heading is %q", heading)
	}
	body := b.text("document.body.innerText")
	for _, name := range []string{hostileScript + "pages", hostileRunes, `a"b'c\d&<!--\u{2028}\u{1b}[31m`} {
		if !strings.Contains(body, name) {
			t.Errorf("the page does not show %q", name)
		}
	}
}

// The timeline moves by keys and mouse, says what is chosen, and the histogram follows.
func TestPageTimeline(t *testing.T) {
	r := syntheticReport(6, 20000, 1, 1)
	b := openBrowser(t, 1400, 900)
	b.open(pageFile(t, r), "")
	b.eval(`document.getElementById('overview').scrollIntoView()`, nil)
	b.settle()
	details := func() string { return strings.Join(b.texts("#details"), "") }

	// A click on the first process' stage pages, which lies after the gutter in the first row of its lane.
	span := r.Spans[slices.IndexFunc(r.Spans, func(s Span) bool { return s.Stage == "freeze" })]
	box := b.rect("#timeline")
	x := func(at time.Duration) float64 { return box.X + 176 + float64(at)/float64(r.Total)*(box.Width-176) }
	b.click(x(span.Start+span.Dur/2), box.Y+24+15)
	if d := details(); !strings.HasPrefix(d, "freeze · takes ") || !strings.Contains(d, "whole tree") {
		t.Fatalf("a click on freeze says %q", d)
	}
	if stage := b.text("document.getElementById('histogram-stage').selectedOptions[0].text"); stage != "freeze" {
		t.Errorf("the histogram is of stage %q", stage)
	}
	if tip := b.texts("#tip"); !strings.HasPrefix(tip[0], "freeze") {
		t.Errorf("the tip under the pointer says %q", tip)
	}
	b.eval(`document.getElementById('timeline').focus()`, nil)
	b.key("]")
	if d := details(); !strings.HasPrefix(d, "tree · ") {
		t.Errorf("the next stage is %q, expected tree", d)
	}
	// Fill the width with it, and go down to the calls that it is made of.
	b.key("Enter", "}")
	if d := details(); !strings.Contains(d, "in stage tree") || !strings.Contains(d, "by trapline 9000") {
		t.Errorf("below the stage is %q, expected a call of stage tree", d)
	}
	b.key("e", "Enter")
	picture := b.screenshot("zoomed")
	lane := rect{box.X + 176, box.Y + 24, box.Width - 176, box.Height - 24}.pixels()
	if n := pixels(picture, lane, cssColour(t, "accent", false)); n < 20 {
		t.Errorf("the chosen call is not marked: %d pixels of its frame's colour", n)
	}
	before := b.screenshot("before")
	b.key("ArrowLeft")
	if same(before, b.screenshot("after")) {
		t.Error("the arrow moved nothing")
	}
	b.key("0")
	whole := b.screenshot("whole")
	b.mouse("mouseWheel", box.X+700, box.Y+40, map[string]any{"deltaX": 0, "deltaY": -300, "modifiers": 2}) // Ctrl
	b.settle()
	if same(whole, b.screenshot("wheel")) {
		t.Error("the wheel zoomed nothing")
	}
	var hash string
	b.eval(`new Promise((done) => {
		const look = () => location.hash.includes('from-to=') ? done(location.hash) : requestAnimationFrame(look);
		look();
	})`, &hash)
	if !regexp.MustCompile(`^#sort=stage&from-to=\d+-\d+$`).MatchString(hash) {
		t.Errorf("the address is %q", hash)
	}
	b.key("Escape")
	if d := details(); d != "" {
		t.Errorf("nothing is chosen, and it says %q", d)
	}
}

// 260,000 calls: the page says what it leaves out, and draws in far less than what an eye takes for slow.
func TestPageOfManyCalls(t *testing.T) {
	r := syntheticReport(40, 230000, 1, 1)
	if len(r.Calls) <= maxPageCalls {
		t.Fatalf("only %d calls", len(r.Calls))
	}
	b := openBrowser(t, 1400, 900)
	b.open(pageFile(t, r), "#lanes=all")
	if note := b.texts("#timeline-note")[0]; !strings.Contains(note, "the longest 200,000 of ") {
		t.Errorf("the page says %q", note)
	}
	var ms float64
	b.eval(`new Promise((done) => {
		const canvas = document.getElementById('timeline');
		const times = [];
		const step = () => {
			if (times.length === 30) return done(times.sort((a, b) => a - b)[15]);
			canvas.dispatchEvent(new KeyboardEvent('keydown', {key: times.length % 2 ? 'ArrowLeft' : '+'}));
			requestAnimationFrame(() => { // behind the page's own, which draws
				times.push(performance.now() - began);
				began = performance.now();
				step();
			});
		};
		let began = performance.now();
		step();
	})`, &ms)
	t.Logf("a frame takes %.1f ms", ms)
	if ms > 250 { // some 17 on a quiet machine: the screen's own rate
		t.Errorf("a frame takes %.1f ms", ms)
	}
}

// A report of nothing is a page too, and so is one that was read from JSON.
func TestPageOfOddReports(t *testing.T) {
	b := openBrowser(t, 1400, 900)
	for name, r := range map[string]*Report{
		"nothing": {},
		"negative start, unknown task": {
			What: "x", Total: 100, Probes: []Probe{{Label: "p"}}, Spans: []Span{{"none", 3, 0, 100}},
			Calls: []Call{{Start: -50, Dur: 70, TID: 3, Stage: -1}, {Start: 1, Dur: 2, TID: 3, Stage: 7, Depth: 4}},
		},
		"stage without parts": {Total: 10, Stages: []Stage{{Name: "s", Wall: 10, Unexplained: 10}}, Processes: []Process{{PID: 1}}},
	} {
		b.open(pageFile(t, r), "")
		if complaints := b.complaints(); len(complaints) != 0 {
			t.Errorf("%s: the browser complained: %s", name, strings.Join(complaints, "\n"))
		}
	}
}

// Paper is white, also for those who like the dark.
func TestPageOnPaper(t *testing.T) {
	b := openBrowser(t, 1400, 900)
	b.prefer("dark")
	b.open(pageFile(t, syntheticReport(2, 2000, 1, 1)), "")
	b.eval(`addEventListener('beforeprint', () => { window.printed = document.documentElement.dataset.theme; })`, nil)
	var pdf struct {
		Data string `json:"data"`
	}
	b.call("Page.printToPDF", map[string]any{"printBackground": true}, &pdf)
	if len(pdf.Data) < 20000 {
		t.Errorf("the PDF has %d bytes", len(pdf.Data)*3/4)
	}
	if printed := b.text("window.printed"); printed != "light" {
		t.Errorf("it was printed %s", printed)
	}
	if now := b.text("document.documentElement.dataset.theme"); now != "dark" {
		t.Errorf("after that it is %s", now)
	}
}
