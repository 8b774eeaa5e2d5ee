// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint"
	"github.com/trapline/trapline/checkpoint/stage"
	"github.com/trapline/trapline/internal/testprog"
)

// engineEnv makes a test process an engine that kills itself: "dump PID DIR EVENT", EVENT counted from 0.
const engineEnv = "TRAPLINE_E2E_ENGINE"

// selfKilling is the engine of TestE2EKillStages: it dumps, leaves the tree running, and is gone at one event of its
// timeline. Exit status 0: there was no such event, the dump is done.
func selfKilling(order string) int {
	f := strings.Fields(order)
	pid, err1 := strconv.Atoi(f[1])
	at, err2 := strconv.Atoi(f[3])
	if err := errors.Join(err1, err2); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	tl := stage.New(stage.Dump)
	seen := 0
	tl.Listen(func(e stage.Event) {
		if e.Kind == stage.Progress {
			return
		}
		if seen == at {
			_ = os.WriteFile(filepath.Join(f[2], "killed-at"), fmt.Appendf(nil, "%v %v", e.Stage, e.Kind), 0o600)
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
		seen++
	})
	opts := &checkpoint.DumpOptions{ImagesDir: f[2], LeaveRunning: true, Timeline: tl}
	if _, err := checkpoint.Dump(context.Background(), pid, opts); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// a bystander is a target that must not notice what happens to the engine.
type bystander struct {
	tgt  *testprog.Target
	maps string
	fds  []string
}

func newBystander(t *testing.T) *bystander {
	t.Helper()
	b := &bystander{tgt: testprog.Start(t, mustBuild(t, "harmless"), nil, nil)}
	b.tgt.Ready()
	if err := b.tgt.Verdict(); err != nil {
		t.Fatalf("before anything: %v", err)
	}
	b.maps, b.fds = b.look(t)
	return b
}

// look reads the maps and the descriptors but for the FIFO in which the target answers.
func (b *bystander) look(t *testing.T) (string, []string) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", b.tgt.Pid))
	if err != nil {
		t.Fatal(err)
	}
	dir := fmt.Sprintf("/proc/%d/fd/", b.tgt.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var fds []string
	for _, e := range entries {
		link, err := os.Readlink(dir + e.Name())
		if err == nil && filepath.Base(link) != "out" && filepath.Base(link) != "cmd" {
			fds = append(fds, e.Name()+" "+link)
		}
	}
	return string(maps), fds
}

// intact checks that the target is what it was. what says what was done to the engine.
func (b *bystander) intact(t *testing.T, what string) bool {
	t.Helper()
	ok := true
	fail := func(format string, args ...any) {
		t.Helper()
		ok = false
		t.Errorf("%s: %s", what, fmt.Sprintf(format, args...))
	}
	if err := b.tgt.Verdict(); err != nil {
		fail("%v", err)
		return false
	}
	maps, fds := b.look(t)
	if maps != b.maps {
		fail("maps before:\n%s\nafter:\n%s", b.maps, maps)
		b.maps = maps
	}
	if !slices.Equal(fds, b.fds) {
		fail("descriptors before %q, after %q", b.fds, fds)
		b.fds = fds
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", b.tgt.Pid))
	if err != nil || len(tasks) < 10 {
		fail("%d threads, %v", len(tasks), err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			fail("%v", err)
			continue
		}
		if !strings.Contains(string(text), "TracerPid:\t0\n") || strings.Contains(string(text), "State:\tT") || strings.Contains(string(text), "State:\tt") {
			fail("%s: traced or stopped:\n%s", task, text)
			return false
		}
	}
	return ok
}

// completeOrNot checks that images are complete or have no inventory.
func completeOrNot(t *testing.T, images, what string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(images, "inventory.img")); err != nil {
		return
	}
	bin, err := testprog.Trapline().Path()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(bin, "verify", images).CombinedOutput(); err != nil {
		t.Errorf("%s: the images have an inventory and are not whole: %v\n%s", what, err, out)
	}
}

// An estimate of how long something takes that is not killed: the median of the last measurements, so that one that was
// held up counts no more than any other, and a machine that gets busier or quieter is followed.
type estimate struct{ last []time.Duration }

func (e *estimate) add(d time.Duration) {
	if e.last = append(e.last, d); len(e.last) > 9 {
		e.last = e.last[1:]
	}
}

func (e *estimate) median() time.Duration {
	sorted := slices.Sorted(slices.Values(e.last))
	return sorted[len(sorted)/2]
}

// moment is a random one before the end.
func (e *estimate) moment() time.Duration { return time.Duration(rand.Int64N(int64(e.median()))) }

// runKilled runs a command, kills it after a while, and tells whether it ended by itself, and how. What it takes then goes
// into the estimate.
func (e *estimate) runKilled(t *testing.T, cmd *exec.Cmd, after time.Duration) (ended bool, err error) {
	t.Helper()
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	timer.Stop()
	if err == nil {
		e.add(time.Since(start))
	}
	return cmd.ProcessState.Exited(), err
}

// TestE2EKillRandom kills the engine at 300 random moments of dumps of a target whose threads check themselves.
func TestE2EKillRandom(t *testing.T) {
	if !here(t) {
		return
	}
	rounds := 300
	if testing.Short() {
		rounds = 20
	}
	b := newBystander(t)
	// How long does a dump take, once the engine has been built?
	if _, err := testprog.Trapline().Path(); err != nil {
		t.Fatal(err)
	}
	var whole estimate
	for range 5 {
		images := imagesDir(t)
		start := time.Now()
		if err := testprog.Trapline().Dump(b.tgt.Dir, b.tgt.Pid, images, "-R"); err != nil {
			t.Fatal(err)
		}
		whole.add(time.Since(start))
		os.RemoveAll(images)
	}
	if !b.intact(t, "after five dumps") {
		t.FailNow()
	}
	killed, finished, failed := 0, 0, 0
	for killed < rounds {
		images := imagesDir(t)
		after := whole.moment()
		what := fmt.Sprintf("kill %d, after %v of about %v", killed, after, whole.median())
		cmd, err := testprog.Trapline().Command(t.Context(), b.tgt.Dir, "dump", images, "-t", fmt.Sprint(b.tgt.Pid), "-R")
		if err != nil {
			t.Fatal(err)
		}
		switch ended, err := whole.runKilled(t, cmd, after); {
		case err == nil:
			if finished++; finished > 3*rounds {
				t.Fatalf("%d dumps were done before the kill, %d were killed", finished, killed)
			}
		case ended: // a dump must also work after one that was killed
			log, _ := os.ReadFile(filepath.Join(images, "dump.log"))
			t.Errorf("%s: the dump failed by itself: %v\n%s", what, err, log)
			failed++
		default:
			killed++
		}
		completeOrNot(t, images, what)
		if !b.intact(t, what) {
			failed++
			b.tgt.Discard()
			b = newBystander(t)
		}
		if failed > 3 {
			t.Fatalf("too many failures, %d kills done", killed)
		}
		os.RemoveAll(images)
	}
	t.Logf("%d kills, %d dumps were done before, a dump takes %v", killed, finished, whole.median())
}

// TestE2EKillStages kills the engine at each event of its timeline: every stage's beginning and end, and when the tree
// is frozen and thawed. With -short at some.
func TestE2EKillStages(t *testing.T) {
	step := 1
	if testing.Short() {
		step = killStep
	}
	b := newBystander(t)
	failed := 0
	for event := 0; ; event += step {
		if event > 500 {
			t.Fatal("a dump with more than 500 stage boundaries")
		}
		images := imagesDir(t)
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=dump %d %s %d", engineEnv, b.tgt.Pid, images, event), testprog.Marker+"="+b.tgt.Dir)
		out, err := cmd.CombinedOutput()
		if err == nil {
			if event < 10 {
				t.Errorf("a dump has only %d stage boundaries", event)
			}
			t.Logf("killed at %d stage boundaries", event)
			b.intact(t, "a dump that was not killed")
			return
		}
		if cmd.ProcessState.Exited() {
			t.Errorf("event %d: the dump failed by itself: %v\n%s", event, err, out)
			if failed++; failed > 5 {
				t.FailNow()
			}
			b.tgt.Discard()
			b = newBystander(t)
			continue
		}
		at, _ := os.ReadFile(filepath.Join(images, "killed-at"))
		what := fmt.Sprintf("killed at event %d (%s)", event, at)
		if err := os.Remove(filepath.Join(images, "killed-at")); err != nil {
			t.Fatal(err)
		}
		completeOrNot(t, images, what)
		if !b.intact(t, what) {
			if failed++; failed > 5 {
				t.FailNow()
			}
			b.tgt.Discard()
			b = newBystander(t)
		}
		os.RemoveAll(images)
	}
}

// TestE2EKillRestore kills the engine at random moments of a restore: either all of the tree is there, or nothing.
func TestE2EKillRestore(t *testing.T) {
	if !here(t) {
		return
	}
	rounds := 60
	if testing.Short() {
		rounds = 5
	}
	tgt := testprog.Start(t, mustBuild(t, "tree_children"), nil, nil)
	tgt.Ready()
	tree, err := testprog.Take(tgt.Dir)
	if err != nil {
		t.Fatal(err)
	}
	images := dumped(t, tgt)
	// The next restore needs the ids of the one before.
	free := func() {
		t.Helper()
		if left := tree.AwaitFree(testprog.Patience); len(left) > 0 {
			t.Fatalf("tasks are still there: %v", left)
		}
	}
	var whole estimate
	for range 5 {
		free()
		start := time.Now()
		if _, err := testprog.Trapline().Restore(tgt.Dir, images); err != nil {
			t.Fatal(err)
		}
		whole.add(time.Since(start))
		testprog.KillMarked(t, tgt.Dir)
	}
	done := 0
	for i := range rounds {
		free()
		after := whole.moment()
		cmd, err := testprog.Trapline().Command(t.Context(), tgt.Dir, "restore", images, "-d")
		if err != nil {
			t.Fatal(err)
		}
		if ended, err := whole.runKilled(t, cmd, after); ended && err != nil {
			t.Errorf("round %d: the restore failed by itself: %v", i, err)
		} else if err == nil {
			done++
			if n := testprog.KillMarked(t, tgt.Dir); n != 40 {
				t.Errorf("round %d: %d processes after a restore, expected 40", i, n)
			}
			continue
		}
		if left := testprog.LeftAlive(tgt.Dir, 10*time.Second); len(left) > 0 {
			// All of the tree may be on its way already: the engine was killed after it let the tree go.
			if n := testprog.KillMarked(t, tgt.Dir); n != 40 {
				t.Errorf("round %d, killed after %v: %d processes are left: %v", i, after, n, left)
			}
		}
	}
	t.Logf("%d rounds, %d restores were done before the kill, a restore takes %v", rounds, done, whole.median())
}
