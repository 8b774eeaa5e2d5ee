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
)

// tasks is what is traced: a command, processes that ran before, or everything (then it never ends by itself).
type tasks struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the command has been waited for; nil without a command
	ended  chan struct{} // closed when all that is traced has ended; nil if everything is traced
	fds    []unix.PollFd // pidfds of the processes that are followed
	status int           // exit status to pass on
	cut    bool          // the command was asked to end, as the trace is over

	mu     sync.Mutex // what follows is also for the goroutine that takes signals
	runs   bool       // the command has been started and has not been waited for
	warned bool       // it was sent a signal that should end it
	killed bool       // it was sent SIGKILL for a signal that came
}

// endWithin is how long a command may take to end after it was asked to. Then it is killed.
const endWithin = 5 * time.Second

// open finds processes that run already, so that their end is seen.
func (k *tasks) open(pids []int) error {
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		switch {
		case errors.Is(err, unix.ESRCH):
			return fmt.Errorf("process %d: there is none", pid)
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return fmt.Errorf("%d is a thread; give -p the PID of its process", pid)
		case err != nil:
			return fmt.Errorf("process %d: %w", pid, err)
		}
		k.fds = append(k.fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return nil
}

// A launcher starts a command that is traced.
type launcher interface{ Launch(cmd *exec.Cmd) error }

// launch starts the command. Its end is the end of the trace, whatever else is followed.
func (k *tasks) launch(session launcher, command []string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := session.Launch(cmd); err != nil {
		return fmt.Errorf("start %s: %w", command[0], err)
	}
	k.cmd = cmd
	k.exited = make(chan struct{})
	k.ended = k.exited
	k.mu.Lock()
	k.runs = true
	k.mu.Unlock()
	go func() {
		err := k.cmd.Wait()
		k.status = exitStatus(k.cmd.ProcessState, err)
		k.mu.Lock()
		k.runs = false
		k.mu.Unlock()
		close(k.exited)
	}()
	return nil
}

// watch begins to wait for the followed processes to end.
func (k *tasks) watch() {
	if len(k.fds) == 0 {
		return
	}
	k.ended = make(chan struct{})
	go func() {
		defer close(k.ended)
		for len(k.fds) > 0 {
			if _, err := unix.Poll(k.fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
			alive := k.fds[:0]
			for _, fd := range k.fds {
				if fd.Revents != 0 {
					unix.Close(int(fd.Fd))
					continue
				}
				alive = append(alive, fd)
			}
			k.fds = alive
		}
	}()
}

// exitStatus gives the status that a shell would have for a command.
func exitStatus(state *os.ProcessState, err error) int {
	if state == nil {
		return exitFailed
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	if err != nil && state.Success() { // its output could not be passed on
		return exitFailed
	}
	return state.ExitCode()
}

// end asks the command to end, as the trace is over before it, and kills it if it has not ended after endWithin. What it then
// ends with says nothing.
func (k *tasks) end() error {
	if k.cmd == nil {
		return nil
	}
	k.cut = true
	k.mu.Lock()
	defer k.mu.Unlock()
	k.warned = true
	kill := time.AfterFunc(endWithin, func() { _ = k.send(unix.SIGKILL) }) // it can only have ended already
	go func() {
		<-k.exited
		kill.Stop()
	}()
	return errors.Join(k.send(unix.SIGTERM), k.send(unix.SIGCONT)) // a stopped one does not see the first
}

// send sends a signal to the command; that it has ended already is no error.
func (k *tasks) send(sig os.Signal) error {
	if err := k.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%v to %s: %w", sig, k.cmd.Path, err)
	}
	return nil
}

// wait waits for the command.
func (k *tasks) wait() {
	if k.cmd == nil {
		return
	}
	<-k.exited
	if k.cut {
		k.status = exitDone
	}
}

// signal passes a signal for the trace on to the command, which may be stopped; the second one kills it. passed is false if no
// command runs, or if it was killed so already.
func (k *tasks) signal(sig os.Signal) (passed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case !k.runs || k.killed:
		return false, nil
	case k.warned:
		k.killed = true
		return true, k.send(unix.SIGKILL)
	}
	k.warned = true
	if sig != unix.SIGINT && sig != unix.SIGQUIT || !inForeground() { // else the terminal has sent it to the command too
		err = k.send(sig)
	}
	return true, errors.Join(err, k.send(unix.SIGCONT))
}

// inForeground says whether what is typed at the controlling terminal concerns this process.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
