// SPDX-License-Identifier: Apache-2.0

package testprog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Hits is the program hits, which does given numbers of calls for probes to count: see c/hits.c for what it can do.
type Hits struct {
	// Path is the program, for uprobes.
	Path string
	// Cmd is what was started: the program, or what started it in turn.
	Cmd *exec.Cmd

	commands *os.File
	answers  *os.File
	lines    *bufio.Reader
	stderr   bytes.Buffer
	done     bool
}

// StartHits starts the program and waits until it takes commands. It runs on one processor, or anywhere if that is negative.
// wrap, if not nil, makes the command line out of the program's: that of a tracer which starts the program when it is ready
// itself ("perf stat … --", "bpftrace -c …") and hands descriptors on.
func StartHits(cpu int, wrap func(program []string) *exec.Cmd) (*Hits, error) {
	path, err := Build("hits")
	if err != nil {
		return nil, err
	}
	h := &Hits{Path: path}
	args := []string{path}
	if cpu >= 0 {
		args = append(args, strconv.Itoa(cpu))
	}
	if wrap != nil {
		h.Cmd = wrap(args)
	} else {
		h.Cmd = exec.Command(args[0], args[1:]...)
	}
	if err := h.start(); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (h *Hits) start() error {
	answers, theirAnswers, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("testprog: hits: %w", err)
	}
	defer theirAnswers.Close()
	h.answers = answers
	theirCommands, commands, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("testprog: hits: %w", err)
	}
	defer theirCommands.Close()
	h.commands = commands
	h.lines = bufio.NewReader(answers)
	h.Cmd.ExtraFiles = []*os.File{theirAnswers, theirCommands}
	if h.Cmd.Stderr == nil {
		h.Cmd.Stderr = &h.stderr
	}
	if err := h.Cmd.Start(); err != nil {
		return fmt.Errorf("testprog: hits: %w", err)
	}
	theirAnswers.Close()
	if line, err := h.lines.ReadString('\n'); err != nil || line != "ready\n" {
		return fmt.Errorf("testprog: %s did not come up: %w", h.Cmd, errors.Join(err, h.Close()))
	}
	return nil
}

// Took is how long a command of Hits took.
type Took struct {
	Wall, CPU time.Duration
}

// Do has the program do one command, such as "getppid 1000", and returns how long that took.
func (h *Hits) Do(format string, args ...any) (took Took, err error) {
	command := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(h.commands, command); err != nil {
		return took, fmt.Errorf("testprog: hits: %s: %w", command, err)
	}
	line, err := h.lines.ReadString('\n')
	if err != nil {
		return took, fmt.Errorf("testprog: hits: %s: %w", command, errors.Join(err, h.Close()))
	}
	if _, err := fmt.Sscan(line, (*int64)(&took.Wall), (*int64)(&took.CPU)); err != nil {
		return took, fmt.Errorf("testprog: hits: %s: answer %q: %w", command, line, err)
	}
	return took, nil
}

// Close lets the program end, waits for the command that it was started by, and returns how that ended.
func (h *Hits) Close() error {
	if h.done {
		return nil
	}
	h.done = true
	// The end of the commands is the order to end.
	if h.commands != nil {
		h.commands.Close()
	}
	var err error
	if h.Cmd.Process != nil {
		if err = h.Cmd.Wait(); err != nil {
			err = fmt.Errorf("%w\n%s", err, strings.TrimSpace(h.stderr.String()))
		}
	}
	if h.answers != nil {
		h.answers.Close()
	}
	return err
}

// Remove removes the program's copy, which Build made.
func (h *Hits) Remove() { os.RemoveAll(filepath.Dir(h.Path)) }
