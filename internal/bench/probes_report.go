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

	"github.com/trapline/trapline/internal/bench/document"
)

// costCase measures what probes cost per hit.
func costCase(name, series string) probesCase {
	counting, where := series != "", "this machine"
	list := localComparisons()
	// A guest's function is some ten times slower than a machine's.
	calls := 400_000
	if counting {
		list, calls, where = functionComparisons(), 40_000, "a guest, Linux "+series
	}
	k := probesCase{name: name, series: series, counting: counting}
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
		fmt.Fprintf(text, "## Cost per hit, %s, %s\n\n", where, unit)
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
		var cells []string
		var added []float64
		for _, tool := range []string{toolBpftrace, toolTrapline} {
			s := samples[key{i, tool}]
			if len(s) == 0 {
				if !c.needsMany {
					fmt.Fprintf(os.Stderr, "%s, %s, %s: %s\n", c.name, c.means, tool, failed[key{i, tool}])
				}
				cells = append(cells, "–")
				continue
			}
			added = append(added, median(s)-none)
			cells = append(cells, fmt.Sprintf("%.0f", median(s)-none))
		}
		if len(added) == 0 || len(added) == 1 && c.needsMany {
			continue // this kernel lacks it
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

const probesHeading = "# Probes side by side with bpftrace"

const probesPreface = `bpftrace is Debian 12's package. Both probe the same function with the same means, one after the other, in turns; each is shown by
what it adds to a call.

- **Here**: medians of the runs, and in each run the best of five; time of the load on its processor. This machine's kernel has no probes
  of its own functions. A probe of a user function traps, and that trap, which is the kernel's, is nearly all of its cost.
- **Guests**: Debian's kernels in QEMU, on one emulated processor whose clock counts instructions (` + "`-icount`" + `): all that is executed,
  in the kernel and in the probe, and within a few the same number in every run. Instructions are not nanoseconds. Compare ratios.
- **counted** is ` + "`{ @ = count(); }`" + ` in bpftrace's language; **latency** is ` + "`{ @start[tid] = nsecs; }`" + ` and
  ` + "`/@start[tid]/ { @ = hist(nsecs - @start[tid]); delete(@start[tid]); }`" + `. Ours also keeps count, total, minimum, maximum and
  losses, and pairs nested and recursive calls.

`

// writeProbes replaces this report in the file.
func writeProbes(c config, tables string) error {
	head := fmt.Sprintf("Made by `make bench BENCH=%s RUNS=%d WRITE=1` on %s: %s, %d CPUs, Linux %s.\n\n",
		c.cases, c.runs, time.Now().Format(time.DateOnly), cpuModel(), runtime.NumCPU(), kernel())
	return document.Replace(c.write, probesHeading, head+probesPreface+tables)
}
