// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// costCase measures what probes cost per hit.
func costCase(name, long, series string, counting bool) probesCase {
	list := localComparisons()
	if series != "" {
		list = functionComparisons()
	}
	// A guest's function is some ten times slower than a machine's.
	calls := 400_000
	if series != "" {
		calls = 40_000
	}
	k := probesCase{name: name, long: long, series: series, counting: counting}
	k.run = func(ctx context.Context, c config, out *json.Encoder) error {
		rounds := c.runs
		if counting {
			rounds = 1
		}
		var failed error
		costs(ctx, list, rounds, calls, counting, func(s costSample) {
			failed = errors.Join(failed, out.Encode(s))
		})
		return failed
	}
	k.report = func(text *strings.Builder, in *json.Decoder) error {
		unit := "ns"
		if counting {
			unit = "instructions"
		}
		fmt.Fprintf(text, "### Cost per hit, %s, %s\n\n", long, unit)
		return reportCosts(text, list, in)
	}
	return k
}

// reportCosts writes the table of one kernel.
func reportCosts(text *strings.Builder, list []comparison, in *json.Decoder) error {
	type key struct {
		comparison int
		tool       string
	}
	samples, failed := map[key][]float64{}, map[key]string{}
	for {
		var s costSample
		if err := in.Decode(&s); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if s.Err != "" {
			failed[key{s.Comparison, s.Tool}] = s.Err
			continue
		}
		samples[key{s.Comparison, s.Tool}] = append(samples[key{s.Comparison, s.Tool}], s.NS)
	}
	text.WriteString("| probe | means | call alone | bpftrace adds | trapline adds | trapline/bpftrace |\n| --- | --- | ---: | ---: | ---: | ---: |\n")
	for i, c := range list {
		none := median(samples[key{i, toolNone}])
		cells := make([]string, 0, 2)
		var added []float64
		for _, tool := range []string{toolBpftrace, toolTrapline} {
			s := samples[key{i, tool}]
			if len(s) == 0 {
				cells = append(cells, "–")
				if c.needsMany {
					continue
				}
				fmt.Fprintf(os.Stderr, "%s, %s, %s: %s\n", c.name, c.means, tool, failed[key{i, tool}])
				continue
			}
			added = append(added, median(s)-none)
			cells = append(cells, fmt.Sprintf("%.0f", median(s)-none))
		}
		if len(added) == 0 {
			continue
		}
		ratio := "–"
		if len(added) == 2 {
			ratio = fmt.Sprintf("%.2f", added[1]/added[0])
		}
		fmt.Fprintf(text, "| %s | %s | %.0f | %s | %s |\n", c.name, c.means, none, strings.Join(cells, " | "), ratio)
	}
	text.WriteByte('\n')
	return nil
}

// The two reports share a file: this one begins at its heading and ends with the file.
const probesHeading = "# Probes side by side with bpftrace\n"

// writeProbes replaces this report in the file.
func writeProbes(c config, tables string) error {
	old, err := os.ReadFile(c.write)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	before, _, _ := strings.Cut(string(old), probesHeading)
	var out strings.Builder
	if before = strings.TrimSpace(before); before != "" {
		out.WriteString(before + "\n\n")
	}
	out.WriteString(probesHeading)
	fmt.Fprintf(&out, "\nMade by `make bench BENCH=%s RUNS=%d WRITE=1` on %s: %s, %d CPUs, Linux %s.\n\n",
		c.cases, c.runs, time.Now().Format(time.DateOnly), cpuModel(), runtime.NumCPU(), kernel())
	out.WriteString(tables)
	return os.WriteFile(c.write, []byte(strings.TrimRight(out.String(), "\n")+"\n"), 0o644)
}

// keepProbes gives the part of the file that is not CRIU's, for who writes that one.
func keepProbes(file string) string {
	old, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	if _, after, found := strings.Cut(string(old), probesHeading); found {
		return "\n" + probesHeading + after
	}
	return ""
}
