// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"text/tabwriter"

	"github.com/trapline/trapline/loader/profile"
)

// criuVersion is the version of CRIU whose options, images and answers this program speaks.
const criuVersion = "4.1.1"

// version prints the version; as criu in CRIU's form.
func (a *app) version() {
	own := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		own = info.Main.Version
	}
	if a.asCRIU {
		fmt.Fprintf(a.stdout, "Version: %s\nTrapline: %s\n", criuVersion, own)
		return
	}
	fmt.Fprintf(a.stdout, "trapline %s (images of CRIU %s)\n", own, criuVersion)
}

// usages is how each command is called.
var usages = []struct {
	cmd        command
	line, what string
}{
	{cmdDump, "dump -t PID [-D DIR] [option…]", "dump a process tree into image files"},
	{cmdPreDump, "pre-dump -t PID [-D DIR] [option…]", "write memory ahead of a dump (not supported yet)"},
	{cmdRestore, "restore [-D DIR] [option…] [--exec-cmd -- COMMAND…]", "bring a dumped tree back"},
	{cmdCheck, "check [--feature NAME] [option…]", "what this machine can do, what not, and why"},
	{cmdShow, "show [-o json] DIR", "what is in a directory of images"},
	{cmdVerify, "verify [-o json] DIR", "is a directory of images whole"},
	{cmdTrace, "trace [option…] PROBE… [-- COMMAND ARG…]", "count and time what a system does: live table, histograms or events"},
	{cmdProbe, "probe [--json] PROBE…", "whether and how places can be probed here, and if not why and what would work"},
	{cmdProfile, "profile [option…] dump … | restore … | -- COMMAND… | diff A.json B.json", "what the time of each stage of a dump or restore went to, ours or another program's"},
}

// usage prints the commands.
func (a *app) usage(w io.Writer) {
	fmt.Fprintln(w, "Usage:")
	for _, u := range usages {
		if u.cmd&cmdAny != 0 || !a.asCRIU {
			fmt.Fprintf(w, "  %s %s\n        %s\n", a.prog, u.line, u.what)
		}
	}
	if a.asCRIU {
		fmt.Fprintln(w, "\nOptions:")
		dialect{cmds: cmdAny, asCRIU: true}.help(w)
		return
	}
	fmt.Fprintf(w, "\n%s COMMAND --help lists the options of a command. Called as criu, it answers like CRIU.\n", a.prog)
}

// commandHelp prints the options of a command.
func (a *app) commandHelp(cmd command) {
	for _, u := range usages {
		if u.cmd == cmd {
			fmt.Fprintf(a.stdout, "Usage: %s %s\n%s\n\n", a.prog, u.line, u.what)
		}
	}
	switch cmd {
	case cmdTrace:
		fmt.Fprintf(a.stdout, "%s%s", traceHelp, probeHelp)
	case cmdProbe:
		fmt.Fprintf(a.stdout, "%s", probeHelp)
	case cmdProfile:
		fmt.Fprintln(a.stdout, "Sets of probes:")
		sets := profile.Sets()
		for _, name := range slices.Sorted(maps.Keys(sets)) {
			fmt.Fprintf(a.stdout, "  %-8s %s\n", name, sets[name])
		}
		fmt.Fprintln(a.stdout)
	}
	dialect{cmds: cmd}.help(a.stdout)
}

// traceHelp says what is traced, and until when.
const traceHelp = `Without COMMAND and -p it traces every process. COMMAND is traced with all that it starts, from its first
instruction, and its exit status is passed on. The trace ends with COMMAND or the processes of -p, after --duration,
or at Ctrl-C; then the table of the whole time is printed.

`

// probeHelp says what a PROBE is, by examples.
const probeHelp = `A PROBE is one word, so quote it: PLACE[%entry|%return|%latency] [[NAME=]VALUE[:TYPE]…] [if CONDITION]
  vfs_read  'vfs_*'  vfs_read+0x10     functions of the kernel, one of their instructions
  syscall:openat  'syscall:*'          system calls; they work on every kernel
  tracepoint:sched:sched_switch        tracepoints; rawtp:sched_switch is cheaper
  uprobe:libc:malloc  uprobe:/bin/bash:readline
                                       functions of libraries and programs
  kprobe: kretprobe: fentry: fexit: uretprobe:
                                       as in perf and bpftrace
  'vfs_write len=%a2:u64 ret=$retval if $comm == "cat"'
  'syscall:openat path=$filename:ustring if path ~ "/etc/*"'
                                       arguments, which --events shows, and a condition

`

// help prints the options that have a meaning here.
func (d dialect) help(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	table := d.table()
	for i := range table {
		o := &table[i]
		if !d.knows(o) || o.fate != taken {
			continue
		}
		letter := "   "
		if o.short != "" {
			letter = "-" + o.short + ","
		}
		fmt.Fprintf(tw, "  %s --%s\t%s\n", letter, o.form(), o.note)
	}
	tw.Flush()
	if d.cmds&cmdProbing != 0 {
		fmt.Fprintln(w, "\nA flag without a value is taken back by --no-NAME. docs/probes.md has all of PROBE.")
		return
	}
	fmt.Fprintln(w, "\nA flag without a value is taken back by --no-NAME. docs/cli.md also lists CRIU's options that are not")
	fmt.Fprintln(w, "supported yet, and those that change nothing here.")
}

// form is an option with its value as one types it.
func (o *option) form() string {
	switch o.kind {
	case value:
		return o.name + " " + o.arg
	case optional:
		return o.name + "[=" + o.arg + "]"
	}
	return o.name
}
