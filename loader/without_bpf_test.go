// SPDX-License-Identifier: Apache-2.0

//go:build linux

package loader

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/loader/internal/spectest"
	"github.com/trapline/trapline/loader/perf"
)

// withoutBPF is set where TestWithoutBPF has started this program anew, with fewer rights.
const withoutBPF = "TRAPLINE_TEST_WITHOUT_BPF"

// Without CAP_BPF, what perf events can count is counted, and a warning says what is lost. Without CAP_PERFMON too, the error
// says both.
func TestWithoutBPF(t *testing.T) {
	switch os.Getenv(withoutBPF) {
	case "counts":
		countWithoutBPF(t)
		return
	case "nothing":
		nothingWithoutPerf(t)
		return
	}
	allowPerfmon(t)
	for _, c := range []struct {
		name string
		drop []uintptr
	}{
		{"counts", []uintptr{unix.CAP_BPF, unix.CAP_SYS_ADMIN}},
		{"nothing", []uintptr{unix.CAP_BPF, unix.CAP_SYS_ADMIN, unix.CAP_PERFMON}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestWithoutBPF$", "-test.v")
			cmd.Env = append(os.Environ(), withoutBPF+"="+c.name)
			out, err := runWithout(cmd, c.drop)
			if err != nil || !strings.Contains(out, "PASS") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// allowPerfmon sets kernel.perf_event_paranoid to a level at which CAP_PERFMON is of use: Debian's is 3, which only
// CAP_SYS_ADMIN passes.
func allowPerfmon(t *testing.T) {
	const path = "/proc/sys/kernel/perf_event_paranoid"
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if level, err := strconv.Atoi(strings.TrimSpace(string(old))); err != nil || level <= 2 {
		return
	}
	if err := os.WriteFile(path, []byte("2"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(path, old, 0) })
}

// runWithout runs a command that lacks capabilities, and sees tracefs where it is looked for: it could not mount it.
func runWithout(cmd *exec.Cmd, drop []uintptr) (out string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread ends with this goroutine, which never unlocks it, and with it what it has lost and mounted.
		runtime.LockOSThread()
		if err = unix.Unshare(unix.CLONE_NEWNS); err != nil {
			err = fmt.Errorf("unshare: %w", err)
			return
		}
		if err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			err = fmt.Errorf("make mounts private: %w", err)
			return
		}
		if err = unix.Mount("none", "/sys/kernel/tracing", "tracefs", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			err = fmt.Errorf("mount tracefs: %w", err)
			return
		}
		for _, capability := range drop {
			if err = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
				err = fmt.Errorf("drop capability %d: %w", capability, err)
				return
			}
		}
		var b []byte
		b, err = cmd.CombinedOutput()
		out = string(b)
	}()
	<-done
	return out, err
}

func countWithoutBPF(t *testing.T) {
	s, err := Open(t.Context(), spectest.Parse(t, "syscall:write", "tracepoint:syscalls:sys_enter_write", "syscall:read%latency"), &Options{Filter: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var warnings strings.Builder
	for _, w := range s.Warnings() {
		fmt.Fprintln(&warnings, w)
	}
	for _, want := range []string{"through perf events, without latencies", "syscall:read%latency: latencies need eBPF", "CAP_BPF"} {
		if !strings.Contains(warnings.String(), want) {
			t.Errorf("no warning has %q:\n%s", want, warnings.String())
		}
	}
	s.Enable()
	cmd := exec.Command("dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=1000", "status=none")
	if err := s.Launch(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	rows := s.Rows(nil)
	if len(rows) != 2 {
		t.Fatalf("%d rows, expected 2", len(rows))
	}
	for _, r := range rows {
		// It writes nothing else, quiet as it is.
		if r.Stats.Count != 1000 || r.Mechanism != "perf:tracepoint" || r.HasLatency {
			t.Errorf("%s: %d hits by %s, expected 1000 by perf:tracepoint", r.Probe, r.Stats.Count, r.Mechanism)
		}
	}
	if _, err := Open(t.Context(), spectest.Parse(t, "syscall:write"), &Options{Events: &EventOptions{}}); err == nil || !strings.Contains(err.Error(), "single events need eBPF") {
		t.Errorf("events: error %v", err)
	}
	if _, err := Open(t.Context(), spectest.Parse(t, "syscall:write"), &Options{Backend: "ebpf"}); !errors.Is(err, unix.EPERM) {
		t.Errorf("backend ebpf: error %v", err)
	}
	places, err := Explain(t.Context(), spectest.Parse(t, "syscall:write")[0])
	if err != nil || len(places) != 1 || len(places[0].Ways) != 2 || places[0].Ways[0].Err != nil || places[0].Ways[1].Err == nil {
		t.Errorf("explain: %+v, error %v; expected an entry that can be had, and a latency that can't", places, err)
	}
}

func nothingWithoutPerf(t *testing.T) {
	if perf.Usable() == nil {
		t.Fatal("perf events can be used, though kernel.perf_event_paranoid should forbid it; is it below 2?")
	}
	_, err := Open(t.Context(), spectest.Parse(t, "syscall:write"), nil)
	if !errors.Is(err, unix.EPERM) {
		t.Fatalf("error %v, expected EPERM", err)
	}
	for _, want := range []string{"CAP_BPF", "CAP_PERFMON", "perf_event_paranoid"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
}
