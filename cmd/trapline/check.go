// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/trapline/trapline/checkpoint/features"
	"github.com/trapline/trapline/loader"
)

// check is trapline check: what this machine can do, what not, and why.
func (a *app) check(s *settings) int {
	log, err := a.begin(s)
	if err != nil {
		return a.fail("check", err)
	}
	defer log.Close()
	switch {
	case len(s.features) > 0:
		return a.checkNamed(s, log)
	case a.asCRIU:
		return a.checkLevels(s, log)
	}
	return a.checkAll(s)
}

// checkNamed answers check --feature NAME, as CRIU does.
func (a *app) checkNamed(s *settings, log *logging) int {
	status := exitDone
	found := []finding{}
	for _, name := range s.features {
		if name == "list" {
			a.listFeatures()
			continue
		}
		f := a.findFeature(name)
		if f == nil {
			return a.fail("check", usagef("unknown feature %s; --feature list lists them", name))
		}
		part := partCheckpoint
		if features.Find(name) == nil {
			part = partProbes
		}
		found = append(found, findings(part, []*features.Feature{f})...)
		err := f.Test()
		if err != nil {
			status = exitFailed
		}
		switch {
		case s.json:
		case err == nil:
			fmt.Fprintf(a.stdout, "%s is supported\n", name)
		default:
			log.Warn(err.Error())
		}
	}
	if s.json {
		if err := writeJSON(a.stdout, found); err != nil {
			return a.fail("check", err)
		}
	}
	return status
}

// listFeatures prints the names of all features.
func (a *app) listFeatures() {
	var names []string
	for _, f := range features.List() {
		names = append(names, f.Name)
	}
	for _, f := range a.probeFeatures() {
		names = append(names, f.Name)
	}
	fmt.Fprintln(a.stdout, strings.Join(names, " "))
}

// probeFeatures are those that probes use; criu has no probes.
func (a *app) probeFeatures() []*features.Feature {
	if a.asCRIU {
		return nil
	}
	return loader.Features()
}

// findFeature gives the feature of a name; nil if there is none.
func (a *app) findFeature(name string) *features.Feature {
	if f := features.Find(name); f != nil {
		return f
	}
	for _, f := range a.probeFeatures() {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// checkLevels is criu check: one verdict in CRIU's words.
func (a *app) checkLevels(s *settings, log *logging) int {
	required, rest := true, true
	for _, f := range features.List() {
		if !asked(s, f.Level) {
			continue
		}
		if err := f.Test(); err != nil {
			log.Warn(err.Error())
			if f.Level == features.Required {
				required = false
			} else {
				rest = false
			}
		}
	}
	switch {
	case !required:
		fmt.Fprintln(a.stdout, "Does not look good.")
	case !rest:
		fmt.Fprintln(a.stdout, "Looks good but some kernel features are missing\nwhich, depending on your process tree, may cause\ndump or restore failure.")
	default:
		fmt.Fprintln(a.stdout, "Looks good.")
		return exitDone
	}
	return exitFailed
}

// asked says whether the status depends on features of a level.
func asked(s *settings, l features.Level) bool {
	return l == features.Required || l == features.Extra && s.checkExtra || l == features.Experimental && s.checkExperimental
}

// finding is a line of trapline check.
type finding struct {
	Part   string `json:"part"` // who uses it: "checkpoint" or "probes"
	Name   string `json:"name"`
	Level  string `json:"level"`
	Status string `json:"status"` // "yes", "no" or "unknown"
	Since  string `json:"since,omitempty"`
	Needs  string `json:"needs,omitempty"`
	Use    string `json:"use"`
	Why    string `json:"why,omitempty"`
}

// findings tests features.
func findings(part string, list []*features.Feature) []finding {
	out := make([]finding, 0, len(list))
	for _, f := range list {
		l := finding{Part: part, Name: f.Name, Level: f.Level.String(), Status: "yes", Since: f.Since, Needs: f.Needs, Use: f.Use}
		if err := f.Test(); err != nil {
			l.Status, l.Why = "unknown", err.Error()
			var no *features.UnsupportedError
			if errors.As(err, &no) {
				l.Status, l.Why = "no", no.Reason
			}
		}
		out = append(out, l)
	}
	return out
}

// checkAll prints every feature. The status is 1 if one of the levels asked for has a feature that is not there; it is about
// checkpoints, as those of CRIU, and what probes can't do does not change it.
func (a *app) checkAll(s *settings) int {
	list := features.List()
	found := findings(partCheckpoint, list)
	status := exitDone
	for i, f := range list {
		if found[i].Status != "yes" && asked(s, f.Level) {
			status = exitFailed
		}
	}
	largeHeap()
	forProbes := findings(partProbes, a.probeFeatures())
	var err error
	if s.json {
		err = writeJSON(a.stdout, append(found, forProbes...))
	} else {
		ofPatch := func(f finding) bool { return strings.HasPrefix(f.Name, "patch") }
		others, patch := slices.DeleteFunc(slices.Clone(forProbes), ofPatch), slices.DeleteFunc(forProbes, func(f finding) bool { return !ofPatch(f) })
		err = errors.Join(writeFindings(a.stdout, "", found), writeFindings(a.stdout, "Probes", others), writeFindings(a.stdout, "Probes by the kernel's patch", patch))
	}
	if err != nil {
		return a.fail("check", fmt.Errorf("print the result: %w", err))
	}
	return status
}

// Parts of Trapline that features are for.
const (
	partCheckpoint = "checkpoint"
	partProbes     = "probes"
)

// writeFindings prints a table.
func writeFindings(w io.Writer, title string, found []finding) error {
	t := table{title: title, header: []string{"here", "feature", "level", "Linux", "what for; why not"}}
	for _, f := range found {
		what := f.Use
		if f.Status != "yes" {
			what += "; " + f.Why
			if f.Needs != "" {
				what += " (needs " + f.Needs + ")"
			}
		}
		t.add(f.Status, f.Name, f.Level, f.Since, what)
	}
	return t.write(w)
}
