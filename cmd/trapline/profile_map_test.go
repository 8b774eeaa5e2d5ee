// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/trapline/trapline/checkpoint/stage"
)

// TestProfileMap profiles any program by a stage map of its own, passes its exit status on, and says what the program does not have.
func TestProfileMap(t *testing.T) {
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "program.c"), filepath.Join(dir, "program")
	stages, file := filepath.Join(dir, "stages"), filepath.Join(dir, "report.json")
	for name, text := range map[string]string{
		source: `#include <unistd.h>
#include <sys/wait.h>
__attribute__((noinline)) void inner(void) { for (int i = 0; i < 30; i++) getppid(); }
__attribute__((noinline)) void outer(void) { for (int i = 0; i < 20; i++) getpid(); inner(); for (int i = 0; i < 20; i++) getpid(); }
__attribute__((noinline)) void leaves(void) { for (int i = 0; i < 10; i++) getuid(); _exit(7); }
int main(void) { outer(); if (!fork()) leaves(); wait(0); outer(); return 3; }
`,
		stages: "engine mine\none outer\ntwo inner not_there\nthree leaves\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("gcc", "-O0", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command("trapline", "profile", "--stages", stages, "-o", file, "--", binary)
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 3 {
		t.Fatalf("the program's status is not passed on: %v", err)
	}
	r, err := readReport(file)
	if err != nil {
		t.Fatal(err)
	}
	checkReport(t, r)
	for _, want := range []struct {
		stage, call string
		n           uint64
	}{{"one", "getpid", 80}, {"two", "getppid", 60}, {"three", "getuid", 10}} {
		if got := calls(stageOf(t, r, stage.Name(want.stage)), "syscall:"+want.call); got != want.n {
			t.Errorf("stage %s: %d calls of %s, want %d", want.stage, got, want.call, want.n)
		}
	}
	if len(r.Processes) != 2 || r.Engine != "mine" || !strings.Contains(strings.Join(r.Warnings, "\n"), "not_there") ||
		!strings.Contains(strings.Join(r.Warnings, "\n"), "ended with status 3") {
		t.Errorf("%d processes, engine %q, warnings %q", len(r.Processes), r.Engine, r.Warnings)
	}
}

// TestProfileGoProgram profiles a stripped Go program, whose functions can't have return probes, and which must not notice.
func TestProfileGoProgram(t *testing.T) {
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	stages, file := filepath.Join(dir, "stages"), filepath.Join(dir, "report.json")
	for name, text := range map[string]string{
		source: `package main

import (
	"os"
	"runtime"
	"syscall"
)

type T struct{}

//go:noinline
func (*T) Inner(n int) int {
	var big [512]int // the stack has to grow: it moves
	if n > 0 {
		big[n%512] = (&T{}).Inner(n - 1)
	} else {
		for range 30 {
			syscall.Getppid()
		}
	}
	runtime.Gosched()
	return big[n%512] + n
}

//go:noinline
func deep(n int) int {
	syscall.Getpgrp()
	if n == 0 {
		return 1
	}
	n = deep(n-1) + 1
	syscall.Getgid() // on the way back
	return n
}

//go:noinline
func outer(c chan int) {
	if deep(20) != 21 {
		os.Exit(2)
	}
	for range 20 {
		syscall.Getuid()
	}
	go func() { c <- (&T{}).Inner(500) }()
	if <-c != 125250 {
		os.Exit(1)
	}
	for range 20 {
		syscall.Getuid()
	}
}

func main() {
	for range 3 {
		outer(make(chan int))
	}
	os.Exit(5)
}
`,
		stages: "one main.outer\ntwo main.(*T).Inner main.gone\nthree main.deep\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", binary, source)
	build.Env = append(os.Environ(), "GOFLAGS=", "GO111MODULE=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command("trapline", "profile", "--stages", stages, "-o", file, "--", binary)
	if out, err := cmd.CombinedOutput(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 5 {
		t.Fatalf("the program noticed: %v\n%s", err, out)
	}
	r, err := readReport(file)
	if err != nil {
		t.Fatal(err)
	}
	checkReport(t, r)
	if one := calls(stageOf(t, r, "one"), "syscall:getuid"); one != 120 {
		t.Errorf("stage one: %d calls of getuid, want 120", one)
	}
	if two := calls(stageOf(t, r, "two"), "syscall:getppid"); two != 90 {
		t.Errorf("stage two: %d calls of getppid, want 90", two)
	}
	if three := calls(stageOf(t, r, "three"), "syscall:getgid"); three != 60 && runtime.GOARCH == "amd64" {
		t.Errorf("stage three: %d calls of getgid on the way back, want 60", three)
	}
	if !strings.Contains(strings.Join(r.Warnings, "\n"), "main.gone") {
		t.Errorf("what the program does not have is not said: %q", r.Warnings)
	}
}
