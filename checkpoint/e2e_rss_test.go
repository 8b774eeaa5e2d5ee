// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/trapline/trapline/internal/testprog"
)

// maxEngineRSS is what a dump or a restore may take of memory for itself, in KiB, however large the target is.
const maxEngineRSS = 64 << 10

// TestE2EEngineMemory dumps and restores 256 MiB, in one run of pages and in 65,536 of them, and looks at the peak of the
// engine's own memory.
func TestE2EEngineMemory(t *testing.T) {
	if !here(t) {
		return
	}
	clock := buildClock(t)
	for _, args := range [][]string{{"256"}, {"256", "holes"}} {
		t.Run(strings.Join(args, "_"), func(t *testing.T) {
			tgt := testprog.Start(t, mustBuild(t, "mem_big"), args, nil)
			tgt.Ready()
			images := imagesDir(t)
			peak := clock.run(t, tgt.Dir, "dump", images, "-t", strconv.Itoa(tgt.Pid))
			if t.Failed() {
				return
			}
			t.Logf("dump: %d KiB", peak)
			if peak > maxEngineRSS {
				t.Errorf("the dump of 256 MiB took %d KiB itself, expected at most %d", peak, maxEngineRSS)
			}
			if err := tgt.Gone(); err != nil {
				t.Fatal(err)
			}
			pidfile := filepath.Join(images, "restored.pid")
			peak = clock.run(t, tgt.Dir, "restore", images, "-d", "--pidfile", pidfile)
			if t.Failed() && peak == 0 {
				return
			}
			t.Logf("restore: %d KiB", peak)
			if peak > maxEngineRSS {
				t.Errorf("the restore of 256 MiB took %d KiB itself, expected at most %d", peak, maxEngineRSS)
			}
			text, err := os.ReadFile(pidfile)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			whole(t, tgt, pid)
		})
	}
}

// clock is the benchmark's "target time", which runs a command and prints its ru_maxrss. A small process of its own:
// ru_maxrss begins with the size of the process that forked, and a test process is larger than the limit.
type clock string

func buildClock(t *testing.T) clock {
	t.Helper()
	root, err := testprog.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "clock")
	source := filepath.Join(root, "internal", "bench", "target", "target.c")
	if out, err := exec.CommandContext(t.Context(), "gcc", "-O2", "-static", "-pthread", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("compile the clock: %v\n%s", err, out)
	}
	return clock(program)
}

// run does a dump or restore with Trapline and returns the peak of its resident memory in KiB; 0 if it failed, and then
// the test has too.
func (c clock) run(t *testing.T, marker, sub, images string, args ...string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testprog.EngineTimeout)
	defer cancel()
	engine, err := testprog.Trapline().Command(ctx, marker, sub, images, args...)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, string(c), append([]string{"time", engine.Path}, engine.Args[1:]...)...)
	cmd.Dir, cmd.Env = engine.Dir, engine.Env
	// A file and no pipe: the restored tree must not keep Run from returning.
	output, err := os.CreateTemp(t.TempDir(), "output-")
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	runErr := cmd.Run()
	text, err := os.ReadFile(output.Name())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var status int
	var ns, rss int64
	_, err = fmt.Sscan(lines[len(lines)-1], &status, &ns, &rss)
	if runErr != nil || err != nil || status != 0 {
		log, _ := os.ReadFile(filepath.Join(images, sub+".log"))
		t.Errorf("%s: %v, exit status %d: %v\n%s%s", sub, runErr, status, err, text, log)
		return 0
	}
	return rss
}
