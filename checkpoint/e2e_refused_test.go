// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/testprog"
)

// Item 8: what can't be carried. Each is refused by a dump with an error that names process and object, and the target
// goes on unharmed.
var refusals = []struct {
	mode  string
	names string // one of these words (separated by |) has to be in the error
}{
	{"io_uring", "io_uring"},
	{"terminal", "terminal|tty|pty|ptmx"},
	{"perf", "perf"},
	{"bpf", "bpf"},
	{"userfaultfd", "userfaultfd"},
	{"inotify", "inotify"},
	{"fanotify", "fanotify"},
	{"pidfd", "pidfd"},
	{"packet", "packet"},
	{"raw", "raw"},
	{"vsock", "vsock|AF_VSOCK|family 40"},
	{"tcp", "--tcp-close"},
	{"tcp_backlog", "--tcp-close|backlog|pending|connection"},
	{"lock", "--file-locks|lock"},
	{"posix_lock", "--file-locks|lock"},
	{"hardlink", "--link-remap"},
	{"secret", "secretmem|secret"},
	{"aio", "aio"},
	{"ptrace", "trace"},
	{"mount_ns", "mount|mnt"},
	{"net_ns", "net"},
	{"uts_ns", "uts"},
	{"ipc_ns", "ipc"},
	{"user_ns", "user"},
	{"cgroup_ns", "cgroup"},
	{"pid_ns", "pid"},
}

// TestE2ERefused dumps what can't be dumped, with Trapline only: CRIU carries some of it.
func TestE2ERefused(t *testing.T) {
	path, err := testprog.Build("refused")
	if err != nil {
		t.Fatal(err)
	}
	// Before the time of any refusal is taken: the first use builds it.
	if _, err := testprog.Trapline().Path(); err != nil {
		t.Fatal(err)
	}
	for i, r := range refusals {
		if testing.Short() && i > 0 {
			break
		}
		t.Run(r.mode, func(t *testing.T) {
			t.Parallel()
			tgt := testprog.Start(t, path, []string{r.mode}, nil)
			line, err := tgt.Read()
			if err != nil {
				t.Fatal(err)
			}
			if line == "unsupported" {
				t.Skip("this kernel or this user has none")
			}
			if line != "ready" {
				t.Fatalf("expected ready, seen %q", line)
			}
			images := imagesDir(t)
			start := time.Now()
			text := failedDump(t, tgt, images)
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("the refusal took %v", took)
			}
			checkRefusal(t, text, tgt.Pid, strings.Split(r.names, "|"))
			unharmed(t, tgt, images)
		})
	}
}

// failedDump dumps, expects exit status 1, and returns what the engine printed.
func failedDump(t *testing.T, tgt *testprog.Target, images string, args ...string) string {
	t.Helper()
	err := testprog.Trapline().Dump(tgt.Dir, tgt.Pid, images, args...)
	var run *testprog.RunError
	switch {
	case err == nil:
		t.Fatal("the dump went through, expected an error")
	case !errors.As(err, &run):
		t.Fatal(err)
	case run.ExitStatus() != 1:
		t.Errorf("exit status %d, expected 1\n%v", run.ExitStatus(), err)
	}
	return run.Output + run.Log
}

// checkRefusal looks for the process and the object in an error, within one line.
func checkRefusal(t *testing.T, text string, pid int, words []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		// A child's pid stands for what the child has.
		if !strings.Contains(line, fmt.Sprintf("pid %d", pid)) && !strings.Contains(line, "(refused)") {
			continue
		}
		for _, w := range words {
			if strings.Contains(strings.ToLower(line), strings.ToLower(w)) {
				return
			}
		}
	}
	t.Errorf("expected an error that names pid %d and one of %q, seen:\n%s", pid, words, text)
}

// unharmed checks that a failed dump left the target alone and no image directory that looks complete.
func unharmed(t *testing.T, tgt *testprog.Target, images string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(images, "inventory.img")); err == nil {
		t.Error("a failed dump left an inventory.img")
	}
	snap, err := testprog.Take(tgt.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for key, text := range snap {
		if strings.HasSuffix(key, "/status") && !strings.Contains(text, "TracerPid:\t0\n") && strings.Contains(key, fmt.Sprintf("%d/", tgt.Pid)) {
			t.Errorf("%s: still traced:\n%s", key, text)
		}
	}
	if err := tgt.Verdict(); err != nil {
		t.Errorf("the target did not survive a failed dump: %v", err)
	}
}

// TestE2EErrors has targets that could be dumped, and surroundings that forbid it.
func TestE2EErrors(t *testing.T) {
	if !here(t) {
		return
	}
	path, err := testprog.Build("basic")
	if err != nil {
		t.Fatal(err)
	}
	begin := func(t *testing.T) *testprog.Target {
		t.Helper()
		tgt := testprog.Start(t, path, nil, nil)
		tgt.Ready()
		return tgt
	}

	t.Run("missing_directory", func(t *testing.T) {
		tgt := begin(t)
		images := filepath.Join(imagesDir(t), "none")
		text := trapline(t, 1, "dump", "-t", fmt.Sprint(tgt.Pid), "-D", images)
		mention(t, text, images)
		unharmed(t, tgt, images)
	})
	t.Run("file_as_directory", func(t *testing.T) {
		tgt := begin(t)
		images := filepath.Join(imagesDir(t), "file")
		if err := os.WriteFile(images, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		mention(t, trapline(t, 1, "dump", "-t", fmt.Sprint(tgt.Pid), "-D", images), images)
		unharmed(t, tgt, filepath.Dir(images))
	})
	t.Run("readonly_directory", func(t *testing.T) {
		tgt := begin(t)
		images := imagesDir(t)
		mountTmpfs(t, images, "ro")
		mention(t, trapline(t, 1, "dump", "-t", fmt.Sprint(tgt.Pid), "-D", images), "read-only")
		unharmed(t, tgt, images)
	})
	t.Run("full_disk", func(t *testing.T) {
		// Each size lets the dump fail somewhere else.
		for _, size := range []string{"4k", "8k", "16k", "32k", "64k", "128k", "512k"} {
			t.Run(size, func(t *testing.T) {
				tgt := testprog.Start(t, mustBuild(t, "mem_anon"), nil, nil)
				tgt.Ready()
				images := imagesDir(t)
				mountTmpfs(t, images, "size="+size)
				mention(t, trapline(t, 1, "dump", "-t", fmt.Sprint(tgt.Pid), "-D", images), "no space left")
				unharmed(t, tgt, images)
			})
		}
	})
	t.Run("no_such_process", func(t *testing.T) {
		images := imagesDir(t)
		mention(t, trapline(t, 1, "dump", "-t", "4000000", "-D", images), "4000000")
	})
	t.Run("a_dump_is_there", func(t *testing.T) {
		tgt := begin(t)
		images := imagesDir(t)
		if err := os.WriteFile(filepath.Join(images, "inventory.img"), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = testprog.Trapline().Dump(tgt.Dir, tgt.Pid, images, "-R")
		if err := tgt.Verdict(); err != nil {
			t.Error(err)
		}
	})
	t.Run("no_right", func(t *testing.T) {
		tgt := begin(t)
		dir, err := os.MkdirTemp("", "noright-")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		bin, err := testprog.Trapline().Path()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(bin, "dump", "-t", fmt.Sprint(tgt.Pid), "-D", dir)
		cmd.SysProcAttr = credential(1000)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("exit status %v, expected 1: %v", cmd.ProcessState, err)
		}
		mention(t, string(out), "permitted")
		unharmed(t, tgt, dir)
	})
}

// TestE2ERestoreErrors restores what can't be restored: no process may stay behind.
func TestE2ERestoreErrors(t *testing.T) {
	if !here(t) {
		return
	}
	dump := func(t *testing.T, prog string, args ...string) (*testprog.Target, string) {
		t.Helper()
		tgt := testprog.Start(t, mustBuild(t, prog), args, nil)
		tgt.Ready()
		return tgt, dumped(t, tgt)
	}
	fails := func(t *testing.T, tgt *testprog.Target, images string, words ...string) {
		t.Helper()
		_, err := testprog.Trapline().Restore(tgt.Dir, images)
		var run *testprog.RunError
		switch {
		case err == nil:
			t.Fatal("the restore went through, expected an error")
		case !errors.As(err, &run):
			t.Fatal(err)
		case run.ExitStatus() != 1:
			t.Errorf("exit status %d, expected 1\n%v", run.ExitStatus(), err)
		}
		mention(t, run.Output+run.Log, words...)
		if left := testprog.Marked(tgt.Dir); len(left) > 0 {
			t.Errorf("the failed restore left processes behind: %v", left)
		}
	}

	t.Run("vanished_file", func(t *testing.T) {
		tgt, images := dump(t, "fd_regular", "plain")
		if err := os.Remove(filepath.Join(tgt.Dir, "a")); err != nil {
			t.Fatal(err)
		}
		fails(t, tgt, images, filepath.Join(tgt.Dir, "a"))
	})
	t.Run("changed_file", func(t *testing.T) {
		tgt, images := dump(t, "fd_regular", "plain")
		if err := os.WriteFile(filepath.Join(tgt.Dir, "a"), []byte("another length altogether"), 0o600); err != nil {
			t.Fatal(err)
		}
		fails(t, tgt, images, filepath.Join(tgt.Dir, "a"))
	})
	t.Run("file_became_fifo", func(t *testing.T) { // to open it must not block
		tgt, images := dump(t, "fd_regular", "plain")
		a := filepath.Join(tgt.Dir, "a")
		if err := errors.Join(os.Remove(a), unix.Mkfifo(a, 0o600)); err != nil {
			t.Fatal(err)
		}
		fails(t, tgt, images, a, "FIFO")
	})
	t.Run("one_of_many_vanished", func(t *testing.T) { // one that another thread opens
		tgt, images := dump(t, "tree_many_fds")
		if err := os.Remove(filepath.Join(tgt.Dir, "parent/599")); err != nil {
			t.Fatal(err)
		}
		fails(t, tgt, images, filepath.Join(tgt.Dir, "parent/599"), "fd 699")
	})
	t.Run("directory_became_link", func(t *testing.T) { // which is no error
		tgt, images := dump(t, "tree_many_fds")
		d := filepath.Join(tgt.Dir, "parent")
		if err := errors.Join(os.Rename(d, d+".moved"), os.Symlink("parent.moved", d)); err != nil {
			t.Fatal(err)
		}
		restored(t, tgt, images)
	})
	t.Run("mapped_file_vanished", func(t *testing.T) {
		tgt, images := dump(t, "mem_files", "private")
		if err := os.Remove(filepath.Join(tgt.Dir, "data")); err != nil {
			t.Fatal(err)
		}
		fails(t, tgt, images, "data")
	})
	t.Run("pid_of_zombie", func(t *testing.T) { // whose parent, this test, does not wait for it
		cmd := exec.Command(mustBuild(t, "nap"), "86400")
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
		images, mark := imagesDir(t), t.TempDir()
		if err := testprog.Trapline().Dump(mark, cmd.Process.Pid, images); err != nil {
			t.Fatal(err)
		}
		_, err := testprog.Trapline().Restore(mark, images)
		var run *testprog.RunError
		if !errors.As(err, &run) || run.ExitStatus() != 1 {
			t.Fatalf("expected a restore that fails, seen %v", err)
		}
		mention(t, run.Output+run.Log, fmt.Sprint(cmd.Process.Pid), "zombie", fmt.Sprint(os.Getpid()))
	})
	t.Run("pid_in_use", func(t *testing.T) {
		tgt := testprog.Start(t, mustBuild(t, "tree_children"), nil, nil)
		tgt.Ready()
		images := imagesDir(t)
		if err := testprog.Trapline().Dump(tgt.Dir, tgt.Pid, images, "-R"); err != nil {
			t.Fatal(err)
		}
		_, err := testprog.Trapline().Restore(tgt.Dir, images)
		var run *testprog.RunError
		if !errors.As(err, &run) || run.ExitStatus() != 1 {
			t.Fatalf("expected a restore that fails, seen %v", err)
		}
		mention(t, run.Output+run.Log, fmt.Sprint(tgt.Pid), "in use|exists")
		if err := tgt.Verdict(); err != nil {
			t.Errorf("the process whose PID was wanted: %v", err)
		}
	})
	t.Run("incomplete", func(t *testing.T) {
		tgt, images := dump(t, "basic")
		if err := os.Remove(filepath.Join(images, "inventory.img")); err != nil {
			t.Fatal(err)
		}
		fails(t, tgt, images, "inventory.img|incomplete")
	})
	t.Run("truncated", func(t *testing.T) {
		tgt, images := dump(t, "tree_sessions")
		files, err := filepath.Glob(filepath.Join(images, "*.img"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			whole, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if len(whole) < 16 {
				continue // nothing in it
			}
			if err := os.WriteFile(f, whole[:len(whole)*2/3], 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := testprog.Trapline().Restore(tgt.Dir, images); err == nil {
				t.Errorf("%s cut to two thirds: the restore went through", filepath.Base(f))
				testprog.KillMarked(t, tgt.Dir)
			} else {
				mention(t, err.Error(), filepath.Base(f))
			}
			if left := testprog.Marked(tgt.Dir); len(left) > 0 {
				t.Errorf("%s cut to two thirds: processes left: %v", filepath.Base(f), left)
				testprog.KillMarked(t, tgt.Dir)
			}
			if err := os.WriteFile(f, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
}
