// SPDX-License-Identifier: Apache-2.0

//go:build linux

package loader_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/trapline/trapline/internal/testprog"
	"github.com/trapline/trapline/internal/vm"
	"github.com/trapline/trapline/loader"
	"github.com/trapline/trapline/probes"
)

// A function that takes a known time is measured as that: corrected latency is within the clock reads that the function itself
// makes outside of its own measurement, and nearer than the raw one. What an empty function takes is below the noise floor.
//
// What else the machine does between two clock reads can only spoil this, so the best of some attempts is asked.
func TestKnownCost(t *testing.T) {
	path, err := testprog.Build("recursion")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(filepath.Dir(path))
	const attempts = 5
	for i := range attempts {
		wrong := measureKnownCost(t, path)
		if len(wrong) == 0 {
			return
		}
		for _, w := range wrong {
			t.Logf("attempt %d: %s", i+1, w)
		}
	}
	t.Errorf("none of %d attempts measured the known cost", attempts)
}

// measureKnownCost says what is wrong with one measurement's times. What does not depend on time fails at once.
func measureKnownCost(t *testing.T, path string) (wrong []string) {
	spin, err := probes.Parse("uprobe:" + path + ":spin%latency")
	if err != nil {
		t.Fatal(err)
	}
	empty, err := probes.Parse("uprobe:" + path + ":recurse%latency")
	if err != nil {
		t.Fatal(err)
	}
	s, err := loader.Open(t.Context(), []*probes.Spec{spin, empty}, &loader.Options{Filter: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, w := range s.Warnings() {
		t.Error(w)
	}
	s.Enable()
	const calls, ns = 2000, 20000
	var out bytes.Buffer
	cmd := exec.Command(path, "1", "1000", "0", strconv.Itoa(calls), strconv.Itoa(ns/1000))
	cmd.Stdout = &out
	if err := s.Launch(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	// What the function says of itself, by its own clock.
	took, err := strconv.ParseFloat(string(bytes.TrimSpace(out.Bytes())), 64)
	if err != nil {
		t.Fatal(err)
	}
	took /= calls
	rows := s.Rows(nil)
	if n := rows[0].Stats.Count; n != calls {
		t.Fatalf("%d calls, want %d", n, calls)
	}
	if rows[1].Stats.Count == 0 {
		t.Fatal("no call of the empty function")
	}
	raw := rows[0].Stats.Avg()
	_, corrected := rows[0].Stats.Corrected(rows[0].Cost)
	t.Logf("by its own clock %.0f ns, raw %.0f, corrected %.0f, bias %.0f", took, raw, corrected, rows[0].Cost.Bias)
	if rows[0].Cost.Bias <= 0 {
		t.Error("the probe's own cost is not known")
	}
	if raw < took {
		t.Errorf("raw latency %.0f ns is shorter than the function's own %.0f", raw, took)
	}
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if math.Abs(corrected-took) >= raw-took {
		say("corrected latency %.0f ns is no better than the raw one, %.0f; by the function's own clock %.0f", corrected, raw, took)
	}
	// An emulated machine's clock runs with whatever else its host does.
	if _, guest := vm.InGuest(); !guest && math.Abs(corrected-took) > 0.1*took {
		say("corrected latency %.0f ns, by the function's own clock %.0f", corrected, took)
	}
	if rows[0].Stats.BelowFloor(rows[0].Cost) {
		say("%.0f ns are said to be below the floor", raw)
	}
	if e := rows[1]; !e.Stats.BelowFloor(e.Cost) {
		say("an empty function (%d calls, %.0f ns) is said to be above the floor of %.0f", e.Stats.Count, e.Stats.Avg(), 2*e.Cost.Bias)
	}
	return wrong
}
