// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/procfs"
	"github.com/trapline/trapline/checkpoint/stage"
)

// freeze seizes and stops every thread of the tree. A task that forks or clones meanwhile is caught by looking again
// until a whole round finds nobody new: who is stopped makes no more children.
func (d *dumper) freeze() error {
	limit := d.opts.Timeout
	if limit == 0 {
		limit = DefaultTimeout
	}
	d.deadline = time.Now().Add(limit)
	if err := d.freezeTasks(d.root); err != nil {
		return err
	}
	// A child whose parent dies moves to its subreaper, which may have been looked at already: repeat.
	for again := true; again; {
		again = false
		for i := 0; i < len(d.tasks); i++ {
			t := d.tasks[i]
			if t.dead() {
				continue
			}
			kids, err := t.proc.Children()
			if err != nil {
				return t.errorf(err)
			}
			var fresh []*target
			for _, pid := range kids {
				if d.byPID[pid] != nil {
					continue
				}
				again = true
				k, err := openTask(pid)
				if errors.Is(err, procfs.ErrGone) {
					continue // ended meanwhile
				}
				if err != nil {
					for _, f := range fresh {
						f.close()
					}
					return err
				}
				k.parent = t
				fresh = append(fresh, k)
			}
			if err := d.freezeTasks(fresh...); err != nil {
				return err
			}
		}
	}
	d.orderTree()
	d.result.Processes = len(d.tasks)
	for _, t := range d.tasks {
		d.result.Threads += len(t.threads)
	}
	return nil
}

// openTask takes hold of a process: from here on the number can't mean another one.
func openTask(pid int) (*target, error) {
	t := &target{pid: pid, pidfd: -1}
	var err error
	if t.proc, err = procfs.Open(pid); err != nil {
		return nil, err
	}
	if err := t.proc.ReadStat(&t.stat); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// freezing is a process whose threads are being stopped.
type freezing struct {
	t     *target
	span  stage.Span
	known map[int]bool
	fresh []*targetThread // asked to stop, not yet waited for
	tids  []int
	done  bool
}

// freezeTasks stops all threads of some processes and appends these to the tree. It asks all before it waits for the first.
func (d *dumper) freezeTasks(tasks ...*target) error {
	var all []*freezing
	for _, t := range tasks {
		d.tasks = append(d.tasks, t)
		d.byPID[t.pid] = t
	}
	for _, t := range tasks {
		f := &freezing{t: t, span: d.tl.Begin(stage.Freeze, t.pid), known: map[int]bool{}}
		all = append(all, f)
		if err := d.seizeAll(f); err != nil {
			return t.errorf(err)
		}
	}
	for _, f := range all {
		if err := d.settle(f); err != nil {
			return f.t.errorf(err)
		}
		f.span.End()
	}
	return nil
}

// seizeAll asks those threads of a process to stop that are not known yet.
func (d *dumper) seizeAll(f *freezing) error {
	t := f.t
	f.fresh = f.fresh[:0]
	var err error
	if f.tids, err = t.proc.Tasks(f.tids[:0]); err != nil {
		if errors.Is(err, procfs.ErrGone) {
			f.done = true
			d.forget(t)
			return nil
		}
		return err
	}
	for _, tid := range f.tids {
		if f.known[tid] {
			continue
		}
		f.known[tid] = true
		th, err := d.seize(t, tid)
		if err != nil {
			return err
		}
		if t.dead() {
			f.done = true
			return d.zombie(t)
		}
		if th != nil {
			f.fresh = append(f.fresh, th)
			t.threads = append(t.threads, th)
		}
	}
	return nil
}

// settle waits until all threads of a process stand.
func (d *dumper) settle(f *freezing) error {
	t := f.t
	for !f.done && len(f.fresh) > 0 {
		for _, th := range f.fresh {
			if err := d.awaitStop(t, th); err != nil {
				return err
			}
		}
		if err := d.seizeAll(f); err != nil {
			return err
		}
	}
	if f.done {
		return nil
	}
	live := t.threads[:0]
	for _, th := range t.threads {
		if !th.gone {
			live = append(live, th)
		}
	}
	t.threads = live
	if err := t.proc.ReadStat(&t.stat); err != nil {
		if errors.Is(err, procfs.ErrGone) {
			d.forget(t)
			return nil
		}
		return err
	}
	if len(t.threads) == 0 {
		t.state = image.TaskDead
		return d.zombie(t)
	}
	if t.leader().tid != t.pid {
		return refuse("its first thread has ended while others run, which can't be carried")
	}
	if t.state == 0 {
		t.state = image.TaskAlive
	}
	var err error
	if t.pidfd, err = unix.PidfdOpen(t.pid, 0); err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	return nil
}

// seize begins to trace one thread and asks it to stop. It returns nil for a thread that ended meanwhile.
func (d *dumper) seize(t *target, tid int) (*targetThread, error) {
	d.tl.Freeze()
	tr, err := inject.Seize(tid, 0)
	if err != nil {
		if errors.Is(err, inject.ErrGone) {
			return nil, nil
		}
		var st procfs.Stat
		if serr := t.proc.Task(tid).ReadStat(&st); serr != nil {
			if errors.Is(serr, procfs.ErrGone) {
				return nil, nil
			}
			return nil, errors.Join(err, serr)
		}
		if st.State == 'Z' || st.State == 'X' {
			if tid == t.pid && st.NumThreads <= 1 {
				t.state = image.TaskDead
			} else if tid == t.pid {
				return nil, refuse("its first thread has ended while others run, which can't be carried")
			}
			return nil, nil
		}
		return nil, d.whyNotSeized(t, tid, err)
	}
	if err := tr.Interrupt(); err != nil && !errors.Is(err, inject.ErrGone) {
		return nil, fmt.Errorf("thread %d: interrupt: %w", tid, err)
	}
	return &targetThread{tid: tid, tracee: tr}, nil
}

// whyNotSeized explains the kernel's EPERM.
func (d *dumper) whyNotSeized(t *target, tid int, err error) error {
	var st procfs.Status
	if serr := t.proc.Task(tid).ReadStatus(&st); serr != nil {
		return errors.Join(err, serr)
	}
	switch {
	case st.TracerPid != 0:
		return fmt.Errorf("thread %d is traced by pid %d already (a debugger or strace); detach it first: %w", tid, st.TracerPid, err)
	case t.stat.Flags&procfs.PFKthread != 0:
		return refuse("is a kernel thread, which can't be dumped")
	}
	return fmt.Errorf("thread %d can't be traced (it belongs to uid %d, this is uid %d; a dump needs root or the same user): %w",
		tid, st.Uid[0], os.Geteuid(), err)
}

// awaitStop waits until a seized thread stands.
func (d *dumper) awaitStop(t *target, th *targetThread) error {
	for {
		s, err := th.tracee.Poll(d.deadline)
		switch {
		case errors.Is(err, inject.ErrGone):
			th.gone = true
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return d.whyNotStopped(t, th, err)
		case err != nil:
			return err
		}
		switch s.Kind {
		case inject.StopTrap:
			return nil
		case inject.StopGroup:
			t.state, t.stopSig = image.TaskStopped, s.Signal
			return nil
		case inject.StopExited:
			th.gone = true
			return nil
		case inject.StopSignal:
			// It was on its way before we came: deliver it, the interrupt still stands.
			err = th.tracee.Cont(s.Signal)
		default:
			err = th.tracee.Cont(0)
		}
		if err != nil && !errors.Is(err, inject.ErrGone) {
			return fmt.Errorf("thread %d: %w", th.tid, err)
		}
	}
}

// whyNotStopped explains a thread that does not stop in time.
func (d *dumper) whyNotStopped(t *target, th *targetThread, err error) error {
	var st procfs.Status
	if serr := t.proc.Task(th.tid).ReadStatus(&st); serr != nil {
		return errors.Join(err, serr)
	}
	if st.State != 'D' {
		return fmt.Errorf("thread %d (state %c) did not stop in time: %w", th.tid, st.State, err)
	}
	if kids, _ := t.proc.Children(); len(kids) > 0 {
		return fmt.Errorf("thread %d waits uninterruptibly (state D), maybe in vfork for a child (%v) that has not called exec yet; try again later: %w",
			th.tid, kids, err)
	}
	return fmt.Errorf("thread %d waits uninterruptibly (state D) in the kernel, maybe for a disk or a network file system; try again later: %w", th.tid, err)
}

// zombie records a process that has ended but whose parent has not asked for its status yet.
func (d *dumper) zombie(t *target) error {
	if err := t.proc.ReadStat(&t.stat); err != nil {
		if errors.Is(err, procfs.ErrGone) {
			d.forget(t)
			return nil
		}
		return err
	}
	if t == d.root {
		return errors.New("has ended and waits for its parent to ask for its status: nothing to dump")
	}
	t.state, t.threads = image.TaskDead, nil
	if err := t.proc.ReadStatus(&t.status); err != nil {
		return err
	}
	t.vpid = last(t.status.NSpid, t.pid)
	return nil
}

// forget takes a process that is gone out of the tree. Its number may come again, for another.
func (d *dumper) forget(t *target) {
	delete(d.byPID, t.pid)
	for i, o := range d.tasks {
		if o == t {
			d.tasks = append(d.tasks[:i], d.tasks[i+1:]...)
			break
		}
	}
	t.close()
}

// orderTree links children to parents and sorts parents before children.
func (d *dumper) orderTree() {
	for _, t := range d.tasks {
		// The parent may have died while we looked: its children are the subreaper's now.
		if t == d.root {
			continue
		}
		var st procfs.Stat
		if err := t.proc.ReadStat(&st); err == nil && d.byPID[st.PPid] != nil {
			t.parent = d.byPID[st.PPid]
		}
		t.parent.children = append(t.parent.children, t)
	}
	d.tasks = d.tasks[:0]
	var walk func(t *target)
	walk = func(t *target) {
		d.tasks = append(d.tasks, t)
		for _, c := range t.children {
			walk(c)
		}
	}
	walk(d.root)
}

// thaw lets every task go that is still held, first cured of what infect did. It may be called at any moment and again.
func (d *dumper) thaw() error {
	var errs []error
	for _, t := range d.tasks {
		if err := t.release(0); err != nil {
			errs = append(errs, t.errorf(err))
		}
	}
	d.tl.Thaw()
	return errors.Join(errs...)
}

// release cures the task if needed and detaches every thread; the last with sig.
func (t *target) release(sig unix.Signal) error {
	var errs []error
	if t.session != nil {
		if err := t.session.Cure(); err != nil && !errors.Is(err, inject.ErrGone) {
			errs = append(errs, fmt.Errorf("cure: %w", err))
		}
		t.session = nil
	}
	for _, th := range t.threads {
		if th.tracee == nil {
			continue
		}
		err := th.tracee.Detach(sig)
		if errors.Is(err, inject.ErrGone) {
			err = detachRunning(th.tracee)
		}
		if err != nil && !errors.Is(err, inject.ErrGone) {
			errs = append(errs, fmt.Errorf("detach thread %d: %w", th.tid, err))
		}
		th.tracee = nil
		sig = 0
	}
	return errors.Join(errs...)
}

// detachRunning detaches a thread that is gone or, after an error in the stage freeze, has not stopped yet.
func detachRunning(t *inject.Tracee) error {
	s, err := t.Poll(time.Now().Add(stopTime))
	if err != nil || s.Kind == inject.StopExited {
		return err
	}
	if s.Kind == inject.StopSignal {
		return t.Detach(s.Signal)
	}
	return t.Detach(0)
}

// stopTime is how long a thread that is let go may take to stop for it.
const stopTime = 2 * time.Second
