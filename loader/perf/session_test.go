// SPDX-License-Identifier: Apache-2.0

package perf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/testprog"
	"github.com/trapline/trapline/loader/ebpf"
	"github.com/trapline/trapline/loader/internal/perfevent"
	"github.com/trapline/trapline/loader/internal/spectest"
	"github.com/trapline/trapline/probes"
)

// churning makes this program the one that TestFollowThreads follows.
const churning = "TRAPLINE_TEST_CHURN"

func TestMain(m *testing.M) {
	if os.Getenv(churning) != "" {
		churn()
		return
	}
	path, err := testprog.Build("hits")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	(&testprog.Hits{Path: path}).Remove()
	os.Exit(code)
}

func open(t *testing.T, opts Options, texts ...string) *Session {
	t.Helper()
	s, err := Open(t.Context(), spectest.Parse(t, texts...), &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// counts are the hits by label.
func counts(s interface {
	Rows([]probes.Row) []probes.Row
},
) map[string]uint64 {
	m := map[string]uint64{}
	for _, r := range s.Rows(nil) {
		m[r.Probe] += r.Stats.Count
	}
	return m
}

// run counts in a command, from its start to its end.
func run(t *testing.T, s *Session, cmd *exec.Cmd) map[string]uint64 {
	t.Helper()
	s.Enable()
	if err := s.Launch(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return counts(s)
}

func dd() *exec.Cmd {
	return exec.Command("dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=1000", "status=none")
}

// Every system call of a command is counted as eBPF counts it, but for the execve that starts it.
func TestLaunchAgreesWithEBPF(t *testing.T) {
	s := open(t, Options{Filter: true}, "syscall:*")
	ours := run(t, s, dd())
	if ours["syscall:write"] < 1000 || ours["syscall:read"] < 1000 {
		t.Errorf("%d writes and %d reads, expected 1000 or a few more", ours["syscall:write"], ours["syscall:read"])
	}
	other, err := ebpf.Open(t.Context(), spectest.Parse(t, "syscall:*%entry"), &ebpf.Options{Filter: true})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.Enable()
	cmd := dd()
	if err := other.Launch(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, r := range other.Read(nil) {
		want := r.Stats.Count
		if r.Probe.Name == "syscall:execve" {
			want--
		}
		if got, ok := ours[r.Probe.Name]; !ok || got != want {
			t.Errorf("%s: %d hits, eBPF counted %d", r.Probe.Name, got, r.Stats.Count)
		}
	}
	for _, w := range s.Warnings() {
		t.Errorf("warning: %v", w)
	}
}

// Tracepoints by every name, entries and returns, in what the command starts, too.
func TestKinds(t *testing.T) {
	s := open(t, Options{Filter: true}, "tracepoint:syscalls:sys_enter_write", "syscall:write", "syscall:write%return", "syscall:execve",
		"syscall:uname", "rawtp:sched_process_exec", "tracepoint:sched:sched_process_exe*")
	got := run(t, s, exec.Command("sh", "-c", "uname >/dev/null; uname >/dev/null; "+strings.Join(dd().Args, " ")+"; exit 0"))
	if n := got["syscall:write"]; n < 1002 || n != got["tracepoint:syscalls:sys_enter_write"] || n != got["syscall:write%return"] {
		t.Errorf("writes: %v", got)
	}
	for name, want := range map[string]uint64{
		"syscall:execve": 3, "rawtp:sched_process_exec": 3, "tracepoint:sched:sched_process_exec": 3,
		"syscall:uname": 2,
	} {
		if got[name] != want {
			t.Errorf("%s: %d hits, expected %d", name, got[name], want)
		}
	}
}

// What was counted stays when the probes are gone.
func TestUprobeFollow(t *testing.T) {
	h, err := testprog.StartHits(-1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	place := "uprobe:" + h.Path + ":work"
	s := open(t, Options{Filter: true}, place, place+"%return", "syscall:getppid")
	if err := s.Follow(h.Cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	do := func(what string, n int) {
		if _, err := h.Do("%s %d", what, n); err != nil {
			t.Fatal(err)
		}
	}
	do("getppid", 10)
	s.Enable()
	do("function", 500)
	do("getppid", 300)
	if err := s.Detach(); err != nil {
		t.Fatal(err)
	}
	do("getppid", 10)
	got := counts(s)
	if got[place] != 500 || got[place+"%return"] != 500 || got["syscall:getppid"] != 300 {
		t.Errorf("%v; expected 500 calls, 500 returns and 300 getppid", got)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, Options{Filter: true}, "syscall:getppid").Follow(h.Cmd.Process.Pid); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("follow a process that has ended: %v", err)
	}
}

// A uprobe must not be inherited: the kernel would refuse the fork of a task that has no right to place it.
func TestForksOfTheUnprivileged(t *testing.T) {
	libc := "uprobe:libc:malloc"
	s := open(t, Options{Filter: true}, libc, "syscall:execve")
	cmd := exec.Command("sh", "-c", "/bin/true && /bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	got := run(t, s, cmd) // fails if a fork does
	if got[libc] == 0 || got["syscall:execve"] != 2 {
		t.Errorf("%v; expected calls of malloc in the shell, and two of execve", got)
	}
	if len(s.Warnings()) != 1 {
		t.Errorf("warnings: %v; expected that tasks of the shell are not counted", s.Warnings())
	}
}

func TestAllTasks(t *testing.T) {
	h, err := testprog.StartHits(-1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	place := "uprobe:" + h.Path + ":work"
	s := open(t, Options{}, place, "syscall:getppid")
	s.Enable()
	for _, command := range []string{"function 500", "getppid 1000"} {
		if _, err := h.Do("%s", command); err != nil {
			t.Fatal(err)
		}
	}
	if got := counts(s); got[place] != 500 || got["syscall:getppid"] < 1000 {
		t.Errorf("%v; expected 500 calls and 1000 getppid or more", got)
	}
	if err := s.Follow(h.Cmd.Process.Pid); !errors.Is(err, errNoFilter) {
		t.Errorf("follow without a filter: %v", err)
	}
}

// Threads of a process that starts and ends them all the time are each found once.
func TestFollowThreads(t *testing.T) {
	for range 5 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), churning+"=1")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var ready, want, got uint64
		if _, err := fmt.Fscan(out, &ready); err != nil {
			t.Fatal(err)
		}
		s := open(t, Options{Filter: true}, "syscall:getppid")
		if err := s.Follow(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
		s.Enable()
		fmt.Fprintln(in, "go")
		if _, err := fmt.Fscan(out, &want); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if got = counts(s)["syscall:getppid"]; got != want {
			t.Errorf("%d hits, expected %d", got, want)
		}
		if len(s.Warnings()) > 0 {
			t.Errorf("warnings: %v", s.Warnings())
		}
	}
}

// churn starts threads that end soon, and others meanwhile. Once it is told to, each calls getppid ten times; how often they
// did is what it prints.
func churn() {
	var counting atomic.Bool
	var calls, started atomic.Uint64
	var all sync.WaitGroup
	live := make(chan struct{}, 20)
	go func() {
		bufio.NewReader(os.Stdin).ReadString('\n')
		counting.Store(true)
	}()
	for n := 0; n < 200; {
		live <- struct{}{}
		if counting.Load() {
			n++
		}
		all.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends
			if counting.Load() {
				for range 10 {
					unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
				}
				calls.Add(10)
			}
			if started.Add(1) == 50 {
				fmt.Println(1)
			}
			<-live
		})
	}
	all.Wait()
	fmt.Println(calls.Load())
}

// What counting can't do is refused, with the reason and what to use.
func TestRefused(t *testing.T) {
	why := fmt.Errorf("eBPF: no right: %w", unix.EPERM)
	for text, want := range map[string]string{
		"syscall:write%latency":       "latencies need eBPF",
		"syscall:write if %a2 == 1":   "predicates need eBPF",
		"syscall:write fd=%a0":        "arguments need eBPF",
		"fentry:vfs_read":             "fentry and fexit need eBPF",
		"tracepoint:sched:no_such":    "not found",
		"uprobe:/proc/self/exe:no_fn": "not found",
		"rawtp:no_such_tracepoint":    "not found",
	} {
		_, err := Open(t.Context(), spectest.Parse(t, text), &Options{Why: why})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(want, "eBPF") && !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: error %v, expected one with %q", text, err, want)
		}
	}
	if _, err := Open(t.Context(), spectest.Parse(t, "syscall:write%latency"), nil); !errors.Is(err, ErrNotSupported) {
		t.Errorf("latency of a backend that was asked for: %v", err)
	}
	s := open(t, Options{}, "syscall:write", "syscall:read%latency")
	if len(s.Warnings()) != 1 || len(s.Probes()) != 1 {
		t.Errorf("one of two can be had: %d probes, warnings %v", len(s.Probes()), s.Warnings())
	}
	if _, err := Open(t.Context(), spectest.Parse(t, "syscall:write", "syscall:read%latency"), &Options{Strict: true}); err == nil {
		t.Error("one of two can be had, which strictly is an error, but there was none")
	}
}

// A command that can't be started, or not be counted, leaves nothing running.
func TestLaunchFails(t *testing.T) {
	s := open(t, Options{Filter: true}, "syscall:write")
	if err := s.Launch(exec.Command("/no/such/program")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: %v", err)
	}
	s.Close()
	if err := s.Launch(dd()); !errors.Is(err, errOver) {
		t.Errorf("a closed session: %v", err)
	}
	if err := s.Follow(os.Getpid()); !errors.Is(err, errOver) {
		t.Errorf("a closed session: %v", err)
	}
}

// No descriptor is left open.
func TestLeaks(t *testing.T) {
	descriptors := func() []string {
		list, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		var events []string
		for _, fd := range list {
			if to, _ := os.Readlink(fd); strings.Contains(to, "perf_event") {
				events = append(events, to)
			}
		}
		return events
	}
	before := len(descriptors())
	s := open(t, Options{Filter: true}, "syscall:*", "uprobe:libc:malloc")
	cmd := dd()
	cmd.Stdout = io.Discard
	run(t, s, cmd)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	all, err := Open(t.Context(), spectest.Parse(t, "syscall:write"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := all.Close(); err != nil {
		t.Error(err)
	}
	if n := len(descriptors()) - before; n != 0 {
		t.Errorf("%d descriptors are left open", n)
	}
}

// Kernel functions are counted through kprobes, entries and returns, by address.
func TestKprobe(t *testing.T) {
	if _, err := perfevent.Kprobe(0, false); errors.Is(err, ErrNotSupported) {
		t.Skip("runs in a guest: ", err)
	}
	s := open(t, Options{Filter: true}, "vfs_read", "vfs_read%return", "syscall:read")
	got := run(t, s, dd())
	if n := got["syscall:read"]; n < 1000 || got["vfs_read"] < n || got["vfs_read"] != got["vfs_read%return"] {
		t.Errorf("%v; expected 1000 of each or a few more", got)
	}
	all := open(t, Options{}, "vfs_read")
	all.Enable()
	if err := dd().Run(); err != nil {
		t.Fatal(err)
	}
	if n := counts(all)["vfs_read"]; n < 1000 {
		t.Errorf("all tasks: %d hits, expected 1000 or more", n)
	}
}
