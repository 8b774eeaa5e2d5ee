// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// startCalls starts a process that calls getpgid each 10 ms, and gives its PID.
func startCalls(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", "-S", "-c", "import os, time\nprint('begun', flush=True)\nwhile True:\n os.getpgid(0); time.sleep(0.01)")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it ends by no other means
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "begun\n" {
		t.Fatalf("python3 prints %q, %v", line, err)
	}
	return cmd.Process.Pid
}

// rowOf finds a probe's row on the screen: on which line it stands, and its count. y is -1 if there is none.
func rowOf(screen []string, probe string) (y int, hits uint64) {
	for y, line := range screen {
		words := strings.Fields(line)
		if len(words) < 2 || strings.TrimSuffix(words[0], "%latency") != probe {
			continue
		}
		if n, err := strconv.ParseUint(words[1], 10, 64); err == nil {
			return y, n
		}
	}
	return -1, 0
}

// TestLiveTable watches the table as a user does: it counts in place, keys change it, and after Ctrl-C the last one and the
// prompt stand there.
func TestLiveTable(t *testing.T) {
	pid := startCalls(t)
	term := newTerminal(t, 120, 24)
	line := fmt.Sprintf("trapline trace -i 100ms --sort probe -p %d 'syscall:*'", pid)
	term.command(line)

	before := term.waitFor("the row of getpgid", func(screen []string) bool { y, _ := rowOf(screen, "syscall:getpgid"); return y > 0 })
	scrolled := term.format("#{history_size}")
	y, hits := rowOf(before, "syscall:getpgid")
	term.waitFor("a larger number on the same line", func(screen []string) bool {
		nowY, now := rowOf(screen, "syscall:getpgid")
		if nowY != y { // a system call that comes before it has made its first hit
			y, hits = nowY, now
			return false
		}
		return now > hits
	})
	after := term.screen()
	if got := term.format("#{history_size}"); got != scrolled || !strings.Contains(after[0], line) {
		t.Errorf("the screen has scrolled: %s lines before, %s now:\n%s", scrolled, got, strings.Join(after, "\n"))
	}
	if got := term.format("#{cursor_flag}"); got != "0" {
		t.Errorf("the cursor is shown during redraws (cursor_flag is %s)", got)
	}
	if n := strings.Count(strings.Join(after, "\n"), "PROBE"); n != 1 {
		t.Errorf("%d tables on the screen, want 1", n)
	}

	term.keys("s")
	term.waitFor("the next order", contains("sort: total"))
	term.keys("r")
	term.waitFor("the other way round", contains("sort: total, reversed"))
	term.keys("h")
	screen := term.waitFor("histograms", contains("│"))
	if strings.Contains(strings.Join(screen, "\n"), "PROBE ") {
		t.Errorf("the table is still there:\n%s", strings.Join(screen, "\n"))
	}
	term.keys("h")
	term.waitFor("the table", contains("PROBE "))
	term.keys("p")
	term.waitFor("that it is paused", contains("(paused)"))
	term.keys("p")
	term.waitFor("that it is not", func(screen []string) bool { return !contains("(paused)")(screen) })

	term.tmux("resize-window", "-x", "60", "-y", "24")
	term.waitFor("a narrower table", func(screen []string) bool {
		for _, line := range screen {
			if utf8.RuneCountInString(line) > 60 {
				return false
			}
		}
		text := strings.Join(screen, "\n")
		return strings.Contains(text, "\nsyscall:") && strings.Count(text, "PROBE") == 1 && !strings.Contains(text, "CORRECT")
	})
	term.tmux("resize-window", "-x", "120", "-y", "24")
	screen = term.waitFor("a wide table", func(screen []string) bool { y, _ := rowOf(screen, "syscall:getpgid"); return y > 0 })

	_, hits = rowOf(screen, "syscall:getpgid")
	term.keys("C-c")
	screen = term.waitFor("the prompt", func(screen []string) bool { return lastLine(screen) == strings.TrimSpace(terminalPrompt) })
	if y, last := rowOf(screen, "syscall:getpgid"); y < 0 || last < hits {
		t.Errorf("the last table does not have the row, or fewer hits (%d) than before (%d):\n%s", last, hits, strings.Join(screen, "\n"))
	}
	if strings.Contains(strings.Join(screen, "\n"), "q quit") {
		t.Errorf("the last table still speaks of keys:\n%s", strings.Join(screen, "\n"))
	}
	term.checkRestored()
}

// checkRestored checks that the terminal is as it was: it echoes, the cursor is seen, and the program ended well.
func (term *terminal) checkRestored() {
	term.t.Helper()
	if got := term.format("#{cursor_flag}"); got != "1" {
		term.t.Errorf("the cursor is hidden (cursor_flag is %s)", got)
	}
	term.command("echo status $? of $((40+2)); stty -a | grep -c -- '[^-]icanon.*'")
	screen := term.waitFor("the status", contains("status 0 of 42\n1"))
	if !contains("echo status $? of")(screen) {
		term.t.Errorf("what is typed is not seen:\n%s", strings.Join(screen, "\n"))
	}
}

// lastLine is the last line with something on it.
func lastLine(screen []string) string {
	last := ""
	for _, line := range screen {
		if line != "" {
			last = line
		}
	}
	return last
}

// TestLiveTableEnds checks that every other end than Ctrl-C also leaves the last table and the terminal as it was.
func TestLiveTableEnds(t *testing.T) {
	for _, c := range []struct {
		name    string
		options string
		end     func(t *testing.T, term *terminal, calls int)
	}{
		{"key", "", func(_ *testing.T, term *terminal, _ int) { term.keys("q") }},
		{"duration", "-d 2", func(*testing.T, *terminal, int) {}},
		{"SIGTERM", "", func(t *testing.T, term *terminal, _ int) { signalTrace(t, term, unix.SIGTERM) }},
		{"Ctrl-backslash", "", func(_ *testing.T, term *terminal, _ int) { term.keys("C-\\") }},
		{"SIGHUP", "", func(t *testing.T, term *terminal, _ int) { signalTrace(t, term, unix.SIGHUP) }},
		{"traced process", "", func(t *testing.T, _ *terminal, calls int) {
			if err := unix.Kill(calls, unix.SIGKILL); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			pid := startCalls(t)
			term := newTerminal(t, 100, 20)
			term.command(fmt.Sprintf("trapline trace -i 50ms --no-calibrate %s -p %d syscall:getpgid", c.options, pid))
			term.waitFor("the row", func(screen []string) bool { _, n := rowOf(screen, "syscall:getpgid"); return n > 0 })
			c.end(t, term, pid)
			screen := term.waitFor("the prompt", func(screen []string) bool { return lastLine(screen) == strings.TrimSpace(terminalPrompt) })
			if y, _ := rowOf(screen, "syscall:getpgid"); y < 0 {
				t.Errorf("the last table is gone:\n%s", strings.Join(screen, "\n"))
			}
			term.checkRestored()
		})
	}
}

// TestLiveTableStops checks that a stopped trace leaves the terminal to the shell, and that it goes on below what was written there.
func TestLiveTableStops(t *testing.T) {
	pid := startCalls(t)
	term := newTerminal(t, 100, 40)
	term.command(fmt.Sprintf("trapline trace -i 50ms --no-calibrate -p %d syscall:getpgid", pid))
	row := func(screen []string) bool { _, n := rowOf(screen, "syscall:getpgid"); return n > 0 }
	term.waitFor("the row", row)
	term.keys("C-z")
	prompt := func(screen []string) bool { return lastLine(screen) == strings.TrimSpace(terminalPrompt) }
	screen := term.waitFor("the prompt", prompt)
	if got := term.format("#{cursor_flag}"); got != "1" || !row(screen) {
		t.Errorf("the cursor is hidden (cursor_flag is %s) or the table gone:\n%s", got, strings.Join(screen, "\n"))
	}
	term.command("stty -a | grep -c -- '[^-]icanon.*'; stty -a | grep -c -- '[^-]echo .*'; echo $((40+2)) between")
	if screen = term.waitFor("the next command", contains("42 between")); !contains("1\n1\n42 between")(screen) || !contains("echo $((40+2))")(screen) {
		t.Errorf("what is typed is not seen:\n%s", strings.Join(screen, "\n"))
	}

	term.command("bg; echo $((60+2)) behind")
	term.waitFor("the prompt", contains("62 behind"))
	term.command("fg")
	below := func(screen []string) bool {
		text := strings.Join(screen, "\n")
		_, after, ok := strings.Cut(text, "62 behind")
		return ok && strings.Count(text, "PROBE ") == 2 && strings.Count(after, "PROBE ") == 1 && contains("q quit")(screen)
	}
	term.waitFor("a table below the commands", below)
	if got := term.format("#{cursor_flag}"); got != "0" {
		t.Errorf("the cursor is shown during redraws (cursor_flag is %s)", got)
	}
	term.keys("q")
	if screen = term.waitFor("the prompt", prompt); !contains("42 between")(screen) {
		t.Errorf("the table was drawn over what others wrote:\n%s", strings.Join(screen, "\n"))
	}
	term.checkRestored()
}

// TestSignalTwice checks that a second signal ends a trace whose terminal takes no output, and gives the terminal back.
func TestSignalTwice(t *testing.T) {
	pid := startCalls(t)
	term := newTerminal(t, 100, 20)
	term.command(fmt.Sprintf("trapline trace -i 20ms --no-calibrate -p %d syscall:getpgid; echo status $?", pid))
	term.waitFor("the row", func(screen []string) bool { _, n := rowOf(screen, "syscall:getpgid"); return n > 0 })
	term.keys("C-s")
	trace := traceOf(t, term)
	for unix.Kill(trace, unix.SIGTERM) == nil { // to the end of the process
		time.Sleep(screenEvery)
	}
	term.keys("C-q")
	term.waitFor("the status", contains("status 143"))
	term.command("true; stty -a | grep -c -- '[^-]icanon.*'; echo $((40+2))")
	if screen := term.waitFor("the next command", contains("\n42")); !contains("1\n42")(screen) {
		t.Errorf("keys are still single:\n%s", strings.Join(screen, "\n"))
	}
}

// signalTrace sends a signal to the trace that is the child of the terminal's shell.
func signalTrace(t *testing.T, term *terminal, sig unix.Signal) {
	t.Helper()
	if err := unix.Kill(traceOf(t, term), sig); err != nil {
		t.Error(err)
	}
}

// traceOf gives the PID of the child of the terminal's shell.
func traceOf(t *testing.T, term *terminal) int {
	t.Helper()
	shell := term.format("#{pane_pid}")
	children, err := os.ReadFile("/proc/" + shell + "/task/" + shell + "/children")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		t.Fatalf("children of the shell: %q", children)
	}
	return pid
}

// TestCommandOnTerminal checks that a command keeps the terminal for itself, gets Ctrl-C, and that its status is passed on.
func TestCommandOnTerminal(t *testing.T) {
	term := newTerminal(t, 120, 24)
	term.command("trapline trace --no-calibrate syscall:write -- sh -c 'read answer; echo got $answer; exit 9'; echo status $?")
	waitForTraced(t, term, "sh")
	term.command("yes")
	screen := term.waitFor("the status", contains("status 9"))
	if y, _ := rowOf(screen, "syscall:write"); y < 0 || !contains("got yes")(screen) {
		t.Errorf("want the command's output, then the table:\n%s", strings.Join(screen, "\n"))
	}

	term.command("clear; trapline trace --no-calibrate syscall:write -- sh -c 'trap \"echo trapped; exit 5\" INT; echo $((40+2)) waits; read x'; echo status $?")
	term.waitFor("the command", contains("42 waits"))
	term.keys("C-c")
	screen = term.waitFor("the status", contains("status 5"))
	if !contains("\ntrapped")(screen) && !contains("^Ctrapped")(screen) {
		t.Errorf("the command did not get Ctrl-C:\n%s", strings.Join(screen, "\n"))
	}
}

// waitForTraced waits until the command below trace runs.
func waitForTraced(t *testing.T, term *terminal, command string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), screenDeadline)
	defer cancel()
	tick := time.NewTicker(screenEvery)
	defer tick.Stop()
	shell := term.format("#{pane_pid}")
	for {
		if out, err := exec.CommandContext(ctx, "sh", "-c", "ps -o comm= --ppid $(ps -o pid= --ppid "+shell+")").Output(); err == nil && strings.TrimSpace(string(out)) == command {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s does not run:\n%s", command, term.history())
		}
	}
}
