// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/trapline/trapline/internal/vm"
)

func TestGoTest(t *testing.T) {
	if testing.Short() {
		t.Skip("one more boot")
	}
	for _, series := range seriesHere() {
		t.Run(series, func(t *testing.T) {
			vm.GoTest(t.Context(), t, vm.TestRun{Kernel: series, Packages: []string{"./testdata/guest"}, MaySkip: "TestMaySkip"})
		})
	}
}

// failingGuest is set in the copy of this program that TestGoTestFails starts.
const failingGuest = "TRAPLINE_VM_FAILING"

// TestGoTestFails starts this program once more, because what is tested is a test that fails.
func TestGoTestFails(t *testing.T) {
	if os.Getenv(failingGuest) != "" {
		vm.GoTest(t.Context(), t, vm.TestRun{Kernel: "6.1", Packages: []string{"./testdata/failing"}})
		return
	}
	if testing.Short() {
		t.Skip("one more boot")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGoTestFails$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), failingGuest+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("failing tests in a guest did not fail the test here")
	}
	for _, want := range []string{
		"--- PASS: TestGoTestFails/TestPasses",
		"--- FAIL: TestGoTestFails/TestFails",
		"--- FAIL: TestGoTestFails/TestFails/inner", "the reason",
		"--- FAIL: TestGoTestFails/TestSkips", "a test skipped itself in a guest",
		"--- FAIL: TestGoTestFails/TestPanics", "no newline at the end", "panic: out of order",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("its output lacks %q", want)
		}
	}
	if t.Failed() {
		t.Logf("its output:\n%s", out)
	}
}
