// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trapline/trapline/checkpoint/image"
)

// criuImages is a small dump made by CRIU.
const criuImages = "../../checkpoint/image/testdata/criu-4.1.1"

// runOn runs a command on a directory of images.
func runOn(cmd string, args []string, out, errs *bytes.Buffer) int {
	a := &app{stdout: out, stderr: errs, getenv: func(string) string { return "" }}
	return a.run(append([]string{"trapline", cmd}, args...))
}

func TestShow(t *testing.T) {
	var out, errs bytes.Buffer
	show := func(args ...string) int {
		out.Reset()
		errs.Reset()
		return runOn("show", args, &out, &errs)
	}
	if got := show(criuImages); got != exitDone {
		t.Fatalf("exit %d: %s", got, errs.String())
	}
	for _, want := range []string{"3 processes", "without checksums", "dead, exit 3", "pipe:[673684], 10 bytes in it", "memfd:tiny", "pages", "stack"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if got := show("-o", "json", criuImages); got != exitDone {
		t.Fatalf("exit %d: %s", got, errs.String())
	}
	var s image.Summary
	if err := json.Unmarshal(out.Bytes(), &s); err != nil || len(s.Processes) != 3 || len(s.Processes[0].Files) != 12 {
		t.Errorf("%v, %+v", err, s)
	}
	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{nil, exitUsage, "one directory"},
		{[]string{"a", "b"}, exitUsage, "one directory"},
		{[]string{"-o", "xml", criuImages}, exitUsage, "not one of table, json"},
		{[]string{"--nothing", criuImages}, exitUsage, "nothing"},
		{[]string{t.TempDir()}, exitFailed, "incomplete"},
		{[]string{filepath.Join(t.TempDir(), "missing")}, exitFailed, "no such file"},
	} {
		if got := show(c.args...); got != c.exit || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%q: exit %d, %q; want %d, %q", c.args, got, errs.String(), c.exit, c.want)
		}
	}
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(criuImages)); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if got := runOn("verify", []string{dir}, &out, &errs); got != exitDone || !strings.Contains(out.String(), "no checksums") {
		t.Errorf("exit %d, %s%s", got, out.String(), errs.String())
	}
	if err := os.Truncate(filepath.Join(dir, "files.img"), 50); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if got := runOn("verify", []string{dir}, &out, &errs); got != exitFailed || !strings.Contains(out.String(), "files.img: offset") {
		t.Errorf("exit %d, %s%s", got, out.String(), errs.String())
	}
	out.Reset()
	var rep image.Report
	if got := runOn("verify", []string{"--json", dir}, &out, &errs); got != exitFailed {
		t.Errorf("exit %d", got)
	}
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil || len(rep.Problems) == 0 {
		t.Errorf("%v, %+v", err, rep)
	}
}

// TestPrintable checks that names from images can't move the cursor.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{"/a b": "/a b", "\x1b[2J": `\x1b[2J`, "ü\n": `ü\n`, "\xff": `\xff`} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
