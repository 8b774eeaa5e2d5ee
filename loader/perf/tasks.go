// SPDX-License-Identifier: Apache-2.0

package perf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/loader/internal/perfevent"
	"github.com/trapline/trapline/loader/internal/tracefs"
)

var (
	errNoFilter = errors.New("the session counts all tasks: it was opened without a filter")
	errOver     = errors.New("the session has ended")
)

// How often Follow begins anew for a process that starts threads all the time, and how often it then looks for more.
const (
	followTries  = 20
	followRounds = 50
)

// Follow counts in a process that runs already, with all its threads and what they start from now on. It must not be one that
// a followed one has started: its hits would count twice.
func (s *Session) Follow(pid int) error {
	if !s.opts.Filter {
		return errNoFilter
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errOver
	}
	before := make([]int, len(s.all))
	for i, p := range s.all {
		before[i] = len(p.counters)
	}
	for try := 1; ; try++ {
		added, sure, err := s.followThreads(pid)
		if err == nil && (sure || try == followTries) {
			if !sure {
				s.warnings = append(s.warnings, fmt.Errorf("process %d starts threads faster than they are found: hits of some may count twice", pid))
			}
			return nil
		}
		for i, p := range s.all {
			err = errors.Join(err, p.drop(before[i]))
		}
		for _, tid := range added {
			delete(s.threads, tid)
		}
		if err != nil {
			return fmt.Errorf("process %d: %w", pid, err)
		}
	}
}

// quietRounds is how often a list of threads must have nothing new before it is believed: /proc may leave one out while
// others end.
const quietRounds = 2

// followThreads opens counters for the threads of a process, until no new one appears. A thread that appears in between was
// started either by one that had its counters already, and has inherited them, or by one that had not. sure says that this
// could be told: that none of those with counters started anything.
func (s *Session) followThreads(pid int) (added []int, sure bool, err error) {
	if s.forks != nil {
		defer s.forks.drop(0)
	}
	late := false
	ended := map[int]bool{} // a leader that has ended before its threads stays in the list
	for round, quiet := 0, 0; quiet < quietRounds; round++ {
		if round == followRounds {
			return added, false, nil
		}
		threads, err := threadsOf(pid)
		if err != nil {
			return added, false, err
		}
		quiet++
		for _, tid := range threads {
			if s.threads[tid] || ended[tid] {
				continue
			}
			quiet = 0 // even if it has ended: it may have started another
			var err error
			if s.forks != nil {
				err = s.forks.open(tid, -1)
			}
			if err == nil {
				err = s.openFor(tid)
			}
			if errors.Is(err, unix.ESRCH) {
				ended[tid] = true
				continue
			}
			if err != nil {
				return added, false, err
			}
			s.threads[tid] = true
			added = append(added, tid)
			late = late || round > 0
		}
		if !slices.ContainsFunc(threads, func(tid int) bool { return s.threads[tid] }) {
			return added, false, os.ErrProcessDone // a zombie
		}
	}
	if !late || s.forks == nil {
		return added, true, nil
	}
	n, err := s.forks.read()
	return added, n.hits == 0, err
}

// threadsOf lists the threads of a process.
func threadsOf(pid int) ([]int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, err
	}
	var threads []int
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			threads = append(threads, tid)
		}
	}
	return threads, nil
}

// openFor opens the counters of all probes for a thread.
func (s *Session) openFor(tid int) error {
	for i, p := range s.all {
		if err := p.open(tid, -1); err != nil {
			for _, done := range s.all[:i] {
				err = errors.Join(err, done.drop(len(done.counters)-1))
			}
			return err
		}
	}
	return nil
}

// Launch starts a command that is counted from its first instruction on, which is after its execve. The caller waits for it.
// It is started under ptrace, and is let go as soon as it has its counters. If this process is killed in between, some
// hundred µs, the command ends by SIGTRAP before it has done anything.
func (s *Session) Launch(cmd *exec.Cmd) error {
	if !s.opts.Filter {
		return errNoFilter
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errOver
	}
	done := make(chan error, 1)
	go func() {
		// The thread that starts the command is its tracer, and has to be the one that lets it go.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- s.launch(cmd)
	}()
	return <-done
}

func (s *Session) launch(cmd *exec.Cmd) error {
	attr := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	attr.Ptrace = true
	before := cmd.SysProcAttr
	cmd.SysProcAttr = &attr
	err := cmd.Start()
	cmd.SysProcAttr = before
	if err != nil {
		return err
	}
	if err := s.release(cmd.Process.Pid); err != nil {
		// A killed task runs no further, even when it is traced.
		return fmt.Errorf("start %s: %w", cmd.Path, errors.Join(err, cmd.Process.Kill(), ignoreExit(cmd.Wait())))
	}
	return nil
}

// ignoreExit leaves out that a command ended badly, which it was made to.
func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// release gives a command that stands behind its execve its counters, and lets it go.
func (s *Session) release(pid int) error {
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return fmt.Errorf("wait for its execve: %w", err)
		}
		if !status.Stopped() {
			return fmt.Errorf("it ended before its first instruction (status %#x)", uint32(status))
		}
		if status.StopSignal() == unix.SIGTRAP {
			break
		}
		// A signal that came before the execve.
		if err := unix.PtraceCont(pid, int(status.StopSignal())); err != nil {
			return fmt.Errorf("let it reach its execve: %w", err)
		}
	}
	if err := s.openFor(pid); err != nil {
		return err
	}
	s.threads[pid] = true
	if err := unix.PtraceDetach(pid); err != nil {
		return fmt.Errorf("let it go: %w", err)
	}
	return nil
}

// watchForks makes the counter of what followed threads start; none if no probe is inherited, so that it does not matter.
func (s *Session) watchForks() error {
	for _, p := range s.all {
		if !p.event.Placed() {
			f, err := tracefs.ReadFormat("sched", "sched_process_fork")
			if err != nil {
				return err
			}
			s.forks = &Probe{event: perfevent.Tracepoint(f.ID), holder: -1}
			return s.forks.hold()
		}
	}
	return nil
}
