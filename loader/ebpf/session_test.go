// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/loader/internal/spectest"
	"github.com/trapline/trapline/probes"
)

// open opens a session of one command's tasks, closed with the test.
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

// trace runs a command to its end and gives what was measured, by the probe's expression.
func trace(t *testing.T, s *Session, args ...string) map[string]Reading {
	t.Helper()
	s.Enable()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	if err := s.Launch(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
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

// needKernelFunctions skips a test that probes kernel functions where the kernel has no means to. It then runs in a guest.
func needKernelFunctions(t *testing.T) {
	t.Helper()
	for _, f := range Features() {
		if f.Name == "kprobe" {
			if err := f.Test(); err != nil {
				t.Skip("runs in a guest: ", err)
			}
		}
	}
}

// bytesOneByOne copies n bytes, each by a read and a write of its own.
func bytesOneByOne(n string) []string {
	return []string{"dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=" + n, "status=none"}
}

func TestPredicates(t *testing.T) {
	cases := map[string]uint64{
		"syscall:write len=%a2:u64 if len == 1":                                    1000,
		"syscall:write len=%a2:u64 if len == 1 && $retval == 1":                    1000,
		"syscall:write if %a2 == 1 && $retval < 0":                                 0,
		"syscall:write len=%a2 if len < 2 && len > 0":                              1000,
		"syscall:write len=%a2 if len < 1 || len == 1":                             1000,
		"syscall:write len=%a2 if !(len == 1)":                                     0,
		"syscall:write%entry if %a2 == 1 && $comm == 'dd'":                         1000,
		"syscall:write%entry if %a2 == 1 && $comm != \"dd\"":                       0,
		"syscall:write%entry if $comm ~ 'd?' && %a2 & 1":                           1000,
		"syscall:write%entry if $comm ~ 'x*'":                                      0,
		"syscall:write if %a2 == 1 && $latency > 10s":                              0,
		"syscall:write if %a2 == 1 && $latency < 10s":                              1000,
		"syscall:write%return if $retval == 1":                                     1000,
		"syscall:openat path=%a1:ustring if path == '/dev/zero'":                   1,
		"syscall:openat path=%a1:ustring if path ~ '/dev/*' && $retval >= 0":       2,
		"syscall:openat%entry path=%a1:ustring if path ~ '*/de*v/*e*o'":            1,
		"tracepoint:syscalls:sys_enter_write if $count == 1":                       1000,
		"tracepoint:sched:sched_process_exec if $filename ~ '*/dd'":                1,
		"tracepoint:sched:sched_process_exec if $filename ~ '*/de'":                0,
		"rawtp:sys_enter if %a1 == " + writeNumber() + " && $comm == 'dd'":         1000,
		"syscall:exit_group%entry code=%a0:s32 if code == 0 && $pid == $tid":       1,
		"syscall:exit_group%entry code=%a0:s32 if code < 0":                        0,
		"syscall:read fd=%a0 size=%a2 if fd == 0 && size == 1 && $cpu < 4096":      1000,
		"syscall:read fd=$fd size=$count:u64 if size == 1 && $uid == 0 && $fd < 1": 1000,
	}
	// One session takes four probes of a kind at one system call.
	var sessions [][]string
	taken := map[string]int{}
	for text := range cases {
		if strings.Contains(text, "filename") && !kernelReadable() {
			continue
		}
		place, _, _ := strings.Cut(text, " ")
		n := taken[place] / 4
		taken[place]++
		if n == len(sessions) {
			sessions = append(sessions, nil)
		}
		sessions[n] = append(sessions[n], text)
	}
	for _, texts := range sessions {
		s := open(t, Options{}, texts...)
		for text, got := range trace(t, s, bytesOneByOne("1000")...) {
			if want := cases[text]; got.Stats.Count != want {
				t.Errorf("%s: %d hits, want %d (%+v)", text, got.Stats.Count, want, got.Losses)
			}
			if strings.Contains(text, "ustring") {
				got.Losses.Unread = 0 // a path that the process has not touched yet: not one of ours
			}
			if got.Losses != (probes.Losses{}) {
				t.Errorf("%s: losses %+v", text, got.Losses)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func writeNumber() string {
	if place.SyscallNumber("write") == 64 {
		return "64"
	}
	return "1"
}

// What a filtered process starts is traced, whatever it does to start it; what others do is not.
func TestFilterFollows(t *testing.T) {
	s := open(t, Options{}, "syscall:write%entry if %a2 == 1", "tracepoint:sched:sched_process_exec")
	other := exec.Command("dd", "if=/dev/zero", "of=/dev/null", "bs=1", "status=none") // without an end
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	script := `dd if=/dev/zero of=/dev/null bs=1 count=100 status=none &
		( ( exec dd if=/dev/zero of=/dev/null bs=1 count=10 status=none ) )
		dd if=/dev/zero bs=1 count=1 status=none | dd of=/dev/null bs=1 status=none
		wait`
	got := trace(t, s, "sh", "-c", script)
	if n := got["syscall:write%entry if %a2 == 1"].Stats.Count; n != 112 {
		t.Errorf("%d writes, want 112", n)
	}
	if n := got["tracepoint:sched:sched_process_exec"].Stats.Count; n != 5 {
		t.Errorf("%d programs, want 5: sh and dd four times", n)
	}
}

// A process that runs already is traced with all its threads, from Follow on.
func TestFollow(t *testing.T) {
	s := open(t, Options{}, "syscall:write%entry if %a2 == 1")
	s.Enable()
	cmd := exec.Command("python3", "-c", `
import os, sys, threading
def work(r, w):
    while os.read(r, 1):
        os.write(null, b"x")
        os.write(w, b"ok")
null = os.open("/dev/null", os.O_WRONLY)
pipes = [(os.pipe(), os.pipe()) for i in range(3)]
for (r, _), (_, w) in pipes:
    threading.Thread(target=work, args=(r, w), daemon=True).start()
sys.stdout.write("ready\n"); sys.stdout.flush()
for line in sys.stdin:
    for (_, w), (r, _) in pipes:
        os.write(w, b"go"[:2]); os.read(r, 2); os.read(r, 2)
    sys.stdout.write("done\n"); sys.stdout.flush()
`)
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
	defer cmd.Wait()
	defer cmd.Process.Kill()
	round := func(line string) {
		t.Helper()
		if line != "" {
			if _, err := in.Write([]byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := out.Read(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
	}
	round("")
	round("a\n")
	if n := s.Read(nil)[0].Stats.Count; n != 0 {
		t.Errorf("%d writes before Follow", n)
	}
	if err := s.Follow(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	round("b\n")
	// Three threads, two tokens each, one byte to /dev/null for each token.
	if n := s.Read(nil)[0].Stats.Count; n != 6 {
		t.Errorf("%d writes of one byte, want 6", n)
	}
	if err := s.Follow(1 << 30); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Follow of a process that is not there: %v", err)
	}
}

// In a PID namespace, where ids mean something else than to the kernel's programs, commands and processes are followed too.
func TestPIDNamespace(t *testing.T) {
	if os.Getenv("TRAPLINE_TEST_INSIDE") == "" {
		cmd := exec.Command("unshare", "--pid", "--fork", "--mount-proc", os.Args[0], "-test.run", "^TestPIDNamespace$", "-test.v")
		cmd.Env = append(os.Environ(), "TRAPLINE_TEST_INSIDE=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestPIDNamespace") {
			t.Fatalf("in a PID namespace: %v\n%s", err, out)
		}
		return
	}
	text := "syscall:write%entry if %a2 == 1"
	s := open(t, Options{}, text)
	if n := trace(t, s, bytesOneByOne("100")...)[text].Stats.Count; n != 100 {
		t.Errorf("command: %d writes, want 100", n)
	}
	cmd := exec.Command("sh", "-c", "read x; exec dd if=/dev/zero of=/dev/null bs=1 count=50 status=none")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.Follow(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("x\n")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := byText(s)[text].Stats.Count; n != 150 {
		t.Errorf("process: %d writes, want 50 more than 100", n)
	}
}

// Every row carries the context in which its calls began.
func TestContexts(t *testing.T) {
	text := "syscall:write%latency if %a2 == 1"
	s := open(t, Options{Contexts: 4}, text)
	for c, n := range map[uint32]string{0: "5", 1: "10", 2: "20", 3: "40", 9: "2"} {
		s.SetContext(c)
		trace(t, s, bytesOneByOne(n)...)
	}
	got := map[uint32]uint64{}
	for _, r := range s.Read(nil) {
		got[r.Context] = r.Stats.Count
	}
	// The last context takes what is above.
	if want := map[uint32]uint64{0: 5, 1: 10, 2: 20, 3: 42}; !equal(got, want) {
		t.Errorf("hits by context %v, want %v", got, want)
	}
}

func equal(a, b map[uint32]uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// A call that sleeps takes wall time and no time on CPU.
func TestCPUTime(t *testing.T) {
	s := open(t, Options{CPUTime: true}, "syscall:clock_nanosleep", "syscall:read if %a2 == 4194304")
	got := trace(t, s, "sh", "-c", "sleep 0.2; dd if=/dev/urandom of=/dev/null bs=4M count=1 status=none")
	sleep := got["syscall:clock_nanosleep"].Stats
	if sleep.Count != 1 || sleep.Min < 200e6 || sleep.CPU > sleep.Total/4 {
		t.Errorf("sleep: %d calls, %d ns, %d on CPU; want 1, 200 ms, next to nothing", sleep.Count, sleep.Total, sleep.CPU)
	}
	read := got["syscall:read if %a2 == 4194304"].Stats
	if read.Count != 1 || read.CPU > read.Total || read.CPU < read.Total/20 {
		t.Errorf("read: %d calls, %d ns, %d on CPU; want 1, most of it on CPU", read.Count, read.Total, read.CPU)
	}
}

// Calls that began before the probe are told apart from calls that were missed.
func TestUnpaired(t *testing.T) {
	cmd := exec.Command("cat")
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
	defer cmd.Wait()
	defer in.Close()
	echo := func() {
		t.Helper()
		if _, err := in.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	echo() // cat is up; when the byte is back it reads again, or is about to
	waitBlocked(t, cmd.Process.Pid)
	s := open(t, Options{}, "syscall:read")
	s.Enable()
	if err := s.Follow(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	echo()
	waitBlocked(t, cmd.Process.Pid)
	r := s.Read(nil)[0]
	if want := (probes.Losses{Unpaired: 1, Active: 1}); r.Losses != want || r.Stats.Count != 0 {
		t.Errorf("%d calls, %+v; want none, %+v: one began before, one has not returned", r.Stats.Count, r.Losses, want)
	}
}

// A call that its task never comes back from is not under way for ever.
func TestEnded(t *testing.T) {
	s := open(t, Options{}, "syscall:exit_group", "syscall:wait4")
	got := trace(t, s, "sh", "-c", "(exit 3); (exit 4); exit 0")
	if n := got["syscall:exit_group"]; n.Losses != (probes.Losses{Ended: 3}) || n.Stats.Count != 0 {
		t.Errorf("exit_group: %d calls, %+v; want none and 3 ended", n.Stats.Count, n.Losses)
	}
	if n := got["syscall:wait4"]; n.Losses != (probes.Losses{}) || n.Stats.Count < 2 {
		t.Errorf("wait4: %d calls, %+v; want 2 and no losses", n.Stats.Count, n.Losses)
	}
}

// waitBlocked waits until a process is in a system call and sleeps.
func waitBlocked(t *testing.T, pid int) {
	t.Helper()
	for t.Context().Err() == nil {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/syscall")
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(text), "0 0x0 ") {
			return
		}
	}
}
