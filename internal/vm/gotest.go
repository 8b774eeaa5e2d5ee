// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// testGrace is what is kept of a test's time for the end of its guest, so that a guest test that hangs is reported by its own
// time limit, with the stacks of its goroutines.
const testGrace = 20 * time.Second

// TestRun is which tests GoTest runs, and where.
type TestRun struct {
	// Kernel is the series of Debian's kernel, "6.1" or "6.12". Not needed if Guest has a kernel; the tests are compiled for
	// that kernel's architecture then.
	Kernel string
	// Guest is the rest of the guest; the zero Config is fine.
	Guest Config
	// Packages as go test takes them, relative to the working directory; nil is ".".
	Packages []string
	// Run and Skip choose tests, as go test's -run and -skip. The test that calls GoTest is always skipped.
	Run, Skip string
	// MaySkip matches whole names ("TestA/b") of tests that may skip themselves on this kernel, for example "TestKprobeMulti.*"
	// on 6.1. Any other test that skips itself fails: a guest is there to have what the host lacks. With -short all may.
	MaySkip string
	// Args are more arguments for the test programs, "-test.count=2".
	Args []string
	// Env is set for the test programs, beside TRAPLINE_GUEST=SERIES, which tells them where they are.
	Env []string
}

// InGuest tells whether this program runs in a guest, and of which series its kernel is.
func InGuest() (series string, yes bool) { return os.LookupEnv("TRAPLINE_GUEST") }

// GuestConfig is the configuration's name of the kernel, if this program runs in a guest whose kernel BuiltKernel has built.
func GuestConfig() string { return os.Getenv("TRAPLINE_GUEST_CONFIG") }

// GoTest runs Go tests as root in a guest and reports each of them as a subtest of t. One guest runs all the packages, one
// after another, each in its own directory, so that its testdata is there.
//
//	func TestGuest(t *testing.T) {
//		for _, series := range vm.DebianSeries() {
//			t.Run(series, func(t *testing.T) { vm.GoTest(t.Context(), t, vm.TestRun{Kernel: series}) })
//		}
//	}
//
// A guest that does not start fails t.
func GoTest(ctx context.Context, t *testing.T, run TestRun) {
	t.Helper()
	if series, yes := InGuest(); yes {
		t.Fatalf("this is a guest (%s) already; leave this test out there: -test.skip", series)
	}
	maySkip, err := regexp.Compile("^(" + run.MaySkip + ")$")
	if err != nil {
		t.Fatalf("MaySkip: %v", err)
	}
	guest, programs := prepareTests(ctx, t, run)
	for _, program := range programs {
		if len(programs) == 1 {
			runProgram(ctx, t, guest, program, run, maySkip)
			continue
		}
		t.Run(program.name, func(t *testing.T) { runProgram(ctx, t, guest, program, run, maySkip) })
	}
	if err := guest.Close(); err != nil {
		t.Error(err)
	}
}

// testProgram is a compiled package of tests.
type testProgram struct {
	name string // import path
	dir  string // of the package
	path string
}

// prepareTests compiles the tests while the guest boots.
func prepareTests(ctx context.Context, t *testing.T, run TestRun) (*Guest, []testProgram) {
	t.Helper()
	type booted struct {
		guest *Guest
		err   error
	}
	boot := make(chan booted, 1)
	// The directory is made before the guest looks at it.
	dir := t.TempDir()
	go func() {
		config := run.Guest
		if config.Kernel.Image == "" {
			kernel, err := Debian(ctx, run.Kernel)
			if err != nil {
				boot <- booted{err: err}
				return
			}
			config.Kernel = kernel
		}
		guest, err := Start(ctx, config)
		boot <- booted{guest, err}
	}()
	programs, err := compileTests(ctx, dir, run.Guest.Kernel.GOARCH, run.Packages)
	b := <-boot
	if b.guest != nil {
		t.Cleanup(func() { b.guest.Close() }) // when something fails before the end
	}
	if err := errors.Join(b.err, err); err != nil {
		t.Fatal(err)
	}
	return b.guest, programs
}

// compileTests compiles the tests of each package into dir, for another architecture statically: the guest sees the host's
// libraries. goarch "" is the host's.
func compileTests(ctx context.Context, dir, goarch string, packages []string) ([]testProgram, error) {
	var env []string
	if goarch != "" && goarch != runtime.GOARCH {
		env = []string{"GOARCH=" + goarch, "CGO_ENABLED=0"}
	}
	if len(packages) == 0 {
		packages = []string{"."}
	}
	const format = "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}\t{{.Dir}}{{end}}"
	list, err := hostRunEnv(ctx, "", env, append([]string{"go", "list", "-f", format}, packages...)...)
	if err != nil {
		return nil, fmt.Errorf("vm: %w", err)
	}
	var programs []testProgram
	for line := range strings.Lines(list) {
		name, source, found := strings.Cut(strings.TrimSpace(line), "\t")
		if !found {
			continue
		}
		program := testProgram{name: name, dir: source, path: filepath.Join(dir, fmt.Sprintf("%d.test", len(programs)))}
		if _, err := hostRunEnv(ctx, "", env, "go", "test", "-c", "-o", program.path, name); err != nil {
			return nil, fmt.Errorf("vm: %w", err)
		}
		programs = append(programs, program)
	}
	if len(programs) == 0 {
		return nil, fmt.Errorf("vm: no tests in %s", strings.Join(packages, " "))
	}
	return programs, nil
}

// runProgram runs the tests of a package in the guest.
func runProgram(ctx context.Context, t *testing.T, guest *Guest, program testProgram, run TestRun, maySkip *regexp.Regexp) {
	t.Helper()
	ended := make(chan *testResult)
	output := newTestOutput(func(r *testResult) { ended <- r })
	exit := make(chan error, 1)
	var rest string
	go func() {
		defer close(ended)
		err := guest.Run(ctx, Command{
			Args: append([]string{program.path}, testArgs(t, run)...), Env: run.Env, Dir: program.dir, Stdout: output, Stderr: output,
		})
		rest = output.finish()
		exit <- err
	}()
	ran, bad := 0, false
	for result := range ended {
		ran++
		bad = report(t, result, maySkip) || bad
	}
	err := <-exit
	// A test program ends with 1 when a test failed; everything else (2 is a panic) has more to tell.
	exited, _ := errors.AsType[*ExitError](err)
	switch {
	case err != nil && (!bad || exited == nil || exited.Code != 1):
		t.Errorf("%v\n%s", err, rest)
	case err == nil && ran == 0:
		t.Errorf("%s: no test ran\n%s", program.name, rest)
	case err == nil && bad:
		t.Errorf("%s: a test skipped itself where it must not", program.name)
	}
}

// testArgs are a test program's arguments.
func testArgs(t *testing.T, run TestRun) []string {
	top, _, _ := strings.Cut(t.Name(), "/")
	skip := "^" + regexp.QuoteMeta(top) + "$"
	if run.Skip != "" {
		skip += "|" + run.Skip
	}
	args := []string{"-test.v=test2json", "-test.paniconexit0", "-test.skip=" + skip}
	if pattern := runPattern(t, run); pattern != "" {
		args = append(args, "-test.run="+pattern)
	}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	if deadline, limited := t.Deadline(); limited {
		args = append(args, fmt.Sprintf("-test.timeout=%v", max(time.Until(deadline)-testGrace, time.Second).Round(time.Second)))
	}
	return append(args, run.Args...)
}

// runPattern chooses the guest's tests: as the caller said, else by what follows this test's own name in go test's -run, so that
// -run TestGuest/6.1/TestA runs just that. With alternatives in the pattern all tests run, and go test shows those it asked for.
func runPattern(t *testing.T, run TestRun) string {
	own := flag.Lookup("test.run")
	if run.Run != "" || own == nil {
		return run.Run
	}
	depth := strings.Count(t.Name(), "/") + 1
	levels := strings.Split(own.Value.String(), "/")
	if len(levels) <= depth || strings.Contains(own.Value.String(), "|") {
		return ""
	}
	return strings.Join(levels[depth:], "/")
}

// report makes a subtest of a test that ran in a guest. It returns whether that failed.
func report(t *testing.T, result *testResult, maySkip *regexp.Regexp) bool {
	t.Helper()
	bad := false
	name := result.name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		name = name[i+1:]
	}
	t.Run(name, func(t *testing.T) {
		for _, sub := range result.subs {
			bad = report(t, sub, maySkip) || bad
		}
		text := strings.TrimRight(result.output.String(), "\n")
		if result.took != "" {
			text = strings.TrimLeft(text+"\n", "\n") + "in the guest: " + result.took
		}
		switch {
		case result.outcome == unfinished:
			bad = true
			t.Errorf("it was running when the guest's test program ended\n%s", text)
		case result.outcome == failed:
			bad = true
			t.Error(text)
		case result.outcome == skipped && (testing.Short() || maySkip.MatchString(result.name)):
			t.Skip(text)
		case result.outcome == skipped:
			bad = true
			t.Errorf("a test skipped itself in a guest, where nothing should be missing (see TestRun.MaySkip)\n%s", text)
		default:
			t.Log(text)
		}
	})
	return bad
}
