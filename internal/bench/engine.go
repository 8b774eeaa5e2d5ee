// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/checkpoint-restore/go-criu/v8/stats"
)

// An engine is one column: a program that checkpoints and restores, called with CRIU's options.
type engine struct {
	name    string
	command []string // the program and arguments before the subcommand
	env     []string // added to the environment
}

// A timing is what one command of an engine took.
type timing struct {
	wall   time.Duration
	maxRSS int64 // KiB
}

// selectEngines gives the columns that -engines names, in the order of the report.
func selectEngines(c config) ([]engine, error) {
	var all []engine
	if c.criu != "" {
		command, err := unwrap(c.criu)
		if err != nil {
			return nil, err
		}
		all = append(all,
			engine{name: "criu", command: command},
			// Fault 130 is CRIU's own test switch: no hardware breakpoints, single steps in their place. In a virtual machine the
			// breakpoints cost some 10 ms a run.
			engine{name: "criu-nobp", command: command, env: []string{"CRIU_FAULT=130"}})
	}
	if c.trapline != "" {
		all = append(all, engine{name: "trapline", command: []string{c.trapline}})
	}
	if c.engines == "all" {
		return all, nil
	}
	var chosen []engine
next:
	for name := range strings.SplitSeq(c.engines, ",") {
		for _, e := range all {
			if e.name == name {
				chosen = append(chosen, e)
				continue next
			}
		}
		return nil, fmt.Errorf("no engine %q (criu, criu-nobp, trapline; is its program given?)", name)
	}
	return chosen, nil
}

// unwrap gives the command behind a wrapper that is a shell script of one exec line, so that CRIU is not charged for the start of a
// shell. Anything else is its own command.
func unwrap(program string) ([]string, error) {
	text, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	line, found := bytes.CutPrefix(text, []byte("#!/bin/sh\nexec "))
	if !found || bytes.Count(line, []byte("\n")) > 1 {
		return []string{program}, nil
	}
	fields := strings.Fields(string(line))
	if n := len(fields); n > 1 && fields[n-1] == `"$@"` {
		return fields[:n-1], nil
	}
	return []string{program}, nil
}

// dump checkpoints the tree below pid into dir, and ends it if no option says otherwise.
func (b *bench) dump(e engine, pid int, dir string, options ...string) (timing, time.Duration, error) {
	t, err := b.timed(e, dir, "dump.log", append([]string{"dump", "-t", fmt.Sprint(pid), "-D", dir, "-o", "dump.log"}, options...)...)
	if err != nil {
		return t, 0, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return t, 0, err
	}
	defer d.Close()
	s, err := stats.CriuGetDumpStats(d)
	if err != nil {
		return t, 0, fmt.Errorf("%s: stats-dump: %w", e.name, err)
	}
	return t, time.Duration(s.GetFrozenTime()) * time.Microsecond, nil
}

// restore brings back the tree in dir.
func (b *bench) restore(e engine, dir string) (timing, error) {
	return b.timed(e, dir, "restore.log", "restore", "-D", dir, "-d", "-o", "restore.log")
}

// timed runs an engine below the target's clock. The engine's log is part of the error if it fails.
func (b *bench) timed(e engine, dir, log string, args ...string) (timing, error) {
	command := append([]string{"time"}, e.command...)
	command = append(command, args...)
	cmd := exec.Command(b.target, command...)
	cmd.Env = append(os.Environ(), e.env...)
	cmd.Dir = dir
	// A file and not a pipe: a detached tree that kept a copy of it would keep Wait waiting.
	output, err := os.Create(filepath.Join(b.work, "engine.stderr"))
	if err != nil {
		return timing{}, err
	}
	defer output.Close()
	cmd.Stderr = output
	result, err := os.Create(filepath.Join(b.work, "engine.stdout"))
	if err != nil {
		return timing{}, err
	}
	defer result.Close()
	cmd.Stdout = result
	if err := cmd.Run(); err != nil {
		return timing{}, fmt.Errorf("%s %s: %w", e.name, args[0], err)
	}
	text, err := os.ReadFile(result.Name())
	if err != nil {
		return timing{}, err
	}
	// The clock's line is the last one: what the engine itself prints comes before it.
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var status int
	var ns, rss int64
	if _, err := fmt.Sscan(string(lines[len(lines)-1]), &status, &ns, &rss); err != nil {
		return timing{}, fmt.Errorf("%s %s: clock: %w", e.name, args[0], err)
	}
	if status != 0 {
		return timing{}, fmt.Errorf("%s %s: exit status %d\n%s%s", e.name, args[0], status, tail(output.Name()), tail(filepath.Join(dir, log)))
	}
	return timing{wall: time.Duration(ns), maxRSS: rss}, nil
}

// tail gives the last lines of a log, empty if there is none.
func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "")
}
