// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A terminal is one of tmux, with a shell in it. It is how a test types and sees what a user would.
type terminal struct {
	t      *testing.T
	socket string
}

// terminalPrompt is what the shell in a terminal shows when it waits for a command.
const terminalPrompt = "ready> "

// newTerminal starts a terminal of so many columns and lines, in a tmux server of its own.
func newTerminal(t *testing.T, width, height int) *terminal {
	t.Helper()
	term := &terminal{t: t, socket: filepath.Join(t.TempDir(), "tmux")}
	term.tmux("-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height),
		"env", "PS1="+terminalPrompt, "PATH="+os.Getenv("PATH"), "LC_ALL=C.UTF-8", "sh")
	t.Cleanup(func() { term.tmux("kill-server") })
	term.waitFor("a prompt", func(screen []string) bool { return screen[0] == strings.TrimSpace(terminalPrompt) })
	return term
}

// tmux runs a command of tmux and gives what it prints.
func (term *terminal) tmux(args ...string) string {
	term.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-u", "-S", term.socket}, args...)...).CombinedOutput()
	if err != nil {
		term.t.Fatalf("tmux %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// keys types keys by tmux's names of them.
func (term *terminal) keys(keys ...string) {
	term.t.Helper()
	term.tmux(append([]string{"send-keys"}, keys...)...)
}

// command types a line.
func (term *terminal) command(line string) {
	term.t.Helper()
	term.tmux("send-keys", "-l", line)
	term.keys("Enter")
}

// screen gives the lines that are seen, without blanks at their ends.
func (term *terminal) screen() []string {
	term.t.Helper()
	lines := strings.Split(term.tmux("capture-pane", "-p"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

// history gives all lines, also those that have scrolled away.
func (term *terminal) history() string {
	term.t.Helper()
	return term.tmux("capture-pane", "-p", "-S", "-")
}

// format gives the value of a tmux format.
func (term *terminal) format(format string) string {
	term.t.Helper()
	return strings.TrimSpace(term.tmux("display-message", "-p", format))
}

// How long a terminal is watched for something to appear, and how often it is looked at.
const (
	screenDeadline = 30 * time.Second
	screenEvery    = 30 * time.Millisecond
)

// waitFor looks at the terminal until it shows what is wanted, and gives the lines then.
func (term *terminal) waitFor(what string, wanted func(screen []string) bool) []string {
	term.t.Helper()
	tick := time.NewTicker(screenEvery)
	defer tick.Stop()
	deadline := time.After(screenDeadline)
	for {
		screen := term.screen()
		if wanted(screen) {
			return screen
		}
		select {
		case <-tick.C:
		case <-deadline:
			term.t.Fatalf("the terminal does not show %s:\n%s", what, term.history())
		}
	}
}

// contains makes a condition of waitFor: a line has this in it.
func contains(text string) func([]string) bool {
	return func(screen []string) bool { return strings.Contains(strings.Join(screen, "\n"), text) }
}
