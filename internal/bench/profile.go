// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/trapline/trapline/internal/bench/document"
)

// profileCase is the name of the benchmark that says what trapline profile costs what it profiles.
const profileCase = "profile"

// profileGoal is how much slower a profiled dump of 1 GiB may be.
const profileGoal = 1.02

// profileRuns is from how many runs on the goal fails the benchmark: in fewer, what the machine does meanwhile is larger than 2 %.
const profileRuns = 50

const profileHeading = "# What profiling costs"

const profilePreface = `Dumps of one target of 1 GiB that runs on after each (` + "`-R`" + `), plain and below ` + "`trapline profile`" + ` with its default set of probes, in turns.
The images are in /tmp and not in a tmpfs, whose new pages take times that vary more than what is measured here. **frozen** is what ` + "`stats-dump`" + ` says:
how long the target stood still, which is nearly all of a dump. Free memory is touched right before the target is frozen, by the dump's action script. The probes are placed before that, and the report is made after it: that is the second table, of a target of 1 MiB.

`

// touchFlag marks a copy of this program that only touches memory.
const touchFlag = "touch"

// profileMemory is what is touched before a dump of profileCase, in bytes.
const profileMemory = 1536 * mib

// A pairing is what dumps took without a profile and with one: pairs of two that ran one after the other.
type pairing struct {
	plain, profiled []float64 // ms
}

// measureProfile dumps with and without a profile, and says what the difference is.
func (b *bench) measureProfile() error {
	frozen, err := b.profileCosts(1024, true)
	if err != nil {
		return err
	}
	whole, err := b.profileCosts(1, false)
	if err != nil {
		return err
	}
	text := frozen.table("frozen") + fmt.Sprintf("\nGoal: the medians' ratio at most %.2f. It is %.3f; that of each two dumps has a median of %s.\n\n",
		profileGoal, frozen.ratio(), spread(frozen.ratios(), "%.3f", " (%.3f – %.3f from quarter to three quarters)")) + whole.table("the whole command")
	fmt.Print(text)
	if b.write != "" {
		head := fmt.Sprintf("Made by `make bench BENCH=%s RUNS=%d WRITE=1` on %s: %s, %d CPUs, Linux %s.\n\n",
			profileCase, b.runs, time.Now().Format(time.DateOnly), cpuModel(), runtime.NumCPU(), kernel())
		if err := document.Replace(b.write, profileHeading, head+profilePreface+text); err != nil {
			return err
		}
	}
	if r := frozen.ratio(); b.runs >= profileRuns && r > profileGoal {
		return fmt.Errorf("a profiled dump takes %.3f of a plain one; the goal is %.2f", r, profileGoal)
	}
	return nil
}

// profileCosts dumps one target of some MiB again and again: how long it stood still, or how long the command took.
func (b *bench) profileCosts(size int, frozen bool) (c pairing, err error) {
	dir, err := os.MkdirTemp(b.disk, "target-")
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	pid, err := b.start(benchCase{args: []string{"mem", fmt.Sprint(size)}}, dir)
	if err != nil {
		return c, err
	}
	defer b.killAll()
	options := []string{"-R"}
	if frozen {
		script, err := b.touchScript(dir)
		if err != nil {
			return c, err
		}
		options = append(options, "--action-script", script)
	}
	plain := engine{name: "trapline", command: []string{b.trapline}}
	profiled := engine{name: "profiled", command: []string{b.trapline, "profile", "-o", "/dev/null"}}
	for round := range b.warmup + b.runs {
		order := []engine{plain, profiled}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		took := map[string]float64{}
		for _, e := range order {
			t, stood, err := b.dumpAgain(e, pid, filepath.Join(dir, "images"), options)
			if err != nil {
				return c, err
			}
			if !frozen {
				stood = t.wall
			}
			took[e.name] = float64(stood) / float64(time.Millisecond)
		}
		if b.keep {
			fmt.Printf("%s: %v\n", profileCase, took)
		}
		if round >= b.warmup {
			c.plain, c.profiled = append(c.plain, took[plain.name]), append(c.profiled, took[profiled.name])
		}
	}
	return c, nil
}

// dumpAgain replaces the images.
func (b *bench) dumpAgain(e engine, pid int, images string, options []string) (timing, time.Duration, error) {
	if err := os.RemoveAll(images); err != nil {
		return timing{}, 0, err
	}
	if err := os.Mkdir(images, 0o700); err != nil {
		return timing{}, 0, err
	}
	return b.dump(e, pid, images, options...)
}

// touchScript is an action script that touches memory when the dump is about to freeze its target.
func (b *bench) touchScript(dir string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	script := filepath.Join(dir, "touch")
	text := fmt.Sprintf("#!/bin/sh\n[ \"$CRTOOLS_SCRIPT_ACTION\" != pre-dump ] || exec '%s' -%s %d\n", self, touchFlag, profileMemory)
	return script, os.WriteFile(script, []byte(text), 0o700)
}

func (c pairing) table(what string) string {
	const row = "| %s | %s |\n"
	return fmt.Sprintf("| %s, ms | median | quarter to three quarters |\n| --- | ---: | ---: |\n", what) +
		fmt.Sprintf(row, "plain", spread(c.plain, "%.1f", " | %.1f – %.1f")) +
		fmt.Sprintf(row, "profiled", spread(c.profiled, "%.1f", " | %.1f – %.1f"))
}

// ratio is that of the medians.
func (c pairing) ratio() float64 { return middle(c.profiled) / middle(c.plain) }

// ratios are those of each two dumps.
func (c pairing) ratios() []float64 {
	var list []float64
	for i := range c.plain {
		list = append(list, c.profiled[i]/c.plain[i])
	}
	return list
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// spread writes the median and the quartiles.
func spread(values []float64, median, quartiles string) string {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return fmt.Sprintf(median+quartiles, middle(values), sorted[n/4], sorted[(3*n-1)/4])
}
