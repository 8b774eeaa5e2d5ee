// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReportCosts(t *testing.T) {
	list := []comparison{{name: "entry", means: "kprobe"}, {name: "many", means: "kprobe.multi", needsMany: true}}
	var in strings.Builder
	enc := json.NewEncoder(&in)
	for _, s := range []costSample{
		{0, toolNone, 100, ""},
		{0, toolBpftrace, 150, ""},
		{0, toolBpftrace, 140, ""},
		{0, toolBpftrace, 900, ""},
		{0, toolTrapline, 125, ""},
		{1, toolNone, 100, ""},
		{1, toolBpftrace, 150, ""},
		{1, toolTrapline, 0, "no kprobe.multi"},
	} {
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	if err := reportCosts(&text, list, json.NewDecoder(strings.NewReader(in.String()))); err != nil {
		t.Fatal(err)
	}
	if want := "| entry | kprobe | 100 | 50 | 25 | 0.50 |\n"; !strings.Contains(text.String(), want) {
		t.Errorf("no row %q in\n%s", want, text.String())
	}
	if strings.Contains(text.String(), "many") {
		t.Errorf("a row of what this kernel lacks in\n%s", text.String())
	}
}

func TestCountEvents(t *testing.T) {
	for _, test := range []struct {
		name, text     string
		shown, dropped uint64
	}{
		{"text", "0.000000 [001] hits-16631 syscall:getppid()\n0.000002 [001] hits-16631 syscall:getppid()\n1.00s, 1 probe, hits\nPROBE  COUNT\n" +
			"dropped: 1204300 events found the buffer full and can't be shown; the counts are right\n", 2, 1204300},
		{"json", `{"type":"event","probe":"a"}` + "\n" + `{"type":"stats","probe":"a","count":3,"dropped":2}` + "\n" + `{"type":"end","dropped":2}` + "\n", 1, 2},
		{"none", "1.00s, 1 probe, hits\n", 0, 0},
	} {
		file := filepath.Join(t.TempDir(), "events")
		if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		shown, dropped, err := countEvents(file)
		if err != nil || shown != test.shown || dropped != test.dropped {
			t.Errorf("%s: %d shown, %d dropped, %v; expected %d and %d", test.name, shown, dropped, err, test.shown, test.dropped)
		}
	}
}

func TestSelectProbesCases(t *testing.T) {
	if all, err := selectProbesCases("probes"); err != nil || len(all) != len(probesCases()) {
		t.Errorf("probes: %d cases, %v", len(all), err)
	}
	if some, err := selectProbesCases("probes-here,probes-6.12"); err != nil || len(some) != 2 {
		t.Errorf("two cases: %d, %v", len(some), err)
	}
	if _, err := selectProbesCases("probes-here,1MiB"); err == nil {
		t.Error("a case of another kind was accepted")
	}
}
