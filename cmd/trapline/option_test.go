// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trapline/trapline/checkpoint"
)

// criuOptions reads the committed list of CRIU's options.
func criuOptions(t *testing.T) []option {
	t.Helper()
	text, err := os.ReadFile("testdata/criu-4.1-options.txt")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]kind{"flag": bare, "value": value, "optional": optional}
	var list []option
	for line := range strings.Lines(string(text)) {
		w := strings.Fields(line)
		if len(w) == 0 || w[0] == "#" {
			continue
		}
		k, ok := kinds[w[1]]
		if !ok {
			t.Fatalf("line %q: no such kind", line)
		}
		o := option{name: w[0], kind: k}
		if len(w) > 2 {
			o.short = w[2]
		}
		list = append(list, o)
	}
	return list
}

// TestCRIUOptions goes through every option that CRIU 4.1 has: it must be known, take the same kind of value, have
// the same letter, and be either taken, or refused or ignored with a reason. Both ways to be called must agree.
func TestCRIUOptions(t *testing.T) {
	criu := dialect{cmds: cmdAny, asCRIU: true}
	for _, want := range criuOptions(t) {
		name, negated := strings.CutPrefix(want.name, "no-")
		o := criu.find(want.name, false)
		if o == nil && negated {
			o = criu.find(name, false)
		}
		switch {
		case o == nil:
			t.Errorf("--%s is not known", want.name)
			continue
		case o.kind != want.kind:
			t.Errorf("--%s: kind %d, want %d", want.name, o.kind, want.kind)
		case want.short != "" && o.short != want.short:
			t.Errorf("--%s: letter %q, want %q", want.name, o.short, want.short)
		case o.fate == taken && o.set == nil:
			t.Errorf("--%s is taken but does nothing", want.name)
		case o.note == "":
			t.Errorf("--%s: no word about what becomes of it", want.name)
		}
		if got, neg, err := criu.named(want.name); err != nil || got != o || neg == (o.name == want.name) {
			t.Errorf("--%s: found %v, %v, %v", want.name, got, neg, err)
		}
	}
}

// TestRefused checks that every option that is not supported yet says so by its name, and can be taken back.
func TestRefused(t *testing.T) {
	values := map[string]string{"join-ns": "net:1", "empty-ns": "net"}
	for i := range options {
		o := &options[i]
		if o.fate != refused {
			continue
		}
		arg := "--" + o.name
		if o.kind == value {
			v := values[o.name]
			if v == "" {
				v = "1"
			}
			arg += "=" + v
		}
		a := &app{prog: "trapline", getenv: func(string) string { return "" }}
		_, _, err := a.parse(dialect{cmds: o.cmds}, []string{arg})
		if !isUsage(err) || !strings.Contains(err.Error(), "--"+o.name+": not supported yet") {
			t.Errorf("%s: %v, want an error that names it as not supported yet", arg, err)
		}
		if o.kind != bare {
			continue
		}
		if _, _, err := a.parse(dialect{cmds: o.cmds}, []string{arg, "--no-" + o.name}); err != nil {
			t.Errorf("%s --no-%s: %v, want nil", arg, o.name, err)
		}
	}
}

// TestGetopt checks that a command line is read as getopt_long reads it.
func TestGetopt(t *testing.T) {
	criu := dialect{cmds: cmdAny, asCRIU: true}
	for _, c := range []struct {
		d    dialect
		args string
		want string // what was set, and the other words; "!" and a part of the error
	}{
		{criu, "-v4", "v=4"},
		{criu, "-vvv", "v=5"},
		{criu, "-v -v dump", "v=4 dump"},
		{criu, "dump -t 5 -D d", "tree=5 dir=d dump"},
		{criu, "-Rjv dump -t5", "tree=5 running job v=3 dump"},
		{criu, "-jvd", "! -v: \"d\""}, // the value of -v is glued to it
		{criu, "-d -ofile", "detach log=file"},
		{criu, "-o -", "log=-"},
		{criu, "--leave-run --tre 5 --shell", "tree=5 running job"},
		{criu, "--leave", "! --leave is ambiguous"},
		{criu, "--no-leave-run -R --no-leave-run", ""},
		{criu, "--no-leave-running=1", "! takes no value"},
		{criu, "--images-dir --tree --tree 1", "tree=1 dir=--tree"},
		{criu, "--images-dir=a=b", "dir=a=b"},
		{criu, "--verbosity 4", "v=3 4"},
		{criu, "restore --exec-cmd -- -v4 --tre", "exec restore -v4 --tre"},
		{criu, "-Z", "! unknown option -Z"},
		{criu, "-jZ", "! unknown option -Z"},
		{criu, "--no-tree 4", "! unknown option --no-tree"},
		{criu, "--stages", "! unknown option --stages"},
		{criu, "-t", "! -t needs a value: PID"},
		{criu, "--tree", "! --tree needs a value: PID"},
		{criu, "- x", "- x"},
		{dialect{cmds: cmdCheck}, "-o json", "json"},
		{dialect{cmds: cmdDump}, "-o json --leave-running", "running log=json"},
		{dialect{cmds: cmdDump}, "--leave-run", "! unknown option --leave-run"},
		{dialect{cmds: cmdRestore}, "-R", "! unknown option -R: it belongs to dump, pre-dump"},
		{dialect{cmds: cmdDump}, "--html f", "! unknown option --html: it belongs to profile, in front of dump"},
	} {
		s := newSettings()
		rest, err := c.d.parse(strings.Fields(c.args), s)
		if wrong, ok := strings.CutPrefix(c.want, "! "); ok {
			if !isUsage(err) || !strings.Contains(err.Error(), wrong) {
				t.Errorf("%q: %v, want a usage error with %q", c.args, err, wrong)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.args, err)
			continue
		}
		var got []string
		for _, f := range []struct {
			set  bool
			text string
		}{
			{s.tree != 0, "tree=" + strconv.Itoa(s.tree)},
			{s.leaveRunning, "running"},
			{s.shellJob, "job"},
			{s.detach, "detach"},
			{s.execCmd, "exec"},
			{s.json, "json"},
			{s.verbosity != defaultVerbosity, "v=" + strconv.Itoa(s.verbosity)},
			{s.imagesGiven, "dir=" + s.imagesDir},
			{s.logFile != "", "log=" + s.logFile},
		} {
			if f.set {
				got = append(got, f.text)
			}
		}
		if line := strings.Join(append(got, rest...), " "); line != c.want {
			t.Errorf("%q: %q, want %q", c.args, line, c.want)
		}
	}
}

// TestSettings checks what options come to.
func TestSettings(t *testing.T) {
	for _, c := range []struct {
		args string
		want func(*settings)
	}{
		{"", func(*settings) {}},
		{"-t 7 -D img -W work", func(s *settings) { s.tree, s.imagesDir, s.imagesGiven, s.workDir = 7, "img", true, "work" }},
		{"-v", func(s *settings) { s.verbosity = 3 }},
		{"-vv", func(s *settings) { s.verbosity = 4 }},
		{"-v -v", func(s *settings) { s.verbosity = 4 }},
		{"-v0", func(s *settings) { s.verbosity = 0 }},
		{"--verbosity=1", func(s *settings) { s.verbosity = 1 }},
		{"--verbosity", func(s *settings) { s.verbosity = 3 }},
		{"-R --no-leave-running -j", func(s *settings) { s.shellJob = true }},
		{"--ghost-limit 3M", func(s *settings) { s.ghostLimit = 3 << 20 }},
		{"--ghost-limit 512", func(s *settings) { s.ghostLimit = 512 }},
		{"--timeout 3", func(s *settings) { s.timeout = 3 * time.Second }},
		{"--cpu-cap", func(s *settings) { s.cpuCap = []string{"all"} }},
		{"--cpu-cap=cpu,^ins", func(s *settings) { s.cpuCap = []string{"cpu", "^ins"} }},
		{"--manage-cgroups --manage-cgroups=none", func(s *settings) { s.manageCgroups = "none" }},
		{"--manage-cgroups=ignore", func(s *settings) { s.manageCgroups = "ignore" }},
		{"--file-validation filesize", func(s *settings) { s.fileValidation = "filesize" }},
		{"-x", func(s *settings) { s.extUnixSk = true }},
		{"-x42 --external unix[43]", func(s *settings) { s.external = []string{"unix[42]", "unix[43]"} }},
		{"--file-validation buildid", func(s *settings) { s.fileValidation = "buildid" }},
		{"--action-script a --action-script b", func(s *settings) { s.scripts = []string{"a", "b"} }},
		{"--inherit-fd fd[3]:pipe[55]", func(s *settings) { s.inheritFD = []checkpoint.InheritFD{{FD: 3, Resource: "pipe[55]"}} }},
		{"--status-fd 4 --close 5", func(s *settings) { s.statusFD, s.closeFDs = 4, []int{5} }},
		{"--all --feature uffd --feature openat2", func(s *settings) {
			s.checkExtra, s.checkExperimental, s.features = true, true, []string{"uffd", "openat2"}
		}},
	} {
		want := newSettings()
		c.want(want)
		a := &app{asCRIU: true, getenv: func(string) string { return "" }}
		got, _, err := a.parse(dialect{cmds: cmdAny, asCRIU: true}, append(strings.Fields(c.args), "--no-default-config"))
		if err != nil {
			t.Errorf("%q: %v", c.args, err)
			continue
		}
		want.noDefaultConfig = true
		if len(got.refusals) == 0 {
			got.refusals = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\n%+v, want\n%+v", c.args, got, want)
		}
	}
}

// TestBadValues checks that a value that makes no sense is refused.
func TestBadValues(t *testing.T) {
	for _, args := range []string{
		"--tree 0", "--tree -1", "--tree x", "--tree 99999999999", "--timeout 0", "--ghost-limit", "--ghost-limit 0",
		"--ghost-limit 1T", "--ghost-limit 9999999999G", "--ghost-limit K", "--cpu-cap=gpu", "--manage-cgroups=maybe",
		"--file-validation md5", "--network-lock none", "-xabc", "--inherit-fd 3", "--inherit-fd fd[x]:a", "--inherit-fd fd[3]:",
		"--external [x]", "--status-fd -2", "--verbosity=x", "--leave-running=maybe", "--images-dir=", "--close x", "--nonsense",
		"--action-script=", "--tree",
	} {
		a := &app{asCRIU: true, getenv: func(string) string { return "" }}
		if _, _, err := a.parse(dialect{cmds: cmdAny, asCRIU: true}, strings.Fields(args)); !isUsage(err) {
			t.Errorf("%q: %v, want a usage error", args, err)
		}
	}
}

// FuzzGetopt checks that no command line makes the parser crash, and that it invents no words.
func FuzzGetopt(f *testing.F) {
	f.Add("dump\n-t\n5\n-v4")
	f.Add("-vvv\n--leave-r\n--\n-x")
	f.Add("-\n--\n-t")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\n")
		for _, d := range []dialect{{cmds: cmdAny, asCRIU: true}, {cmds: cmdDump}, {cmds: cmdShow}} {
			rest, err := d.parse(args, newSettings())
			if err != nil && !isUsage(err) {
				t.Errorf("%q: %v is no usage error", args, err)
			}
			if len(rest) > len(args) {
				t.Errorf("%q: %d words left, of %d", args, len(rest), len(args))
			}
		}
	})
}
