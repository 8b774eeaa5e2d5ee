// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Bench runs trapline and CRIU side by side: the same target, checkpointed and restored by one after the other, several times over,
// in one run on one machine, and prints medians.
//
//	go run ./internal/bench -trapline bin/trapline [-cases 1MiB,threads] [-runs 5] [-write docs/benchmarks.md]
//
// It needs root. Targets live in a PID and mount namespace of their own with images and files in a tmpfs, so that nothing of the
// machine's other work is seen, and nothing is left behind: both namespaces end with the benchmark. (The case profile has its images in
// the directory for temporary files.)
//
// What is measured, in every column alike:
//
//	dump      wall time from the start of the engine's process to its exit
//	frozen    frozen_time of the stats-dump that the engine left with the images
//	restore   wall time of `restore -d`
//	max RSS   ru_maxrss of the engine's process
//
// After each restore the target checks itself; a run in which it finds something missing counts as failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/bench/document"
)

// insideFlag marks the copy of this program that is PID 1 of the namespaces.
const insideFlag = "inside"

// probesFlag marks a copy that measures a case of probes.
const probesFlag = "probes-case"

type config struct {
	trapline string // path of the trapline to measure; empty: leave it out
	criu     string // path of CRIU; empty: leave it out
	target   string // path of the compiled target
	work     string // where the tmpfs is mounted
	disk     string // an empty directory outside of it
	cases    string // comma-separated names, or "all"
	engines  string // comma-separated names of columns, or "all"
	runs     int
	warmup   int
	write    string // file for the report; empty: standard output only
	keep     bool   // print logs of failed runs in full
	inside   bool

	probesCase string // which case of probes this process measures
	touch      int    // bytes of memory that this process touches
}

func main() {
	var c config
	flag.StringVar(&c.trapline, "trapline", "", "the trapline `program` to measure")
	flag.StringVar(&c.criu, "criu", "", "the CRIU `program` to compare with (default: $TRAPLINE_CRIU, or what ../shared/peers/criu installs)")
	flag.StringVar(&c.cases, "cases", "all", "comma-separated `names` of cases")
	flag.StringVar(&c.engines, "engines", "all", "comma-separated `names` of columns: criu, criu-nobp, trapline")
	flag.IntVar(&c.runs, "runs", 5, "measured runs of each case and column")
	flag.IntVar(&c.warmup, "warmup", 1, "runs before them that don't count")
	flag.StringVar(&c.write, "write", "", "write the report to a `file` too")
	flag.BoolVar(&c.keep, "v", false, "print every run")
	flag.StringVar(&c.target, "target", "", "set by the benchmark itself")
	flag.StringVar(&c.work, "work", "", "set by the benchmark itself")
	flag.StringVar(&c.disk, "disk", "", "set by the benchmark itself")
	flag.BoolVar(&c.inside, insideFlag, false, "set by the benchmark itself")
	flag.StringVar(&c.probesCase, probesFlag, "", "set by the benchmark itself")
	flag.IntVar(&c.touch, touchFlag, 0, "set by the benchmark itself")
	flag.Parse()

	run := outside
	switch {
	case c.touch > 0:
		run = func(c config) error { return touch(c.touch) }
	case c.inside:
		run = inside
	case c.probesCase != "":
		run = func(c config) error { return probesInside(context.Background(), c) }
	case isProbes(c.cases):
		run = func(c config) error { return probesOutside(context.Background(), c) }
	}
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// outside finds the programs, compiles the target and runs this program again as PID 1 of new namespaces.
func outside(c config) error {
	if os.Geteuid() != 0 {
		return errors.New("root is needed")
	}
	if c.runs < 1 {
		return fmt.Errorf("-runs %d: at least one", c.runs)
	}
	// A descriptor that the caller left open would become part of every target.
	err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	if c.target, err = buildTarget(); err != nil {
		return err
	}
	if c.criu == "" && c.cases != profileCase {
		if c.criu, err = findCRIU(); err != nil {
			return err
		}
	}
	if c.trapline != "" {
		if c.trapline, err = filepath.Abs(c.trapline); err != nil {
			return err
		}
		if _, err := os.Stat(c.trapline); err != nil {
			return fmt.Errorf("-trapline: %w", err)
		}
	}
	if c.work, err = os.MkdirTemp("", "trapline-bench-"); err != nil {
		return err
	}
	defer os.Remove(c.work)
	if c.disk, err = os.MkdirTemp("", "trapline-bench-disk-"); err != nil {
		return err
	}
	defer os.RemoveAll(c.disk)

	args := []string{
		"-" + insideFlag, "-trapline", c.trapline, "-criu", c.criu, "-cases", c.cases, "-engines", c.engines, "-target", c.target,
		"-work", c.work, "-disk", c.disk, "-runs", fmt.Sprint(c.runs), "-warmup", fmt.Sprint(c.warmup), "-write", c.write, fmt.Sprintf("-v=%t", c.keep),
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	signal.Ignore(os.Interrupt) // it ends the other copy, and this one cleans up behind it
	return cmd.Wait()
}

// findCRIU gives CRIU's path: TRAPLINE_CRIU, or what the peers' script beside the repository installs.
func findCRIU() (string, error) {
	if path := os.Getenv("TRAPLINE_CRIU"); path != "" {
		return path, nil
	}
	const script = "../shared/peers/criu"
	if _, err := os.Stat(script); err != nil {
		return "", fmt.Errorf("no CRIU to compare with: set TRAPLINE_CRIU or -criu (%w)", err)
	}
	out, err := exec.Command(script).Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", script, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// inside is PID 1: mounts, measures, reports.
func inside(c config) error {
	if os.Getpid() != 1 {
		return errors.New("-" + insideFlag + " is for the benchmark's own use")
	}
	if err := mounts(c.work); err != nil {
		return err
	}
	if c.cases == profileCase {
		b := &bench{config: c}
		defer b.reap()
		return b.measureProfile()
	}
	cases, err := selectCases(c.cases)
	if err != nil {
		return err
	}
	engines, err := selectEngines(c)
	if err != nil {
		return err
	}
	b := &bench{config: c, engines: engines}
	defer b.reap()
	report := newReport(c, engines)
	var failed []error
	for _, k := range cases {
		results, err := b.measure(k)
		if err != nil {
			failed = append(failed, err)
		}
		report.add(k, results)
		fmt.Println(report.caseTable(len(report.rows) - 1))
	}
	text := report.markdown()
	fmt.Print(report.summary())
	if c.write != "" && len(failed) == 0 {
		if err := document.Replace(c.write, criuHeading, text); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// mounts makes the namespace's mounts private and puts a /proc of this PID namespace and tmpfs into them.
func mounts(work string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// CRIU keeps what it finds out about the kernel in /run/criu.kdat, but only in a tmpfs, as /run is on a real system; without that it
	// would pay some 20 ms for it in every run.
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	if err := syscall.Mount("tmpfs", work, "tmpfs", 0, "size=80%"); err != nil {
		return fmt.Errorf("mount a tmpfs at %s: %w", work, err)
	}
	return nil
}
