// SPDX-License-Identifier: Apache-2.0

//go:build linux

package loader_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/trapline/trapline/loader/ebpf"
)

const tracing = "/sys/kernel/tracing/"

// counted are functions, what makes the load call them, and how often that is.
var counted = []struct {
	function, command string
	calls             uint64
}{
	{"__do_sys_getppid", "getppid 5000", 5000},
	{"do_dentry_open", "open 350 /etc/passwd", 701}, // of the overlay, and inside of that of the file below; once of /dev/null
	{"do_nanosleep", "sleep 3 1000 4", 12},
}

// kinds are what is counted by each means: each program once.
var kinds = map[ebpf.Mechanism][]string{
	ebpf.MechanismFentry:        {"entry", "latency"},
	ebpf.MechanismKprobe:        {"entry", "latency", "return"},
	ebpf.MechanismKprobeMulti:   {"entry", "latency"},
	ebpf.MechanismKprobeSession: {"latency"},
}

// TestCountsAgree counts the same calls at the same time by every means that we have, by ftrace, by perf and by bpftrace.
func TestCountsAgree(t *testing.T) {
	needKernelProbes(t)
	const ours = `comm == "hits"`
	var events, script []string
	for _, c := range counted {
		ftraceEvent(t, c.function, ours)
		events = append(events, "agree:"+c.function)
		script = append(script, fmt.Sprintf(`kprobe:%s /comm == "hits"/ { @%s = count(); }`, c.function, c.function))
	}
	bt := bpftrace(t, strings.Join(script, " "))
	perfOut := filepath.Join(t.TempDir(), "perf")
	perf := &tracer{args: []string{installed(t, "perf"), "stat", "-x,", "-o", perfOut, "-e", strings.Join(events, ","), "--"}, output: perfOut}

	found := map[string]func() map[string]uint64{}
	for _, m := range functionMechanisms() {
		for _, kind := range kinds[m] {
			var texts []string
			for _, c := range counted {
				texts = append(texts, fmt.Sprintf(`%s%%%s if $%s`, c.function, kind, ours))
			}
			s := open(t, m, texts...)
			found[fmt.Sprintf("%s, %s", m, kind)] = func() map[string]uint64 {
				counts := map[string]uint64{}
				for name, r := range readings(s) {
					counts[name] = r.Stats.Count
					if r.Losses.Missed+r.Losses.Active > 0 {
						t.Errorf("%s, %s, %s: lost %+v", m, kind, name, r.Losses)
					}
				}
				return counts
			}
		}
	}
	h := startHits(t, wrapped(t, bt, perf))
	for _, c := range counted {
		do(t, h, c.command)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	found["ftrace"] = func() map[string]uint64 { return ftraceCounts(t) }
	found["perf"] = func() map[string]uint64 { return perfCounts(t, perf.output) }
	found["bpftrace"] = func() map[string]uint64 { return bpftraceCounts(t, bt.output) }
	for who, read := range found {
		counts := read()
		for _, c := range counted {
			if counts[c.function] != c.calls {
				t.Errorf("%s counted %d calls of %s, expected %d", who, counts[c.function], c.function, c.calls)
			}
		}
	}
}

// ftraceEvent makes a kprobe event agree:FUNCTION that counts by program, of those that a filter lets pass.
func ftraceEvent(t *testing.T, function, filter string) {
	t.Helper()
	writeFile(t, tracing+"kprobe_events", fmt.Sprintf("p:agree/%s %s\n", function, function))
	trigger := tracing + "events/agree/" + function + "/trigger"
	writeFile(t, trigger, "hist:keys=common_pid.execname if "+filter+"\n")
	t.Cleanup(func() {
		writeFile(t, trigger, "!hist:keys=common_pid.execname if "+filter+"\n")
		writeFile(t, tracing+"kprobe_events", "-:agree/"+function+"\n")
	})
}

// ftraceCounts reads the histograms of the kprobe events, and sums up the threads.
func ftraceCounts(t *testing.T) map[string]uint64 {
	t.Helper()
	counts := map[string]uint64{}
	for _, c := range counted {
		text, err := os.ReadFile(tracing + "events/agree/" + c.function + "/hist")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if _, n, found := strings.Cut(line, "} hitcount:"); found {
				v, err := strconv.ParseUint(strings.TrimSpace(n), 10, 64)
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				counts[c.function] += v
			}
		}
	}
	return counts
}

// perfCounts reads perf stat -x,: count, unit, event.
func perfCounts(t *testing.T, file string) map[string]uint64 {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(line, ",")
		if len(fields) < 3 {
			continue
		}
		name, found := strings.CutPrefix(fields[2], "agree:")
		if !found {
			continue
		}
		if counts[name], err = strconv.ParseUint(fields[0], 10, 64); err != nil {
			t.Fatalf("perf: %s: %v", line, err)
		}
	}
	return counts
}

// bpftraceMaps reads what bpftrace printed: maps by name, without the @.
func bpftraceMaps(t *testing.T, file string) map[string]json.RawMessage {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	maps := map[string]json.RawMessage{}
	for line := range strings.Lines(string(text)) {
		var printed struct {
			Type string
			Data json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &printed); err != nil {
			t.Fatalf("bpftrace: %s: %v", line, err)
		}
		if printed.Type != "map" && printed.Type != "hist" {
			continue
		}
		var named map[string]json.RawMessage
		if err := json.Unmarshal(printed.Data, &named); err != nil {
			t.Fatalf("bpftrace: %s: %v", line, err)
		}
		for name, data := range named {
			maps[strings.TrimPrefix(name, "@")] = data
		}
	}
	return maps
}

func bpftraceCounts(t *testing.T, file string) map[string]uint64 {
	t.Helper()
	counts := map[string]uint64{}
	for name, data := range bpftraceMaps(t, file) {
		n, err := strconv.ParseUint(string(data), 10, 64)
		if err != nil {
			t.Fatalf("bpftrace: %s: %s: %v", name, data, err)
		}
		counts[name] = n
	}
	return counts
}
