// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInheritPipe hands a pipe in under each of its names, and one that is not in the images.
func TestInheritPipe(t *testing.T) {
	x := start(t, "pipes")
	x.look()
	dir, err := x.dump(nil)
	if err != nil {
		t.Fatal(err)
	}
	x.kill()
	w := x.number("w")
	for _, form := range []string{"pipe:[%d]", "pipe[%d]"} {
		name := fmt.Sprintf(form, x.stats[w].Ino)
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		_, fds, err := load(t, dir, &RestoreOptions{
			Inherit: map[string]int{name: ends[1], "pipe:[1]": ends[1]},
			Log:     slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fds[w], []byte("through")); err != nil {
			t.Fatal(err)
		}
		want(t, name, received(t, ends[0]), "through")
		if s := log.String(); strings.Contains(s, name) || strings.Count(s, "name=pipe:[1]") != 1 {
			t.Errorf("%s: the log is %q", name, s)
		}
		_ = unix.Close(ends[0])
		_ = unix.Close(ends[1])
	}
}

// TestPipeOutside looks at what is said about pipes whose other end is outside: the target's standard output leads to this test.
func TestPipeOutside(t *testing.T) {
	x := start(t, "pipes")
	x.look()
	var log bytes.Buffer
	if _, err := x.dump(&Options{Log: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
		t.Fatal(err)
	}
	s := log.String()
	if strings.Count(s, `at="fd 1"`) != 1 {
		t.Errorf("nothing about standard output: %q", s)
	}
	for _, name := range []string{"r", "w", "one", "fr"} {
		if strings.Contains(s, fmt.Sprintf(`at="fd %d"`, x.number(name))) {
			t.Errorf("a warning about %s, which has nobody outside: %q", name, s)
		}
	}
}
