// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A report collects the cases and prints them.
type report struct {
	config  config
	engines []engine
	rows    []row
}

type row struct {
	benchCase
	results
}

// A measure is one of the figures of a sample.
type measure struct {
	name string
	unit string
	of   func(sample) float64
}

func measures() []measure {
	inMS := func(of func(sample) time.Duration) func(sample) float64 {
		return func(s sample) float64 { return float64(of(s)) / float64(time.Millisecond) }
	}
	return []measure{
		{"dump", "ms", inMS(func(s sample) time.Duration { return s.dump })},
		{"frozen", "ms", inMS(func(s sample) time.Duration { return s.frozen })},
		{"restore", "ms", inMS(func(s sample) time.Duration { return s.restore })},
		{"max RSS of dump", "MiB", func(s sample) float64 { return float64(s.dumpRSS) / 1024 }},
		{"max RSS of restore", "MiB", func(s sample) float64 { return float64(s.restoreRSS) / 1024 }},
	}
}

func newReport(c config, engines []engine) *report { return &report{config: c, engines: engines} }

func (r *report) add(k benchCase, res results) { r.rows = append(r.rows, row{k, res}) }

// median of the figures of all samples of an engine; false if it has none.
func (r row) median(engine string, m measure) (float64, bool) {
	samples := r.samples[engine]
	if len(samples) == 0 || r.failed[engine] != nil {
		return 0, false
	}
	figures := make([]float64, len(samples))
	for i, s := range samples {
		figures[i] = m.of(s)
	}
	slices.Sort(figures)
	n := len(figures)
	return (figures[(n-1)/2] + figures[n/2]) / 2, true
}

// cells are the medians of a row in the order of the engines and, last, the ratio of trapline to CRIU as it comes.
func (r *report) cells(row row, m measure) []string {
	var cells []string
	for _, e := range r.engines {
		cell := "failed"
		if v, ok := row.median(e.name, m); ok {
			cell = fmt.Sprintf("%.1f", v)
		}
		cells = append(cells, cell)
	}
	ratio := "–"
	own, ok := row.median("trapline", m)
	peer, ok2 := row.median("criu", m)
	if ok && ok2 && peer > 0 {
		ratio = fmt.Sprintf("%.2f", own/peer)
	}
	return append(cells, ratio)
}

func (r *report) header(first ...string) []string {
	for _, e := range r.engines {
		first = append(first, e.name)
	}
	return append(first, "trapline/criu")
}

// caseTable is for a reader who waits: one case, all measures.
func (r *report) caseTable(i int) string {
	lines := [][]string{r.header(r.rows[i].long)}
	for _, m := range measures() {
		lines = append(lines, append([]string{m.name + ", " + m.unit}, r.cells(r.rows[i], m)...))
	}
	return plain(lines)
}

// summary says which goals were not reached; empty if trapline was not measured.
func (r *report) summary() string {
	var out strings.Builder
	missed, measured := 0, 0
	for _, row := range r.rows {
		for _, m := range measures()[:3] {
			own, ok := row.median("trapline", m)
			peer, ok2 := row.median("criu", m)
			if !ok || !ok2 {
				continue
			}
			measured++
			goal := row.goal
			if m.name == "frozen" {
				goal = 1
			}
			if own > goal*peer {
				missed++
				fmt.Fprintf(&out, "%s, %s: %.2f of CRIU, the goal is at most %.1f\n", row.long, m.name, own/peer, goal)
			}
		}
	}
	if measured > 0 {
		fmt.Fprintf(&out, "%d of %d goals reached\n", measured-missed, measured)
	}
	return out.String()
}

const criuHeading = "# Side by side with CRIU"

// markdown is what stands below criuHeading in docs/benchmarks.md.
func (r *report) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, `Made by `+"`make bench BENCH=%s RUNS=%d WRITE=1`"+` on %s: %s, %d CPUs, %d MiB, Linux %s.

Medians of %d runs after %d that did not count. The engines take turns on the same machine in one run; compare ratios, not figures of
different days. Each run starts a new target in a PID and mount namespace of its own, free memory touched right before
each operation and everything in a tmpfs; dumps it (the target ends), restores it detached, and has the restored target check itself.

- **criu**: CRIU 4.1.1 as it comes. **criu-nobp**: the same with `+"`CRIU_FAULT=130`"+` in its environment, which spares it the hardware
  breakpoints that cost it some 10 ms a run in a virtual machine. Both find their cache of kernel features in /run after the first run.
- **dump**, **restore**: from the start of the engine's process to its exit. **frozen**: what the engine's own `+"`stats-dump`"+` says.
- **max RSS**: `+"`ru_maxrss`"+` of the engine's process.
- **trapline/criu**: below 1 is better than CRIU as it comes.

`, r.config.cases, r.config.runs, time.Now().Format(time.DateOnly), cpuModel(), runtime.NumCPU(), memoryMiB(), kernel(),
		r.config.runs, r.config.warmup)
	for _, m := range measures() {
		fmt.Fprintf(&out, "## %s, %s\n\n", strings.ToUpper(m.name[:1])+m.name[1:], m.unit)
		head := r.header("case")
		fmt.Fprintf(&out, "| %s |\n|%s\n", strings.Join(head, " | "), " --- |"+strings.Repeat(" ---: |", len(head)-1))
		for _, row := range r.rows {
			fmt.Fprintf(&out, "| %s | %s |\n", row.long, strings.Join(r.cells(row, m), " | "))
		}
		out.WriteByte('\n')
	}
	if goals := strings.TrimSpace(r.summary()); goals != "" {
		fmt.Fprintf(&out, "## Goals\n\n- %s\n\nWhere the rest of the time goes: [design.md](design.md#speed).\n", strings.ReplaceAll(goals, "\n", "\n- "))
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// plain lays out cells in columns, the first one to the left, the others to the right.
func plain(lines [][]string) string {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var out strings.Builder
	for _, line := range lines {
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i == 0 {
				out.WriteString(cell + pad)
			} else {
				out.WriteString("  " + pad + cell)
			}
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

func kernel() string {
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return "unknown"
	}
	var out []byte
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		out = append(out, byte(c))
	}
	return string(out)
}

// cpuModel is the first "model name" of /proc/cpuinfo.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

func memoryMiB() uint64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit) / mib
}
