// SPDX-License-Identifier: Apache-2.0

//go:build linux

package loader_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trapline/trapline/internal/testprog"
	"github.com/trapline/trapline/internal/vm"
	"github.com/trapline/trapline/loader/ebpf"
	"github.com/trapline/trapline/loader/internal/spectest"
)

// These tests compare what Trapline measures with what others measure of the same calls, and with what the load is known to do.
// Kernel functions can be probed in guests; TestGuest takes the tests there.

// needKernelProbes skips where the kernel has no probes of its functions. A guest's has.
func needKernelProbes(t *testing.T) {
	t.Helper()
	if _, guest := vm.InGuest(); guest {
		return
	}
	for _, f := range ebpf.Features() {
		if f.Name != "kprobe" {
			continue
		}
		if err := f.Test(); err != nil {
			t.Skipf("TestGuest runs this in a guest: %v", err)
		}
	}
}

// functionMechanisms are the means that this kernel has to probe its functions.
func functionMechanisms() []ebpf.Mechanism {
	all := []ebpf.Mechanism{ebpf.MechanismFentry, ebpf.MechanismKprobe}
	if series, _ := vm.InGuest(); series != "6.1" {
		all = append(all, ebpf.MechanismKprobeMulti, ebpf.MechanismKprobeSession)
	}
	return all
}

// open opens a session that places kernel functions by one means alone, and begins to count.
func open(t *testing.T, only ebpf.Mechanism, texts ...string) *ebpf.Session {
	t.Helper()
	s := openWith(t, &ebpf.Options{Only: only, Strict: true}, texts...)
	s.Enable()
	return s
}

// openOf opens a session that sees one program of ours alone.
func openOf(t *testing.T, h *testprog.Hits, only ebpf.Mechanism, texts ...string) *ebpf.Session {
	t.Helper()
	s := openWith(t, &ebpf.Options{Only: only, Strict: true, Filter: true}, texts...)
	if err := s.Follow(h.Cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	s.Enable()
	return s
}

func openWith(t *testing.T, opts *ebpf.Options, texts ...string) *ebpf.Session {
	t.Helper()
	s, err := ebpf.Open(t.Context(), spectest.Parse(t, texts...), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// readings gives what a session measured, by the names of places.
func readings(s *ebpf.Session) map[string]ebpf.Reading {
	all := map[string]ebpf.Reading{}
	for _, r := range s.Read(nil) {
		all[r.Probe.Name] = r
	}
	return all
}

// startHits starts the load, by wrap if that is not nil.
func startHits(t *testing.T, wrap func([]string) *exec.Cmd) *testprog.Hits {
	t.Helper()
	h, err := testprog.StartHits(-1, wrap)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func do(t *testing.T, h *testprog.Hits, command string) {
	t.Helper()
	if _, err := h.Do("%s", command); err != nil {
		t.Fatal(err)
	}
}

// tracer is a program that starts the load itself when it is ready: its command line, and the file that has its results.
type tracer struct {
	args   []string
	output string
}

// bpftrace runs a program that prints JSON at its end.
func bpftrace(t *testing.T, program string) *tracer {
	out := filepath.Join(t.TempDir(), "bpftrace.json")
	return &tracer{args: []string{installed(t, "bpftrace"), "-q", "-f", "json", "-o", out, "-e", program, "-c"}, output: out}
}

// installed finds a program. bpftrace wants the whole path if PATH has several.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// wrap makes the command line: bpftrace takes its command as one word, others as the rest of theirs.
func (r *tracer) wrap(program []string) []string {
	if r.args[len(r.args)-1] == "-c" {
		return append(slices.Clone(r.args), strings.Join(program, " "))
	}
	return append(slices.Clone(r.args), program...)
}

// wrapped starts the load by tracers, the first one outermost.
func wrapped(t *testing.T, tracers ...*tracer) func([]string) *exec.Cmd {
	return func(program []string) *exec.Cmd {
		for _, r := range slices.Backward(tracers) {
			program = r.wrap(program)
		}
		return exec.CommandContext(t.Context(), program[0], program[1:]...)
	}
}

// writeFile writes to a file of the kernel.
func writeFile(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatalf("write %q: %v", text, err)
	}
}
