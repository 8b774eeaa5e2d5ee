// SPDX-License-Identifier: Apache-2.0

//go:build linux

package loader_test

import (
	"testing"

	"github.com/trapline/trapline/internal/testprog"
	"github.com/trapline/trapline/internal/vm"
)

// TestGuest runs the tests of this package and of its backends on kernels that have probes of their functions, and those of files
// *_riscv64_test.go on one that has no eBPF but the patch.
func TestGuest(t *testing.T) {
	// Compiled here: the guest's emulated compiler would take seconds, and finds the program in the cache.
	path, err := testprog.Build("hits")
	if err != nil {
		t.Fatal(err)
	}
	(&testprog.Hits{Path: path}).Remove()
	for _, series := range vm.DebianSeries() {
		t.Run(series, func(t *testing.T) {
			t.Parallel()
			run := vm.TestRun{Kernel: series, Packages: []string{".", "./ebpf", "./perf"}}
			if series == "6.1" {
				run.MaySkip = `TestFunctionMechanisms/kprobe\.(multi|session)` // its configuration has no CONFIG_FPROBE
			}
			vm.GoTest(t.Context(), t, run)
		})
	}
	t.Run("patch", func(t *testing.T) { // before the others: three guests at once are too much for two processors
		kernel, err := vm.BuiltKernel(t.Context(), vm.BuildConfig{})
		if err != nil {
			t.Fatal(err)
		}
		vm.GoTest(t.Context(), t, vm.TestRun{Guest: vm.Config{Kernel: kernel}, Run: "^TestPatch"})
	})
}
