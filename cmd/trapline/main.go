// SPDX-License-Identifier: Apache-2.0

// Command trapline dumps running process trees, restores them, says where the time went, and probes the kernel and
// programs by the names of their functions. Called as criu (by a symbolic link of that name) it answers like CRIU.
//
// Exit status: 0 done, 1 failed with nothing lost, 2 wrong usage. docs/cli.md has every option.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// How the garbage collector is set. A dump or restore is short and keeps most of what it allocates, so a collection
// finds little, and takes time while the target is stopped: 20,000 maps cost six of them with Go's own settings and
// none with these. The limit, in bytes, holds the heap down when there is much more to do; with the program's text
// the process stays below 64 MiB.
const (
	gcPercent   = 800 // the first collection comes at 32 MiB
	memoryLimit = 48 << 20
)

func main() {
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryLimit)
	a := &app{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	os.Exit(a.run(os.Args))
}

// app is one run of the program.
type app struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	asCRIU         bool
	args           []string  // of the command
	profiler       *profiler // of trapline profile; nil else
	prog           string    // as what it was called, for messages
}

// run does what the arguments say and gives the exit status. args[0] is the program.
func (a *app) run(args []string) int {
	if len(args) == 0 {
		args = []string{"trapline"}
	}
	a.prog = filepath.Base(args[0])
	a.asCRIU = a.prog == "criu"
	args = args[1:]
	if a.asCRIU {
		return a.runCRIU(args)
	}
	a.prog = "trapline"
	if len(args) == 0 {
		a.usage(a.stderr)
		return exitUsage
	}
	a.args = args
	switch name := args[0]; name {
	case "profile":
		return a.profile(args[1:])
	case "-h", "--help", "help":
		a.usage(a.stdout)
		return exitDone
	case "-V", "--version", "version":
		a.version()
		return exitDone
	default:
		for _, c := range commandNames {
			if c.name == name {
				return a.runCommand(c.cmd, args[1:])
			}
		}
		return a.fail(name, usagef("no such command; see trapline --help"))
	}
}

// runCommand runs one of Trapline's commands.
func (a *app) runCommand(cmd command, args []string) int {
	var traced []string
	if cmd == cmdTrace {
		args, traced = cutCommand(args)
	}
	s, rest, err := a.parse(dialect{cmds: cmd}, args)
	switch {
	case err != nil:
	case s.help:
		a.commandHelp(cmd)
		return exitDone
	case s.version:
		a.version()
		return exitDone
	case cmd == cmdTrace:
		return a.trace(s, rest, traced)
	case cmd == cmdProbe:
		return a.probe(s, rest)
	default:
		return a.dispatch(cmd, s, rest)
	}
	return a.fail(cmd.String(), err)
}

// runCRIU does what criu would do. Its options may stand before the command too, and those of one command are
// accepted by all others.
func (a *app) runCRIU(args []string) int {
	s, rest, err := a.parse(dialect{cmds: cmdAny, asCRIU: true}, args)
	switch {
	case err != nil:
		return a.fail("", err)
	case s.help:
		a.usage(a.stdout)
		return exitDone
	case s.version:
		a.version()
		return exitDone
	case len(rest) == 0:
		a.usage(a.stderr)
		return exitFailed
	}
	for _, c := range commandNames {
		if c.name == rest[0] && c.cmd&cmdAny != 0 {
			return a.dispatch(c.cmd, s, rest[1:])
		}
	}
	if slices.Contains([]string{"page-server", "service", "swrk", "dedup", "lazy-pages", "cpuinfo", "exec"}, rest[0]) {
		return a.fail("", fmt.Errorf("command %s: not supported yet", rest[0]))
	}
	return a.fail("", usagef("unknown command: %s", rest[0]))
}

// dispatch runs a command whose options are parsed.
func (a *app) dispatch(cmd command, s *settings, rest []string) int {
	if cmd&cmdImages != 0 {
		if s.imagesGiven {
			rest = append(rest, s.imagesDir)
		}
		if len(rest) != 1 {
			return a.fail(cmd.String(), usagef("want one directory of images"))
		}
		s.imagesDir, rest = rest[0], nil
	}
	if len(rest) > 0 && !s.execCmd {
		return a.fail(cmd.String(), usagef("excessive parameter %q", rest[0]))
	}
	if s.workDir == "" && cmd&cmdCheck != 0 {
		s.workDir = "." // a check has no images
	}
	switch cmd {
	case cmdDump:
		return a.dump(s)
	case cmdPreDump:
		return a.preDump(s)
	case cmdRestore:
		return a.restore(s, rest)
	case cmdShow:
		return a.show(s)
	case cmdVerify:
		return a.verify(s)
	}
	return a.check(s)
}

// parse reads the configuration files and the arguments, which win. It gives the words that are no options.
func (a *app) parse(d dialect, args []string) (*settings, []string, error) {
	asked := newSettings() // only for what it says about configuration files
	if _, err := d.parse(args, asked); err != nil {
		return nil, nil, err
	}
	s := newSettings()
	if asked.help || asked.version {
		s.help, s.version = asked.help, asked.version
		return s, nil, nil
	}
	config, err := readConfigs(asked, a.asCRIU, a.getenv)
	if err != nil {
		return nil, nil, err
	}
	// A file may hold options for every command: those for others are read and have no effect.
	if _, err := (dialect{cmds: cmdAny, asCRIU: a.asCRIU}).parse(config, s); err != nil {
		return nil, nil, usagef("configuration file: %w", err)
	}
	rest, err := d.parse(args, s)
	if err == nil {
		err = s.checkRefused()
	}
	return s, rest, err
}

// fail prints an error and gives its exit status. CRIU has one status for all errors.
func (a *app) fail(what string, err error) int {
	if a.asCRIU {
		fmt.Fprintf(a.stderr, "Error %v\n", err)
		return exitFailed
	}
	// The engine's own errors begin with the name of the operation already.
	fmt.Fprintf(a.stderr, "%s: %s\n", what, strings.TrimPrefix(err.Error(), what+": "))
	if isUsage(err) {
		return exitUsage
	}
	return exitFailed
}

// closeFDs closes what --close names.
func (s *settings) closeAll() error {
	var errs []error
	for _, fd := range s.closeFDs {
		if err := closeFD(fd); err != nil {
			errs = append(errs, fmt.Errorf("--close %d: %w", fd, err))
		}
	}
	return errors.Join(errs...)
}
