// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/testprog"
)

// start runs a program that sleeps, and waits until it does so in its system call.
func start(t testing.TB, seconds int) *exec.Cmd {
	t.Helper()
	path, err := testprog.Build("nap")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, strconv.Itoa(seconds))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if f := strings.Fields(string(b)); len(f) > 2 && (f[0] == fmt.Sprint(unix.SYS_CLOCK_NANOSLEEP) || f[0] == fmt.Sprint(unix.SYS_NANOSLEEP)) {
			return cmd
		}
		runtime.Gosched()
	}
}

// nap is how long targets sleep: long enough that an engine on a busy machine comes before the end (a task that has
// ended and was not waited for can't be seized: EPERM).
const nap = 3 * time.Second

// sleptWell waits for a sleep of a nap and checks that it was not cut short.
func sleptWell(t *testing.T, cmd *exec.Cmd, began time.Time) {
	t.Helper()
	if err := cmd.Wait(); err != nil {
		t.Errorf("sleep: %v", err)
	}
	if d := time.Since(began); d < nap {
		t.Errorf("sleep %v took %v", nap, d)
	}
}

func readMaps(t testing.TB, pid int) (all string, r []Range, vdso Range) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(strings.NewReader(string(b)))
	for sc.Scan() {
		var m Range
		if _, err := fmt.Sscanf(sc.Text(), "%x-%x", &m.Start, &m.End); err != nil {
			t.Fatal(err)
		}
		r = append(r, m)
		if strings.HasSuffix(sc.Text(), "[vdso]") {
			vdso = m
		}
	}
	return string(b), r, vdso
}

func statusMask(t testing.TB, pid int, key string) uint64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(l, key+":") {
			v, err := strconv.ParseUint(strings.TrimSpace(l[len(key)+1:]), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatal(key)
	return 0
}

func seizeStopped(t testing.TB, pid int, opts uintptr) *Tracee {
	t.Helper()
	tr, err := Seize(pid, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Interrupt(); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Poll(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return tr
}

func infectPid(t testing.TB, pid int) (*Session, *Tracee) {
	t.Helper()
	tr := seizeStopped(t, pid, 0)
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mem.Close() })
	_, maps, vdso := readMaps(t, pid)
	s, err := Infect(Target{
		Leader: tr, Mem: mem, VPid: pid, VTid: pid, VDSO: vdso, Mapped: maps,
		SigCaught: statusMask(t, pid, "SigCgt"), SigIgnored: statusMask(t, pid, "SigIgn"),
		Seccomp: int(statusMask(t, pid, "Seccomp")),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, tr
}

func TestBatch(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := time.Now()
	cmd := start(t, int(nap.Seconds()))
	pid := cmd.Process.Pid
	before, _, _ := readMaps(t, pid)
	s, tr := infectPid(t, pid)
	b := s.NewBatch()
	p := b.Call(unix.SYS_GETPID)
	old := b.Space(32)
	a := b.Call(unix.SYS_RT_SIGACTION, uint64(unix.SIGPIPE), 0, old, 8)
	bad := b.Call(unix.SYS_CLOSE, 999)
	// a result that is a later call's argument
	i := b.Call(unix.SYS_GETPID)
	k := b.Call(unix.SYS_GETPGID, 0)
	b.Into(i, k, 0)
	if err := s.Run(b); err != nil {
		t.Fatal(err)
	}
	if v, err := b.Result(p); err != nil || int(v) != pid {
		t.Errorf("getpid: %d, %v; want %d", v, err, pid)
	}
	if _, err := b.Result(a); err != nil {
		t.Errorf("rt_sigaction: %v", err)
	}
	if _, err := b.Result(bad); err != unix.EBADF {
		t.Errorf("close(999): %v; want EBADF", err)
	}
	if v, err := b.Result(k); err != nil || int(v) != unix.Getpgrp() {
		t.Errorf("getpgid: %d, %v; want %d", v, err, unix.Getpgrp())
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	pass, err := s.Open(pidfd)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := pass.Send([]int{int(f.Fd())})
	if err != nil {
		t.Fatal(err)
	}
	w := s.NewBatch()
	wi := w.Call(unix.SYS_WRITE, uint64(n[0]), w.String("hello from inside"), 17)
	if err := s.Run(w); err != nil {
		t.Fatal(err)
	}
	if v, err := w.Result(wi); v != 17 {
		t.Errorf("write: %d, %v", v, err)
	}
	if err := pass.Close(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(f.Name()); string(got) != "hello from inside" {
		t.Errorf("the target wrote %q", got)
	}
	if err := s.Cure(); err != nil {
		t.Fatal(err)
	}
	if err := tr.Detach(0); err != nil {
		t.Fatal(err)
	}
	after, _, _ := readMaps(t, pid)
	if before != after {
		t.Errorf("maps before:\n%s\nafter:\n%s", before, after)
	}
	sleptWell(t, cmd, began)
}

// TestEngineDies lets a second process of this test binary be the engine and end in the middle.
func TestEngineDies(t *testing.T) {
	if at := os.Getenv("INJECT_DIE_AT"); at != "" {
		dieAt(t, at)
		return
	}
	t.Parallel()
	for _, at := range []string{"stopped", "infected", "socket", "passed", "batch"} {
		t.Run(at, func(t *testing.T) {
			cmd := start(t, 86400) // longer than any machine takes for this
			pid := cmd.Process.Pid
			before, _, _ := readMaps(t, pid)
			fdsBefore, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			if err != nil {
				t.Fatal(err)
			}
			engine := exec.Command(os.Args[0], "-test.run=^TestEngineDies$")
			engine.Env = append(os.Environ(), "INJECT_DIE_AT="+at, fmt.Sprint("INJECT_PID=", pid))
			out, _ := engine.CombinedOutput()
			if ws := engine.ProcessState.Sys().(interface{ Signal() unix.Signal }); ws.Signal() != unix.SIGKILL {
				t.Fatalf("engine: %v\n%s", engine.ProcessState, out)
			}
			// the way back takes the target some microseconds: its end is when it is back in its own call
			for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
				b, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
				if err != nil {
					t.Fatalf("the target is gone: %v", err)
				}
				if nr, _, _ := strings.Cut(string(b), " "); nr == fmt.Sprint(unix.SYS_RESTART_SYSCALL) || nr == fmt.Sprint(unix.SYS_CLOCK_NANOSLEEP) {
					break
				}
				if time.Now().After(deadline) { // that of a zombie can be read, too
					stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
					t.Fatalf("the target does not come back to its call: %s%s", b, stat)
				}
			}
			after, _, _ := readMaps(t, pid)
			if before != after {
				t.Errorf("maps before:\n%s\nafter:\n%s", before, after)
			}
			fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			if err != nil || fmt.Sprint(fds) != fmt.Sprint(fdsBefore) {
				t.Errorf("descriptors: %v, %v; want %v", fds, err, fdsBefore)
			}
			if m := statusMask(t, pid, "SigBlk"); m != 0 {
				t.Errorf("signal mask is %#x; want 0", m)
			}
			// it can still be woken, and ends by its own default action
			if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
			if ws := cmd.ProcessState.Sys().(interface{ Signal() unix.Signal }); ws.Signal() != unix.SIGTERM {
				t.Errorf("target: %v; want the end by SIGTERM", cmd.ProcessState)
			}
		})
	}
}

func dieAt(t *testing.T, at string) {
	runtime.LockOSThread()
	pid, _ := strconv.Atoi(os.Getenv("INJECT_PID"))
	die := func() { _ = unix.Kill(os.Getpid(), unix.SIGKILL); select {} }
	if at == "stopped" {
		seizeStopped(t, pid, 0)
		die()
	}
	s, _ := infectPid(t, pid)
	if at == "infected" {
		die()
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	pass, err := s.Open(pidfd)
	if err != nil {
		t.Fatal(err)
	}
	if at == "socket" {
		die()
	}
	if _, err := pass.Send([]int{0, 1}); err != nil {
		t.Fatal(err)
	}
	if at == "passed" {
		die()
	}
	b := s.NewBatch()
	for i := 0; i < 50; i++ {
		b.Call(unix.SYS_GETPID)
	}
	if at == "batch" {
		// started, but never waited for
		all := b.entries
		var e [EntrySize]byte
		putEntry(e[:], unix.SYS_TGKILL, b.EntryAddr(50), uint64(pid), uint64(pid), uint64(s.sig))
		all = append(all, e[:]...)
		for i, u := range s.unwind {
			putEntry(e[:], uint64(u.nr), b.EntryAddr(51+i), u.args[:]...)
			all = append(all, e[:]...)
		}
		putEntry(e[:], ^uint64(0), 0)
		if err := s.WriteMem(s.Area, append(all, e[:]...)); err != nil {
			t.Fatal(err)
		}
		if err := s.start(s.T, &s.orig, s.Area); err != nil {
			t.Fatal(err)
		}
		die()
	}
	die()
}
