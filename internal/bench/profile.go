// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/trapline/trapline/internal/bench/document"
)

// profileCase is the name of the benchmark that says what trapline profile costs what it profiles.
const profileCase = "profile"

// profileGoal is how much slower a profiled dump of 1 GiB may be.
const profileGoal = 1.02

const profileHeading = "# What profiling costs"

const profilePreface = `A dump of 1 GiB, plain and below ` + "`trapline profile`" + ` with its default set of probes, in turns. **frozen** is what ` + "`stats-dump`" + ` says:
how long the target stood still, which is nearly all of a dump, and does not have the placing of probes in it. That comes before the target is
touched.

`

// profiledEngine is our engine below the profiler.
func profiledEngine(c config) engine {
	return engine{name: "profiled", command: []string{c.trapline, "profile", "-o", "/dev/null"}}
}

// measureProfile runs the dump with and without a profile, and says what the difference is.
func (b *bench) measureProfile() error {
	k := benchCase{name: profileCase, long: "1 GiB", args: []string{"mem", "1024"}, touched: 2048 * mib}
	b.engines = []engine{{name: "trapline", command: []string{b.trapline}}, profiledEngine(b.config)}
	r, err := b.measure(k)
	if err != nil {
		return err
	}
	plain, profiled := frozenTimes(r.samples["trapline"]), frozenTimes(r.samples["profiled"])
	if len(plain) == 0 || len(profiled) == 0 {
		return errors.New("no runs")
	}
	var ratios []float64 // of the two of one round: the machine was the same
	for i := range plain {
		ratios = append(ratios, profiled[i]/plain[i])
	}
	text := fmt.Sprintf("| | frozen, ms: median | quarter to three quarters |\n| --- | ---: | ---: |\n| plain | %s |\n| profiled | %s |\n| profiled / plain, in each round | %s |\n",
		spread(plain, "%.1f"), spread(profiled, "%.1f"), spread(ratios, "%.3f"))
	text += fmt.Sprintf("\nGoal: at most %.2f.\n", profileGoal)
	fmt.Print(text)
	if b.write == "" {
		return nil
	}
	head := fmt.Sprintf("Made by `make bench BENCH=%s RUNS=%d WRITE=1` on %s: %s, %d CPUs, Linux %s.\n\n",
		profileCase, b.runs, time.Now().Format(time.DateOnly), cpuModel(), runtime.NumCPU(), kernel())
	return document.Replace(b.write, profileHeading, head+profilePreface+text)
}

func frozenTimes(samples []sample) []float64 {
	var list []float64
	for _, s := range samples {
		list = append(list, float64(s.frozen)/float64(time.Millisecond))
	}
	return list
}

// spread writes the median and the quartiles.
func spread(values []float64, format string) string {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	median := (sorted[(n-1)/2] + sorted[n/2]) / 2
	return fmt.Sprintf(format+" | "+format+" – "+format, median, sorted[n/4], sorted[(3*n-1)/4])
}
