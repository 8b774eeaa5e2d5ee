// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trapline/trapline/loader/internal/spectest"
)

// delicate is a program that does what return probes could harm: it uses the stack that it was started with, returns twice
// from one call, leaves calls, shares its stack with a child, switches stacks, and has its cold parts jumped to. It says
// itself whether it is whole.
const delicate = `
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static jmp_buf env;
static ucontext_t here, there;
static char stack[65536];
static volatile int switched;

__attribute__((noinline)) void leap(int n) { if (n) leap(n - 1); longjmp(env, 3); }
__attribute__((noinline)) void other(void) { switched = 1; }
__attribute__((noinline)) void complain(const char *what) { printf("broken: %s\n", what); _exit(1); }
__attribute__((noinline)) void check(int ok, const char *what) { if (__builtin_expect(!ok, 0)) complain(what); }

int main(int argc, char **argv, char **envp)
{
	check(argc == 4, "argc");
	check(!strcmp(argv[1], "one") && !strcmp(argv[2], "two") && !strcmp(argv[3], "three") && !argv[4], "argv");
	check(envp == argv + 5, "envp");
	for (volatile int i = 0; i < 3; i++) {
		int n = setjmp(env);
		if (!n)
			leap(i);
		check(n == 3, "setjmp");
		pid_t pid = vfork();
		if (!pid)
			_exit(7);
		int status;
		check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7, "vfork");
	}
	getcontext(&there);
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = sizeof stack;
	there.uc_link = &here;
	makecontext(&there, other, 0);
	swapcontext(&here, &there);
	check(switched, "swapcontext");
	printf("whole\n");
	return 0;
}
`

// A program all whose functions have return probes does what it does without them.
func TestReturnsDoNoHarm(t *testing.T) {
	// The last one brings all of the C library: functions of hand-written code too.
	for _, flags := range [][]string{{"-O0"}, {"-O2"}, {"-O2", "-static"}} {
		path := filepath.Join(t.TempDir(), "delicate")
		cmd := exec.Command("cc", append([]string{"-x", "c", "-", "-o", path}, flags...)...)
		cmd.Stdin = strings.NewReader(delicate)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cc: %v\n%s", err, out)
		}
		text := "uprobe:" + path + ":*%latency"
		s := open(t, Options{}, text)
		s.Enable()
		run := exec.Command(path, "one", "two", "three")
		var out strings.Builder
		run.Stdout, run.Stderr = &out, &out
		if err := s.Launch(run); err != nil {
			t.Fatal(err)
		}
		err := run.Wait()
		if out.String() != "whole\n" || err != nil {
			t.Errorf("%v: %q, %v; want whole", flags, out.String(), err)
		}
		hits := map[string]uint64{}
		for _, r := range s.Read(nil) {
			hits[r.Probe.Name] = r.Stats.Count
		}
		if hits["uprobe:"+path+":other"] != 1 {
			t.Errorf("%v: other was hit %d times, want 1", flags, hits["uprobe:"+path+":other"])
		}
		s.Close()
	}
}

// A probe at each instruction of a function leaves the function as it is.
func TestEveryInstruction(t *testing.T) {
	path := recursion(t)
	place := "uprobe:" + path + ":recurse"
	var texts []string
	for offset := 1; offset < 64; offset++ {
		text := fmt.Sprintf("%s+%d", place, offset)
		s, err := Open(t.Context(), spectest.Parse(t, text), &Options{Filter: true})
		if err != nil {
			if !strings.Contains(err.Error(), "inside an instruction") && !strings.Contains(err.Error(), "behind the end") {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		s.Close()
		texts = append(texts, text)
	}
	if len(texts) < 5 {
		t.Fatalf("only %d places", len(texts))
	}
	s := open(t, Options{}, texts...)
	got := trace(t, s, path, "3", "10", "0", "0", "0")
	hits := uint64(0)
	for _, r := range got {
		hits += r.Stats.Count
	}
	if hits < 30 {
		t.Errorf("%d hits at %d instructions", hits, len(texts))
	}
}
