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

// followTries is how often Follow begins anew for a process that starts threads all the time.
const followTries = 20

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
			err = errors.Join(err, p.close(before[i], false))
		}
		for _, tid := range added {
			delete(s.threads, tid)
		}
		if err != nil {
			return fmt.Errorf("process %d: %w", pid, err)
		}
	}
}

// followThreads opens counters for the threads of a process, until no new one appears. A thread that appears in between was
// started either by one that had its counters already, and has inherited them, or by one that had not. sure says that this
// could be told: that none of those with counters started anything.
func (s *Session) followThreads(pid int) (added []int, sure bool, err error) {
	forks, err := newForks(s.all)
	if err != nil {
		return nil, false, err
	}
	defer forks.close()
	for round := 0; ; round++ {
		threads, err := threadsOf(pid)
		if err != nil {
			return added, false, err
		}
		found := false
		for _, tid := range threads {
			if s.threads[tid] {
				continue
			}
			err := forks.watch(tid)
			if err == nil {
				err = s.openFor(tid)
			}
			if errors.Is(err, unix.ESRCH) {
				continue // it has ended
			}
			if err != nil {
				return added, false, err
			}
			s.threads[tid] = true
			added = append(added, tid)
			found = true
		}
		if !slices.ContainsFunc(threads, func(tid int) bool { return s.threads[tid] }) {
			return added, false, os.ErrProcessDone // a zombie
		}
		if !found {
			n, err := forks.seen()
			return added, round <= 1 || n == 0, err
		}
	}
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
		if err := p.open(tid, -1, s.enabled); err != nil {
			for _, done := range s.all[:i] {
				err = errors.Join(err, done.close(len(done.counters)-1, false))
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

// forks counts how often watched threads, and what they start, start something.
type forks struct {
	event    *perfevent.Event // nil if that does not matter: no counter is inherited
	counters []int
}

func newForks(all []*Probe) (*forks, error) {
	for _, p := range all {
		if !p.event.Placed() {
			f, err := tracefs.ReadFormat("sched", "sched_process_fork")
			if err != nil {
				return nil, err
			}
			return &forks{event: perfevent.Tracepoint(f.ID)}, nil
		}
	}
	return &forks{}, nil
}

func (f *forks) watch(tid int) error {
	if f.event == nil {
		return nil
	}
	fd, err := f.event.Open(tid, -1, unix.PerfBitInherit, unix.PERF_FORMAT_TOTAL_TIME_ENABLED|unix.PERF_FORMAT_TOTAL_TIME_RUNNING, 0)
	if err == nil {
		f.counters = append(f.counters, fd)
	}
	return err
}

func (f *forks) seen() (n uint64, err error) {
	for _, fd := range f.counters {
		c, err := readCounter(fd)
		if err != nil {
			return 0, err
		}
		n += c.hits
	}
	return n, nil
}

func (f *forks) close() {
	for _, fd := range f.counters {
		unix.Close(fd)
	}
}
