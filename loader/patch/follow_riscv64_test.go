// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/loader/internal/spectest"
	"github.com/trapline/trapline/probes"
)

const ours = "vfs_write if %a2 == 7"

// What a filtered process starts is traced: threads and processes; what others do is not.
func TestFilterFollows(t *testing.T) {
	s := open(t, Options{}, ours, "syscall:execve%entry", "begin_new_exec%entry")
	other := startServer(t, false, "serve") // works all the time
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := other.in.Write([]byte{'x'}); err != nil {
					return
				}
				if _, err := other.out.Read(make([]byte, 1)); err != nil {
					return
				}
			}
		}
	}()
	got := trace(t, s, "tree", "50")
	close(stop)
	<-done
	// A thread, then a process with a thread and a process.
	if n := got[ours].Stats.Count; n != 150 {
		t.Errorf("%d writes, want 150", n)
	}
	if n := got["begin_new_exec%entry"].Stats.Count; n != 3 {
		t.Errorf("%d programs began, want 3", n)
	}
	if l := got[ours].Losses; l != (probes.Losses{}) {
		t.Errorf("losses %+v", l)
	}
}

// Threads that run already, and those that they start, are traced from Follow on.
func TestFollow(t *testing.T) {
	s := open(t, Options{}, ours)
	s.Enable()
	server := startServer(t, false, "serve")
	server.round()
	if n := byText(s)[ours].Stats.Count; n != 0 {
		t.Errorf("%d writes before Follow", n)
	}
	if err := s.Follow(server.cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	server.round()
	if n := byText(s)[ours].Stats.Count; n != 6 {
		t.Errorf("%d writes, want 6", n)
	}
	server.kill()
	for _, pid := range []int{server.cmd.Process.Pid, 1 << 30} {
		if err := s.Follow(pid); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("Follow(%d), where there is no process: %v", pid, err)
		}
	}
	for _, pid := range []int{0, -1, 1 << 40} {
		if err := s.Follow(pid); err == nil {
			t.Errorf("Follow(%d): no error", pid)
		}
	}
}

// A command is traced from its execve on, and what else the launching process starts is not.
func TestLaunch(t *testing.T) {
	s := open(t, Options{}, ours, "syscall:execve%entry", "syscall:exit_group%entry", "kernel_clone")
	run(t, s, command("writes", "10"))
	if err := command("writes", "10").Run(); err != nil {
		t.Fatal(err)
	}
	if err := writes(10); err != nil {
		t.Fatal(err)
	}
	got := byText(s)
	for text, want := range map[string]uint64{ours: 10, "syscall:execve%entry": 1, "syscall:exit_group%entry": 1} {
		if got[text].Stats.Count != want {
			t.Errorf("%s: %d hits, want %d", text, got[text].Stats.Count, want)
		}
	}
	if err := s.Launch(exec.Command("/no/such/program")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a command that does not exist: %v", err)
	}
	unfiltered, err := Open(t.Context(), spectest.Parse(t, "vfs_write"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unfiltered.Close()
	if err := errors.Join(unfiltered.Follow(1), unfiltered.Launch(command("writes", "1"))); !errors.Is(err, errNoFilter) {
		t.Errorf("without a filter: %v", err)
	}
}

// Without a filter every task counts.
func TestUnfiltered(t *testing.T) {
	s, err := Open(t.Context(), spectest.Parse(t, ours), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Enable()
	if err := command("threads", "4", "25").Run(); err != nil {
		t.Fatal(err)
	}
	if err := writes(1); err != nil {
		t.Fatal(err)
	}
	if got := s.Read(nil)[0]; got.Stats.Count != 101 || got.Losses != (probes.Losses{}) {
		t.Errorf("%d writes, want 101; losses %+v", got.Stats.Count, got.Losses)
	}
}

// A loader that is killed leaves nothing: no probe, and none of the kernel's 64 filters.
func TestKilled(t *testing.T) {
	for range 4 {
		loader := startServer(t, true, "load", "20", "vfs_write")
		loader.kill()
	}
	for range 2 { // with probes that are hit at that moment
		loader := startServer(t, true, "load", "5", "vfs_read")
		busy := startServer(t, false, "serve")
		busy.round()
		loader.kill()
		busy.round()
	}
	s := open(t, Options{}, ours)
	if got := trace(t, s, "writes", "100")[ours]; got.Stats.Count != 100 || got.Probe.Method != MethodJump {
		t.Errorf("%d writes, want 100; by %v", got.Stats.Count, got.Probe.Method)
	}
	if got := byText(s)[ours]; got.Stats.Nested != 0 {
		t.Errorf("%d hits of other probes inside", got.Stats.Nested)
	}
}

// descriptors is what this process has open.
func openDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Nothing stays open, whatever a session came to.
func TestNoLeaks(t *testing.T) {
	before := openDescriptors(t)
	sessions := []struct {
		texts []string
		opts  Options
		fails bool
	}{
		{[]string{"vfs_write"}, Options{}, false},
		{[]string{"vfs_*"}, Options{Events: &EventOptions{Registers: true}}, false},
		{[]string{"vfs_write", "no_such_function_at_all"}, Options{Strict: true}, true},
		{[]string{"vfs_write", "vfs_write+0x2000"}, Options{Strict: true}, true},
		{[]string{"vfs_write"}, Options{Only: Method(9)}, true},
		{[]string{"vfs_write x=%a0"}, Options{Contexts: 1 << 20}, true},
	}
	for range 3 {
		for _, c := range sessions {
			s, err := Open(t.Context(), spectest.Parse(t, c.texts...), &c.opts)
			if (err != nil) != c.fails {
				t.Errorf("%q: %v", c.texts, err)
			}
			if err == nil {
				s.Enable()
				err = errors.Join(s.Close(), s.Close())
				if err != nil {
					t.Error(err)
				}
			}
		}
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// Thousands of probes need more descriptors than a process has.
func TestManyDescriptors(t *testing.T) {
	var old unix.Rlimit
	if err := prlimit(nil, &old); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: uint64(openDescriptors(t) + 8), Max: old.Max}
	if err := prlimit(&few, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := prlimit(&old, nil); err != nil {
			t.Error(err)
		}
	})
	s, err := Open(t.Context(), spectest.Parse(t, "vfs_*"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := len(s.Probes()); n < 30 || len(s.Warnings()) > 10 {
		t.Errorf("%s probes, %d warnings", strconv.Itoa(n), len(s.Warnings()))
	}
}
