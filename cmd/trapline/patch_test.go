// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/trapline/trapline/internal/testprog"
	"github.com/trapline/trapline/internal/vm"
)

// latencyColumns are those of a table of kernel functions. They are the same whatever measures them.
var latencyColumns = strings.Fields("PROBE COUNT RATE/s TOTAL AVG CORRECT P50 P99 MAX MISSED")

// TestPatchGuest runs the tests of tracing by the patch in a guest that has it.
func TestPatchGuest(t *testing.T) {
	if _, yes := vm.InGuest(); yes {
		return // TestPatch… are what this would run
	}
	if testing.Short() {
		t.Skip("guests are not for short runs")
	}
	kernel, err := vm.BuiltKernel(t.Context(), vm.BuildConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := testprog.Prepare("riscv64", "mem_anon"); err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	vm.GoTest(t.Context(), t, vm.TestRun{
		Guest: vm.Config{Kernel: kernel, Clock: vm.ThreadEach}, Run: "^(TestPatch.*|TestProfile|TestProfileKernelFunctions)$", Skip: "TestPatchGuest",
		Env: []string{"XDG_CACHE_HOME=" + cache},
	})
}

// A table of kernel functions has the columns here that it has on a kernel with the patch.
func TestLatencyColumns(t *testing.T) {
	needKernelProbes(t)
	file := t.TempDir() + "/table"
	runQuietly(t, "trapline", "trace", "-o", file, "vfs_write", "--", "trapline", "--version")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(string(text), "\n"); len(lines) < 2 || !slices.Equal(strings.Fields(lines[1]), latencyColumns) {
		t.Errorf("not the columns %q:\n%s", latencyColumns, text)
	}
}
