// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// command is a set of subcommands that an option belongs to.
type command uint8

const (
	cmdDump command = 1 << iota
	cmdPreDump
	cmdRestore
	cmdCheck

	cmdAny     = cmdDump | cmdPreDump | cmdRestore | cmdCheck
	cmdDumps   = cmdDump | cmdPreDump
	cmdDumpRes = cmdDump | cmdPreDump | cmdRestore
)

var commandNames = []struct {
	cmd  command
	name string
}{{cmdDump, "dump"}, {cmdPreDump, "pre-dump"}, {cmdRestore, "restore"}, {cmdCheck, "check"}}

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

// optionValue is an option in a pflag.FlagSet: it hands what is typed on to the settings.
type optionValue struct {
	opt *option
	s   *settings
	neg bool // the --no- form
}

func (v *optionValue) String() string   { return "" }
func (v *optionValue) Type() string     { return v.opt.arg }
func (v *optionValue) IsBoolFlag() bool { return v.opt.kind == bare }

func (v *optionValue) Set(text string) error {
	o := v.opt
	if o.kind == bare {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		text = strconv.FormatBool(on != v.neg)
	} else if text == noValue {
		text = ""
	}
	if o.fate == refused {
		v.s.refuse(o.name, o.note, text != "false")
	}
	if o.set == nil {
		return nil
	}
	return o.set(v.s, text)
}

// noValue stands for a left-out optional value: pflag has no word for it, and no one types a NUL.
const noValue = "\x00"

// flagSet makes the flags of the dialect. Letters are not among them: [dialect.unfold] writes them out.
func (d dialect) flagSet(name string, s *settings) *pflag.FlagSet {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.Usage = func() {}
	for i := range options {
		o := &options[i]
		if !d.knows(o) {
			continue
		}
		f := fs.VarPF(&optionValue{opt: o, s: s}, o.name, "", o.note)
		switch o.kind {
		case bare:
			f.NoOptDefVal = "true"
			fs.VarPF(&optionValue{opt: o, s: s, neg: true}, "no-"+o.name, "", "").NoOptDefVal = "true"
		case optional:
			f.NoOptDefVal = noValue
		}
	}
	return fs
}

// A dialect says which options there are: those of the commands in cmds, and as criu only CRIU's own.
type dialect struct {
	cmds   command
	asCRIU bool
}

// knows says whether an option is one of the dialect's.
func (d dialect) knows(o *option) bool { return o.cmds&d.cmds != 0 && !(d.asCRIU && o.ours) }

// find looks an option up by its long name, or by its letter; nil if the dialect has none.
func (d dialect) find(name string, letter bool) *option {
	for i := range options {
		o := &options[i]
		if d.knows(o) && (letter && o.short == name || !letter && o.name == name) {
			return o
		}
	}
	return nil
}

// unfold writes letters out as long names, with getopt's rules, which pflag does not share: -v4, -vvv and -x12 have
// a value although -v and -x may stand alone. As criu, long names may be cut short (--leave-run), as getopt_long
// allows. What follows "--" is left alone, as are values.
func (d dialect) unfold(args []string) []string {
	out := make([]string, 0, len(args))
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			return append(out, args[i:]...)
		case strings.HasPrefix(a, "--"):
			name, val, hasVal := strings.Cut(a[2:], "=")
			if d.asCRIU {
				name = d.complete(name)
			}
			if hasVal {
				out = append(out, "--"+name+"="+val)
				continue
			}
			out = append(out, "--"+name)
			if o := d.find(name, false); o != nil && o.kind == value && i+1 < len(args) {
				i++
				out = append(out, args[i])
			}
		case len(a) > 1 && a[0] == '-':
			var took bool
			out, took = d.unfoldLetters(out, a[1:], args[i+1:])
			if took {
				i++
			}
		default:
			out = append(out, a)
		}
	}
	return out
}

// unfoldLetters appends the long forms of a group of letters. It says whether the last letter took its value from
// rest[0].
func (d dialect) unfoldLetters(out []string, letters string, rest []string) ([]string, bool) {
	for letters != "" {
		o := d.find(letters[:1], true)
		if o == nil {
			return append(out, "-"+letters), false // pflag names the culprit
		}
		letters = letters[1:]
		switch o.kind {
		case bare:
			out = append(out, "--"+o.name)
		case optional:
			if letters == "" {
				return append(out, "--"+o.name), false
			}
			return append(out, "--"+o.name+"="+letters), false
		case value:
			if letters != "" {
				return append(out, "--"+o.name+"="+letters), false
			}
			if len(rest) == 0 {
				return append(out, "--"+o.name), false
			}
			return append(out, "--"+o.name, rest[0]), true
		}
	}
	return out, false
}

// complete gives the one known long name that starts with name, or name itself if none or several do.
func (d dialect) complete(name string) string {
	if name == "" {
		return name
	}
	var found string
	for i := range options {
		o := &options[i]
		if !d.knows(o) {
			continue
		}
		for _, full := range [2]string{o.name, "no-" + o.name} {
			if full == name {
				return name
			}
			if full != o.name && o.kind != bare || !strings.HasPrefix(full, name) {
				continue
			}
			if found != "" {
				return name
			}
			found = full
		}
	}
	if found == "" {
		return name
	}
	return found
}
