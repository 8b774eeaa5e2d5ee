// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/trapline/trapline/internal/columns"
	"github.com/trapline/trapline/loader"
	"github.com/trapline/trapline/probes"
)

// probe is trapline probe: whether and how each place can be probed here, found out by trying. The status is 1 if one of the
// places can't be.
func (a *app) probe(s *settings, words []string) int {
	largeHeap()
	specs, err := parseProbes(words)
	if err != nil {
		return a.failProbe("probe", err)
	}
	ctx, stop := untilSignal()
	defer stop()
	status := exitDone
	results := []probeJSON{}
	for _, spec := range specs {
		result := probeJSON{Probe: spec.Text, Places: []placeJSON{}}
		places, err := loader.Explain(ctx, spec)
		if ctx.Err() != nil {
			return a.fail("probe", errors.New("interrupted"))
		}
		if err != nil {
			result.Error = err.Error()
			status = exitFailed
		}
		for i := range places {
			place := placeOf(&places[i])
			if !place.Possible {
				status = exitFailed
			}
			result.Places = append(result.Places, place)
		}
		results = append(results, result)
	}
	if s.json {
		err = writeJSON(a.stdout, results)
	} else {
		_, err = fmt.Fprint(a.stdout, probeText(results))
	}
	if err != nil {
		return a.fail("probe", fmt.Errorf("print the result: %w", err))
	}
	return status
}

// failProbe prints an error of a command that takes probes: of one that is none, with where it is wrong.
func (a *app) failProbe(what string, err error) int {
	var wrong *probes.ParseError
	if errors.As(err, &wrong) {
		fmt.Fprintf(a.stderr, "%s: this is no probe:\n  %s\n", what, strings.ReplaceAll(wrong.Detail(), "\n", "\n  "))
		return exitUsage
	}
	return a.fail(what, err)
}

// probeJSON is what trapline probe says of one expression.
type probeJSON struct {
	Probe  string      `json:"probe"`
	Places []placeJSON `json:"places"`
	Error  string      `json:"error,omitempty"` // there is no such place
}

// placeJSON is one of its places.
type placeJSON struct {
	Name      string    `json:"name"`
	Symbol    string    `json:"symbol,omitempty"` // of kernel functions
	Module    string    `json:"module,omitempty"`
	Address   string    `json:"address,omitempty"` // hexadecimal; left out if the kernel does not tell
	Prototype string    `json:"prototype,omitempty"`
	Possible  bool      `json:"possible"` // at least one kind is
	Ways      []wayJSON `json:"ways,omitempty"`
}

// wayJSON is one kind of probe there.
type wayJSON struct {
	Kind      string   `json:"kind"` // "entry", "return" or "latency"
	Possible  bool     `json:"possible"`
	Mechanism string   `json:"mechanism,omitempty"`
	Cost      string   `json:"cost,omitempty"`   // its order
	Detail    string   `json:"detail,omitempty"` // what is done to the instruction there; of backend patch
	Why       string   `json:"why,omitempty"`    // it is not possible
	Instead   []string `json:"instead,omitempty"`
}

func placeOf(p *loader.Place) placeJSON {
	place := placeJSON{Name: p.Name, Symbol: p.Symbol, Module: p.Module, Prototype: p.Prototype, Possible: p.Possible()}
	if p.Address != 0 {
		place.Address = fmt.Sprintf("%#x", p.Address)
	}
	for _, w := range p.Ways {
		way := wayJSON{Kind: w.Kind.String(), Possible: w.Err == nil, Mechanism: w.Mechanism, Cost: costs[w.Mechanism], Detail: w.Detail, Instead: w.Instead}
		if w.Err != nil {
			way.Why = w.Err.Error()
		}
		place.Ways = append(place.Ways, way)
	}
	return place
}

// costs is the order of what a hit costs by each mechanism; a latency probe has two. A table has what it costs on the machine
// itself, measured.
var costs = map[string]string{
	"tp_btf": "tens of ns a hit", "raw_syscall": "tens of ns a call", "fentry": "tens of ns a hit", "kprobe.session": "tens of ns a hit",
	"kprobe.multi": "tens of ns a hit", "tracepoint": "tens of ns a hit",
	"kprobe":       "tens of ns a hit where ftrace is, at most functions' entry; else about 1 µs",
	"uprobe.multi": "about 1 µs a hit", "uprobe": "about 1 µs a hit",
	"patch.jump": "tens of instructions a hit, no trap", "patch.slot": "one trap a hit", "patch.simulate": "one trap a hit",
	"perf:tracepoint": "tens of ns a hit; counts only", "perf:kprobe": "tens of ns to 1 µs a hit; counts only", "perf:uprobe": "about 1 µs a hit; counts only",
}

// probeText writes the results for people.
func probeText(results []probeJSON) string {
	var b strings.Builder
	line := func(indent int, format string, args ...any) {
		b.WriteString(strings.Repeat(" ", indent) + columns.Printable(fmt.Sprintf(format, args...)) + "\n")
	}
	for _, r := range results {
		if r.Error != "" {
			line(0, "%s", r.Error)
		}
		for _, p := range r.Places {
			where := ""
			if p.Module != "" {
				where += " of module " + p.Module
			}
			if p.Address != "" {
				where += " at " + p.Address
			}
			line(0, "%s%s", p.Name, where)
			if p.Prototype != "" {
				line(2, "%s", p.Prototype)
			}
			for _, w := range p.Ways {
				if w.Possible {
					line(2, "%-8s yes: %s; %s", w.Kind, w.Mechanism, w.Cost)
					if w.Detail != "" {
						line(11, "%s", w.Detail)
					}
					continue
				}
				line(2, "%-8s no: %s", w.Kind, w.Why)
				if len(w.Instead) > 0 {
					line(11, "what works here: %s", strings.Join(w.Instead, ", "))
				}
			}
		}
	}
	return b.String()
}

// listedJSON is a line of trapline trace --list --json.
type listedJSON struct {
	Type    string `json:"type"` // "place"
	Name    string `json:"name"`
	Symbol  string `json:"symbol,omitempty"`
	Module  string `json:"module,omitempty"`
	Address string `json:"address,omitempty"`
}

// listPlaces is trapline trace --list: the places that the probes name, in their order, each once.
func (a *app) listPlaces(s *settings, specs []*probes.Spec) int {
	var places []placeJSON
	seen := map[string]bool{}
	for _, spec := range specs {
		found, err := loader.Places(spec)
		if err != nil {
			return a.fail("trace", err)
		}
		for i := range found {
			if p := placeOf(&found[i]); !seen[p.Name] {
				seen[p.Name] = true
				places = append(places, p)
			}
		}
	}
	var b strings.Builder
	for _, p := range places {
		if s.json {
			line, err := json.Marshal(listedJSON{"place", p.Name, p.Symbol, p.Module, p.Address})
			if err != nil {
				return a.fail("trace", err)
			}
			b.Write(append(line, '\n'))
			continue
		}
		b.WriteString(columns.Printable(p.Name))
		b.WriteByte('\n')
	}
	if _, err := fmt.Fprint(a.stdout, b.String()); err != nil {
		return a.fail("trace", fmt.Errorf("print the places: %w", err))
	}
	return exitDone
}
