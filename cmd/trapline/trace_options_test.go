// SPDX-License-Identifier: Apache-2.0

package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/trapline/trapline/probes"
)

// TestProbingOptions checks what the options of trace come to, and which are refused.
func TestProbingOptions(t *testing.T) {
	for _, c := range []struct {
		args string
		want func(*probingSettings)
		rest string
	}{
		{"", func(*probingSettings) {}, ""},
		{"-p 1,2 -p 2 --pid=3 vfs_read", func(p *probingSettings) { p.pids = []int{1, 2, 3} }, "vfs_read"},
		{"a -i 2 b -d 500ms", func(p *probingSettings) {
			p.interval, p.intervalGiven, p.duration = 2*time.Second, true, 500*time.Millisecond
		}, "a b"},
		{"-i0.25", func(p *probingSettings) { p.interval, p.intervalGiven = 250*time.Millisecond, true }, ""},
		{"-d 1h", func(p *probingSettings) { p.duration = time.Hour }, ""},
		{"--sort p99 --reverse --hist --cpu", func(p *probingSettings) { p.sort, p.reverse, p.hist, p.cpu = probes.ColumnP99, true, true, true }, ""},
		{"--sort=RATE/s --reverse --no-reverse", func(p *probingSettings) { p.sort = probes.ColumnRate }, ""},
		{"-e", func(p *probingSettings) { p.events = true }, ""},
		{"-n 7", func(p *probingSettings) { p.events, p.count = true, 7 }, ""},
		{"--stack --regs", func(p *probingSettings) { p.events, p.stack, p.regs = true, true, true }, ""},
		{"-l --strict --backend ebpf --no-calibrate", func(p *probingSettings) { p.list, p.strict, p.backend, p.noCalibrate = true, true, "ebpf", true }, ""},
		{"--no-calibrate --no-no-calibrate", func(*probingSettings) {}, ""},
		{"-o FILE --max-rows 3", func(p *probingSettings) { p.output, p.maxRows = "FILE", 3 }, ""},
	} {
		want := newProbingSettings()
		c.want(&want)
		s := newSettings()
		rest, err := dialect{cmds: cmdTrace}.parse(strings.Fields(c.args), s)
		if err != nil {
			t.Errorf("%q: %v", c.args, err)
			continue
		}
		if got := strings.Join(rest, " "); got != c.rest {
			t.Errorf("%q: the other words are %q, want %q", c.args, got, c.rest)
		}
		if !reflect.DeepEqual(s.probing, want) {
			t.Errorf("%q:\n%+v, want\n%+v", c.args, s.probing, want)
		}
	}
	for _, args := range []string{
		"-p 0", "-p 1,", "-p x", "-p -1", "-i 0", "-i 1ms", "-i x", "-i -1", "-i NaN", "-d 0", "-d -1s", "-d 1e300", "-d Inf", "-n 0", "-n -1",
		"-n 99999999999999999999", "--max-rows 0", "--sort x", "--sort", "--output=", "-z", "--tree 1", "-D d", "--events=1",
	} {
		if _, err := (dialect{cmds: cmdTrace}).parse(strings.Fields(args), newSettings()); !isUsage(err) {
			t.Errorf("%q: %v, want a usage error", args, err)
		}
	}
}

// TestProbingOptionsTable checks that no letter or name stands for two options of a command, and that each says what it does.
func TestProbingOptionsTable(t *testing.T) {
	for _, cmd := range []command{cmdTrace, cmdProbe} {
		seen := map[string]bool{}
		for i := range probingOptions {
			o := &probingOptions[i]
			if o.cmds&cmd == 0 {
				continue
			}
			for _, name := range []string{"--" + o.name, "-" + o.short} {
				if name != "-" && seen[name] {
					t.Errorf("%s: %s stands for two options", cmd, name)
				}
				seen[name] = true
			}
			if o.note == "" || o.set == nil || o.fate != taken || o.cmds&^cmdProbing != 0 {
				t.Errorf("%s --%s: not explained, does nothing, or is of other commands", cmd, o.name)
			}
		}
	}
}

// TestCutCommand checks where the options of trace end.
func TestCutCommand(t *testing.T) {
	for _, c := range []struct {
		args, own, command string
		has                bool
	}{
		{"a b", "a b", "", false},
		{"a -- b -v -- c", "a", "b -v -- c", true},
		{"a --", "a", "", true},
		{"-- b", "", "b", true},
	} {
		own, command := cutCommand(strings.Fields(c.args))
		if strings.Join(own, " ") != c.own || strings.Join(command, " ") != c.command || (command != nil) != c.has {
			t.Errorf("%q: %q and %q (%v), want %q and %q (%v)", c.args, own, command, command != nil, c.own, c.command, c.has)
		}
	}
}
