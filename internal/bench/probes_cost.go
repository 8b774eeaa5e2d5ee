// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/trapline/trapline/internal/testprog"
	"github.com/trapline/trapline/loader/ebpf"
	"github.com/trapline/trapline/probes"
)

// A comparison is one probe, placed by bpftrace and by us with the same means.
type comparison struct {
	name      string         // what is measured
	means     string         // how both get their hits
	call      string         // what the load does, a command of testprog.Hits without its number
	bpftrace  string         // program; HITS is the load's path
	spec      string         // ours
	only      ebpf.Mechanism // by which ours is placed; "" is what it takes by itself
	needsMany bool           // kprobe.multi, which 6.1 lacks
}

// isOne says whether ours names one place, which must then be placed; what a glob matches is the kernel's.
func (c *comparison) isOne() bool { return !strings.Contains(c.spec, "*") }

const (
	// A system call that does next to nothing, and its function that every tracer can probe.
	cheapCall     = "getppid"
	cheapFunction = "__do_sys_getppid"

	// What tables of latencies are made of in bpftrace's world.
	pairStart = ` { @start[tid] = nsecs; } `
	pairEnd   = ` /@start[tid]/ { @ = hist(nsecs - @start[tid]); delete(@start[tid]); }`
	countAll  = ` { @ = count(); }`
)

// functionComparisons are those of kernel functions, for guests.
func functionComparisons() []comparison {
	f := cheapFunction
	return []comparison{
		{
			name: "entry, counted", means: "fentry", call: cheapCall, bpftrace: "kfunc:" + f + countAll,
			spec: f + "%entry", only: ebpf.MechanismFentry,
		},
		{
			name: "entry, counted", means: "kprobe.multi", call: cheapCall, bpftrace: "kprobe:" + f + "*" + countAll,
			spec: f + "%entry", only: ebpf.MechanismKprobeMulti, needsMany: true,
		},
		{
			name: "entry, counted", means: "kprobe", call: cheapCall, bpftrace: "kprobe:" + f + countAll,
			spec: f + "%entry", only: ebpf.MechanismKprobe,
		},
		{
			name: "latency", means: "fentry and fexit", call: cheapCall, bpftrace: "kfunc:" + f + pairStart + "kretfunc:" + f + pairEnd,
			spec: f + "%latency", only: ebpf.MechanismFentry,
		},
		{
			name: "latency", means: "kprobe.session, bpftrace: kprobe.multi", call: cheapCall, bpftrace: "kprobe:" + f + "*" + pairStart + "kretprobe:" + f + "*" + pairEnd,
			spec: f + "%latency", only: ebpf.MechanismKprobeSession, needsMany: true,
		},
		{
			name: "latency", means: "kprobe and kretprobe", call: cheapCall, bpftrace: "kprobe:" + f + pairStart + "kretprobe:" + f + pairEnd,
			spec: f + "%latency", only: ebpf.MechanismKprobe,
		},
		{
			name: "one of some 25 functions, counted by function", means: "kprobe.multi", call: cheapCall, bpftrace: "kprobe:__do_sys_get* { @[func] = count(); }",
			spec: "__do_sys_get*%entry", only: ebpf.MechanismKprobeMulti, needsMany: true,
		},
		{
			name: "one of some 25 functions, latency by function", means: "kprobe.session, bpftrace: kprobe.multi", call: cheapCall,
			bpftrace: "kprobe:__do_sys_get*" + pairStart + "kretprobe:__do_sys_get* /@start[tid]/ { @[func] = hist(nsecs - @start[tid]); delete(@start[tid]); }",
			spec:     "__do_sys_get*%latency", only: ebpf.MechanismKprobeSession, needsMany: true,
		},
		{
			name: "entry, counted if an argument is 1", means: "kprobe", call: "write", bpftrace: "kprobe:vfs_write /arg2 == 1/" + countAll,
			spec: "vfs_write%entry if %a2 == 1", only: ebpf.MechanismKprobe,
		},
	}
}

// localComparisons are those that need no probes of kernel functions.
func localComparisons() []comparison {
	const enter, exit = "tracepoint:syscalls:sys_enter_getppid", "tracepoint:syscalls:sys_exit_getppid"
	return []comparison{
		{
			name: "system call, counted", means: "ours raw_syscalls, bpftrace its tracepoint", call: cheapCall, bpftrace: enter + countAll,
			spec: "syscall:getppid%entry",
		},
		{
			name: "system call, latency", means: "ours raw_syscalls, bpftrace its tracepoints", call: cheapCall,
			bpftrace: enter + pairStart + exit + pairEnd, spec: "syscall:getppid%latency",
		},
		{
			name: "tracepoint, counted", means: "tracepoint", call: cheapCall, bpftrace: "tracepoint:raw_syscalls:sys_enter" + countAll,
			spec: "tracepoint:raw_syscalls:sys_enter",
		},
		{
			name: "tracepoint, counted", means: "ours tp_btf, bpftrace tracepoint", call: cheapCall, bpftrace: "tracepoint:raw_syscalls:sys_enter" + countAll,
			spec: "rawtp:sys_enter",
		},
		{
			name: "tracepoint, counted if a field is 110", means: "tracepoint", call: cheapCall,
			bpftrace: "tracepoint:raw_syscalls:sys_enter /args->id == 110/" + countAll, spec: "tracepoint:raw_syscalls:sys_enter if $id == 110",
		},
		{
			name: "user function, counted", means: "uprobe", call: "function", bpftrace: "uprobe:HITS:work" + countAll,
			spec: "uprobe:HITS:work%entry",
		},
		{
			name: "user function, latency", means: "uprobe and uretprobe", call: "function",
			bpftrace: "uprobe:HITS:work" + pairStart + "uretprobe:HITS:work" + pairEnd, spec: "uprobe:HITS:work%latency",
		},
	}
}

// Columns of a comparison.
const (
	toolNone     = "none"
	toolBpftrace = "bpftrace"
	toolTrapline = "trapline"
)

// A costSample is what one round of one tool measured: nanoseconds per call of the load, the probe's cost included.
type costSample struct {
	Comparison int
	Tool       string
	NS         float64
	Err        string `json:",omitempty"`
}

// trapFactor is by how much fewer calls are made that trap: those of a user function.
const trapFactor = 40

// samplesEach is how many times the load runs in a round under one tool. The least counts: what else the machine does only adds.
const samplesEach = 5

// costs measures all comparisons in turn, several rounds over, and hands out each sample.
func costs(ctx context.Context, list []comparison, rounds, calls int, counting bool, each func(costSample)) {
	tools := []string{toolNone, toolBpftrace, toolTrapline}
	// A guest that has just come up is still busy with itself.
	if _, err := cost(ctx, list[0], toolBpftrace, calls, counting); err != nil {
		each(costSample{Tool: toolBpftrace, Err: err.Error()})
	}
	for round := range rounds {
		for i, c := range list {
			for k := range tools {
				tool := tools[(k+round)%len(tools)]
				ns, err := cost(ctx, c, tool, calls, counting)
				s := costSample{Comparison: i, Tool: tool, NS: ns}
				if err != nil {
					s.Err = err.Error()
				}
				each(s)
			}
		}
	}
}

// cost runs the load under one tool. Where the clock counts instructions, it counts all of them; else the time of other processes
// is left out.
func cost(ctx context.Context, c comparison, tool string, calls int, counting bool) (float64, error) {
	var wrap func([]string) *exec.Cmd
	hits := func() uint64 { return math.MaxUint64 }
	path, err := testprog.Build("hits")
	if err != nil {
		return 0, err
	}
	switch tool {
	case toolBpftrace:
		wrap = func(program []string) *exec.Cmd {
			return exec.CommandContext(ctx, "bpftrace", "-e", strings.ReplaceAll(c.bpftrace, "HITS", path), "-c", strings.Join(program, " "))
		}
	case toolTrapline:
		spec, err := probes.Parse(strings.ReplaceAll(c.spec, "HITS", path))
		if err != nil {
			return 0, err
		}
		s, err := ebpf.Open(ctx, []*probes.Spec{spec}, &ebpf.Options{Only: c.only, Strict: c.isOne()})
		if err != nil {
			return 0, err
		}
		defer s.Close()
		s.Enable()
		hits = func() (most uint64) {
			for _, r := range s.Read(nil) {
				most = max(most, r.Stats.Count)
			}
			return most
		}
	}
	h, err := testprog.StartHits(loadCPU(), wrap)
	if err != nil {
		return 0, err
	}
	defer h.Close()
	if c.call == "function" {
		calls /= trapFactor
	}
	if _, err := h.Do("%s %d", c.call, calls/10); err != nil {
		return 0, err
	}
	var all []float64
	for range samplesEach {
		took, err := h.Do("%s %d", c.call, calls)
		if err != nil {
			return 0, err
		}
		ns := took.CPU
		if counting {
			ns = took.Wall
		}
		all = append(all, float64(ns)/float64(calls))
	}
	if n := hits(); n < uint64(calls) {
		return 0, fmt.Errorf("%s saw %d of %d hits", c.spec, n, calls)
	}
	return slices.Min(all), h.Close()
}

// loadCPU is the processor of the load: the last one, since interrupts mostly come to the first.
func loadCPU() int {
	cpus, err := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*")
	if err != nil || len(cpus) == 0 {
		return 0
	}
	return len(cpus) - 1
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
