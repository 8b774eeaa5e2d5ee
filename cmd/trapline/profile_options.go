// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
)

// profileSettings is what the command line says of a profile.
type profileSettings struct {
	probes    []string
	stages    string // file of a stage map
	binary    string // the program that a stage map is of
	html      string
	trace     string
	pprof     string
	output    string // a file's name, or "json"
	all       bool
	processes bool
	backend   string
	pids      []int
}

// profileOptions is every option of profile, before its command. docs/cli.md is made from it.
var profileOptions = [...]option{
	{
		name: "probes", kind: value, arg: "SET,…", cmds: cmdProfile, set: setProfileProbes,
		note: "what time is given to: default, memory, files, net, sched, or a PROBE (see trace); may be given again",
	},
	{
		name: "stages", kind: value, arg: "FILE", cmds: cmdProfile, set: profileText(func(p *profileSettings) *string { return &p.stages }),
		note: "the stage map of COMMAND (docs/profile.md says how to write one); criu has one already",
	},
	{
		name: "binary", kind: value, arg: "FILE", cmds: cmdProfile, set: profileText(func(p *profileSettings) *string { return &p.binary }),
		note: "the program that the stage map's functions are in, if COMMAND is a script that starts it",
	},
	{
		name: "pid", short: "p", kind: value, arg: "PID,…", cmds: cmdProfile, set: setProfilePIDs,
		note: "of COMMAND: also what these processes and those below them do; of criu dump the dumped tree is taken by itself",
	},
	{
		name: "html", kind: value, arg: "FILE", cmds: cmdProfile, set: profileText(func(p *profileSettings) *string { return &p.html }),
		note: "also write a page to look at, one file, without network access",
	},
	{
		name: "trace-json", kind: value, arg: "FILE", cmds: cmdProfile, set: profileText(func(p *profileSettings) *string { return &p.trace }),
		note: "also write a trace for Perfetto and chrome://tracing",
	},
	{
		name: "pprof", kind: value, arg: "FILE", cmds: cmdProfile, set: profileText(func(p *profileSettings) *string { return &p.pprof }),
		note: "also write a profile for go tool pprof",
	},
	{
		name: "output", short: "o", kind: value, arg: "FILE", cmds: cmdProfile, set: profileText(func(p *profileSettings) *string { return &p.output }),
		note: "json: print the report as JSON, for profile diff and programs; else the file that the table is written to, as JSON if it ends in .json",
	},
	{
		name: "json", cmds: cmdProfile, set: onOff(func(s *settings) *bool { return &s.json }),
		note: "the same as -o json",
	},
	{
		name: "all", cmds: cmdProfile, set: profiling(func(p *profileSettings) *bool { return &p.all }),
		note: "every part of a stage, also those below 1 %",
	},
	{
		name: "processes", cmds: cmdProfile, set: profiling(func(p *profileSettings) *bool { return &p.processes }),
		note: "also a table for each process",
	},
	{
		name: "backend", kind: value, arg: "NAME", cmds: cmdProfile, set: profileText(func(p *profileSettings) *string { return &p.backend }),
		note: "ebpf or patch; by default the first of these that is usable",
	},
	{
		name: "help", short: "h", cmds: cmdProfile, set: onOff(func(s *settings) *bool { return &s.help }),
		note: "print what there is and exit",
	},
}

func profiling(field func(*profileSettings) *bool) setter {
	return onOff(func(s *settings) *bool { return field(&s.profile) })
}

func profileText(field func(*profileSettings) *string) setter {
	return text(func(s *settings) *string { return field(&s.profile) })
}

// setProfileProbes takes names and expressions. A comma separates names; inside an expression it may be part of it.
func setProfileProbes(s *settings, v string) error {
	list := []string{v}
	if !strings.ContainsAny(v, " :(") {
		list = strings.Split(v, ",")
	}
	for _, name := range list {
		if name == "" {
			return fmt.Errorf("%q names nothing between two commas", v)
		}
		if !slices.Contains(s.profile.probes, name) {
			s.profile.probes = append(s.profile.probes, name)
		}
	}
	return nil
}

// cutOperation splits the arguments of profile at what is profiled: a word that is no option's value, or what stands behind "--".
func cutOperation(args []string) (own []string, operation string, rest []string, err error) {
	d := dialect{cmds: cmdProfile}
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			return args[:i], "--", args[i+1:], nil
		case !strings.HasPrefix(a, "-") || a == "-":
			return args[:i], a, args[i+1:], nil
		case strings.HasPrefix(a, "--"):
			o, _, err := d.named(strings.SplitN(a[2:], "=", 2)[0])
			if err != nil {
				return nil, "", nil, err
			}
			if o.kind == value && !strings.Contains(a, "=") {
				i++
			}
		default:
			if o := d.find(a[1:2], true); o != nil && o.kind == value && len(a) == 2 {
				i++
			}
		}
	}
	return args, "", nil, nil
}

func setProfilePIDs(s *settings, v string) error {
	pids, err := parsePIDs(s.profile.pids, v)
	s.profile.pids = pids
	return err
}
