// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trapline/trapline/internal/testprog"
)

var (
	update = flag.Bool("update", false, "write docs/compatibility.md from what this run saw")
	pairs  = flag.String("pairs", "", "which engines dump and restore: a comma-separated list of trapline-trapline, "+
		"trapline-criu, criu-trapline, criu-criu and none (no dump: the program alone), or all")
)

func TestMain(m *testing.M) {
	if order := os.Getenv(engineEnv); order != "" {
		os.Exit(selfKilling(order))
	}
	testprog.Main(m)
}

// A scenario is one program and what is particular about dumping it.
type scenario struct {
	name string   // subject/what, unique; the subtest's name
	prog string   // C program; default: the part of name after the slash
	args []string // of the program

	dump    []string // flags of the dump
	restore []string // flags of the restore

	short    bool     // also with -short
	dumpOnly bool     // makes no sense without a dump
	serial   bool     // disturbs others: not in parallel
	ignore   []string // subjects of /proc that may differ (testprog.Snapshot.Diff)

	// known says why a pair can't work: "criu-criu" → "CRIU has no field for this". Such a pair must fail; "*-criu" and "criu-*" stand for
	// all that restore, dump with CRIU. A reason that begins with "sometimes" is for what fails now and then.
	known map[string]string

	opts   *testprog.Options                              // of the start
	start  func(t *testing.T) *testprog.Target            // replaces the start of prog; the target is ready when it returns
	images func(dir string) error                         // looks at the images
	check  func(t *testing.T, tgt *testprog.Target) error // replaces the target's own check
}

// A pair is who dumps and who restores.
type pair struct {
	name          string
	dump, restore func() testprog.Engine
}

var allPairs = []pair{
	{"trapline-trapline", testprog.Trapline, testprog.Trapline},
	{"trapline-criu", testprog.Trapline, testprog.CRIU},
	{"criu-trapline", testprog.CRIU, testprog.Trapline},
	{"criu-criu", testprog.CRIU, testprog.CRIU},
	{"none", nil, nil},
}

func selectedPairs(t *testing.T) []pair {
	names := strings.Split(*pairs, ",")
	switch {
	case *pairs == "all" || *pairs == "" && *update:
		return allPairs[:4]
	case *pairs == "" && testing.Short():
		return allPairs[:1]
	case *pairs == "":
		return allPairs[:3]
	}
	var list []pair
	for _, n := range names {
		i := slices.IndexFunc(allPairs, func(p pair) bool { return p.name == n })
		if i < 0 {
			t.Fatalf("-pairs: no pair %q", n)
		}
		list = append(list, allPairs[i])
	}
	return list
}

// knownFailure returns why this pair is expected to fail, "" if it has to work.
func (s *scenario) knownFailure(p pair) string {
	d, r, _ := strings.Cut(p.name, "-")
	for _, k := range []string{p.name, d + "-*", "*-" + r, "*"} {
		if why := s.known[k]; why != "" {
			return why
		}
	}
	return ""
}

// TestE2E dumps and restores each program with each pair of engines and asks it afterwards whether it is still whole.
//
//	go test ./checkpoint -run 'TestE2E/memory/cow'
//	go test ./checkpoint -run TestE2E -pairs criu-criu
func TestE2E(t *testing.T) {
	list := selectedPairs(t)
	var results results
	t.Cleanup(func() { results.report(t) })
	groups := map[string][]*scenario{}
	var order []string
	for i := range scenarios {
		s := &scenarios[i]
		subject, _, _ := strings.Cut(s.name, "/")
		if groups[subject] == nil {
			order = append(order, subject)
		}
		groups[subject] = append(groups[subject], s)
	}
	for _, subject := range order {
		t.Run(subject, func(t *testing.T) {
			for _, s := range groups[subject] {
				if testing.Short() && !s.quickest() {
					continue
				}
				if why := notHere[s.name]; why != "" {
					t.Logf("%s is not for this guest: %s", s.name, why)
					continue
				}
				_, what, _ := strings.Cut(s.name, "/")
				t.Run(what, func(t *testing.T) {
					for _, p := range list {
						if p.dump == nil && s.dumpOnly {
							continue
						}
						t.Run(p.name, func(t *testing.T) {
							if !s.serial {
								t.Parallel()
							}
							s.run(t, p, &results)
						})
					}
				})
			}
		})
	}
}

// quickest tells whether it is part of a run with -short.
func (s *scenario) quickest() bool {
	return s.short && !slices.Contains(slowHere, s.name) || slices.Contains(quickHere, s.name)
}

// here tells whether this architecture's guest can serve a test, and says why if not.
func here(t *testing.T) bool {
	t.Helper()
	why := notHere[t.Name()]
	if testing.Short() && slices.Contains(slowHere, t.Name()) {
		why = "it takes an emulated processor too long for a short run"
	}
	if why != "" {
		t.Logf("%s is not for this guest: %s", t.Name(), why)
	}
	return why == ""
}

func (s *scenario) run(t *testing.T, p pair, res *results) {
	err := s.try(t, p)
	why := s.knownFailure(p)
	switch {
	case err == nil && why == "":
		res.add(s.name, p.name, "yes")
	case err == nil:
		if !strings.HasPrefix(why, "sometimes") {
			res.add(s.name, p.name, "yes")
		} else {
			res.add(s.name, p.name, why)
		}
		t.Logf("works here, though it is listed as failing: %s", why)
	case why != "":
		res.add(s.name, p.name, why)
		t.Logf("fails as known (%s): %v", why, summary(err))
	default:
		res.add(s.name, p.name, "no: "+summary(err))
		t.Error(err)
	}
}

// summary is the first line that says what is wrong, without paths of this run.
func summary(err error) string {
	line := err.Error()
	var run *testprog.RunError
	if errors.As(err, &run) {
		line = run.Summary()
	}
	line, _, _ = strings.Cut(strings.TrimSpace(line), "\n")
	return strings.ReplaceAll(line, os.TempDir()+"/", "")
}

// begin starts the program of a scenario and waits until it is ready.
func (s *scenario) begin(t *testing.T) *testprog.Target {
	t.Helper()
	if s.start != nil {
		return s.start(t)
	}
	prog := s.prog
	if prog == "" {
		_, prog, _ = strings.Cut(s.name, "/")
	}
	tgt := testprog.Start(t, mustBuild(t, prog), s.args, s.opts)
	tgt.Ready()
	return tgt
}

// try does one scenario with one pair. A failure of the set-up fails the test; the error is what the engines did wrong.
func (s *scenario) try(t *testing.T, p pair) error {
	tgt := s.begin(t)
	check := func() error {
		if s.check != nil {
			return s.check(t, tgt)
		}
		return tgt.Verdict()
	}
	if p.dump == nil {
		return check()
	}
	before, err := testprog.Take(tgt.Dir)
	if err != nil {
		t.Fatal(err)
	}
	images := imagesDir(t)
	root := tgt.Pid
	if err := p.dump().Dump(tgt.Dir, tgt.Pid, images, s.dump...); err != nil {
		return err
	}
	if err := tgt.Gone(); err != nil {
		return err
	}
	if left := before.AwaitFree(testprog.Patience); len(left) > 0 {
		return fmt.Errorf("after the dump these tasks are still there: %v", left)
	}
	if s.images != nil {
		if err := s.images(images); err != nil {
			return err
		}
	}
	pid, err := p.restore().Restore(tgt.Dir, images, s.restore...)
	if err != nil {
		if left := testprog.Marked(tgt.Dir); len(left) > 0 {
			err = fmt.Errorf("%w\nthe failed restore left processes behind: %v", err, left)
		}
		return err
	}
	if pid != root {
		return fmt.Errorf("restored with PID %d, expected %d", pid, root)
	}
	if err := tgt.Adopt(pid); err != nil {
		return err
	}
	diffs, err := settle(before, tgt, s.ignore)
	if err != nil {
		return err
	}
	if err := check(); err != nil {
		return err
	}
	if len(diffs) > 0 {
		return fmt.Errorf("/proc differs:\n%s", strings.Join(diffs, "\n"))
	}
	return nil
}

// settle compares /proc with the snapshot until they agree, at most a second: a restored task may have a stop signal
// still before it, or the system call that it is to restart.
func settle(before testprog.Snapshot, tgt *testprog.Target, ignore []string) ([]string, error) {
	deadline := time.Now().Add(time.Second)
	for {
		after, err := testprog.Take(tgt.Dir)
		if err != nil {
			return nil, err
		}
		diffs := before.Diff(after, ignore...)
		if len(diffs) == 0 || time.Now().After(deadline) {
			return diffs, nil
		}
		runtime.Gosched()
	}
}

// imagesDir makes an empty directory for images.
func imagesDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "images-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// asUser starts a target with an unprivileged uid.
func asUser(uid uint32) *testprog.Options {
	return &testprog.Options{Wrap: func(cmd *exec.Cmd) {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}}
}
