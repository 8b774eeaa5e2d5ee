// SPDX-License-Identifier: Apache-2.0

//go:build !riscv64

package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trapline/trapline/internal/vm"
)

// stressVariable holds how long tests without an end of their own take, in make stress. The guest's tests see it too.
const stressVariable = "TRAPLINE_STRESS"

// guestRun is which of the guest's tests run on a configuration of the kernel.
type guestRun struct {
	config, series string
	run            string
	stress         bool // only in make stress
}

var guestRuns = []guestRun{
	{config: "small", series: "6.12", run: "^Test(Exact|Text|Sweep|Methods|Cycles|Killed|Fuzz)$"},
	{config: "bench", series: "6.12", run: "^Test(Exact|Peer|Sweep)$", stress: true},
	{config: "preempt", series: "6.12", run: "^Test(Exact|Text|Sweep|Methods|Cycles|Killed|Fuzz)$", stress: true},
	{config: "debug", series: "6.12", run: "^Test(Exact|Methods|Hotplug|Fuzz|Killed)$", stress: true},
	{config: "small", series: "6.1", run: "^Test(Exact|Text|Sweep|Methods|Cycles|Killed|Fuzz)$", stress: true},
}

// TestGuest runs the tests of this package in guests.
func TestGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than a minute")
	}
	for _, run := range guestRuns {
		t.Run(run.series+"-"+run.config, func(t *testing.T) {
			if run.stress && os.Getenv(stressVariable) == "" {
				t.Skip("only in make stress")
			}
			run.start(t)
		})
	}
}

func (r guestRun) start(t *testing.T) {
	kernel, err := vm.BuiltKernel(t.Context(), vm.BuildConfig{Series: r.series, Config: r.config})
	if err != nil {
		t.Fatal(err)
	}
	notes := t.TempDir()
	t.Cleanup(func() { showNotes(t, notes) })
	env := []string{"TRAPLINE_NOTES=" + notes}
	for _, name := range []string{stressVariable, "TRAPLINE_SEED", "TRAPLINE_FAULTS_SKIP"} {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	vm.GoTest(t.Context(), t, vm.TestRun{
		Guest: vm.Config{Kernel: kernel, Shared: []string{notes}, Clock: vm.ThreadEach},
		Run:   r.run,
		Env:   env,
	})
}

// showNotes shows what the guest noted last, if it failed.
func showNotes(t *testing.T, dir string) {
	if !t.Failed() {
		return
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			t.Logf("the guest's last note, %s: %s", filepath.Base(file), strings.TrimSpace(string(text)))
		}
	}
}
