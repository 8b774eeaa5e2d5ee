// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/testprog"
)

// mustBuild compiles a test program.
func mustBuild(t testing.TB, name string) string {
	t.Helper()
	path, err := testprog.Build(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// trapline runs a command line, expects an exit status, and returns standard output and error.
func trapline(t *testing.T, status int, args ...string) string {
	t.Helper()
	bin, err := testprog.Trapline().Path()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), bin, args...).CombinedOutput()
	got := 0
	if err != nil {
		exit, ok := err.(*exec.ExitError)
		if !ok {
			t.Fatal(err)
		}
		got = exit.ExitCode()
	}
	if got != status {
		t.Errorf("trapline %s: exit status %d, expected %d\n%s", strings.Join(args, " "), got, status, out)
	}
	return string(out)
}

// dumped lets Trapline dump a target, which ends, and returns the images.
func dumped(t *testing.T, tgt *testprog.Target, args ...string) (images string) {
	t.Helper()
	images = imagesDir(t)
	if err := testprog.Trapline().Dump(tgt.Dir, tgt.Pid, images, args...); err != nil {
		t.Fatal(err)
	}
	if err := tgt.Gone(); err != nil {
		t.Fatal(err)
	}
	return images
}

// restored lets Trapline restore a target, which then says whether it is whole.
func restored(t *testing.T, tgt *testprog.Target, images string, args ...string) (pid int) {
	t.Helper()
	pid, err := testprog.Trapline().Restore(tgt.Dir, images, args...)
	if err != nil {
		t.Fatal(err)
	}
	whole(t, tgt, pid)
	return pid
}

// whole asks a target that has been restored as pid.
func whole(t *testing.T, tgt *testprog.Target, pid int) {
	t.Helper()
	if err := tgt.Adopt(pid); err != nil {
		t.Fatal(err)
	}
	if err := tgt.Verdict(); err != nil {
		t.Error(err)
	}
}

// mention fails the test unless text has each of the words; a word may be several separated by |, of which one will do.
func mention(t *testing.T, text string, words ...string) {
	t.Helper()
next:
	for _, w := range words {
		for _, one := range strings.Split(w, "|") {
			if strings.Contains(strings.ToLower(text), strings.ToLower(one)) {
				continue next
			}
		}
		t.Errorf("expected an error that says %q, seen:\n%s", w, text)
	}
}

// mountTmpfs mounts a tmpfs on dir until the test ends.
func mountTmpfs(t *testing.T, dir, options string) {
	t.Helper()
	flags := uintptr(0)
	if options == "ro" {
		flags, options = unix.MS_RDONLY, ""
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Fatalf("mount a tmpfs (%s) on %s: %v", options, dir, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// credential makes a command run with another uid and gid and no groups.
func credential(id uint32) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
}
