// SPDX-License-Identifier: Apache-2.0

//go:build !riscv64

package patch

import (
	"testing"

	"github.com/trapline/trapline/internal/vm"
)

// TestGuest runs the tests of files *_riscv64_test.go in guests, whose kernels have the patch.
func TestGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("guests are not for short runs")
	}
	for _, series := range vm.BuiltSeries() {
		t.Run(series, func(t *testing.T) {
			kernel, err := vm.BuiltKernel(t.Context(), vm.BuildConfig{Series: series})
			if err != nil {
				t.Fatal(err)
			}
			vm.GoTest(t.Context(), t, vm.TestRun{Guest: vm.Config{Kernel: kernel}, Skip: "^TestLockdown$"})
			t.Run("lockdown", func(t *testing.T) {
				guest := vm.Config{Kernel: kernel, Cmdline: []string{"lockdown=confidentiality"}}
				vm.GoTest(t.Context(), t, vm.TestRun{Guest: guest, Run: "^TestLockdown$"})
			})
		})
	}
}
