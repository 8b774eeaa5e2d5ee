// SPDX-License-Identifier: Apache-2.0

//go:build linux

package loader_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trapline/trapline/internal/vm"
	"github.com/trapline/trapline/loader"
	"github.com/trapline/trapline/probes"
)

// holdEnv makes the test program hold these probes until it is killed.
const holdEnv = "TRAPLINE_TEST_HOLD"

func TestMain(m *testing.M) {
	if hold := os.Getenv(holdEnv); hold != "" {
		if err := holdProbes(strings.Fields(hold)); err != nil {
			fmt.Println(err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// holdProbes places probes, says so, and ends with standard input.
func holdProbes(texts []string) error {
	var specs []*probes.Spec
	for _, text := range texts {
		spec, err := probes.Parse(text)
		if err != nil {
			return err
		}
		specs = append(specs, spec)
	}
	s, err := loader.Open(context.Background(), specs, nil)
	if err != nil {
		return err
	}
	s.Enable()
	fmt.Println("placed", len(s.Probes()))
	_, err = os.Stdin.Read(make([]byte, 1))
	return err
}

// TestKilled kills a loader that holds probes of every kind and expects that the kernel is as it was before.
func TestKilled(t *testing.T) {
	places := []string{"syscall:getppid", "tracepoint:sched:sched_switch", "rawtp:sched_switch", "uprobe:libc:malloc%latency"}
	if _, yes := vm.InGuest(); yes {
		places = append(places, "vfs_read%latency", "kprobe:vfs_write%latency", "do_filp_open+0", "tcp_v4_*%latency", "udp_v4_*%entry")
	}
	before := traces(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+strings.Join(places, " "))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "placed ") {
		t.Fatalf("the loader said %q, %v", line, err)
	}
	t.Log(strings.TrimSpace(line))
	held := traces(t)
	if len(held) <= len(before) {
		t.Fatalf("the kernel shows %d probes and programs, as before", len(held))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // it was killed
	began := time.Now()
	// The kernel takes probes away after a grace period.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		var left []string
		for name := range traces(t) {
			if !before[name] {
				left = append(left, name)
			}
		}
		if len(left) == 0 {
			t.Logf("gone after %v", time.Since(began).Round(time.Millisecond))
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			slices.Sort(left)
			t.Fatalf("left behind: %s", strings.Join(left, "\n"))
		}
	}
}

// traces lists what probes are in the kernel: programs, maps and links of eBPF, kprobes, events of tracefs, traced functions.
func traces(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, kind := range []string{"prog", "map", "link"} {
		out, err := exec.CommandContext(t.Context(), installed(t, "bpftool"), "-j", kind, "list").Output()
		if err != nil {
			t.Fatalf("bpftool %s list: %v", kind, err)
		}
		var list []struct {
			ID   int
			Name string
			Type any
		}
		if err := json.Unmarshal(out, &list); err != nil {
			t.Fatalf("bpftool %s list: %v", kind, err)
		}
		for _, o := range list {
			found[fmt.Sprintf("%s %d %v %s", kind, o.ID, o.Type, o.Name)] = true
		}
	}
	for _, file := range []string{"/sys/kernel/debug/kprobes/list", tracing + "kprobe_events", tracing + "uprobe_events", tracing + "enabled_functions"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // this kernel has none of that, or no tracefs is mounted
		}
		for line := range strings.Lines(string(text)) {
			found[file+": "+strings.TrimSpace(line)] = true
		}
	}
	return found
}
