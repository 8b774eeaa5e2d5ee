// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trapline/trapline/checkpoint/stage"
	"github.com/trapline/trapline/internal/testprog"
	"github.com/trapline/trapline/internal/vm"
	"github.com/trapline/trapline/loader/profile"
)

// startTarget starts a test program.
func startTarget(t *testing.T, name string, args ...string) *testprog.Target {
	t.Helper()
	path, err := testprog.Build(name)
	if err != nil {
		t.Fatal(err)
	}
	target := testprog.Start(t, path, args, nil)
	target.Ready()
	return target
}

// profiled runs trapline profile with the arguments and -o json, and gives the report.
func profiled(t *testing.T, args ...string) *profile.Report {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.Command("trapline", append([]string{"profile", "-o", file}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("trapline profile %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	r, err := readReport(file)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checkReport holds a report to what it promises: the parts of a stage and its rest are its time, and nothing is lost.
func checkReport(t *testing.T, r *profile.Report) {
	t.Helper()
	if r.Lost.Any() {
		t.Errorf("lost: %+v", r.Lost)
	}
	sum := func(where string, stages []profile.Stage) (all time.Duration) {
		for _, s := range stages {
			parts := s.Unexplained
			for _, p := range s.Parts {
				parts += p.Self
			}
			if parts != s.Wall {
				t.Errorf("%s, stage %s: the parts and the rest are %v, the stage %v", where, s.Name, parts, s.Wall)
			}
			all += s.Wall
		}
		return all
	}
	if all := sum("whole", r.Stages); all+r.Outside < r.Total {
		t.Errorf("stages of %v and %v outside do not fill %v", all, r.Outside, r.Total)
	}
	for _, p := range r.Processes {
		sum("pid "+strconv.Itoa(p.PID), p.Stages)
	}
}

// stageOf gives a stage of a report, which must have it.
func stageOf(t *testing.T, r *profile.Report, name stage.Name) profile.Stage {
	t.Helper()
	i := slices.IndexFunc(r.Stages, func(s profile.Stage) bool { return s.Name == string(name) })
	if i < 0 {
		t.Fatalf("no stage %s in %s by %s", name, r.What, r.Engine)
	}
	return r.Stages[i]
}

// calls gives how often a stage has seen a probe.
func calls(s profile.Stage, label string) uint64 {
	for _, p := range s.Parts {
		if p.Label == label {
			return p.Calls
		}
	}
	return 0
}

// TestProfile profiles a dump and a restore of our engine, and asks the program whether it is whole. What the batch did inside the
// target counts for the stage that asked for it.
func TestProfile(t *testing.T) {
	target := startTarget(t, "mem_anon")
	images := t.TempDir()
	r := profiled(t, "dump", "-t", strconv.Itoa(target.Pid), "-D", images)
	checkReport(t, r)
	for _, info := range stage.Of(stage.Dump) {
		if s := stageOf(t, r, info.Name); s.Wall <= 0 && info.Name != stage.Threads {
			t.Errorf("stage %s took %v", s.Name, s.Wall)
		}
	}
	if r.Frozen <= 0 || r.Frozen > r.Total || r.Engine != "trapline" || r.What != "dump" {
		t.Errorf("%s by %s: %v, of it frozen %v", r.What, r.Engine, r.Total, r.Frozen)
	}
	checkTimeline(t, r, filepath.Join(images, "trapline-stages-dump.json"))
	if n := calls(stageOf(t, r, stage.Misc), "syscall:rt_sigaction"); n < 60 {
		t.Errorf("%d calls of rt_sigaction in misc: the batch asks for each of 64 signals but two", n)
	}
	if n := calls(stageOf(t, r, stage.Freeze), "syscall:ptrace"); n == 0 {
		t.Error("no ptrace in freeze")
	}
	if !slices.ContainsFunc(r.Processes, func(p profile.Process) bool { return p.PID == target.Pid }) {
		t.Errorf("process %d has no stages of its own", target.Pid)
	}
	if err := target.Gone(); err != nil {
		t.Fatal(err)
	}

	r = profiled(t, "--probes", "memory,files", "restore", "-D", images, "-d")
	checkReport(t, r)
	if n := calls(stageOf(t, r, stage.Memory), "syscall:mmap"); n == 0 {
		t.Error("no mmap in memory")
	}
	if err := target.Adopt(target.Pid); err != nil {
		t.Fatal(err)
	}
	if err := target.Verdict(); err != nil {
		t.Error(err)
	}
}

// TestProfileKernelFunctions has the kernel functions below the system calls.
func TestProfileKernelFunctions(t *testing.T) {
	needKernelProbes(t)
	target := startTarget(t, "mem_anon")
	r := profiled(t, "dump", "-t", strconv.Itoa(target.Pid), "-D", t.TempDir(), "-R")
	checkReport(t, r)
	if n := calls(stageOf(t, r, stage.Freeze), "ptrace_request") + calls(stageOf(t, r, stage.Freeze), "ptrace_attach"); n == 0 {
		t.Error("no kernel function of ptrace in freeze")
	}
	if n := calls(stageOf(t, r, stage.Collect), "vfs_read"); n == 0 {
		t.Error("no vfs_read in collect")
	}
	if err := target.Verdict(); err != nil {
		t.Error(err)
	}
}

// TestProfileCRIU puts CRIU's stages of the same target beside ours, under the same names.
func TestProfileCRIU(t *testing.T) {
	wrapper, err := testprog.CRIU().Path()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(filepath.Dir(wrapper), "root/usr/sbin/criu")
	target := startTarget(t, "mem_anon")
	images := t.TempDir()
	theirs := profiled(t, "--binary", binary, "--", wrapper, "dump", "-t", strconv.Itoa(target.Pid), "-D", images, "-R", "-o", "dump.log")
	checkReport(t, theirs)
	ours := profiled(t, "dump", "-t", strconv.Itoa(target.Pid), "-D", t.TempDir(), "-R")
	for _, name := range []stage.Name{stage.Freeze, stage.Collect, stage.Infect, stage.Misc, stage.Files, stage.Pages, stage.Core, stage.Cure, stage.Tree, stage.Finish} {
		if a, b := stageOf(t, theirs, name), stageOf(t, ours, name); a.Wall <= 0 || b.Wall <= 0 {
			t.Errorf("%s: %v by CRIU, %v by us", name, a.Wall, b.Wall)
		}
	}
	pages := stageOf(t, theirs, stage.Pages)
	if calls(pages, "syscall:vmsplice") == 0 || calls(pages, "syscall:splice") == 0 {
		t.Errorf("what CRIU's parasite does, and what it does with that, is not in pages: %+v", pages.Parts)
	}
	if !slices.ContainsFunc(theirs.Warnings, func(w string) bool { return strings.Contains(w, "dump_task_mm") }) {
		t.Errorf("what the map names and the program does not have is not said: %q", theirs.Warnings)
	}
	if err := target.Verdict(); err != nil {
		t.Fatal(err)
	}

	target.Discard()
	if err := target.Gone(); err != nil {
		t.Fatal(err)
	}
	theirs = profiled(t, "--binary", binary, "--", wrapper, "restore", "-D", images, "-d", "-o", "restore.log")
	checkReport(t, theirs)
	for _, name := range []stage.Name{stage.Load, stage.Fork, stage.Files, stage.Memory, stage.Pages, stage.State, stage.Resume} {
		if s := stageOf(t, theirs, name); s.Wall <= 0 {
			t.Errorf("%s: %v by CRIU", name, s.Wall)
		}
	}
	if err := target.Adopt(target.Pid); err != nil {
		t.Fatal(err)
	}
	if err := target.Verdict(); err != nil {
		t.Error(err)
	}
}

// TestProfileAttached has CRIU stay the parent of what it restores: the operation is over when the program runs, not when it ends.
func TestProfileAttached(t *testing.T) {
	wrapper, err := testprog.CRIU().Path()
	if err != nil {
		t.Fatal(err)
	}
	target := startTarget(t, "mem_anon")
	images, file := t.TempDir(), filepath.Join(t.TempDir(), "report.json")
	if err := testprog.CRIU().Dump(target.Dir, target.Pid, images); err != nil {
		t.Fatal(err)
	}
	if err := target.Gone(); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(filepath.Dir(wrapper), "root/usr/sbin/criu")
	cmd := exec.Command("trapline", "profile", "-o", file, "--binary", binary, "--", wrapper, "restore", "-D", images, "-o", "restore.log")
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for { // until it is back, which its status says
		status, err := os.ReadFile("/proc/" + strconv.Itoa(target.Pid) + "/cmdline")
		if err == nil && bytes.Contains(status, []byte("mem_anon")) {
			break
		}
		if time.Since(began) > testprog.Patience {
			t.Fatal("it does not come back")
		}
	}
	if err := target.Adopt(target.Pid); err != nil {
		t.Fatal(err)
	}
	if err := target.Verdict(); err != nil {
		t.Fatal(err)
	}
	runs := time.Since(began)
	target.Discard()
	_ = cmd.Wait() // the status of what was killed
	r, err := readReport(file)
	if err != nil {
		t.Fatal(err)
	}
	checkReport(t, r)
	if r.Total > runs || stageOf(t, r, stage.Resume).Wall <= 0 {
		t.Errorf("the restore took %v; the program ran after %v", r.Total, runs)
	}
}

// TestProfileFails has operations that fail: the target is as it was, and no profile pretends to be of a dump.
func TestProfileFails(t *testing.T) {
	target := startTarget(t, "mem_anon")
	file := filepath.Join(t.TempDir(), "report.json")
	missing := filepath.Join(t.TempDir(), "missing")
	// An earlier report stays where a later one fails.
	stages, marker := filepath.Join(t.TempDir(), "stages"), filepath.Join(t.TempDir(), "marker")
	for name, text := range map[string]string{file: "earlier", stages: "one syscall:mkdirat\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-o", file, "dump", "-t", strconv.Itoa(target.Pid), "-D", missing}, exitFailed, "missing"},
		{[]string{"dump"}, exitUsage, "pid not specified"},
		{[]string{"nothing"}, exitUsage, "can't be profiled"},
		{[]string{"--stages", stages, "dump", "-t", strconv.Itoa(target.Pid)}, exitUsage, "is for -- COMMAND"},
		{nil, exitUsage, "what is to be profiled"},
		{[]string{"--html", filepath.Join(missing, "page"), "dump", "-t", strconv.Itoa(target.Pid), "-D", t.TempDir()}, exitFailed, "--html"},
		{[]string{"--stages", stages, "--", "sh", "-c", "exit 5"}, 5, "no stage ran"},
		{[]string{"--stages", stages, "--pprof", filepath.Join(missing, "x"), "--", "touch", marker}, exitFailed, "--pprof"},
		{[]string{"--"}, exitUsage, "a command is missing"},
		{[]string{"--", "true"}, exitUsage, "has no stage map"},
		{[]string{"--stages", missing, "--", "true"}, exitFailed, "missing"},
		{[]string{"--probes", "nonsense", "dump", "-t", strconv.Itoa(target.Pid), "-D", t.TempDir()}, exitUsage, "there is no set of probes"},
		{[]string{"--probes", "vfs_read(", "dump", "-t", strconv.Itoa(target.Pid), "-D", t.TempDir()}, exitUsage, "vfs_read("},
		{[]string{"--backend", "perf", "dump", "-t", strconv.Itoa(target.Pid), "-D", t.TempDir()}, exitFailed, "events"},
		{[]string{"--html", marker, "--trace-json", marker, "dump", "-t", strconv.Itoa(target.Pid), "-D", t.TempDir()}, exitUsage, "another report goes there"},
		{[]string{"--html", file, "diff", missing, missing}, exitUsage, "only -o json"},
		{[]string{"diff", missing}, exitUsage, "want two reports"},
		{[]string{"diff", missing, missing}, exitFailed, "missing"},
	} {
		var stderr bytes.Buffer
		cmd := exec.Command("trapline", append([]string{"profile"}, c.args...)...)
		cmd.Stderr = &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != c.status || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("profile %q: %v, want status %d and %q in:\n%s", c.args, err, c.status, c.want, &stderr)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "earlier" {
		t.Errorf("the report of a failed dump: %v %s", err, text)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %q", err, left)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a command ran whose report can't be written")
	}
	if err := target.Verdict(); err != nil {
		t.Error(err)
	}
}

// TestProfileReports writes all reports of one run.
func TestProfileReports(t *testing.T) {
	target := startTarget(t, "mem_anon")
	dir := t.TempDir()
	name := func(s string) string { return filepath.Join(dir, s) }
	dump := []string{"dump", "-R", "-t", strconv.Itoa(target.Pid), "-D", filepath.Join(dir, "images")}
	if err := os.Mkdir(name("images"), 0o700); err != nil {
		t.Fatal(err)
	}
	a := profiled(t, append([]string{"--html", name("page.html"), "--trace-json", name("trace.json"), "--pprof", name("profile.pb.gz")}, dump...)...)
	for file, want := range map[string]string{"page.html": "<html", "trace.json": `"traceEvents"`} {
		text, err := os.ReadFile(name(file))
		if err != nil || !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s has no %s (%v)", file, want, err)
		}
	}
	out, err := exec.Command("go", "tool", "pprof", "-top", name("profile.pb.gz")).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("syscall:")) {
		t.Errorf("go tool pprof: %v\n%s", err, out)
	}
	// The same again, and the difference between the two.
	write := func(file string, r *profile.Report) {
		var b bytes.Buffer
		if err := r.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name(file), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.json", a)
	if err := os.Mkdir(name("images2"), 0o700); err != nil {
		t.Fatal(err)
	}
	dump[len(dump)-1] = name("images2")
	write("b.json", profiled(t, dump...))
	out, err = exec.Command("trapline", "profile", "diff", name("a.json"), name("b.json")).Output()
	if err != nil || !bytes.Contains(out, []byte("freeze")) {
		t.Errorf("profile diff: %v\n%s", err, out)
	}
	out, err = exec.Command("trapline", "profile", "--json", "diff", name("a.json"), name("b.json")).Output()
	if err != nil || !json.Valid(out) {
		t.Errorf("profile --json diff: %v\n%s", err, out)
	}
	if err := target.Verdict(); err != nil {
		t.Error(err)
	}
}

// TestProfileLive sees the table that is redrawn while a dump runs, and the last one in its place.
func TestProfileLive(t *testing.T) {
	target := startTarget(t, "mem_big", "1500")
	term := newTerminal(t, 120, 200)
	term.command("trapline profile dump -R -t " + strconv.Itoa(target.Pid) + " -D " + t.TempDir())
	term.waitFor("the live table", func(screen []string) bool {
		text := strings.Join(screen, "\n")
		return strings.Contains(text, ", stage ") && strings.Contains(text, "syscall:")
	})
	term.waitFor("the last table", func(screen []string) bool {
		text := strings.Join(screen, "\n")
		return strings.Contains(text, "dump by trapline") && strings.Contains(text, "(unexplained)") && !strings.Contains(text, ", stage ")
	})
	if err := target.Verdict(); err != nil {
		t.Error(err)
	}
}

// TestProfileGuests runs these tests where kernel functions can be probed.
func TestProfileGuests(t *testing.T) {
	if _, yes := vm.InGuest(); yes {
		return
	}
	if testing.Short() {
		t.Skip("guests are not for short runs")
	}
	vm.GoTest(t.Context(), t, vm.TestRun{Kernel: "6.12", Run: "^TestProfile(|KernelFunctions|Map)$"})
}

// checkTimeline compares the times of the stages with those that the engine itself has left with the images: of one process, whose stages
// follow each other, they are the same.
func checkTimeline(t *testing.T, r *profile.Report, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var engine stage.Report
	if err := json.Unmarshal(text, &engine); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, row := range engine.Stages {
		wall := stageOf(t, r, row.Stage).Wall
		switch row.Stage {
		case stage.Freeze, stage.Misc, stage.Files, stage.Core, stage.MM, stage.FS, stage.Cure:
			if wall != row.Dur {
				t.Errorf("stage %s took %v by the profile, %v by the engine", row.Stage, wall, row.Dur)
			}
			compared++
		default: // with others inside, or not yet at its end when the file is written
			if wall > row.Dur && row.Stage != stage.Finish {
				t.Errorf("stage %s took %v by the profile, which is more than %v by the engine", row.Stage, wall, row.Dur)
			}
		}
	}
	if compared != 7 {
		t.Errorf("%d stages of 7 compared", compared)
	}
}
