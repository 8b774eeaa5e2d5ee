// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Flags of a task, of wire.h.
const (
	taskTraced   = 1
	taskLauncher = 2
)

// errNoFilter is what Follow and Launch say of a session that was opened without Options.Filter.
var errNoFilter = errors.New("the session traces all tasks: it was opened without a filter")

// Follow traces a process that runs already, with all its threads, and what it starts from now on.
func (s *Session) Follow(pid int) error {
	if !s.opts.Filter {
		return errNoFilter
	}
	if err := unix.Kill(pid, 0); errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// What a thread starts is found by the hook at its fork, if the thread is marked; else by the next round.
	for {
		n, err := s.mark(uint32(pid), 0, taskTraced)
		if err != nil {
			return fmt.Errorf("process %d: %w", pid, err)
		}
		if n == 0 {
			return nil
		}
	}
}

// mark sets flags of the tasks of a process, or of one thread, and gives how many it changed.
func (s *Session) mark(tgid, tid, flags uint32) (int, error) {
	page := s.control.page
	page.MarkTgid, page.MarkTid, page.MarkFlags = tgid, tid, flags
	atomic.StoreUint32(&page.Marked, 0)
	lost := atomic.LoadUint32(&page.LostTasks)
	prog, err := s.keep("mark_tasks")
	if err != nil {
		return 0, err
	}
	it, err := link.AttachIter(link.IterOptions{Program: prog})
	if err != nil {
		return 0, fmt.Errorf("go through the tasks: %w", err)
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return 0, fmt.Errorf("go through the tasks: %w", err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return 0, fmt.Errorf("go through the tasks: %w", err)
	}
	if n := atomic.LoadUint32(&page.LostTasks) - lost; n > 0 {
		return 0, fmt.Errorf("no memory to mark %d tasks", n)
	}
	return int(atomic.LoadUint32(&page.Marked)), nil
}

// keep loads a program that is needed again and again, once. The caller holds s.mu.
func (s *Session) keep(name string) (*ebpf.Program, error) {
	if p := s.kept[name]; p != nil {
		return p, nil
	}
	p, err := s.objects.load(name, variant{})
	if err != nil {
		return nil, err
	}
	if s.kept == nil {
		s.kept = map[string]*ebpf.Program{}
	}
	s.kept[name] = p
	s.stack.push(p.Close)
	return p, nil
}

// Launch starts a command that is traced from its execve on, which is the first system call that counts. The caller waits
// for the command.
func (s *Session) Launch(cmd *exec.Cmd) error {
	if !s.opts.Filter {
		return errNoFilter
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		// The thread that starts the command is marked. It ends with this goroutine, which never unlocks it, and its mark
		// with it.
		runtime.LockOSThread()
		done <- s.launch(cmd)
	}()
	return <-done
}

func (s *Session) launch(cmd *exec.Cmd) error {
	if _, err := s.mark(0, uint32(unix.Gettid()), taskLauncher); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	prog, err := s.keep("follow_exec")
	if err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: prog})
	if err != nil {
		return fmt.Errorf("start %s: see its execve: %w", cmd.Path, err)
	}
	defer l.Close()
	return cmd.Start() // comes back when the execve is done
}

// attachTaskHooks watches what tasks begin and end: traced ones start others, and latency probes have calls under way.
func (s *Session) attachTaskHooks(latencies bool) error {
	if latencies {
		if err := s.attachKernelProgram("task_ends", nil); err != nil {
			return err
		}
	}
	if !s.opts.Filter {
		return nil
	}
	return s.attachKernelProgram("follow_fork", nil)
}
