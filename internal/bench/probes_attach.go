// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/trapline/trapline/loader"
	"github.com/trapline/trapline/probes"
)

// An attachSample is how long it took to place many probes and to remove them.
type attachSample struct {
	Kind           string
	Probes         int
	Mechanism      string
	Attach, Detach time.Duration
	Failed         int
}

const (
	attachMany = 1000
	attachGoal = 2 * time.Second
)

// attachCase measures how long many probes take to place and to remove, in a guest.
func attachCase(series string) probesCase {
	kinds := []string{"entry", "latency"}
	return probesCase{
		name: "probes-" + series + "-attach", series: series,
		run: func(ctx context.Context, c config, out *json.Encoder) error {
			names, err := someFunctions(attachMany)
			if err != nil {
				return err
			}
			for _, kind := range kinds {
				// The first time it reads the kernel's symbols and types, as every command does.
				for range attachRuns(c, series) {
					s, err := attachAll(ctx, names, kind)
					if err != nil {
						return err
					}
					if err := out.Encode(s); err != nil {
						return err
					}
				}
			}
			return nil
		},
		report: func(text *strings.Builder, in *json.Decoder) error {
			fmt.Fprintf(text, "## Placing %d kernel functions, a guest, Linux %s\n\n", attachMany, series)
			fmt.Fprintf(text, "From names to counting, and back; emulated. The goal where there is kprobe.multi: %v.\n\n", attachGoal)
			text.WriteString("| probes | by | placed | attach, s | detach, s |\n| --- | --- | ---: | ---: | ---: |\n")
			attach, detach, last := map[string][]float64{}, map[string][]float64{}, map[string]attachSample{}
			err := each(in, func(s attachSample) {
				attach[s.Kind] = append(attach[s.Kind], s.Attach.Seconds())
				detach[s.Kind] = append(detach[s.Kind], s.Detach.Seconds())
				last[s.Kind] = s
			})
			for _, kind := range kinds {
				fmt.Fprintf(text, "| %s | %s | %d | %.2f | %.2f |\n", kind, last[kind].Mechanism, last[kind].Probes, median(attach[kind]), median(detach[kind]))
			}
			text.WriteByte('\n')
			return err
		},
	}
}

// attachRuns is how often probes are placed and removed. Without kprobe.multi that takes minutes.
func attachRuns(c config, series string) int {
	if series == "6.1" {
		return 1
	}
	return c.runs
}

// someFunctions gives names of functions that can be traced, from all over the kernel.
func someFunctions(n int) ([]string, error) {
	f, err := os.Open("/sys/kernel/tracing/available_filter_functions")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []string
	seen := map[string]int{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, module, _ := strings.Cut(lines.Text(), " ")
		if module != "" || strings.ContainsAny(name, ".$") {
			continue
		}
		seen[name]++
		all = append(all, name)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	var names []string
	step := len(all)/n - 1
	for i := 0; i < len(all) && len(names) < n; i += max(step, 1) {
		// Which one a name means that several functions have is a question of its own.
		if seen[all[i]] == 1 {
			names = append(names, all[i])
		}
	}
	return names, nil
}

func attachAll(ctx context.Context, names []string, kind string) (s attachSample, err error) {
	s.Kind = kind
	began := time.Now()
	var specs []*probes.Spec
	for _, name := range names {
		spec, err := probes.Parse(name + "%" + kind)
		if err != nil {
			return s, err
		}
		specs = append(specs, spec)
	}
	session, err := loader.Open(ctx, specs, &loader.Options{NoCalibration: true})
	if err != nil {
		return s, err
	}
	session.Enable()
	s.Attach = time.Since(began)
	s.Probes = len(session.Probes())
	s.Failed = len(session.Warnings())
	s.Mechanism = session.Probes()[0].Mechanism
	began = time.Now()
	if err := session.Close(); err != nil {
		return s, err
	}
	s.Detach = time.Since(began)
	return s, nil
}
