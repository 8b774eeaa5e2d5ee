// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tally is how often a system call returned, and how often with an error.
type tally struct{ calls, errors uint64 }

// TestStrace checks that trace counts the calls and the errors that strace counts: of one process, of a pipeline with its forks,
// of failing calls, of interrupted ones, of threads. The commands do the same each time that they run, also when they are
// slowed down by strace; what is left to chance is not compared.
//
// Neither counts exit and exit_group, which do not return: strace leaves them out, trace says that the task never came back.
func TestStrace(t *testing.T) {
	dir := t.TempDir()
	for i := range 40 {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), make([]byte, i*100), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		command []string
		only    []string         // compared; nil is every system call
		without []string         // not compared
		more    map[string]tally // what trace sees and strace does not
	}{
		{name: "ls", command: []string{"ls", "-lR", "/etc"}},
		{name: "fail", command: []string{"ls", "-l", filepath.Join(dir, "missing"), dir}},
		{name: "find", command: []string{"find", dir, "-type", "f", "-exec", "cat", "{}", ";"}},
		{
			name: "pipeline", command: []string{"sh", "-c", "cat /nowhere; cat " + dir + "/30 | cat | wc -c; exit 3"},
			// Children that end at the same time send one SIGCHLD, and so the shell waits in vain more or less often.
			without: []string{"rt_sigreturn", "wait4"},
		},
		{
			name: "signal", command: []string{"sh", "-c", "trap : USR1; kill -USR1 $$; kill -9 $$"},
			// The last kill returns inside the kernel, and the task dies before it is back in its program. The kernel reports
			// such a return to tracepoints, but not to ptrace any more.
			more: map[string]tally{"kill": {1, 0}},
		},
		{
			name: "threads", command: []string{
				"/usr/bin/python3", "-S", "-c", "import os, threading\n" +
					"ts = [threading.Thread(target=lambda: [os.getppid() for i in range(250)]) for n in range(4)]\n" +
					"[t.start() for t in ts]; [t.join() for t in ts]",
			},
			only: []string{"getppid", "clone3", "execve", "openat"}, // how often threads wait for each other is chance
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := straceCounts(t, c.command)
			for name, more := range c.more {
				want[name] = tally{want[name].calls + more.calls, want[name].errors + more.errors}
			}
			got := traceCounts(t, c.command)
			for _, counts := range []map[string]tally{want, got} {
				maps.DeleteFunc(counts, func(name string, _ tally) bool {
					return c.only != nil && !slices.Contains(c.only, name) || slices.Contains(c.without, name)
				})
			}
			if n := got["getppid"].calls; c.name == "threads" && n != 1000 {
				t.Errorf("%d calls of getppid, want 1000", n)
			}
			if diff := compareTallies(want, got); diff != "" {
				t.Errorf("%v\n%s", c.command, diff)
			}
		})
	}
}

// compareTallies gives a line for each difference.
func compareTallies(strace, trace map[string]tally) string {
	var names []string
	for name := range strace {
		names = append(names, name)
	}
	for name := range trace {
		if _, ok := strace[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		if strace[name] != trace[name] {
			fmt.Fprintf(&b, "%s: strace %d calls, %d errors; trace %d calls, %d errors\n",
				name, strace[name].calls, strace[name].errors, trace[name].calls, trace[name].errors)
		}
	}
	return b.String()
}

// runQuietly runs a program. How the traced command ends is not what is tested here.
func runQuietly(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatalf("%s: %v", program, err)
	}
	if cmd.ProcessState.ExitCode() == exitFailed && strings.Contains(stderr.String(), "trace: ") {
		t.Fatal(stderr.String())
	}
}

// straceCounts runs a command below strace -f -c.
func straceCounts(t *testing.T, command []string) map[string]tally {
	t.Helper()
	file := filepath.Join(t.TempDir(), "strace")
	runQuietly(t, "strace", append([]string{"-f", "-c", "-U", "name,calls,errors", "-o", file, "--"}, command...)...)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]tally{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] == "syscall" || words[0] == "total" || strings.HasPrefix(words[0], "-") {
			continue
		}
		var c tally
		if c.calls, err = strconv.ParseUint(words[1], 10, 64); err == nil && len(words) > 2 {
			c.errors, err = strconv.ParseUint(words[2], 10, 64)
		}
		if err != nil {
			t.Fatalf("strace: line %q: %v", line, err)
		}
		counts[words[0]] = c
	}
	if len(counts) == 0 {
		t.Fatalf("strace counted nothing:\n%s", text)
	}
	return counts
}

// traceCounts runs a command below trapline trace.
func traceCounts(t *testing.T, command []string) map[string]tally {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trace")
	runQuietly(t, "trapline", append([]string{"trace", "--json", "--no-calibrate", "-o", file, "syscall:*", "--"}, command...)...)
	counts := map[string]tally{}
	for _, line := range jsonLines(t, file) {
		if line.Type == "warning" {
			t.Errorf("warning: %s", line.Message)
		}
		if line.Missed+line.Dropped > 0 {
			t.Errorf("%s: %d missed, %d dropped, want none", line.Probe, line.Missed, line.Dropped)
		}
		if name, ok := strings.CutPrefix(strings.TrimSuffix(line.Probe, "%latency"), "syscall:"); ok && line.Count > 0 {
			counts[name] = tally{line.Count, line.Errors}
		}
	}
	return counts
}

// traceLine is a line of trapline trace --json.
type traceLine struct {
	Type, Message, Probe, Time, Comm, Kind   string
	Final                                    bool
	Count, Errors, Missed, Dropped, Unpaired uint64
	Events, Active, Silent, Probes, Failed   uint64
	PID, TID                                 int
	Ret                                      int64
	Args                                     map[string]any
}

func jsonLines(t *testing.T, file string) []traceLine {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []traceLine
	s := bufio.NewScanner(bytes.NewReader(text))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var line traceLine
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatalf("line %q: %v", s.Text(), err)
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 || lines[len(lines)-1].Type != "end" {
		t.Fatalf("the last line is not the end:\n%s", text)
	}
	return lines
}
