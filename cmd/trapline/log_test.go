// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLogLevels checks what is written at each verbosity, and how.
func TestLogLevels(t *testing.T) {
	for verbosity, want := range []string{
		"",
		"Error no room fd=7\n",
		"Error no room fd=7\nWarn  \"slow disk\" is slow err=\"a b\"\n",
		"(S) Error no room fd=7\n(S) Warn  \"slow disk\" is slow err=\"a b\"\n(S) frozen g.pid=5\n",
		"(S) Error no room fd=7\n(S) Warn  \"slow disk\" is slow err=\"a b\"\n(S) frozen g.pid=5\n(S) detail n=1 x=\"\"\n",
	} {
		s := newSettings()
		s.verbosity = verbosity
		var out bytes.Buffer
		l, err := openLog(s, &out)
		if err != nil {
			t.Fatal(err)
		}
		l.Error("no room", "fd", 7)
		l.Warn(`"slow disk" is slow`, "err", errors.New("a b"))
		l.WithGroup("g").Info("frozen", "pid", 5)
		l.With("n", 1).Debug("detail", slog.String("x", ""))
		got := regexp.MustCompile(`\(\d\d\.\d{6}\)`).ReplaceAllString(out.String(), "(S)")
		if got != want {
			t.Errorf("-v%d:\n%q, want\n%q", verbosity, got, want)
		}
	}
}

// TestLogFile checks where the file goes: the work directory, else that of the images.
func TestLogFile(t *testing.T) {
	images, work := t.TempDir(), t.TempDir()
	for _, c := range []struct{ work, file, want string }{
		{"", "a.log", filepath.Join(images, "a.log")},
		{work, "a.log", filepath.Join(work, "a.log")},
		{work, filepath.Join(images, "b.log"), filepath.Join(images, "b.log")},
	} {
		s := newSettings()
		s.imagesDir, s.workDir, s.logFile = images, c.work, c.file
		l, err := openLog(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		l.Error("here")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		text, err := os.ReadFile(c.want)
		if err != nil || !strings.Contains(string(text), "here") {
			t.Errorf("%+v: %q, %v", c, text, err)
		}
	}
}

func TestBar(t *testing.T) {
	for _, c := range []struct {
		done, total int64
		want        string
	}{
		{0, 1 << 30, "dump [>                             ] 0/1024 MiB 0% 0 MiB/s"},
		{512 << 20, 1 << 30, "dump [===============>              ] 512/1024 MiB 50% 512 MiB/s"},
		{1 << 30, 1 << 30, "dump [==============================] 1024/1024 MiB 100% 1024 MiB/s"},
		{2 << 30, 1 << 30, "dump [==============================] 1024/1024 MiB 100% 1024 MiB/s"},
	} {
		if got := bar("dump", c.done, c.total, 1e9); got != c.want {
			t.Errorf("%d/%d: %q, want %q", c.done, c.total, got, c.want)
		}
	}
}
