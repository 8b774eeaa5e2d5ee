// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trapline/trapline/probes"
)

// probingSettings is what the command line says to trace and probe.
type probingSettings struct {
	pids          []int
	cpu           bool
	interval      time.Duration // between two tables
	intervalGiven bool
	duration      time.Duration // 0: until something else ends the trace
	sort          probes.Column
	reverse       bool
	hist          bool
	events        bool
	stack         bool
	regs          bool
	count         uint64 // events after which the trace ends; 0: any number
	maxRows       int    // of a table; 0: all
	list          bool
	strict        bool
	backend       string
	noCalibrate   bool
	output        string // file; "" picks standard output or error, "-" is standard output
}

// newProbingSettings gives the defaults.
func newProbingSettings() probingSettings { return probingSettings{interval: time.Second} }

// minInterval keeps a live table from being nothing but redrawing.
const minInterval = 10 * time.Millisecond

// probingOptions is every option of trace and probe. docs/cli.md is made from it.
var probingOptions = [...]option{
	// What is traced.
	{
		name: "pid", short: "p", kind: value, arg: "PID,…", cmds: cmdTrace, set: setPids,
		note: "only these processes, their threads, and what they start from now on; may be given again",
	},
	{
		name: "cpu", cmds: cmdTrace, set: probing(func(p *probingSettings) *bool { return &p.cpu }),
		note: "also the time on CPU of each call, beside wall time",
	},
	{
		name: "strict", cmds: cmdTrace, set: probing(func(p *probingSettings) *bool { return &p.strict }),
		note: "fail if any place can't be probed, also one of a glob (else that is a warning)",
	},
	{
		name: "list", short: "l", cmds: cmdTrace, set: probing(func(p *probingSettings) *bool { return &p.list }),
		note: "list the places that PROBE names, and place nothing",
	},
	{
		name: "backend", kind: value, arg: "NAME", cmds: cmdTrace, set: probingText(func(p *probingSettings) *string { return &p.backend }),
		note: "ebpf; patch; or perf, which only counts; by default the first of these that is usable",
	},
	{
		name: "no-calibrate", cmds: cmdTrace, set: probing(func(p *probingSettings) *bool { return &p.noCalibrate }),
		note: "do not measure what the probes themselves cost: starts sooner, without CORRECT and noise floor",
	},

	// When it ends.
	{
		name: "duration", short: "d", kind: value, arg: "TIME", cmds: cmdTrace, set: setDuration,
		note: "stop after TIME: seconds, or a number with ms, s, m or h; COMMAND then gets SIGTERM, and after 5 s SIGKILL",
	},
	{
		name: "count", short: "n", kind: value, arg: "N", cmds: cmdTrace, set: setCount,
		note: "stop after N events, as with --duration; means --events",
	},

	// What is shown.
	{
		name: "interval", short: "i", kind: value, arg: "TIME", cmds: cmdTrace, set: setInterval,
		note: "time between two tables (default 1s); where output is no terminal, print one each TIME, not only the last",
	},
	{
		name: "sort", kind: value, arg: "COLUMN", cmds: cmdTrace, set: setSort,
		note: "order of the table: total (default), probe, context, count, rate, avg, corrected, p50, p99, max, cpu, errors, missed",
	},
	{
		name: "reverse", cmds: cmdTrace, set: probing(func(p *probingSettings) *bool { return &p.reverse }),
		note: "the other way round",
	},
	{
		name: "max-rows", kind: value, arg: "N", cmds: cmdTrace, set: setMaxRows,
		note: "only the first N rows of the table",
	},
	{
		name: "hist", cmds: cmdTrace, set: probing(func(p *probingSettings) *bool { return &p.hist }),
		note: "a histogram of latencies for each probe",
	},
	{
		name: "events", short: "e", cmds: cmdTrace, set: probing(func(p *probingSettings) *bool { return &p.events }),
		note: "every hit by itself, with its arguments; the table comes last",
	},
	{
		name: "stack", cmds: cmdTrace, set: setStack,
		note: "events with the kernel's stack; means --events",
	},
	{
		name: "regs", cmds: cmdTrace, set: setRegs,
		note: "events with the registers; means --events",
	},
	{
		name: "json", cmds: cmdProbing, set: onOff(func(s *settings) *bool { return &s.json }),
		note: "print JSON; trace prints a line for each row and event",
	},
	{
		name: "output", short: "o", kind: value, arg: "FILE", cmds: cmdTrace, set: probingText(func(p *probingSettings) *string { return &p.output }),
		note: "write to FILE; - is standard output (default: standard output, with COMMAND standard error)",
	},
	{
		name: "verbosity", short: "v", kind: optional, arg: "LEVEL", cmds: cmdTrace, set: setVerbosity,
		note: "0 nothing, 1 errors, 2 warnings in short (default), 3 all warnings, 4 everything; bare: one more",
	},
	{
		name: "help", short: "h", cmds: cmdProbing, set: onOff(func(s *settings) *bool { return &s.help }),
		note: "print what there is and exit",
	},
}

// cutCommand splits the arguments of trace at the first "--". The command is nil if there is no "--".
func cutCommand(args []string) (own, command []string) {
	i := slices.Index(args, "--")
	if i < 0 {
		return args, nil
	}
	return args[:i], args[i+1:]
}

// probing makes a setter of a flag.
func probing(field func(*probingSettings) *bool) setter {
	return onOff(func(s *settings) *bool { return field(&s.probing) })
}

// probingText makes a setter of a string.
func probingText(field func(*probingSettings) *string) setter {
	return text(func(s *settings) *string { return field(&s.probing) })
}

func setPids(s *settings, v string) (err error) {
	s.probing.pids, err = parsePIDs(s.probing.pids, v)
	return err
}

// parsePIDs adds the numbers to pids.
func parsePIDs(pids []int, v string) ([]int, error) {
	for word := range strings.SplitSeq(v, ",") {
		pid, err := parseNumber(word, 1, math.MaxInt32)
		if err != nil {
			return pids, err
		}
		if !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// maxTime bounds what can be waited for, so that no sum of times overflows.
const maxTime = 100 * 365 * 24 * time.Hour

// parseTime parses seconds, or a number with a unit.
func parseTime(v string, least time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if sec, numErr := strconv.ParseFloat(v, 64); numErr == nil && sec >= 0 && sec < maxTime.Seconds() {
		d, err = time.Duration(sec*float64(time.Second)), nil
	}
	if err != nil || d > maxTime {
		return 0, fmt.Errorf("%q is not a time: a number of seconds, or one with ms, s, m or h", v)
	}
	if d < least {
		return 0, fmt.Errorf("%q is less than %v", v, least)
	}
	return d, nil
}

func setInterval(s *settings, v string) (err error) {
	s.probing.intervalGiven = true
	s.probing.interval, err = parseTime(v, minInterval)
	return err
}

func setDuration(s *settings, v string) (err error) {
	s.probing.duration, err = parseTime(v, time.Millisecond)
	return err
}

func setSort(s *settings, v string) (err error) {
	s.probing.sort, err = probes.ParseSort(v)
	return err
}

func setCount(s *settings, v string) error {
	n, err := parseNumber(v, 1, math.MaxInt)
	s.probing.count, s.probing.events = uint64(n), true
	return err
}

func setMaxRows(s *settings, v string) (err error) {
	s.probing.maxRows, err = parseNumber(v, 1, math.MaxInt32)
	return err
}

// setStack and setRegs ask for parts of events, and so for events; taken back they leave events as they were.
func setStack(s *settings, v string) error {
	s.probing.stack = v == "true"
	s.probing.events = s.probing.events || s.probing.stack
	return nil
}

func setRegs(s *settings, v string) error {
	s.probing.regs = v == "true"
	s.probing.events = s.probing.events || s.probing.regs
	return nil
}
