// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"os/exec"
	"testing"
	"time"

	"github.com/trapline/trapline/loader/internal/spectest"
	"github.com/trapline/trapline/probes"
)

// On a kernel with the patch and without eBPF, the patch is what serves, with all that a session has; what its probes cost is
// measured, and taken off.
func TestPatchBackend(t *testing.T) {
	s, err := Open(t.Context(), spectest.Parse(t, "__task_pid_nr_ns", "syscall:getppid", "vfs_read%entry"), &Options{Filter: true, CPUTime: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, w := range s.Warnings() {
		t.Error(w)
	}
	program, _, err := calibrationProgram(5000, false)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	s.Enable()
	cmd := exec.Command(program.Name())
	if err := s.Launch(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	rows := s.Rows(nil)
	if len(rows) != 3 || len(s.Probes()) != 3 {
		t.Fatalf("%d rows of %d probes, want 3", len(rows), len(s.Probes()))
	}
	for _, r := range rows[:2] {
		if r.Stats.Count < 5000 || r.Stats.Count > 5050 || r.Losses != (probes.Losses{}) || !r.HasLatency || !r.HasCPU {
			t.Errorf("%s: %+v", r.Probe, r)
		}
		if r.Cost.Bias <= 0 || r.Cost.Hit < 0 || r.Cost.Bias > float64(10*time.Millisecond) {
			t.Errorf("%s: cost %+v", r.Probe, r.Cost)
		}
		if _, avg := r.Stats.Corrected(r.Cost); avg >= r.Stats.Avg() {
			t.Errorf("%s: average %.0f ns, corrected %.0f", r.Probe, r.Stats.Avg(), avg)
		}
		t.Logf("%s (%s): average %.0f ns, cost %+v", r.Probe, r.Mechanism, r.Stats.Avg(), r.Cost)
	}
	if !rows[1].HasErrors || rows[0].HasErrors {
		t.Error("errors are those of system calls")
	}
	if missed, among := s.SharedMissed(); missed != 0 || among != 0 {
		t.Errorf("%d shared misses of %d probes", missed, among)
	}
	if err := s.Detach(); err != nil {
		t.Error(err)
	}
}

// Explain says how, and why not.
func TestPatchExplain(t *testing.T) {
	spec, err := probes.Parse("vfs_write")
	if err != nil {
		t.Fatal(err)
	}
	places, err := Explain(t.Context(), spec)
	if err != nil || len(places) != 1 || len(places[0].Ways) != 2 {
		t.Fatalf("%+v, %v", places, err)
	}
	for _, w := range places[0].Ways {
		if w.Err != nil || w.Mechanism != "patch.jump" || w.Detail == "" {
			t.Errorf("%+v", w)
		}
	}
	if places[0].Address == 0 || places[0].Symbol != "vfs_write" {
		t.Errorf("%+v", places[0])
	}
}

// Nothing but the patch is there in the guest, and errors of other backends say so.
func TestPatchOthers(t *testing.T) {
	spec, err := probes.Parse("vfs_write")
	if err != nil {
		t.Fatal(err)
	}
	for _, backend := range []string{"ebpf", "perf"} {
		if s, err := Open(t.Context(), []*probes.Spec{spec}, &Options{Backend: backend}); err == nil {
			s.Close()
			t.Errorf("backend %s works in a kernel without it", backend)
		}
	}
	s, err := Open(t.Context(), []*probes.Spec{spec}, &Options{Backend: "patch", NoCalibration: true})
	if err != nil {
		t.Fatal(err)
	}
	s.SetContext(1)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
