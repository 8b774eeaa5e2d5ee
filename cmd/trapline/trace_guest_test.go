// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/trapline/trapline/internal/vm"
)

// TestGuest runs tests of trace and probe in guests, whose kernels have what lockdown takes away here.
func TestGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("guests are not for short runs")
	}
	for _, run := range []vm.TestRun{
		{Kernel: "6.1", Run: "TestStrace|TestLiveTable$|TestKernelFunctions|TestLatencyColumns|TestScripts/probe"},
		{Kernel: "6.12", Run: "TestKernelFunctions"}, // what differs there is how functions are probed
	} {
		t.Run(run.Kernel, func(t *testing.T) { vm.GoTest(t.Context(), t, run) })
	}
}

// needKernelProbes skips on a machine whose lockdown forbids probes of kernel functions. A guest has none.
func needKernelProbes(t *testing.T) {
	t.Helper()
	if _, yes := vm.InGuest(); yes {
		return
	}
	if _, err := os.Stat("/sys/kernel/tracing/kprobe_events"); err == nil {
		return
	}
	t.Skip("this kernel is locked down: no probes of its functions (TestGuest runs this in a guest)")
}

// TestKernelFunctions checks what only a kernel without lockdown has: latencies of kernel functions by glob, events with
// arguments, registers and stacks, and how probe explains them.
func TestKernelFunctions(t *testing.T) {
	needKernelProbes(t)
	command := []string{"--", "sh", "-c", "cat /etc/passwd >/dev/null; exit 0"}
	file := t.TempDir() + "/trace"
	runQuietly(t, "trapline", append([]string{"trace", "--json", "-o", file, "vfs_*"}, command...)...)
	hits := map[string]uint64{}
	for _, line := range jsonLines(t, file) {
		hits[line.Probe] = line.Count
		if line.Type == "end" && line.Probes < 20 {
			t.Errorf("%d probes of vfs_*, want 20 and more", line.Probes)
		}
	}
	for _, probe := range []string{"vfs_read", "vfs_open"} {
		if hits[probe] == 0 {
			t.Errorf("no hit of %s: %v", probe, hits)
		}
	}

	runQuietly(t, "trapline", append([]string{"trace", "--stack", "--regs", "-o", file, "vfs_read len=%a2:u64 if $comm == \"cat\""}, command...)...)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{" cat-", "vfs_read(len=", "\n    pc vfs_read", "ksys_read+0x", " di ", "PROBE"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}
