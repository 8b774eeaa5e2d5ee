// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/trapline/trapline/loader/internal/spectest"
	"github.com/trapline/trapline/probes"
)

// open opens a session of one command's tasks, closed with the test. Nothing may have gone wrong.
func open(t *testing.T, opts Options, texts ...string) *Session {
	t.Helper()
	opts.Filter = true
	s, err := Open(t.Context(), spectest.Parse(t, texts...), &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if w := s.Warnings(); len(w) > 0 {
		t.Fatal(errors.Join(w...))
	}
	return s
}

// run launches a command and waits for its end.
func run(t *testing.T, s *Session, cmd *exec.Cmd) {
	t.Helper()
	s.Enable()
	if err := s.Launch(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
}

// trace has this program do some work and gives what was measured, by the probe's expression.
func trace(t *testing.T, s *Session, args ...string) map[string]Reading {
	t.Helper()
	run(t, s, command(args...))
	if w := s.Warnings(); len(w) > 0 {
		t.Fatal(errors.Join(w...))
	}
	return byText(s)
}

func byText(s *Session) map[string]Reading {
	m := map[string]Reading{}
	for _, r := range s.Read(nil) {
		m[r.Probe.Spec.Text] = r
	}
	return m
}

// A latency is wall time; time on CPU is what a call that sleeps takes least of.
func TestLatency(t *testing.T) {
	const n, sleep = 20, 5e6
	s := open(t, Options{CPUTime: true}, "hrtimer_nanosleep%latency", "syscall:nanosleep")
	for text, got := range trace(t, s, "sleeps", strconv.Itoa(n), strconv.Itoa(sleep/1000)) {
		if got.Stats.Count < n { // Go sleeps too
			t.Errorf("%s: %d calls, want %d", text, got.Stats.Count, n)
		}
		checkLatency(t, &got.Stats)
		if got.Stats.Total < n*sleep || got.Stats.Max < sleep || got.Stats.Max > 100*sleep {
			t.Errorf("%s: total %d, max %d ns of sleeps of %d", text, got.Stats.Total, got.Stats.Max, int(sleep))
		}
		if got.Stats.CPU == 0 || got.Stats.CPU > got.Stats.Total/2 {
			t.Errorf("%s: %d ns on CPU of %d", text, got.Stats.CPU, got.Stats.Total)
		}
	}
}

// Calls inside calls are paired, and counted as nested in those around them.
func TestNested(t *testing.T) {
	const n = 500
	s := open(t, Options{}, "ksys_write", "vfs_write", "vfs_write%entry", "vfs_write%return")
	got := trace(t, s, "writes", strconv.Itoa(n))
	for text, r := range got {
		if r.Stats.Count != n || r.Losses != (probes.Losses{}) {
			t.Errorf("%s: %d hits, want %d; losses %+v", text, r.Stats.Count, n, r.Losses)
		}
	}
	if outer, inner := got["ksys_write"].Stats, got["vfs_write"].Stats; outer.Nested != 3*n || outer.Total <= inner.Total {
		t.Errorf("ksys_write: %d hits inside, want %d; %d ns, of which vfs_write %d", outer.Nested, 3*n, outer.Total, inner.Total)
	}
}

// A function that calls itself is paired call by call: a file of an overlay is opened, and in it that of the layer below.
func TestRecursion(t *testing.T) {
	const n = 100
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{}, "do_dentry_open", "syscall:openat")
	got := trace(t, s, "opens", path, strconv.Itoa(n))
	calls, opens := got["do_dentry_open"], got["syscall:openat"]
	if opens.Stats.Count < n || calls.Stats.Count < opens.Stats.Count+n {
		t.Errorf("%d calls in %d opens; want one inside of another in %d at least", calls.Stats.Count, opens.Stats.Count, n)
	}
	if calls.Losses != (probes.Losses{}) {
		t.Errorf("losses %+v", calls.Losses)
	}
	checkLatency(t, &calls.Stats)
}

// What can be read and compared at a hit. Many probes share a place.
func TestPredicates(t *testing.T) {
	const n = 200
	for _, c := range []struct {
		work  []string
		cases map[string]uint64
	}{
		{[]string{"writes", strconv.Itoa(n)}, map[string]uint64{
			"vfs_write len=%a2:u64 if len == 7":                                                   n,
			"vfs_write len=%a2:u64 if len == 7 && $retval == 7":                                   n,
			"vfs_write if %a2 == 7 && $retval < 0":                                                0,
			"vfs_write len=%a2 if len < 8 && len > 6":                                             n,
			"vfs_write len=%a2 if len < 7 || len == 7":                                            n,
			"vfs_write len=%a2 if !(len == 7) && $comm == 'exe'":                                  0,
			"vfs_write%entry if %a2 == 7 && $comm == 'exe'":                                       n,
			"vfs_write%entry if %a2 == 7 && $comm != \"exe\"":                                     0,
			"vfs_write%entry if $comm ~ 'ex?' && %a2 & 4":                                         n,
			"vfs_write%entry if $comm ~ 'x*'":                                                     0,
			"vfs_write if %a2 == 7 && $latency > 100s":                                            0,
			"vfs_write if %a2 == 7 && $latency < 100s":                                            n,
			"vfs_write%return if $retval == 7":                                                    n,
			"vfs_write if %a2:s8 > -1 && %a2:u8 == 7 && $uid == 0 && $cpu < 4096 && $pid == $tid": n,
			"vfs_write if %a2 == 7 && +0(%a0):u32 < 0xffffffff":                                   n,
			"syscall:write if %a2 == 7 && $retval == 7":                                           n,
			"syscall:write%entry fd=%a0:s32 if %a2 == 7 && fd > 2":                                n,
		}},
		{[]string{"opens", "/dev/zero", "3"}, map[string]uint64{
			"syscall:openat path=%a1:ustring if path == '/dev/zero'":                                  3,
			"syscall:openat path=%a1:ustring if path ~ '/dev/*' && $retval >= 0":                      3,
			"do_sys_openat2%entry path=%a1:ustring if path ~ '*/de*v/*e*o'":                           3,
			"do_filp_open%entry path=+0(+0(%a1)):string if path == \"/dev/zero\"":                     3,
			"do_filp_open%entry path=+0(+0(%a1)):string if path != \"/dev/zero\" && path ~ '/dev/z*'": 0,
		}},
	} {
		s := open(t, Options{}, slices.Sorted(maps.Keys(c.cases))...)
		for text, got := range trace(t, s, c.work...) {
			if strings.Contains(text, "ustring") {
				got.Losses.Unread = 0 // a path that the process has not touched yet: not one of ours
			}
			if got.Stats.Count != c.cases[text] || got.Losses != (probes.Losses{}) {
				t.Errorf("%s: %d hits, want %d; losses %+v", text, got.Stats.Count, c.cases[text], got.Losses)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Memory that is not there makes a comparison false, and is counted.
func TestUnread(t *testing.T) {
	text := "vfs_write%entry if %a2 == 7 && +0(\\16):u8 == 0"
	s := open(t, Options{}, text)
	got := trace(t, s, "writes", "10")[text]
	if got.Stats.Count != 0 || got.Losses.Unread < 10 {
		t.Errorf("%d hits, %+v; want none, and 10 unread", got.Stats.Count, got.Losses)
	}
}

// Returned errors of system calls are counted.
func TestErrors(t *testing.T) {
	s := open(t, Options{}, "syscall:close")
	got := trace(t, s, "badcloses", "25")["syscall:close"]
	if got.Stats.Errors != 25 || got.Stats.Count < 25 {
		t.Errorf("%d errors in %d calls, want 25", got.Stats.Errors, got.Stats.Count)
	}
}

// A context stands with what is measured while it is set; the last one takes all above.
func TestContexts(t *testing.T) {
	const text = "vfs_write if %a2 == 7"
	s := open(t, Options{Contexts: 4}, text)
	s.Enable()
	if err := s.Follow(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	for c := range 6 {
		s.SetContext(uint32(c))
		if err := writes(c + 1); err != nil {
			t.Fatal(err)
		}
	}
	want := map[uint32]uint64{0: 1, 1: 2, 2: 3, 3: 4 + 5 + 6}
	for _, r := range s.Read(nil) {
		if r.Stats.Count != want[r.Context] || r.Losses != (probes.Losses{}) {
			t.Errorf("context %d: %d hits, want %d; losses %+v", r.Context, r.Stats.Count, want[r.Context], r.Losses)
		}
		delete(want, r.Context)
	}
	if len(want) > 0 {
		t.Errorf("no rows of contexts: %v", want)
	}
}

// What was measured stays readable behind Detach, and does not grow.
func TestDetach(t *testing.T) {
	s := open(t, Options{}, "vfs_write if %a2 == 7")
	s.Enable()
	if err := s.Follow(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	for _, f := range []func() error{func() error { return writes(10) }, s.Detach, func() error { return writes(10) }} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Read(nil)[0]; got.Stats.Count != 10 {
		t.Errorf("%d hits, want 10", got.Stats.Count)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := s.Read(nil); len(got) > 0 {
		t.Errorf("%d rows of a closed session", len(got))
	}
	s.SetContext(1)
	s.Enable()
}

// A call that is under way is active; one that its task ends in has ended.
func TestActiveAndEnded(t *testing.T) {
	s := open(t, Options{}, "pipe_read", "syscall:exit_group")
	s.Enable()
	server := startServer(t, false, "serve")
	if err := s.Follow(server.cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	server.round() // it reads again, or soon will
	for byText(s)["pipe_read"].Losses.Active == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the process does not read")
		}
	}
	server.in.Close() // the read returns nothing, and the process exits
	if err := server.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	got := byText(s)
	if l := got["pipe_read"].Losses; l != (probes.Losses{}) {
		t.Errorf("pipe_read, when all has returned: losses %+v", l)
	}
	if l := got["syscall:exit_group"].Losses; l != (probes.Losses{Ended: 1}) {
		t.Errorf("exit_group: losses %+v, want one call that ended", l)
	}
}

// A context that ends gives the opening up.
func TestOpenCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, spectest.Parse(t, "vfs_*"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
