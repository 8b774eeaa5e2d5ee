// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseConfig(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string // nil: an error
	}{
		{"", []string{}},
		{"tcp-established\nwork-dir \"/my \\\"work\\\" directory\"\n#comment\nno-restore-sibling\t# another\n", []string{"--tcp-established", `--work-dir=/my "work" directory`, "--no-restore-sibling"}},
		{"  ghost-limit   10M  ", []string{"--ghost-limit=10M"}},
		{"log-file a#b", []string{"--log-file=a"}},
		{"log-file \"a#b\"", []string{"--log-file=a#b"}},
		{"log-file \"a\\b\"", []string{`--log-file=a\b`}},
		{"log-file \"\"", []string{"--log-file="}},
		{"--leave-running\r\n", []string{"--leave-running"}},
		{"log-file a b", nil},
		{"log-file \"a", nil},
		{"-v4", nil},
		{"\"\"", nil},
	} {
		got, err := parseConfig(c.text)
		if (err != nil) != (c.want == nil) || err == nil && !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v, want %q", c.text, got, err, c.want)
		}
	}
}

// TestConfigOrder checks that what is read later wins: $HOME, $CRIU_CONFIG_FILE, --config, the command line.
func TestConfigOrder(t *testing.T) {
	home := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(".criu/default.conf", "work-dir home\nlog-file home\nimages-dir home\nroot home\nleave-running\naction-script first")
	env := write("env", "log-file env\nimages-dir env\nroot env")
	file := write("file", "images-dir file\nroot file\nno-leave-running")
	getenv := func(name string) string { return map[string]string{"HOME": home, "CRIU_CONFIG_FILE": env}[name] }
	parse := func(asCRIU bool, args string) *settings {
		t.Helper()
		a := &app{asCRIU: asCRIU, getenv: getenv}
		s, _, err := a.parse(dialect{cmds: cmdAny &^ cmdCheck, asCRIU: asCRIU}, strings.Fields(args))
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		return s
	}
	type values struct{ work, log, images, root string }
	of := func(s *settings) values { return values{s.workDir, s.logFile, s.imagesDir, s.root} }

	s := parse(true, "--config "+file+" -r line --action-script second")
	if got, want := of(s), (values{"home", "env", "file", "line"}); got != want {
		t.Errorf("all files: %v, want %v", got, want)
	}
	if s.leaveRunning {
		t.Error("no-leave-running in a later file did not take leave-running back")
	}
	if want := []string{"first", "second"}; !slices.Equal(s.scripts, want) {
		t.Errorf("scripts %q, want %q", s.scripts, want)
	}
	if got, want := of(parse(true, "--no-default-config")), (values{"", "env", "env", "env"}); got != want {
		t.Errorf("--no-default-config: %v, want %v", got, want)
	}
	if got, want := of(parse(false, "--config "+file)), (values{"", "", "file", "file"}); got != want {
		t.Errorf("as trapline: %v, want %v", got, want)
	}
	a := &app{getenv: getenv}
	if _, _, err := a.parse(dialect{cmds: cmdDump}, []string{"--config", filepath.Join(home, "none")}); !isUsage(err) {
		t.Errorf("missing file of --config: %v, want a usage error", err)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("tcp-established\nwork-dir \"/a \\\"b\\\"\"\n# c\n")
	f.Add("\"\\")
	f.Fuzz(func(t *testing.T, text string) {
		args, err := parseConfig(text)
		if err == nil && len(args) > strings.Count(text, "\n")+1 {
			t.Errorf("%d options in %q", len(args), text)
		}
	})
}
