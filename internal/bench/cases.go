// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"strings"
)

// A benchCase is one shape of target.
type benchCase struct {
	name string // as given to -cases
	long string // as the report calls it
	args []string
	// touched is more than a dump or a restore allocates, in bytes. It is touched right before each of them: a virtual machine gives
	// free pages back to its host within seconds, and the next use of such a page costs up to five times as much.
	touched int
	// goal is the highest ratio of trapline to CRIU as it comes that we accept for the walls.
	goal float64
}

const mib = 1 << 20

func allCases() []benchCase {
	return []benchCase{
		{name: "1MiB", long: "1 MiB", args: []string{"mem", "1"}, touched: 64 * mib, goal: 1},
		{name: "64MiB", long: "64 MiB", args: []string{"mem", "64"}, touched: 128 * mib, goal: 1},
		{name: "1GiB", long: "1 GiB", args: []string{"mem", "1024"}, touched: 1536 * mib, goal: 0.8},
		{name: "threads", long: "200 threads", args: []string{"threads", "200"}, touched: 64 * mib, goal: 1},
		{name: "procs", long: "50 processes", args: []string{"procs", "50"}, touched: 128 * mib, goal: 1},
		{name: "files", long: "1,000 files", args: []string{"files", "1000", filesDir}, touched: 64 * mib, goal: 1},
		{name: "maps", long: "20,000 maps", args: []string{"maps", "20000"}, touched: 256 * mib, goal: 1},
	}
}

func selectCases(names string) ([]benchCase, error) {
	all := allCases()
	if names == "all" {
		return all, nil
	}
	var chosen []benchCase
next:
	for name := range strings.SplitSeq(names, ",") {
		for _, k := range all {
			if k.name == name {
				chosen = append(chosen, k)
				continue next
			}
		}
		return nil, fmt.Errorf("no case %q: 1MiB, 64MiB, 1GiB, threads, procs, files, maps", name)
	}
	return chosen, nil
}
