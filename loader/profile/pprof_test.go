// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	pprof "github.com/google/pprof/profile"
)

func parsePprof(t *testing.T, r *Report) *pprof.Profile {
	t.Helper()
	var b bytes.Buffer
	if err := r.WritePprof(&b); err != nil {
		t.Fatal(err)
	}
	p, err := pprof.Parse(&b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every row of the table has its figures in the profile, however odd its name, and nothing else is there.
func TestPprofHasTheTable(t *testing.T) {
	r := syntheticReport(6, 5000, 1, 1)
	r.Outside, r.Total = 12345, r.Total+12345
	p := parsePprof(t, r)
	type figures struct{ calls, self int64 }
	seen, byPID := map[string]figures{}, map[int64]int64{}
	for _, s := range p.Sample {
		var stack []string
		for _, l := range s.Location {
			stack = append(stack, l.Line[0].Function.Name)
		}
		f := seen[strings.Join(stack, " < ")]
		seen[strings.Join(stack, " < ")] = figures{f.calls + s.Value[0], f.self + s.Value[1]}
		if pid := s.NumLabel["pid"]; len(pid) == 1 {
			byPID[pid[0]] += s.Value[1]
		} else if comm := s.Label["comm"]; len(comm) == 1 && comm[0] == "whole tree" {
			byPID[0] += s.Value[1]
		}
	}
	expected := map[string]figures{frameOutside: {0, 12345}}
	for _, s := range r.Stages {
		expected[frameUnexplained+" < ["+s.Name+"]"] = figures{0, int64(s.Unexplained)}
		for _, part := range s.Parts {
			expected[part.Label+" < ["+s.Name+"]"] = figures{int64(part.Calls), int64(part.Self)}
		}
	}
	for name, f := range expected {
		if seen[name] != f {
			t.Errorf("%q: calls and self are %v, in the table %v", name, seen[name], f)
		}
		delete(seen, name)
	}
	if len(seen) != 0 {
		t.Errorf("not in the table: %v", seen)
	}
	for _, process := range r.Processes {
		var wall int64
		for _, s := range process.Stages {
			wall += int64(s.Wall)
		}
		if byPID[int64(process.PID)] != wall {
			t.Errorf("process %d has %d ns, in the table %d", process.PID, byPID[int64(process.PID)], wall)
		}
	}
	if p.DurationNanos != int64(r.Total) || p.TimeNanos != r.Began.UnixNano() || p.DefaultSampleType != "self" {
		t.Errorf("duration %d, time %d, default %q", p.DurationNanos, p.TimeNanos, p.DefaultSampleType)
	}
}

// Processes at work at once have more time in sum than the tree; the profile has the tree's.
func TestPprofSharesTimeBetweenProcesses(t *testing.T) {
	stage := func(self, unexplained time.Duration, calls uint64) []Stage {
		return []Stage{{Name: "s", Wall: self + unexplained, Unexplained: unexplained, Parts: []Part{{Label: "p", Self: self, Calls: calls}}}}
	}
	r := &Report{
		Probes:    []Probe{{Label: "p"}},
		Stages:    stage(100, 10, 7),
		Processes: []Process{{PID: 1, Stages: stage(90, 1, 2)}, {PID: 2, Stages: stage(60, 2, 2)}},
	}
	type key struct {
		frame string
		pid   int64
	}
	seen := map[key][2]int64{}
	for _, s := range parsePprof(t, r).Sample {
		k := key{s.Location[0].Line[0].Function.Name, 0}
		if pid := s.NumLabel["pid"]; len(pid) == 1 {
			k.pid = pid[0]
		}
		seen[k] = [2]int64{s.Value[0], s.Value[1]}
	}
	expected := map[key][2]int64{
		{"p", 1}: {2, 60}, {"p", 2}: {2, 40}, {"p", 0}: {3, 0},
		{frameUnexplained, 1}: {0, 1}, {frameUnexplained, 2}: {0, 2}, {frameUnexplained, 0}: {0, 7},
	}
	if fmt.Sprint(seen) != fmt.Sprint(expected) {
		t.Errorf("the samples are %v, expected %v", seen, expected)
	}
}

// The figures of `go tool pprof -top` are those of the table.
func TestPprofTopAgrees(t *testing.T) {
	r := syntheticReport(4, 5000, 1, 1)
	for i := range r.Probes { // the report that pprof prints is split at blanks here
		if strings.ContainsAny(r.Probes[i].Label, " <") {
			r.Probes[i].Label = fmt.Sprintf("probe_%d", i)
		}
	}
	flat, calls := map[string]int64{}, map[string]int64{}
	cumulative := map[string]int64{}
	for i := range r.Stages {
		s := &r.Stages[i]
		cumulative[frameStage(s.Name)] = int64(s.Wall)
		flat[frameUnexplained] += int64(s.Unexplained)
		for j := range s.Parts {
			p := &s.Parts[j]
			p.Label = r.Probes[p.Probe].Label
			flat[p.Label] += int64(p.Self)
			calls[p.Label] += int64(p.Calls)
		}
	}
	file := filepath.Join(t.TempDir(), "profile.pb.gz")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.WritePprof(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	check := func(what string, seen, expected map[string]int64) {
		t.Helper()
		for name, value := range expected {
			if seen[name] != value {
				t.Errorf("%s of %s: pprof says %d, the table %d", what, name, seen[name], value)
			}
		}
	}
	seenFlat, seenCum := top(t, file, "-sample_index=self", "-unit=ns")
	check("flat time", seenFlat, flat)
	check("cumulative time", seenCum, cumulative)
	seenCalls, _ := top(t, file, "-sample_index=calls")
	check("calls", seenCalls, calls)
}

// top runs go tool pprof and gives the flat and the cumulative value of each function.
func top(t *testing.T, file string, options ...string) (flat, cumulative map[string]int64) {
	t.Helper()
	args := append([]string{"tool", "pprof", "-top", "-nodecount=0", "-nodefraction=0", "-edgefraction=0"}, options...)
	cmd := exec.Command("go", append(args, file)...)
	cmd.Env = append(os.Environ(), "PPROF_TMPDIR="+t.TempDir(), "HOME="+t.TempDir(), "GOCACHE="+goEnv(t, "GOCACHE"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go tool pprof: %v\n%s", err, stderr.String())
	}
	flat, cumulative = map[string]int64{}, map[string]int64{}
	// flat  flat%  sum%  cum  cum%  name
	row := regexp.MustCompile(`^ *(\d+)(?:ns)? +[\d.]+% +[\d.]+% +(\d+)(?:ns)? +[\d.]+% +(\S.*)$`)
	for line := range strings.Lines(string(out)) {
		if m := row.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			if flat[m[3]], err = strconv.ParseInt(m[1], 10, 64); err != nil {
				t.Fatal(err)
			}
			if cumulative[m[3]], err = strconv.ParseInt(m[2], 10, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(flat) == 0 {
		t.Fatalf("no rows in what pprof says:\n%s", out)
	}
	return flat, cumulative
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
