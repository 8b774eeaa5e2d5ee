// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strconv"
	"strings"
)

// The parser follows getopt_long(3), which CRIU uses: letters may be grouped and have their value glued to them (-v4,
// -ofile), a value that may be left out stands after "=" or is glued, options and other words may be mixed, "--" ends
// the options. It is not one of the libraries for it because those that come near pull in package net, and with it
// the C library: the program would take a millisecond longer to start, and have threads that glibc made.

// A dialect says which options there are: those of the commands in cmds, and as criu only CRIU's own.
type dialect struct {
	cmds   command
	asCRIU bool
}

// knows says whether an option is one of the dialect's.
func (d dialect) knows(o *option) bool { return o.cmds&d.cmds != 0 && !(d.asCRIU && o.ours) }

// table gives the options among which the dialect's are.
func (d dialect) table() []option {
	switch {
	case d.cmds&cmdProbing != 0:
		return probingOptions[:]
	case d.cmds&cmdProfile != 0:
		return profileOptions[:]
	}
	return options[:]
}

// find looks an option up by its long name, or by its letter; nil if the dialect has none.
func (d dialect) find(name string, letter bool) *option {
	table := d.table()
	for i := range table {
		o := &table[i]
		if d.knows(o) && (letter && o.short == name || !letter && o.name == name) {
			return o
		}
	}
	return nil
}

// parse takes the options out of args and puts them into s. It gives the other words.
func (d dialect) parse(args []string, s *settings) (rest []string, err error) {
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		switch {
		case a == "--":
			return append(rest, args...), nil
		case strings.HasPrefix(a, "--"):
			args, err = d.long(a[2:], args, s)
		case len(a) > 1 && a[0] == '-':
			args, err = d.letters(a[1:], args, s)
		default:
			rest = append(rest, a)
		}
		if err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// long parses NAME or NAME=VALUE. It gives the arguments that are left.
func (d dialect) long(arg string, args []string, s *settings) ([]string, error) {
	name, val, has := strings.Cut(arg, "=")
	o, negated, err := d.named(name)
	if err != nil {
		return nil, err
	}
	shown := "--" + name
	switch {
	case o.kind == bare && has:
		return nil, usagef("%s takes no value", shown)
	case o.kind == value && !has:
		if len(args) == 0 {
			return nil, usagef("%s needs a value: %s", shown, o.arg)
		}
		val, args = args[0], args[1:]
	}
	return args, o.apply(s, shown, val, has || o.kind == value, !negated)
}

// letters parses a group of letters. It gives the arguments that are left.
func (d dialect) letters(group string, args []string, s *settings) ([]string, error) {
	for i := range len(group) {
		shown := "-" + group[i:i+1]
		o := d.find(group[i:i+1], true)
		if o == nil {
			return nil, d.unknown(shown)
		}
		glued := group[i+1:]
		switch {
		case o.kind == bare:
			if err := o.apply(s, shown, "", false, true); err != nil {
				return nil, err
			}
			continue
		case o.kind == value && glued == "":
			if len(args) == 0 {
				return nil, usagef("%s needs a value: %s", shown, o.arg)
			}
			return args[1:], o.apply(s, shown, args[0], true, true)
		}
		return args, o.apply(s, shown, glued, glued != "", true)
	}
	return args, nil
}

// named finds an option by its long name, and says whether it is the --no- form. As criu, a name may be cut short
// as long as only one option begins so, as getopt_long allows.
func (d dialect) named(name string) (o *option, negated bool, err error) {
	if o := d.find(name, false); o != nil {
		return o, false, nil
	}
	if positive, ok := strings.CutPrefix(name, "no-"); ok {
		if o := d.find(positive, false); o != nil && o.kind == bare {
			return o, true, nil
		}
	}
	if !d.asCRIU || name == "" {
		return nil, false, d.unknown("--" + name)
	}
	var found []string
	table := d.table()
	for i := range table {
		c := &table[i]
		if !d.knows(c) {
			continue
		}
		if strings.HasPrefix(c.name, name) {
			o, negated, found = c, false, append(found, "--"+c.name)
		}
		if c.kind == bare && strings.HasPrefix("no-"+c.name, name) {
			o, negated, found = c, true, append(found, "--no-"+c.name)
		}
	}
	switch len(found) {
	case 0:
		return nil, false, usagef("unknown option --%s", name)
	case 1:
		return o, negated, nil
	}
	return nil, false, usagef("--%s is ambiguous: %s", name, strings.Join(found, ", "))
}

// unknown is the error for an option, with its dashes, that the dialect does not have: it says which commands do.
func (d dialect) unknown(shown string) error {
	name, long := strings.CutPrefix(shown, "--")
	if !long {
		name = strings.TrimPrefix(shown, "-")
	}
	var others []string
	for _, c := range commandNames {
		if (dialect{cmds: c.cmd}).find(name, !long) != nil {
			others = append(others, c.name)
		}
	}
	// A configuration file is for several commands, and criu's users know none but criu's.
	if len(others) == 0 || d.asCRIU || d.cmds == cmdAny {
		return usagef("unknown option %s", shown)
	}
	if len(others) == 1 && others[0] == "profile" && (d.cmds == cmdDump || d.cmds == cmdRestore) {
		return usagef("unknown option %s: it belongs to profile, in front of %s", shown, d.cmds)
	}
	return usagef("unknown option %s: it belongs to %s", shown, strings.Join(others, ", "))
}

// apply stores an option that was typed as shown. given says whether there is a value, on that it is not a --no-.
func (o *option) apply(s *settings, shown, val string, given, on bool) error {
	if o.fate == refused {
		s.refuse(o.name, o.note, on)
	}
	if o.set == nil {
		return nil
	}
	err := error(nil)
	switch {
	case o.kind == bare:
		err = o.set(s, strconv.FormatBool(on))
	case given && val == "":
		err = errors.New("empty value")
	default:
		err = o.set(s, val)
	}
	if err == nil {
		return nil
	}
	return usagef("%s: %w", shown, err)
}
