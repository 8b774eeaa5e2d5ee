// SPDX-License-Identifier: Apache-2.0

//go:build !riscv64

package patch

import (
	"os"
	"testing"

	"github.com/trapline/trapline/internal/vm"
)

// onlyOldest are the tests that run on the older kernel too: those of what its port does differently.
const onlyOldest = "^Test(Counts|Latency|Recursion|Predicates|Errors|Contexts|Events|RegistersAndStack|FilterFollows|Launch|OpenErrors|Places)$"

// TestGuest runs the tests of files *_riscv64_test.go in guests, whose kernels have the patch.
func TestGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("guests are not for short runs")
	}
	for series, run := range map[string]vm.TestRun{"6.1": {Run: onlyOldest}, "6.12": {Skip: "^TestLockdown"}} {
		t.Run(series, func(t *testing.T) {
			kernel, err := vm.BuiltKernel(t.Context(), vm.BuildConfig{Series: series})
			if err != nil {
				t.Fatal(err)
			}
			run.Guest.Kernel = kernel
			vm.GoTest(t.Context(), t, run)
			if run.Run != "" {
				return
			}
			t.Run("lockdown", func(t *testing.T) {
				guest := vm.Config{Kernel: kernel, Cmdline: []string{"lockdown=confidentiality"}}
				vm.GoTest(t.Context(), t, vm.TestRun{Guest: guest, Run: "^TestLockdown$"})
			})
			t.Run("lockdown later", func(t *testing.T) {
				vm.GoTest(t.Context(), t, vm.TestRun{Guest: vm.Config{Kernel: kernel}, Run: "^TestLockdownLater$"})
			})
		})
	}
}

// TestStacks runs the tests of events on a kernel with frame pointers, which alone has call chains. It takes a kernel of its own,
// so it is for make stress.
func TestStacks(t *testing.T) {
	if os.Getenv("TRAPLINE_STRESS") == "" {
		t.Skip("only in make stress")
	}
	kernel, err := vm.BuiltKernel(t.Context(), vm.BuildConfig{Config: "frames"})
	if err != nil {
		t.Fatal(err)
	}
	vm.GoTest(t.Context(), t, vm.TestRun{Guest: vm.Config{Kernel: kernel}, Run: "^Test(Features|RegistersAndStack|Events|ReturnEvents)$"})
}
