// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// errNoFilter is what Follow and Launch say of a session that was opened without Options.Filter.
var errNoFilter = errors.New("the session traces all tasks: it was opened without a filter")

// Follow traces a process that runs already, with all its threads, and what it starts from now on.
func (s *Session) Follow(pid int) error {
	if !s.opts.Filter {
		return errNoFilter
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return os.ErrClosed
	}
	err := unix.EINVAL
	if pid > 0 && int(int32(pid)) == pid {
		e := control(s.group, abi.IocFollow, pid)
		if e == nil {
			// A thread that was being started by one that was not followed yet is found the second time. An error then is that the
			// process has ended.
			_ = control(s.group, abi.IocFollow, pid)
			return nil
		}
		err, _ = errors.AsType[unix.Errno](e)
	}
	if err == unix.ESRCH {
		return fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	return fmt.Errorf("process %d: follow it: %w", pid, err)
}

// Launch starts a command that is traced from its execve on, which is the first system call that counts. The caller waits for the
// command.
func (s *Session) Launch(cmd *exec.Cmd) error {
	if !s.opts.Filter {
		return errNoFilter
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return os.ErrClosed
	}
	done := make(chan error, 1)
	go func() {
		// The kernel follows the children of one thread. If it could not be told to stop that, the thread ends with this goroutine,
		// which is then still locked to it.
		runtime.LockOSThread()
		if err := control(s.group, abi.IocLaunch, 1); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("start %s: have it followed: %w", cmd.Path, err)
			return
		}
		err := cmd.Start() // comes back when the execve is done
		if control(s.group, abi.IocLaunch, 0) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}
