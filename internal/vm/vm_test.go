// SPDX-License-Identifier: Apache-2.0

package vm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trapline/trapline/internal/vm"
)

// seriesHere are the kernels that a run of the tests boots.
func seriesHere() []string {
	if testing.Short() {
		return vm.DebianSeries()[:1]
	}
	return vm.DebianSeries()
}

// start boots a guest that ends with the test, at the latest.
func start(t *testing.T, series string, config vm.Config) *vm.Guest {
	t.Helper()
	kernel, err := vm.Debian(t.Context(), series)
	if err != nil {
		t.Fatal(err)
	}
	config.Kernel = kernel
	guest, err := vm.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guest.Close() })
	return guest
}

// shell runs a shell script in the guest and returns its output.
func shell(t *testing.T, guest *vm.Guest, script string) string {
	t.Helper()
	var out bytes.Buffer
	if err := guest.Run(t.Context(), vm.Command{Args: []string{"sh", "-c", script}, Stdout: &out, Stderr: &out}); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out.String())
	}
	return strings.TrimRight(out.String(), "\n")
}

func TestGuest(t *testing.T) {
	for _, series := range seriesHere() {
		t.Run(series, func(t *testing.T) {
			shared, private := t.TempDir(), t.TempDir()
			if err := os.WriteFile(filepath.Join(private, "here"), []byte("from the host"), 0o600); err != nil {
				t.Fatal(err)
			}
			guest := start(t, series, vm.Config{
				Shared: []string{shared}, Files: map[string]string{"/srv/seen/at": filepath.Join(private, "here")},
				Env: []string{"FOR_ALL=1"},
			})
			t.Run("system", func(t *testing.T) { testSystem(t, guest, series) })
			t.Run("files", func(t *testing.T) { testFiles(t, guest, shared, private) })
			t.Run("streams", func(t *testing.T) { testStreams(t, guest) })
			t.Run("ends", func(t *testing.T) { testEnds(t, guest) })
			t.Run("at once", func(t *testing.T) { testAtOnce(t, guest) })
			t.Run("terminal", func(t *testing.T) { testTerminal(t, guest) })
			t.Run("probes", func(t *testing.T) { testProbes(t, guest) })
			if err := guest.Close(); err != nil {
				t.Error(err)
			}
			noneLeft(t)
			err := guest.Run(t.Context(), vm.Command{Args: []string{"true"}})
			if !errors.Is(err, vm.ErrEnded) {
				t.Errorf("a command after Close: %v, want ErrEnded", err)
			}
		})
	}
}

// testSystem: what a test may expect of a guest.
func testSystem(t *testing.T, guest *vm.Guest, series string) {
	for script, want := range map[string]string{
		"uname -r":                        guest.Kernel().Release,
		"echo $TRAPLINE_GUEST $FOR_ALL":   series + " 1",
		"id -u":                           "0",
		"nproc":                           "2",
		"stat -fc %T /sys/fs/bpf":         "bpf_fs",
		"stat -fc %T /sys/kernel/tracing": "tracefs",
		"stat -fc %T /sys/kernel/debug":   "debugfs",
		"stat -fc %T /sys/fs/cgroup":      "cgroup2fs",
		"stat -fc %T /run /dev/shm":       "tmpfs\ntmpfs",
		"cat /sys/class/net/lo/flags":     "0x9", // up, loopback
		"ls /sys/kernel/btf/vmlinux":      "/sys/kernel/btf/vmlinux",
		"ls -d /lib/modules/$(uname -r)":  "/lib/modules/" + guest.Kernel().Release,
		"ls /boot/config-$(uname -r)":     "/boot/config-" + guest.Kernel().Release,
	} {
		if got := shell(t, guest, script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
	// Process 1 reaps what is orphaned. The script ends when the orphan is gone from /proc.
	shell(t, guest, `p=$(sh -c 'sleep 0.1 >/dev/null & echo $!'); while [ -e /proc/$p ]; do sleep 0.05; done`)
}

// testFiles: the guest sees the host's files, and only what it writes into a shared directory comes back.
func testFiles(t *testing.T, guest *vm.Guest, shared, private string) {
	if got := shell(t, guest, "cat /srv/seen/at; cat "+private+"/here"); got != "from the hostfrom the host" {
		t.Errorf("the host's file reads %q", got)
	}
	shell(t, guest, "echo guest >"+private+"/here; echo new >"+private+"/new; rm -r /usr/share/common-licenses; ls "+private)
	if text, err := os.ReadFile(filepath.Join(private, "here")); string(text) != "from the host" {
		t.Errorf("the guest changed a file of the host to %q (%v)", text, err)
	}
	if _, err := os.Stat(filepath.Join(private, "new")); err == nil {
		t.Error("the guest made a file on the host, in a directory that is not shared")
	}
	if err := os.WriteFile(filepath.Join(shared, "in"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := shell(t, guest, "cat "+shared+"/in; echo back >"+shared+"/out"); got != "1" {
		t.Errorf("the shared file reads %q", got)
	}
	if text, err := os.ReadFile(filepath.Join(shared, "out")); string(text) != "back\n" {
		t.Errorf("the guest's shared file reads %q (%v)", text, err)
	}
}

func testStreams(t *testing.T, guest *vm.Guest) {
	var stdout, stderr bytes.Buffer
	err := guest.Run(t.Context(), vm.Command{
		Args: []string{"sh", "-c", `cat; pwd; echo "$V" >&2`}, Env: []string{"V=an error", "FOR_ALL=2"}, Dir: "/usr/lib",
		Stdin: strings.NewReader(strings.Repeat("0123456789abcde\n", 100_000)), Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := 1_600_000 + len("/usr/lib\n"); stdout.Len() != want || !strings.HasSuffix(stdout.String(), "e\n/usr/lib\n") {
		t.Errorf("%d bytes of standard output, want %d", stdout.Len(), want)
	}
	if stderr.String() != "an error\n" {
		t.Errorf("standard error: %q", stderr.String())
	}
	if got := shell(t, guest, "for i in 1 2 3; do echo o$i; echo e$i >&2; done"); got != "o1\ne1\no2\ne2\no3\ne3" {
		t.Errorf("both streams in one: %q", got)
	}
	if strings.Contains(guest.Console(), "o1") {
		t.Error("a command's output is on the console")
	}
}

// testEnds: how commands end is told.
func testEnds(t *testing.T, guest *vm.Guest) {
	end := func(ctx context.Context, script string) error {
		return guest.Run(ctx, vm.Command{Args: []string{"sh", "-c", script}})
	}
	if exit, ok := errors.AsType[*vm.ExitError](end(t.Context(), "exit 7")); !ok || exit.Code != 7 || exit.Signal != 0 {
		t.Errorf("exit 7: %+v", exit)
	}
	if exit, ok := errors.AsType[*vm.ExitError](end(t.Context(), "kill -TERM $$")); !ok || exit.Code != -1 || exit.Signal != syscall.SIGTERM {
		t.Errorf("killed: %+v", exit)
	}
	err := guest.Run(t.Context(), vm.Command{Args: []string{"no-such-program"}})
	if _, ran := errors.AsType[*vm.ExitError](err); ran || err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("a program that does not exist: %v", err)
	}
	// A background process that keeps the output open does not hold up the end.
	if err := end(t.Context(), "sleep 1000 & exit 0"); err != nil {
		t.Error(err)
	}
	// A command that outlives its time is killed with its children, and the guest goes on.
	limited, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := end(limited, "sleep 12345; echo not reached"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("timeout: %v", err)
	}
	shell(t, guest, "! pgrep -f '^sleep 12345$'")
	signals := make(chan syscall.Signal, 1)
	var out bytes.Buffer
	err = guest.Run(t.Context(), vm.Command{
		Args:    []string{"sh", "-c", `trap 'exit 9' INT; echo ready; while :; do sleep 0.1; done`},
		Stdout:  writer(func(b []byte) { out.Write(b); signals <- syscall.SIGINT }),
		Signals: signals,
	})
	if exit, ok := errors.AsType[*vm.ExitError](err); !ok || exit.Code != 9 {
		t.Errorf("SIGINT: %v after %q, want exit status 9", err, out.String())
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

// testAtOnce: commands run at the same time and talk to each other.
func testAtOnce(t *testing.T, guest *vm.Guest) {
	shell(t, guest, "mkfifo /run/a /run/b")
	scripts := []string{"echo 1 >/run/a; cat /run/b", "read x </run/a; echo $x$x >/run/b"}
	var wait sync.WaitGroup
	for _, script := range scripts {
		wait.Go(func() {
			if err := guest.Run(t.Context(), vm.Command{Args: []string{"sh", "-c", script}}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

func testTerminal(t *testing.T, guest *vm.Guest) {
	var out bytes.Buffer
	err := guest.Run(t.Context(), vm.Command{
		Args: []string{"sh", "-c", "stty size; read line; echo got $line; [ -t 2 ]"}, Stdin: strings.NewReader("a line\n"), Stdout: &out,
		Terminal: &vm.TerminalSize{Rows: 33, Columns: 77},
	})
	if err != nil || !strings.Contains(out.String(), "33 77\r\n") || !strings.Contains(out.String(), "got a line\r\n") {
		t.Errorf("on a terminal: %v, %q", err, out.String())
	}
}

// testProbes: what guests are there for.
func testProbes(t *testing.T, guest *vm.Guest) {
	out := shell(t, guest, `bpftrace -q -c '/bin/dd if=/dev/zero of=/dev/null bs=1 count=1000 status=none' -e '
		kprobe:vfs_write /comm == "dd"/ { @kprobe = count(); }
		kretprobe:vfs_write /comm == "dd"/ { @kretprobe = count(); }
		kfunc:vfs_read /comm == "dd"/ { @kfunc = count(); }
		tracepoint:syscalls:sys_enter_write /comm == "dd"/ { @tracepoint = count(); }
		uprobe:/lib/x86_64-linux-gnu/libc.so.6:write /comm == "dd"/ { @uprobe = count(); }'`)
	for _, want := range []string{"@kprobe: 1000", "@kretprobe: 1000", "@kfunc: 10", "@tracepoint: 1000", "@uprobe: 1000"} {
		if !strings.Contains(out, want) {
			t.Errorf("bpftrace's counts lack %q:\n%s", want, out)
		}
	}
}

// noneLeft checks that no guest's process is left.
func noneLeft(t *testing.T) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		name, rest, _ := strings.Cut(string(text), ") ")
		var state string
		var parent int
		fmt.Sscan(rest, &state, &parent)
		if parent == os.Getpid() && (strings.Contains(name, "qemu") || strings.Contains(name, "virtiofsd")) {
			t.Errorf("left running: %s %s", name, rest)
		}
	}
}

// TestCrash: a panic of the guest is an error that says so.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("one more boot")
	}
	guest := start(t, "6.1", vm.Config{})
	err := guest.Run(t.Context(), vm.Command{Args: []string{"sh", "-c", "echo c >/proc/sysrq-trigger"}})
	if !errors.Is(err, vm.ErrCrashed) || !strings.Contains(err.Error(), "sysrq_handle_crash") {
		t.Errorf("a crash: %v; want ErrCrashed and the kernel's trace", err)
	}
	if err := guest.Run(t.Context(), vm.Command{Args: []string{"true"}}); !errors.Is(err, vm.ErrCrashed) {
		t.Errorf("after the crash: %v", err)
	}
	if err := guest.Close(); !errors.Is(err, vm.ErrCrashed) {
		t.Errorf("Close after the crash: %v", err)
	}
	noneLeft(t)
}

// TestCancel: the end of Start's context ends the guest, also one that does not answer.
func TestCancel(t *testing.T) {
	if testing.Short() {
		t.Skip("one more boot")
	}
	kernel, err := vm.Debian(t.Context(), "6.1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	guest, err := vm.Start(ctx, vm.Config{Kernel: kernel})
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	vm.Freeze(guest)
	limited, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	err = guest.Run(limited, vm.Command{Args: []string{"true"}})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("a command in a guest that hangs: %v", err)
	}
	cancel()
	if err := guest.Run(t.Context(), vm.Command{Args: []string{"true"}}); !errors.Is(err, vm.ErrEnded) {
		t.Errorf("after the end of the context: %v, want ErrEnded", err)
	}
	guest.Close()
	noneLeft(t)
}

// TestNoStart: what does not boot is an error that says why, and nothing is left.
func TestNoStart(t *testing.T) {
	kernel, err := vm.Debian(t.Context(), "6.1")
	if err != nil {
		t.Fatal(err)
	}
	before := guestDirs(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	notKernel, noRoot := kernel, kernel
	notKernel.Image = "/etc/passwd"
	noRoot.Modules = ""
	for _, test := range []struct {
		name string
		ctx  context.Context
		vm.Config
		want string
		long bool
	}{
		{"no kernel", t.Context(), vm.Config{Kernel: notKernel}, "QEMU ended", false},
		{"cancelled", cancelled, vm.Config{Kernel: kernel}, "context canceled", false},
		{"no QEMU", t.Context(), vm.Config{Kernel: kernel, Machine: &vm.Machine{QEMU: "qemu-system-none", Package: "a package"}}, "install a package", false},
		{"no modules", t.Context(), vm.Config{Kernel: noRoot}, "mount the host's files", true},
		{"not shared", t.Context(), vm.Config{Kernel: kernel, Shared: []string{"/no/such/directory"}}, "/no/such/directory", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.long && testing.Short() {
				t.Skip("one more boot")
			}
			guest, err := vm.Start(test.ctx, test.Config)
			if err == nil {
				guest.Close()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q lacks %q", err, test.want)
			}
			noneLeft(t)
		})
	}
	if after := guestDirs(t); !slices.Equal(before, after) {
		t.Errorf("directories of guests: %v, before %v", after, before)
	}
}

// guestDirs lists the directories of guests of this process.
func guestDirs(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), fmt.Sprintf("guest-%d-*", os.Getpid())))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

func TestDebianUnknown(t *testing.T) {
	if _, err := vm.Debian(t.Context(), "2.4"); err == nil || !strings.Contains(err.Error(), "6.12") {
		t.Errorf("kernel 2.4: %v; want an error that names what there is", err)
	}
}

func TestConsoleIsLogged(t *testing.T) {
	if testing.Short() {
		t.Skip("one more boot")
	}
	var log bytes.Buffer
	guest := start(t, "6.12", vm.Config{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	shell(t, guest, "echo '<1>a kernel message' >/dev/kmsg")
	if err := guest.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "a kernel message") || !strings.Contains(guest.Console(), "a kernel message") {
		t.Errorf("the log lacks the console:\n%s", log.String())
	}
}
