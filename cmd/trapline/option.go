// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"
)

// command is a set of subcommands that an option belongs to.
type command uint16

const (
	cmdDump command = 1 << iota
	cmdPreDump
	cmdRestore
	cmdCheck
	cmdShow
	cmdVerify
	cmdTrace
	cmdProbe
	cmdProfile

	cmdAny     = cmdDump | cmdPreDump | cmdRestore | cmdCheck // those that CRIU has too
	cmdImages  = cmdShow | cmdVerify
	cmdProbing = cmdTrace | cmdProbe // their options are in a table of their own
	cmdDumps   = cmdDump | cmdPreDump
	cmdDumpRes = cmdDump | cmdPreDump | cmdRestore
)

var commandNames = []struct {
	cmd  command
	name string
}{
	{cmdDump, "dump"},
	{cmdPreDump, "pre-dump"},
	{cmdRestore, "restore"},
	{cmdCheck, "check"},
	{cmdShow, "show"},
	{cmdVerify, "verify"},
	{cmdTrace, "trace"},
	{cmdProbe, "probe"},
	{cmdProfile, "profile"},
}

// String lists the names of the commands in the set.
func (c command) String() string {
	var names []string
	for _, n := range commandNames {
		if c&n.cmd != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ", ")
}

// kind says what follows an option's name.
type kind uint8

const (
	bare     kind = iota // nothing; --no-NAME takes it back
	value                // a value
	optional             // a value after "=", or nothing
)

// fate says what becomes of an option that is given.
type fate uint8

const (
	taken   fate = iota // it has its meaning
	noop                // accepted: it changes nothing here, for the reason that its note gives
	refused             // "not supported yet"
)

// An option is one line of the table of all options.
type option struct {
	name  string // long name, without dashes
	short string // one letter, or empty
	kind  kind
	arg   string // what the value is called in the help
	cmds  command
	fate  fate
	ours  bool   // CRIU has no such option; unknown to trapline called as criu
	note  string // taken: its meaning; noop: why it changes nothing; refused: why, and what to do instead
	set   setter // nil for an option that is only looked at (noop, refused)
}

// A setter stores the value of an option: "true" or "false" for a flag, what the user typed for the others,
// "" for an optional value that is left out.
type setter func(s *settings, v string) error

// usageError is an error in what was typed: exit status 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usagef makes a usageError.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// isUsage says whether the user has to type something else.
func isUsage(err error) bool {
	var u usageError
	return errors.As(err, &u)
}
