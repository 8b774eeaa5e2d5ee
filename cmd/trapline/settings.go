// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trapline/trapline/checkpoint"
)

// settings is what the command line and the configuration files say, for all commands.
type settings struct {
	help, version bool

	tree        int
	imagesDir   string
	imagesGiven bool // -D was given
	workDir     string

	detach                     bool
	leaveRunning, leaveStopped bool
	shellJob, fileLocks        bool
	tcpClose                   bool
	skipInFlight, extUnixSk    bool
	linkRemap                  bool
	skipFileRWXCheck           bool
	execCmd                    bool
	root                       string
	ghostLimit                 int64
	timeout                    time.Duration
	external, scripts          []string
	inheritFD                  []checkpoint.InheritFD
	manageCgroups              string
	cpuCap                     []string
	fileValidation             string
	pidfile                    string
	statusFD                   int // -1 if not given
	closeFDs                   []int

	verbosity    int
	logFile      string
	displayStats bool

	config          string
	noDefaultConfig bool

	checkExtra, checkExperimental bool
	features                      []string

	stages, json bool

	probing probingSettings
	profile profileSettings

	refusals []refusal // options given that are not supported yet
}

// newSettings gives the defaults.
func newSettings() *settings {
	return &settings{imagesDir: ".", verbosity: defaultVerbosity, statusFD: -1, probing: newProbingSettings()}
}

// A refusal is an option, or a value of one, that is not supported yet.
type refusal struct{ name, why string }

// refuse notes that an option that is not supported yet was given, or with on unset that it was taken back or given
// anew with another value.
func (s *settings) refuse(name, why string, on bool) {
	s.refusals = slices.DeleteFunc(s.refusals, func(r refusal) bool { return r.name == name })
	if on {
		s.refusals = append(s.refusals, refusal{name, why})
	}
}

// checkRefused returns an error that names the first option that is not supported yet and why.
func (s *settings) checkRefused() error {
	for _, r := range s.refusals {
		return usageError{fmt.Errorf("--%s: %w yet: %s", r.name, checkpoint.ErrNotSupported, r.why)}
	}
	return nil
}

// work resolves a name of a log, pid or statistics file, as CRIU does: against -W, else against -D.
func (s *settings) work(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.workPath(), name)
}

// workPath is the directory for logs, pid files and statistics.
func (s *settings) workPath() string {
	if s.workDir != "" {
		return s.workDir
	}
	return s.imagesDir
}

// onOff makes a setter of a flag.
func onOff(field func(*settings) *bool) setter {
	return func(s *settings, v string) error {
		*field(s) = v == "true"
		return nil
	}
}

// text makes a setter of a string.
func text(field func(*settings) *string) setter {
	return func(s *settings, v string) error {
		*field(s) = v
		return nil
	}
}

// list makes a setter of an option that may be given several times.
func list(field func(*settings) *[]string) setter {
	return func(s *settings, v string) error {
		*field(s) = append(*field(s), v)
		return nil
	}
}

// oneOf makes a setter of a value out of a few; empty (an optional value left out) becomes the first.
// With field nil the value is only checked.
func oneOf(field func(*settings) *string, words ...string) setter {
	return func(s *settings, v string) error {
		if v == "" {
			v = words[0]
		}
		if !slices.Contains(words, v) {
			return fmt.Errorf("%q is not one of %s", v, strings.Join(words, ", "))
		}
		if field != nil {
			*field(s) = v
		}
		return nil
	}
}

// parseNumber parses an integer between lo and hi.
func parseNumber(v string, lo, hi int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < lo || n > hi {
		return 0, fmt.Errorf("%q is not a number between %d and %d", v, lo, hi)
	}
	return n, nil
}

// setLeaveRunning and setLeaveStopped set one thing, the state that a dump leaves: as in CRIU the last one wins.
func setLeaveRunning(s *settings, v string) error {
	s.leaveRunning = v == "true"
	if s.leaveRunning {
		s.leaveStopped = false
	}
	return nil
}

func setLeaveStopped(s *settings, v string) error {
	s.leaveStopped = v == "true"
	if s.leaveStopped {
		s.leaveRunning = false
	}
	return nil
}

func setTree(s *settings, v string) error {
	pid, err := parseNumber(v, 1, math.MaxInt32)
	s.tree = pid
	return err
}

func setTimeout(s *settings, v string) error {
	sec, err := parseNumber(v, 1, math.MaxInt32)
	s.timeout = time.Duration(sec) * time.Second
	return err
}

// setGhostLimit parses bytes with K, M or G after them.
func setGhostLimit(s *settings, v string) error {
	digits, shift := v, 0
	if n := len(v); n > 0 {
		if i := strings.IndexByte("KMG", v[n-1]); i >= 0 {
			digits, shift = v[:n-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > math.MaxInt64>>shift {
		return fmt.Errorf("%q is not a size in bytes, or with K, M or G after it", v)
	}
	s.ghostLimit = n << shift
	return nil
}

// setVerbosity raises the level by one for nothing and for each further v, or sets it to a number.
func setVerbosity(s *settings, v string) error {
	if strings.Trim(v, "v") == "" {
		s.verbosity += 1 + len(v)
		return nil
	}
	n, err := parseNumber(v, 0, math.MaxInt32)
	s.verbosity = n
	return err
}

// setInheritFD parses fd[NUM]:RESOURCE.
func setInheritFD(s *settings, v string) error {
	rest, ok := strings.CutPrefix(v, "fd[")
	num, resource, ok2 := strings.Cut(rest, "]:")
	fd, err := strconv.Atoi(num)
	if !ok || !ok2 || err != nil || fd < 0 || resource == "" {
		return fmt.Errorf("%q is not of the form fd[NUMBER]:RESOURCE", v)
	}
	s.inheritFD = append(s.inheritFD, checkpoint.InheritFD{FD: fd, Resource: resource})
	return nil
}

// setExternal checks that there is a type with an id in brackets, and refuses what can't be external yet.
func setExternal(s *settings, v string) error {
	open := strings.IndexByte(v, '[')
	if open < 1 || !strings.Contains(v[open:], "]") {
		return fmt.Errorf("%q is not of the form TYPE[ID]:VALUE", v)
	}
	s.external = append(s.external, v)
	if !strings.HasPrefix(v, "unix[") {
		s.refuse("external", v+": only unix[INODE] is possible; --inherit-fd replaces pipes, sockets and files on restore", true)
	}
	return nil
}

// setExtUnixSk is -x, which CRIU keeps for old scripts: alone it allows every external unix socket, with an inode
// only that one.
func setExtUnixSk(s *settings, v string) error {
	if v == "" {
		s.extUnixSk = true
		return nil
	}
	if _, err := strconv.ParseUint(v, 10, 64); err != nil {
		return fmt.Errorf("%q is not an inode number", v)
	}
	s.external = append(s.external, "unix["+v+"]")
	return nil
}

func setCPUCap(s *settings, v string) error {
	if v == "" {
		v = "all"
	}
	caps := strings.Split(v, ",")
	for _, c := range caps {
		if !slices.Contains([]string{"cpu", "fpu", "all", "ins", "none"}, strings.TrimPrefix(c, "^")) {
			return fmt.Errorf("%q is not one of cpu, fpu, ins, all, none", c)
		}
	}
	s.cpuCap = caps
	return nil
}

func setStatusFD(s *settings, v string) error {
	fd, err := parseNumber(v, 0, math.MaxInt32)
	s.statusFD = fd
	return err
}

func setClose(s *settings, v string) error {
	fd, err := parseNumber(v, 0, math.MaxInt32)
	s.closeFDs = append(s.closeFDs, fd)
	return err
}

func setFeature(s *settings, v string) error {
	s.features = append(s.features, v)
	return nil
}

func setAllFeatures(s *settings, v string) error {
	s.checkExtra, s.checkExperimental = v == "true", v == "true"
	return nil
}

func setOutput(s *settings, v string) error {
	var format string
	err := oneOf(func(*settings) *string { return &format }, "table", "json")(s, v)
	s.json = format == "json"
	return err
}

func setManageCgroups(s *settings, v string) error {
	set := oneOf(func(s *settings) *string { return &s.manageCgroups }, "soft", "none", "props", "full", "strict", "ignore")
	if err := set(s, v); err != nil {
		return err
	}
	s.refuse("manage-cgroups", "cgroups are not dumped; only none and ignore are possible",
		s.manageCgroups != "none" && s.manageCgroups != "ignore")
	return nil
}

func setImagesDir(s *settings, v string) error {
	s.imagesDir, s.imagesGiven = v, true
	return nil
}
