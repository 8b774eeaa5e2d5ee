// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runTrapline runs trapline, which must end with a status, and gives its standard output and standard error.
func runTrapline(t *testing.T, status int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, problems strings.Builder
	cmd := exec.Command("trapline", args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != status {
		t.Fatalf("trapline %s: %v, want status %d\n%s%s", strings.Join(args, " "), err, status, out.String(), problems.String())
	}
	return out.String(), problems.String()
}

// With the patch, a kernel without eBPF gives the tables that others give.
func TestPatchTable(t *testing.T) {
	file := t.TempDir() + "/table"
	runTrapline(t, 0, "trace", "-o", file, "vfs_write", "--", "trapline", "--version")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 4 || !slices.Equal(strings.Fields(lines[1]), latencyColumns) {
		t.Fatalf("not the columns %q:\n%s", latencyColumns, text)
	}
	if row := strings.Fields(lines[3]); len(row) != len(latencyColumns) || row[0] != "vfs_write" || row[1] == "0" || row[len(row)-1] != "0" {
		t.Errorf("not a row of vfs_write without losses: %q", row)
	}

	runTrapline(t, 0, "trace", "--json", "-o", file, "vfs_*", "syscall:*", "--", "trapline", "--version")
	hits := map[string]uint64{}
	for _, line := range jsonLines(t, file) {
		hits[line.Probe] = line.Count
		if line.Type == "end" && line.Probes < 200 {
			t.Errorf("%d probes of vfs_* and syscall:*, want 200 and more", line.Probes)
		}
	}
	for _, probe := range []string{"vfs_read", "vfs_open", "syscall:write", "syscall:execve", "syscall:openat"} {
		if hits[probe] == 0 {
			t.Errorf("no hit of %s: %v", probe, hits)
		}
	}
}

// Events have arguments and registers, and stacks where the kernel records them.
func TestPatchEvents(t *testing.T) {
	file := t.TempDir() + "/events"
	args := []string{"trace", "--regs", "-o", file}
	wanted := []string{" trapline-", "vfs_write(len=", "\n    pc vfs_write", " a0 ", "PROBE"}
	if exec.Command("trapline", "check", "--feature", "patch_stack").Run() == nil {
		args = append(args, "--stack")
		wanted = append(wanted, "ksys_write+0x")
	}
	runTrapline(t, 0, append(args, "vfs_write len=%a2:u64", "--", "trapline", "--version")...)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range wanted {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

// probe says what the kernel does at a place, or why it does nothing there and what works instead.
func TestPatchProbe(t *testing.T) {
	out, _ := runTrapline(t, 0, "probe", "vfs_write")
	for _, want := range []string{"vfs_write at 0xffffffff", "latency  yes: patch.jump; ", "a jump in place of 0x", "to a slot at 0xffffffff"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	out, _ = runTrapline(t, 1, "probe", "handle_exception", "no_such_function_at_all", "fentry:vfs_read", "--json")
	for _, want := range []string{"trap and entry path", "symbol no_such_function_at_all: not found", "by backend patch"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	_, problems := runTrapline(t, 1, "trace", "handle_exception")
	if !strings.Contains(problems, "probe handle_exception: it is part of the trap and entry path") {
		t.Errorf("trace of what can't be probed says:\n%s", problems)
	}
}

// check has a section for the patch.
func TestPatchCheck(t *testing.T) {
	out, _ := runTrapline(t, 0, "check")
	_, section, _ := strings.Cut(out, "Probes by the kernel's patch\n")
	for _, name := range []string{"patch", "patch_symbols", "patch_jump"} {
		if !regexp.MustCompile(`(?m)^yes +` + name + ` `).MatchString(section) {
			t.Errorf("%s is not there:\n%s", name, section)
		}
	}
}
