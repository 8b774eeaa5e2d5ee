// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/fds"
	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/stage"
)

// ErrImage says that images can't be what a dump wrote: an id that nothing has, a tree with a loop.
var ErrImage = errors.New("the images are inconsistent")

// restorer is one restore. All of it but the page copies runs on one OS thread, the tracer.
type restorer struct {
	ctx   context.Context
	opts  *RestoreOptions
	log   *slog.Logger
	tl    *stage.Timeline
	start time.Time

	images   *image.Reader
	files    *fds.Set
	tasks    []*task // in the order of pstree.img: the root first
	byPid    map[int]*task
	nursery  *inject.Nursery
	channels []*inject.Channel // each to all tasks; the first channelsAtOnce for any batch
	ahead    *ahead            // or nil
	// What every task inherits from the nursery: its maps, and the scratch area, apart from them.
	cradle      *cradle
	area        inject.Range
	shared      sharedMemory
	remoteCalls map[int][]fds.Remote // by pid
	pageBytes   int64                // in all pagemaps
	vdsoCall    uint64               // where in the vDSO a system call instruction is
	counted     int64                // remote calls that are in spans of single processes
	born        []int                // every process and thread that was cloned, but helpers
	unborn      []int                // those of them that could not be taken over
	result      RestoreResult
}

// Restore brings the process tree of a directory of images back. Until its last stage, resume, nothing of the tree
// has run; on any error, and if the engine is killed, no process is left behind.
func Restore(ctx context.Context, opts *RestoreOptions) (*RestoreResult, error) {
	type outcome struct {
		r   *RestoreResult
		err error
	}
	done := make(chan outcome, 1)
	// ptrace and the parent-death signal of the first process belong to an OS thread, which must not end before
	// the tree is let go.
	go func() {
		runtime.LockOSThread()
		r, err := restore(ctx, opts)
		if err == nil {
			runtime.UnlockOSThread()
		} // else the thread ends, and with it whatever it may still trace
		done <- outcome{r, err}
	}()
	o := <-done
	return o.r, o.err
}

func restore(ctx context.Context, opts *RestoreOptions) (_ *RestoreResult, err error) {
	r := &restorer{ctx: ctx, opts: opts, log: opts.Log, tl: opts.Timeline, start: time.Now(), byPid: map[int]*task{}}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.tl == nil {
		// stats-restore needs the times in any case.
		r.tl = stage.New(stage.Restore)
	}
	defer func() {
		if cerr := r.close(err); err == nil {
			err = cerr
		}
	}()
	for _, s := range []struct {
		name stage.Name
		run  func() error
	}{
		{stage.Load, r.prepare},    // read and check the images
		{stage.Fork, r.fork},       // the tree with its ids and sessions
		{stage.Files, r.openFiles}, // descriptors
		{stage.Memory, r.memory},   // unmap, map, vDSO
		{stage.Pages, r.pages},     // contents
		{stage.Threads, r.threads}, // tasks of the same process
		{stage.State, r.state},     // signals, timers, credentials, limits, seccomp
		{stage.Resume, r.resume},   // registers, let go
	} {
		if err := context.Cause(ctx); err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
		r.log.Debug("stage", "name", s.name)
		if s.name == stage.Pages { // the engine has the least to do in it
			go image.WarmStats(r.tl.Report())
		}
		span := r.tl.Begin(s.name, 0)
		calls := r.calls() - r.counted
		err := s.run()
		span.Add(stage.Counts{Calls: r.calls() - r.counted - calls})
		span.End()
		if err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
	}
	r.writeStats()
	return &r.result, nil
}

func (r *restorer) hook(at Action, root int) error {
	if r.opts.Hook == nil {
		return nil
	}
	if err := r.opts.Hook(r.ctx, at, root); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// each runs fn for every task that is alive, as a span of the process within that of the stage. What the process' span
// counts the stage's does not.
func (r *restorer) each(name stage.Name, fn func(*task) error) error {
	for _, t := range r.tasks {
		if t.dead {
			continue
		}
		span := r.tl.Begin(name, t.pid)
		calls, read := t.calls(), r.result.Bytes
		err := fn(t)
		calls, read = t.calls()-calls, r.result.Bytes-read
		r.counted += calls
		span.Add(stage.Counts{Calls: calls, Bytes: read, Pages: read / image.PageSize})
		span.End()
		if err != nil {
			return prefixed(fmt.Sprintf("%v: ", t), err)
		}
	}
	return nil
}

// calls is how many remote calls the processes have made.
func (r *restorer) calls() int64 {
	var n int64
	for _, t := range r.tasks {
		n += t.calls()
	}
	return n
}

func (t *task) calls() int64 {
	if t.s == nil {
		return 0
	}
	n := t.s.Calls
	for _, th := range t.threads {
		if th.s != nil && th.s != t.s {
			n += th.s.Calls
		}
	}
	return n
}

// close gives everything back that the engine holds; after an error also the tree.
func (r *restorer) close(failed error) error {
	if failed != nil {
		r.kill()
	}
	r.endNursery()
	if r.ahead != nil && r.ahead.done != nil {
		<-r.ahead.done
	}
	for _, ch := range r.channels {
		ch.Close()
	}
	for _, t := range r.tasks {
		t.close()
	}
	r.shared.close(failed != nil)
	var err error
	if r.files != nil {
		if failed != nil {
			r.files.Abort()
		} else {
			err = r.files.Close()
		}
	}
	if r.images != nil {
		r.images.Close()
	}
	return err
}

// kill ends all tasks made so far and waits for them, so that their ids are free again.
func (r *restorer) kill() {
	if r.nursery != nil {
		_ = unix.Kill(r.nursery.T.Tid, unix.SIGKILL)
	}
	for _, t := range r.tasks {
		if t.s != nil && !t.ended {
			_ = unix.Kill(t.s.T.Tid, unix.SIGKILL)
		}
	}
	for _, tid := range r.unborn {
		_ = unix.Kill(tid, unix.SIGKILL)
	}
	// A process has only ended when all its threads were waited for: the youngest first.
	for _, tid := range slices.Backward(r.born) {
		reap(tid)
	}
	if r.nursery != nil {
		reap(r.nursery.T.Tid)
	}
}

// reap waits until a task that has been killed is gone.
func reap(tid int) {
	for {
		var ws unix.WaitStatus
		if _, err := unix.Wait4(tid, &ws, unix.WALL, nil); err != nil && err != unix.EINTR || err == nil && !ws.Stopped() {
			return
		}
	}
}

func (r *restorer) endNursery() {
	if r.nursery == nil {
		return
	}
	pid := r.nursery.T.Tid
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		st, err := r.nursery.T.Wait()
		if err != nil || st.Kind == inject.StopExited {
			break
		}
	}
	_, _ = unix.Wait4(pid, nil, unix.WALL|unix.WNOHANG, nil)
	r.nursery.Close()
	r.nursery = nil
}

func (r *restorer) waitRoot(pid int) func() (syscall.WaitStatus, error) {
	return func() (syscall.WaitStatus, error) {
		var ws syscall.WaitStatus
		for {
			_, err := syscall.Wait4(pid, &ws, 0, nil)
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				return ws, fmt.Errorf("waiting for pid %d: %w", pid, err)
			}
			return ws, nil
		}
	}
}
