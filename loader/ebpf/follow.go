// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/bpf"
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
	mark := s.mark
	if !initialPIDNamespace() {
		mark = s.markByDescriptor
	}
	// What a thread starts is found by the hook at its fork, if the thread is marked; else by the next round.
	for end := time.Now().Add(markTime); ; {
		n, err := mark(pid)
		switch {
		case errors.Is(err, errUnmarked) && time.Now().Before(end):
			s.mu.Unlock()
			time.Sleep(time.Millisecond) // the kernel fills its reserve, or gives back another session's storage
			s.mu.Lock()
			if s.closed {
				return os.ErrClosed
			}
		case err != nil:
			return fmt.Errorf("process %d: %w", pid, err)
		case n == 0:
			return nil
		}
	}
}

// markTime is for how long the kernel is asked again that could not keep the state of a task.
const markTime = time.Second

var errUnmarked = errors.New("the kernel could not keep a task's state for the trace, mostly for want of memory")

// mark traces the tasks of a process, and gives how many were not traced before.
func (s *Session) mark(pid int) (int, error) {
	page := s.control.page
	page.MarkTgid, page.MarkFlags = uint32(pid), taskTraced
	atomic.StoreUint32(&page.Marked, 0)
	atomic.StoreUint32(&page.Unmarked, 0)
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
	if n := atomic.LoadUint32(&page.Unmarked); n > 0 {
		return 0, fmt.Errorf("%w: of %d tasks", errUnmarked, n)
	}
	return int(atomic.LoadUint32(&page.Marked)), nil
}

// Unfollowed is how many tasks could not be marked when traced ones started them, mostly for want of memory. After Close it is 0.
func (s *Session) Unfollowed() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	return uint64(atomic.LoadUint32(&s.control.page.Unfollowed))
}

// initialPIDNamespace says whether process ids mean the same to us and to the programs.
var initialPIDNamespace = sync.OnceValue(func() bool {
	const initial = "pid:[4026531836]" // PROC_PID_INIT_INO, include/linux/proc_ns.h
	name, err := os.Readlink("/proc/self/ns/pid")
	return err != nil || name == initial
})

// ownPIDNamespace is the namespace whose numbers processes have here, as the programs name it: by the device and number of its file.
func ownPIDNamespace() ([2]uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return [2]uint64{}, fmt.Errorf("this PID namespace: %w", err)
	}
	return [2]uint64{st.Dev, st.Ino}, nil
}

// markByDescriptor does the same in a PID namespace, whose ids the programs do not know: each thread is named by a pidfd. Those of
// threads other than the first need Linux 6.9.
func (s *Session) markByDescriptor(pid int) (int, error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if errors.Is(err, os.ErrNotExist) {
		return 0, os.ErrProcessDone
	}
	if err != nil {
		return 0, err
	}
	marked := 0
	for _, entry := range threads {
		tid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		flags := 0
		if tid != pid {
			flags = unix.PIDFD_THREAD
		}
		fd, err := unix.PidfdOpen(tid, flags)
		if errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return marked, fmt.Errorf("thread %d: in a PID namespace, threads can be followed from Linux 6.9 on (%w); run trapline outside of it, or trace a command", tid, err)
		}
		err = s.objects.maps[mapTasks].Update(uint32(fd), bpf.TraceTask{Flags: taskTraced}, ebpf.UpdateNoExist)
		unix.Close(fd)
		switch {
		case errors.Is(err, ebpf.ErrKeyExist):
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM):
			return marked, fmt.Errorf("%w: thread %d: %w", errUnmarked, tid, err)
		case err != nil:
			return marked, fmt.Errorf("thread %d: %w", tid, err)
		default:
			marked++
		}
	}
	return marked, nil
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
	self, err := s.keep("mark_self")
	if err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	s.control.page.MarkFlags = taskLauncher
	for end := time.Now().Add(markTime); ; time.Sleep(time.Millisecond) {
		ret, err := self.Run(&ebpf.RunOptions{})
		if err == nil && ret == 0 {
			break
		}
		if err == nil && time.Now().Before(end) {
			continue
		}
		if err == nil {
			err = errUnmarked
		}
		return fmt.Errorf("start %s: mark this thread: %w", cmd.Path, err)
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
	before := atomic.LoadUint32(&s.control.page.Unlaunched)
	if err := cmd.Start(); err != nil { // comes back when the execve is done
		return err
	}
	if atomic.LoadUint32(&s.control.page.Unlaunched) == before {
		return nil
	}
	return fmt.Errorf("start %s: %w: it was ended, as its first instructions have run already", cmd.Path, errors.Join(errUnmarked, cmd.Process.Kill(), ended(cmd.Wait())))
}

// ended is nil if a command ended by a signal or with a status.
func ended(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// attachTaskHooks watches what tasks begin and end: traced ones start others, and latency probes have calls under way.
func (s *Session) attachTaskHooks(latencies bool) error {
	if latencies {
		if err := s.attachKernelProgram("task_ends", nil, nil); err != nil {
			return err
		}
	}
	if !s.opts.Filter {
		return nil
	}
	return s.attachKernelProgram("follow_fork", nil, nil)
}
