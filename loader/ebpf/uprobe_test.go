// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trapline/trapline/internal/testprog"
	"github.com/trapline/trapline/loader/internal/spectest"
	"github.com/trapline/trapline/probes"
)

// recursion compiles the program that these tests probe.
func recursion(t *testing.T) string {
	t.Helper()
	path, err := testprog.Build("recursion")
	if err != nil {
		t.Fatal(err)
	}
	built = path
	return path
}

// built is the program, once there is one.
var built string

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(filepath.Dir(built))
	}
	os.Exit(code)
}

func TestRecursion(t *testing.T) {
	path := recursion(t)
	text := "uprobe:" + path + ":recurse%latency"
	s := open(t, Options{}, text)
	// 32 calls deep fit; of the calls that are deeper, none is counted and all are said to be missed.
	got := trace(t, s, path, "20", "50", "0", "0", "0")[text]
	if got.Stats.Count != 1000 || got.Losses != (probes.Losses{}) {
		t.Errorf("depth 20: %d calls, %+v; want 1000 and no losses", got.Stats.Count, got.Losses)
	}
	// Every call but the innermost has all those below it inside: 19 + 18 + … + 0, 50 times.
	if got.Stats.Nested != 50*19*20/2 {
		t.Errorf("depth 20: %d calls inside others, want %d", got.Stats.Nested, 50*19*20/2)
	}
	got = trace(t, s, path, "40", "10", "0", "0", "0")[text]
	if got.Stats.Count != 1000+320 || got.Losses != (probes.Losses{Missed: 80}) {
		t.Errorf("depth 40: %d calls, %+v; want 1320 and 80 missed", got.Stats.Count, got.Losses)
	}
}

// A call that is left by longjmp never returns. It is said to be missed as soon as the task's stack shows it, and pairs go on
// to be right.
func TestLongjmp(t *testing.T) {
	path := recursion(t)
	main, leap := "uprobe:"+path+":main%latency", "uprobe:"+path+":leap%latency"
	s := open(t, Options{}, main, leap)
	got := trace(t, s, path, "1", "1", "5", "0", "0")
	if n := got[main]; n.Stats.Count != 1 || n.Losses != (probes.Losses{}) {
		t.Errorf("main: %d calls, %+v; want 1 and no losses", n.Stats.Count, n.Losses)
	}
	if n := got[leap]; n.Stats.Count != 1 || n.Losses != (probes.Losses{Missed: 5}) {
		t.Errorf("leap: %d calls, %+v; want 1 and 5 missed", n.Stats.Count, n.Losses)
	}
}

func TestUprobeKinds(t *testing.T) {
	path := recursion(t)
	place := "uprobe:" + path + ":"
	texts := map[string]uint64{
		place + "greet": 1,
		"uretprobe:" + path + ":recurse if $retval == 1":               10,
		place + "greet who=+0(%a0):string times=%a1:s32 if times == 7": 1,
		place + "greet%latency who=%a0:ustring if who == 'world'":      1,
		place + "greet who=%a0:string if who != 'world'":               0,
		place + "recurse+4":   0, // set below
		place + "gr*%latency": 1,
		place + "greet first=+0(%a0):char if first == 'w' && %sp != 0":        1,
		place + "greet%latency if $latency > 1 && $retval != 123456 && %a1>6": 1,
	}
	delete(texts, place+"recurse+4")
	var list []string
	for text := range texts {
		list = append(list, text)
	}
	s := open(t, Options{}, list...)
	for text, got := range trace(t, s, path, "1", "10", "0", "0", "0") {
		if got.Stats.Count != texts[text] {
			t.Errorf("%s: %d hits, want %d", text, got.Stats.Count, texts[text])
		}
		if got.Losses != (probes.Losses{}) {
			t.Errorf("%s: losses %+v", text, got.Losses)
		}
	}
}

func TestUprobeRefused(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := recursion(t)
	for text, want := range map[string]string{
		"uprobe:" + self + ":runtime.main%latency": "is a Go program: its stacks move",
		"uretprobe:" + self + ":runtime.main":      "is a Go program: its stacks move",
		"uprobe:" + path + ":recurze":              "did you mean recurse?",
		"uprobe:" + path + ":recurse+0x4000":       "lies behind the end of recurse",
		"uprobe:/nonexistent/program:main":         "no such file",
		"uprobe:no-such-program-or-library:main":   "neither in PATH nor a library",
		"uprobe:/etc/passwd:main":                  "no ELF program",
		"uprobe:" + path + ":0x10":                 "in no part of the file that holds code",
	} {
		s, err := Open(t.Context(), spectest.Parse(t, text), nil)
		if err == nil {
			s.Close()
			t.Errorf("%s: was placed", text)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q in it", text, err, want)
		}
		var place *PlaceError
		if !errors.As(err, &place) {
			t.Errorf("%s: %T is no PlaceError", text, err)
		}
	}
}

// Calls that are left from deep inside do not fill the task's stack of frames, nor lend their arguments to others.
func TestLongjmpFromBelow(t *testing.T) {
	path := recursion(t)
	dive, greet, recurse := "uprobe:"+path+":dive%latency", "uprobe:"+path+":greet%latency", "uprobe:"+path+":recurse%latency"
	s := open(t, Options{}, dive, greet, recurse)
	got := trace(t, s, path, "3", "1", "100", "0", "0")
	for text, want := range map[string]uint64{greet: 1, recurse: 3} {
		if n := got[text]; n.Stats.Count != want || n.Losses != (probes.Losses{}) {
			t.Errorf("%s: %d calls, %+v; want %d and no losses", text, n.Stats.Count, n.Losses, want)
		}
	}
	if n := got[dive]; n.Stats.Count != 0 || n.Losses.Missed+n.Losses.Ended != 600 || n.Losses.Active != 0 || n.Losses.Unpaired != 0 {
		t.Errorf("dive: %d calls, %+v; want none, and 600 that never came back", n.Stats.Count, n.Losses)
	}
}

func TestArgumentsAfterLongjmp(t *testing.T) {
	path := recursion(t)
	s := open(t, Options{Events: &EventOptions{}}, "uprobe:"+path+":leap%latency n=%a0:u64")
	list := events(t, s, path, "1", "1", "5", "0", "0")
	if len(list) != 1 || list[0].Args[0].Num != 0 {
		t.Errorf("events %+v; want one, of the call that returned: n=0", list)
	}
}

// Two programs on one CPU take each other's turn in the middle of a probe, and no hit is lost.
func TestPreemptedUprobe(t *testing.T) {
	path := recursion(t)
	text := "uprobe:" + path + ":greet%entry"
	calls := "uprobe:" + path + ":recurse%latency"
	s := open(t, Options{}, text, calls)
	script := "taskset 1 " + path + " 1 30000 0 0 0 & taskset 1 " + path + " 1 30000 0 0 0; wait"
	got := trace(t, s, "sh", "-c", script)
	if n := got[text].Stats.Count; n != 2 {
		t.Errorf("greet: %d hits, want 2", n)
	}
	if n := got[calls]; n.Stats.Count != 60000 || n.Losses != (probes.Losses{}) {
		t.Errorf("recurse: %d calls, %+v; want 60000 and no losses", n.Stats.Count, n.Losses)
	}
}
