// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	m := measures()[0]
	for _, test := range []struct {
		walls []time.Duration
		want  float64
	}{
		{[]time.Duration{5}, 5},
		{[]time.Duration{9, 1, 5}, 5},
		{[]time.Duration{4, 1, 100, 2}, 3},
	} {
		r := row{results: results{samples: map[string][]sample{}}}
		for _, wall := range test.walls {
			r.samples["trapline"] = append(r.samples["trapline"], sample{dump: wall * time.Millisecond})
		}
		if got, ok := r.median("trapline", m); !ok || got != test.want {
			t.Errorf("median of %v: got %v (%t), want %v", test.walls, got, ok, test.want)
		}
		if got, ok := r.median("criu", m); ok {
			t.Errorf("median of an engine without samples: got %v", got)
		}
	}
}

func TestUnwrap(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string // nil: the program itself
	}{
		{"wrapper", "#!/bin/sh\nexec /lib/ld.so --library-path /lib /sbin/criu \"$@\"\n", []string{"/lib/ld.so", "--library-path", "/lib", "/sbin/criu"}},
		{"two lines", "#!/bin/sh\nexec 3<&-\nexec /sbin/criu \"$@\"\n", nil},
		{"no arguments", "#!/bin/sh\nexec /sbin/criu\n", nil},
		{"program", "\x7fELF", nil},
	} {
		program := filepath.Join(t.TempDir(), "criu")
		if err := os.WriteFile(program, []byte(test.text), 0o700); err != nil {
			t.Fatal(err)
		}
		want := test.want
		if want == nil {
			want = []string{program}
		}
		got, err := unwrap(program)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q (%v), want %q", test.name, got, err, want)
		}
	}
}

func TestReport(t *testing.T) {
	r := newReport(config{cases: "1MiB", runs: 1}, []engine{{name: "criu"}, {name: "trapline"}})
	k, err := selectCases("1MiB")
	if err != nil {
		t.Fatal(err)
	}
	r.add(k[0], results{samples: map[string][]sample{
		"criu":     {{dump: 8 * time.Millisecond, frozen: 4 * time.Millisecond, restore: 2 * time.Millisecond}},
		"trapline": {{dump: 4 * time.Millisecond, frozen: time.Millisecond, restore: 3 * time.Millisecond}},
	}})
	if text := r.markdown(); !strings.Contains(text, "| 1 MiB | 8.0 | 4.0 | 0.50 |") {
		t.Errorf("no row of the dump's walls in\n%s", text)
	}
	want := "1 MiB, restore: 1.50 of CRIU, the goal is at most 1.0\n2 of 3 goals reached\n"
	if got := r.summary(); got != want {
		t.Errorf("summary: got %q, want %q", got, want)
	}
}

func TestSelectCases(t *testing.T) {
	if _, err := selectCases("1MiB,none"); err == nil {
		t.Error("an unknown case was accepted")
	}
	if all, err := selectCases("all"); err != nil || len(all) != 7 {
		t.Errorf("all: %d cases, %v", len(all), err)
	}
}
