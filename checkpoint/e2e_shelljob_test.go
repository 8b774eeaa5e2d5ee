// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/testprog"
)

// TestE2EShellJob dumps a program that lives in the session of who started it: only with --shell-job, both ways.
func TestE2EShellJob(t *testing.T) {
	tgt := testprog.Start(t, mustBuild(t, "basic"), nil, &testprog.Options{Wrap: func(cmd *exec.Cmd) { cmd.SysProcAttr.Setsid = false }})
	tgt.Ready()
	sid, err := unix.Getsid(tgt.Pid)
	if err != nil || sid == tgt.Pid {
		t.Fatalf("session %d (%v), expected one that pid %d does not lead", sid, err, tgt.Pid)
	}
	images := imagesDir(t)
	text := failedDump(t, tgt, images)
	checkRefusal(t, text, tgt.Pid, []string{"--shell-job"})
	if err := testprog.Trapline().Dump(tgt.Dir, tgt.Pid, images, "--shell-job"); err != nil {
		t.Fatal(err)
	}
	if err := tgt.Gone(); err != nil {
		t.Fatal(err)
	}
	if _, err := testprog.Trapline().Restore(tgt.Dir, images); err == nil || !strings.Contains(err.Error(), "--shell-job") {
		t.Fatalf("expected a refusal that says --shell-job, seen %v", err)
	}
	if left := testprog.Marked(tgt.Dir); len(left) > 0 {
		t.Fatalf("the refused restore left processes: %v", left)
	}
	pid, err := testprog.Trapline().Restore(tgt.Dir, images, "--shell-job", "--cpu-cap=all")
	if err != nil {
		t.Fatal(err)
	}
	if err := tgt.Adopt(pid); err != nil {
		t.Fatal(err)
	}
	if now, err := unix.Getsid(pid); err != nil || now != sid {
		t.Errorf("restored into session %d (%v), expected that of the restorer, %d", now, err, sid)
	}
	if err := tgt.Verdict(); err != nil {
		t.Error(err)
	}
}
