// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/trapline/trapline/internal/vm/wire"
)

// killGrace is how long a killed command's end is awaited.
const killGrace = 5 * time.Second

// Command is a program to run in a guest, as root.
type Command struct {
	// Args is the program and its arguments. A name without a slash is looked up in the guest's PATH.
	Args []string
	// Env is added to the guest's environment.
	Env []string
	// Dir is the working directory; "" is /.
	Dir string
	// Stdin is the command's standard input; nil is none. After the command's end Run does not wait for a Read that is under way.
	Stdin io.Reader
	// Stdout and Stderr take the output; nil throws it away. If they are the same, the order of output is kept. A Write that blocks stops the output of the guest's other commands.
	Stdout, Stderr io.Writer
	// Terminal, if set, gives the command a terminal of this size; everything it prints goes to Stdout then.
	Terminal *TerminalSize
	// Signals are sent to the command's process group as they come. It may be nil.
	Signals <-chan syscall.Signal
	// Sizes are later sizes of the terminal. It may be nil.
	Sizes <-chan TerminalSize
}

// TerminalSize is in characters.
type TerminalSize struct {
	Rows, Columns uint16
}

// ExitError says that a command ran and did not succeed.
type ExitError struct {
	Command string
	// Code is the exit status, -1 if a signal killed the command.
	Code int
	// Signal killed the command; 0 is none.
	Signal syscall.Signal
}

func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("%s: killed by signal %d (%v)", e.Command, int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("%s: exit status %d", e.Command, e.Code)
}

// command is one that runs.
type command struct {
	Command
	exit chan wire.Exit
}

// Run runs a command in the guest and returns when it has ended. The error is an *ExitError if the command ran and failed, wraps
// ErrCrashed if the kernel panicked meanwhile, ErrEnded if the guest is gone for another reason, and ctx.Err() if ctx ended; the
// command is killed then. Several commands may run at once.
func (g *Guest) Run(ctx context.Context, c Command) error {
	if err := g.run(ctx, c); err != nil {
		return fmt.Errorf("vm: guest %s: %w", g.config.Kernel.Series, err)
	}
	return nil
}

func (g *Guest) run(ctx context.Context, c Command) error {
	name := strings.Join(c.Args, " ")
	running := &command{Command: c, exit: make(chan wire.Exit, 1)}
	g.mu.Lock()
	if g.ended {
		g.mu.Unlock()
		return g.death()
	}
	g.last++
	id := g.last
	g.commands[id] = running
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.commands, id)
		g.mu.Unlock()
	}()

	start := &wire.Start{Args: c.Args, Env: c.Env, Dir: c.Dir, Merged: same(c.Stdout, c.Stderr)}
	if c.Terminal != nil {
		start.Terminal = &wire.Size{Rows: c.Terminal.Rows, Columns: c.Terminal.Columns}
	}
	if err := g.send(wire.ToGuest{ID: id, Start: start, StdinEOF: c.Stdin == nil && c.Terminal == nil}); err != nil {
		return g.death()
	}
	if c.Stdin != nil {
		go g.feed(id, c.Stdin)
	}
	for {
		select {
		case exit, alive := <-running.exit:
			if !alive {
				return fmt.Errorf("%s: %w", name, g.death())
			}
			return exitError(name, exit)
		case sig := <-c.Signals:
			if err := g.send(wire.ToGuest{ID: id, Signal: int(sig)}); err != nil {
				return g.death()
			}
		case size := <-c.Sizes:
			if err := g.send(wire.ToGuest{ID: id, Size: &wire.Size{Rows: size.Rows, Columns: size.Columns}}); err != nil {
				return g.death()
			}
		case <-ctx.Done():
			return g.stop(ctx, id, name, running)
		}
	}
}

// same tells whether both writers are one. Some types can't be compared; these are not.
func same(a, b io.Writer) (equal bool) {
	defer func() {
		if recover() != nil {
			equal = false
		}
	}()
	return a == b
}

// stop kills a command whose time is up.
func (g *Guest) stop(ctx context.Context, id int, name string, running *command) error {
	if err := g.send(wire.ToGuest{ID: id, Signal: int(syscall.SIGKILL)}); err != nil {
		return fmt.Errorf("%s: %w: %w", name, ctx.Err(), g.death())
	}
	limit := time.NewTimer(killGrace)
	defer limit.Stop()
	select {
	case _, alive := <-running.exit:
		if !alive {
			return fmt.Errorf("%s: %w: %w", name, ctx.Err(), g.death())
		}
		return fmt.Errorf("%s: %w", name, ctx.Err())
	case <-limit.C:
		return fmt.Errorf("%s: %w, and the guest does not answer any more%s", name, ctx.Err(), g.quoteConsole())
	}
}

func exitError(name string, exit wire.Exit) error {
	switch {
	case exit.Error != "":
		return fmt.Errorf("%s: %s", name, exit.Error)
	case exit.Code != 0:
		return &ExitError{Command: name, Code: exit.Code, Signal: syscall.Signal(exit.Signal)}
	}
	return nil
}

// feed sends a command's standard input.
func (g *Guest) feed(id int, stdin io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := stdin.Read(buffer)
		if g.send(wire.ToGuest{ID: id, Stdin: buffer[:n], StdinEOF: err != nil}) != nil || err != nil {
			return
		}
	}
}

// send sends one line to the agent.
func (g *Guest) send(line wire.ToGuest) error {
	g.sending.Lock()
	defer g.sending.Unlock()
	return g.out.Encode(line)
}

// receive hands the agent's lines to the commands, until the port ends.
func (g *Guest) receive() {
	in := json.NewDecoder(g.port)
	for {
		var line wire.FromGuest
		if err := in.Decode(&line); err != nil {
			if !errors.Is(err, io.EOF) {
				g.log.Debug("the agent's port", "error", err)
			}
			g.lost()
			return
		}
		if line.Ready != nil {
			close(g.ready)
			continue
		}
		g.mu.Lock()
		c := g.commands[line.ID]
		g.mu.Unlock()
		if c == nil {
			continue
		}
		deliver(c.Stdout, line.Stdout)
		deliver(c.Stderr, line.Stderr)
		if line.Exit != nil {
			c.exit <- *line.Exit
		}
	}
}

// deliver writes output. A writer that fails loses the rest of it, as a closed pipe does.
func deliver(w io.Writer, b []byte) {
	if w != nil && len(b) > 0 {
		_, _ = w.Write(b)
	}
}

// lost tells every command that the guest is gone.
func (g *Guest) lost() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	for _, c := range g.commands {
		close(c.exit)
	}
}
