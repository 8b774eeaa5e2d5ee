// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"

	"github.com/trapline/trapline/loader/profile"
)

// profileDiff is trapline profile diff: it compares reports that were written as JSON. The words are two files, or some of one side,
// "--", and some of the other.
func (a *app) profileDiff(s *settings, words []string) int {
	if slices.Contains(words, "-h") || slices.Contains(words, "--help") {
		a.commandHelp(cmdProfile)
		return exitDone
	}
	o := s.profile
	if o.html != "" || o.trace != "" || o.pprof != "" || o.stages != "" || o.binary != "" || len(o.probes) > 0 || len(o.pids) > 0 || o.output != "" && o.output != "json" {
		return a.fail("profile diff", usagef("it prints a comparison; of the options only -o json is for it"))
	}
	names := [2][]string{}
	switch i := slices.Index(words, "--"); {
	case len(words) == 2 && i < 0:
		names = [2][]string{words[:1], words[1:]}
	case i > 0 && i < len(words)-1:
		names = [2][]string{words[:i], words[i+1:]}
	default:
		return a.fail("profile diff", usagef("want two reports, A.json B.json; or several runs of each side, A1.json A2.json … -- B1.json B2.json …"))
	}
	var sides [2][]*profile.Report
	for i, list := range names {
		for _, name := range list {
			r, err := readReport(name)
			if err != nil {
				return a.fail("profile diff", err)
			}
			sides[i] = append(sides[i], r)
		}
	}
	c, err := profile.CompareRuns(sides[0], sides[1])
	if err == nil && (s.json || s.profile.output == "json") {
		err = c.WriteJSON(a.stdout)
	} else if err == nil {
		err = c.WriteTable(a.stdout)
	}
	if err != nil {
		return a.fail("profile diff", err)
	}
	return exitDone
}

func readReport(name string) (*profile.Report, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r, err := profile.Read(bufio.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}
