// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/vm/wire"
)

// outputGrace is how long after a command's end its output is still awaited, when a process that it left behind holds the pipes.
const outputGrace = time.Second

// job is a running command.
type job struct {
	cmd      *exec.Cmd
	stdin    *queue
	terminal *os.File // nil without a terminal
}

// start starts a command, in a session of its own so that a signal reaches all of it.
func (s *server) start(id int, start *wire.Start) (*job, error) {
	if len(start.Args) == 0 {
		return nil, errors.New("no command given")
	}
	cmd := exec.Command(start.Args[0], start.Args[1:]...)
	cmd.Env = append(os.Environ(), start.Env...)
	cmd.Dir = start.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = outputGrace
	j := &job{cmd: cmd, stdin: newQueue()}
	if start.Terminal != nil {
		return j, s.startOnTerminal(id, j, start.Terminal)
	}
	cmd.Stdout = &sender{func(b []byte) { s.send(wire.FromGuest{ID: id, Stdout: b}) }}
	cmd.Stderr = &sender{func(b []byte) { s.send(wire.FromGuest{ID: id, Stderr: b}) }}
	if start.Merged {
		cmd.Stderr = cmd.Stdout // the same value: exec gives the command one pipe for both
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer stdin.Close()
		j.stdin.copyTo(stdin)
	}()
	go func() {
		err := cmd.Wait()
		j.stdin.add(nil, true)
		s.send(wire.FromGuest{ID: id, Exit: exit(cmd, err)})
	}()
	return j, nil
}

// startOnTerminal runs the command with a new pseudo terminal for all three streams.
func (s *server) startOnTerminal(id int, j *job, size *wire.Size) error {
	master, slave, err := openTerminal()
	if err != nil {
		return err
	}
	defer slave.Close()
	if err := setSize(master, size); err != nil {
		master.Close()
		return err
	}
	j.terminal = master
	j.cmd.Stdin, j.cmd.Stdout, j.cmd.Stderr = slave, slave, slave
	j.cmd.SysProcAttr.Setctty = true
	if err := j.cmd.Start(); err != nil {
		master.Close()
		return err
	}
	go j.stdin.copyTo(master)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		buffer := make([]byte, 32<<10)
		for {
			// EIO: nobody has the other side open any more.
			n, err := master.Read(buffer)
			if n > 0 {
				s.send(wire.FromGuest{ID: id, Stdout: buffer[:n]})
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		err := j.cmd.Wait()
		select {
		case <-drained:
		case <-time.After(outputGrace):
		}
		j.stdin.add(nil, true)
		s.send(wire.FromGuest{ID: id, Exit: exit(j.cmd, err)})
		master.Close()
	}()
	return nil
}

// signal goes to the command's process group.
func (j *job) signal(sig unix.Signal) {
	// ESRCH: it has just ended, which its exit line says.
	_ = unix.Kill(-j.cmd.Process.Pid, sig)
}

// exit tells how the command ended.
func exit(cmd *exec.Cmd, err error) *wire.Exit {
	if cmd.ProcessState == nil {
		return &wire.Exit{Code: -1, Error: err.Error()}
	}
	e := &wire.Exit{Code: cmd.ProcessState.ExitCode()}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Signal = int(status.Signal())
	}
	return e
}

// sender is an io.Writer that hands on what is written.
type sender struct{ send func([]byte) }

func (s *sender) Write(b []byte) (int, error) {
	s.send(b)
	return len(b), nil
}

// queue holds input that its command has not read yet, so that a command that reads slowly does not stop the others.
type queue struct {
	mu    sync.Mutex
	more  sync.Cond
	data  [][]byte
	ended bool
}

func newQueue() *queue {
	q := &queue{}
	q.more.L = &q.mu
	return q
}

// add appends data, and with end says that nothing follows.
func (q *queue) add(data []byte, end bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(data) > 0 && !q.ended {
		q.data = append(q.data, data)
	}
	q.ended = q.ended || end
	q.more.Signal()
}

// copyTo writes everything to w, until the end or until w takes no more.
func (q *queue) copyTo(w interface{ Write([]byte) (int, error) }) {
	for {
		q.mu.Lock()
		for len(q.data) == 0 && !q.ended {
			q.more.Wait()
		}
		data := q.data
		q.data = nil
		q.mu.Unlock()
		if len(data) == 0 {
			return
		}
		for _, b := range data {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}
}

// openTerminal makes a pseudo terminal.
func openTerminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			master.Close()
		}
	}()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock the terminal: %w", err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, nil, fmt.Errorf("the terminal's number: %w", err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	return master, slave, err
}

// setSize tells the terminal how large it is.
func setSize(terminal *os.File, size *wire.Size) error {
	return unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Columns})
}
