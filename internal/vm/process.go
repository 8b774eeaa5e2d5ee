// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"os/exec"
	"runtime"
	"syscall"
)

// child is a process that does not outlive this one, however this one ends.
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // of Wait; valid after done
}

// startChild starts cmd. The kernel kills it when the thread that started it ends, so a thread is kept for that.
func startChild(cmd *exec.Cmd) (*child, error) {
	c := &child{cmd: cmd, done: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// Ctrl-C at a terminal is for us: the guest is then ended in order.
		Setpgid: true,
	}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.done)
		}
	}()
	return c, <-started
}

// kill ends the process and waits for that. A nil child is none.
func (c *child) kill() {
	if c == nil {
		return
	}
	// It may have ended already.
	_ = c.cmd.Process.Kill()
	<-c.done
}

// killGroup ends the process and those that it started, and waits for the process.
func (c *child) killGroup() {
	// Its group is its own. ESRCH: it has just ended.
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.done
}
