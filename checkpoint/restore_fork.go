// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/procfs"
	"github.com/trapline/trapline/checkpoint/stage"
)

// areaSize is the scratch memory of each process during a restore, in bytes. Only what a batch uses is touched.
const areaSize = 1 << 20

// cloneArgs is struct clone_args of clone3(2), as far as set_tid (Linux 5.5):
//
//	0 flags  8 pidfd  16 child_tid  24 parent_tid  32 exit_signal  40 stack  48 stack_size  56 tls  64 set_tid  72 set_tid_size
const cloneArgsSize = 80

// clone3 adds a clone3 call to a batch; pid 0 takes any id.
func clone3(b *inject.Batch, flags uint64, exitSignal unix.Signal, childTid uint64, pid int) int {
	var a [cloneArgsSize]byte
	// CLONE_PTRACE: it is traced from the start and stops before its first instruction
	binary.LittleEndian.PutUint64(a[0:], flags|unix.CLONE_PTRACE)
	binary.LittleEndian.PutUint64(a[16:], childTid)
	binary.LittleEndian.PutUint64(a[32:], uint64(exitSignal))
	if pid > 0 {
		var id [4]byte
		binary.LittleEndian.PutUint32(id[:], uint32(pid))
		binary.LittleEndian.PutUint64(a[64:], b.Data(id[:]))
		binary.LittleEndian.PutUint64(a[72:], 1)
	}
	return b.Call(unix.SYS_CLONE3, b.Data(a[:]), cloneArgsSize)
}

// pidError explains what clone3 answers about an id.
func pidError(pid int, err error) error {
	if errors.Is(err, unix.EEXIST) {
		if parent, is, _ := zombie(pid); is {
			return fmt.Errorf("pid %d is that of a zombie, which pid %d has not waited for: let that wait for it or end, or restore in a PID namespace of its own: %w", pid, parent, err)
		}
		by := ""
		if c, rerr := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); rerr == nil {
			by = fmt.Sprintf(" by %q", strings.TrimSpace(string(c)))
		}
		return fmt.Errorf("pid %d is in use%s: end that, or restore in a PID namespace of its own: %w", pid, by, err)
	}
	return fmt.Errorf("creating pid %d: %w", pid, err)
}

// fork creates all processes, each in its session and process group, stopped and with nothing of its own yet but the
// memory that it shares with its parent copy-on-write.
func (r *restorer) fork() error {
	if err := r.spawn(); err != nil {
		return err
	}
	if r.opts.Hook == nil { // else what is to be opened may be the work of a script
		r.startAhead()
	}
	plan := make([]*planned, len(r.tasks))
	for i, t := range r.tasks {
		plan[i] = &t.planned
	}
	steps, err := planBirths(plan)
	if err != nil {
		return err
	}
	root := r.tasks[0]
	m := &midwife{r: r, helpers: map[int]*inject.Session{}, cradles: map[int]*cradle{}}
	defer m.end()
	if err := m.fork(r.nursery.Session, []birth{{op: birthSibling, pid: root.pid}}); err != nil {
		return err
	}
	r.result.RootPid = root.pid
	r.result.Processes = len(r.tasks)
	_ = unix.Kill(r.nursery.T.Tid, unix.SIGKILL) // it has done its part; close reaps it
	for len(steps) > 0 {
		n, err := m.step(steps)
		if err != nil {
			return err
		}
		steps = steps[n:]
	}
	for _, t := range r.tasks {
		if t.s == nil {
			return fmt.Errorf("%v was not created: %w", t, ErrImage)
		}
	}
	if err := r.zombies(); err != nil {
		return err
	}
	if err := r.hook(ActionSetupNamespaces, root.pid); err != nil {
		return err
	}
	if err := r.hook(ActionPostSetupNamespaces, root.pid); err != nil {
		return err
	}
	r.startAhead()
	return nil
}

// midwife carries the plan of births out.
type midwife struct {
	r       *restorer
	helpers map[int]*inject.Session // tasks that are only there for the births of others
	cradles map[int]*cradle         // what those were born with
}

func (m *midwife) end() {
	for _, h := range m.helpers {
		_ = unix.Kill(h.T.Tid, unix.SIGKILL)
		_, _ = h.T.Wait()
		h.Close()
	}
}

func (m *midwife) session(pid int) *inject.Session {
	if h := m.helpers[pid]; h != nil {
		return h
	}
	if t := m.r.byPid[pid]; t != nil {
		return t.s
	}
	return nil
}

// step takes the first step, or several at once if they are forks by the same task, and returns how many.
func (m *midwife) step(steps []birth) (int, error) {
	st := steps[0]
	by := m.session(st.by)
	if by == nil {
		return 0, fmt.Errorf("pid %d has no creator: %w", st.by, ErrImage)
	}
	var err error
	switch st.op {
	case birthFork, birthSibling:
		n := 1
		for n < len(steps) && n < forksAtOnce && steps[n].by == st.by && (steps[n].op == birthFork || steps[n].op == birthSibling) {
			n++
		}
		if p := m.r.byPid[st.by]; p != nil && m.helpers[st.by] == nil {
			if err := m.r.beforeFork(p, steps[:n]); err != nil {
				return 0, fmt.Errorf("%v: %w", p, err)
			}
		}
		return n, m.fork(by, steps[:n])
	case birthSetsid:
		_, err = one(by, unix.SYS_SETSID)
	case birthSetpgid:
		_, err = one(by, unix.SYS_SETPGID, 0, uint64(st.pid))
	case birthSubreaper:
		_, err = one(by, unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1)
	case birthUnreap:
		_, err = one(by, unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 0)
	case birthEnd:
		if err = exit(by, 0); err == nil {
			delete(m.helpers, st.by)
			by.Close()
			_, err = one(m.session(st.pid), unix.SYS_WAIT4, uint64(by.T.Tid), 0, unix.WALL, 0)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("pid %d: session or process group: %w", st.by, err)
	}
	return 1, nil
}

// forksAtOnce bounds the forks in one batch.
const forksAtOnce = 256

// fork lets a task make children, or siblings, with given ids; a negative number takes any.
func (m *midwife) fork(by *inject.Session, births []birth) error {
	b := by.NewBatch()
	for _, st := range births {
		m.r.addFork(b, st)
	}
	if err := by.Run(b); err != nil {
		return err
	}
	var first error
	for i, st := range births {
		span := m.r.tl.Begin(stage.Fork, max(st.pid, 0))
		tid, err := b.Result(i)
		if errors.Is(err, unix.EEXIST) && ending(st.pid) {
			tid, err = m.r.forkLater(by, st)
		}
		if err == nil {
			err = m.born(by, st, int(tid))
		} else {
			err = pidError(st.pid, err)
		}
		span.End()
		// those after it exist too: they are kept, to be ended
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}

// born keeps a new task.
func (m *midwife) born(by *inject.Session, st birth, tid int) error {
	m.r.log.Debug("born", "pid", tid, "by", by.T.Tid, "helper", m.r.byPid[st.pid] == nil)
	s, err := by.Child(tid)
	if st.pid >= 0 && m.r.byPid[st.pid] != nil || err != nil {
		m.r.born = append(m.r.born, tid)
	}
	if err != nil {
		m.r.unborn = append(m.r.unborn, tid)
		return err
	}
	born := m.r.cradle
	p := m.r.byPid[st.by]
	switch {
	case m.helpers[st.by] != nil:
		born, p = m.cradles[st.by], nil
	case p != nil && p.mapped:
		born = p.bequest()
	case p != nil:
		born = p.cradle
	}
	t := m.r.byPid[st.pid]
	if t == nil {
		m.helpers[st.pid], m.cradles[st.pid] = s, born
		return nil
	}
	t.s = s
	t.numbers, t.cradle = &numbers{}, born
	for _, ch := range m.r.channels {
		t.numbers.take(ch.Remote)
	}
	if p != nil && st.op == birthFork {
		if sharesFiles(p, t) {
			t.numbers = p.numbers
		}
		if p.mapped {
			t.keep(p)
		}
	}
	return nil
}

func (r *restorer) addFork(b *inject.Batch, st birth) {
	flags, sig := uint64(0), unix.SIGCHLD
	if st.op == birthSibling {
		flags, sig = unix.CLONE_PARENT, 0
	} else if p, c := r.byPid[st.by], r.byPid[st.pid]; p != nil && c != nil && sharesFiles(p, c) {
		flags = unix.CLONE_FILES
	}
	clone3(b, flags, sig, 0, st.pid)
}

// forkLater forks again until an id is free whose last owner has ended but was not waited for yet: a tree that is
// restored right after its dump is still being reaped.
func (r *restorer) forkLater(by *inject.Session, st birth) (uint64, error) {
	r.log.Info("waiting for an id to become free", "pid", st.pid, "for at most", reapTime)
	for until := time.Now().Add(reapTime); ; time.Sleep(time.Millisecond) {
		b := by.NewBatch()
		r.addFork(b, st)
		if err := by.Run(b); err != nil {
			return 0, err
		}
		tid, err := b.Result(0)
		if !errors.Is(err, unix.EEXIST) || !ending(st.pid) || time.Now().After(until) {
			return tid, err
		}
	}
}

func sharesFiles(a, b *task) bool {
	return a.ids != nil && b.ids != nil && a.ids.GetFilesId() != 0 && a.ids.GetFilesId() == b.ids.GetFilesId()
}

// reaches refuses a tree whose maps lie where this kernel's page tables do not lead, such as one of a machine with Sv48 on one with
// Sv39.
func (r *restorer) reaches() error {
	end := r.nursery.Reach()
	for _, t := range r.tasks {
		for _, v := range t.mm.GetVmas() {
			if v.GetEnd() > end && v.GetStatus()&image.VMAVsyscall == 0 {
				return fmt.Errorf("%v: %w", t, refuse("it has a map at %#x-%#x, this kernel's address space ends at %#x; restore on a machine with the page tables of the dump's",
					v.GetStart(), v.GetEnd(), end))
			}
		}
	}
	return nil
}

// spawn settles the nursery where none of the tree's maps will be, under an id that none of its tasks has.
func (r *restorer) spawn() error {
	var avoid []inject.Range
	ids := map[int]bool{}
	for _, t := range r.tasks {
		ids[t.pid] = true
		for _, th := range t.threads {
			ids[th.tid] = true
		}
		for _, v := range t.mm.GetVmas() {
			avoid = append(avoid, inject.Range{Start: v.GetStart(), End: v.GetEnd()})
		}
	}
	for try := 0; ids[r.nursery.T.Tid]; try++ {
		r.endNursery()
		if try == 100 {
			return fmt.Errorf("no process id is free beside those of the tree")
		}
		var err error
		if r.nursery, err = inject.StartNursery(); err != nil {
			return err
		}
	}
	if err := r.reaches(); err != nil {
		return err
	}
	if err := r.nursery.Settle(avoid, areaSize); err != nil {
		return err
	}
	r.area, r.cradle = r.nursery.Whole(), &cradle{maps: r.nursery.Maps}
	return r.openChannels()
}

// reapTime is how long an ended process may keep an id that the tree needs.
const reapTime = 5 * time.Second

// zombie tells whether an id is that of a zombie, and whose child that is. free: nobody has the id (any more).
func zombie(pid int) (parent int, is, free bool) {
	p, err := procfs.Open(pid)
	if err != nil {
		return 0, false, errors.Is(err, procfs.ErrGone)
	}
	defer p.Close()
	var st procfs.Stat
	if err := p.ReadStat(&st); err != nil {
		return 0, false, errors.Is(err, procfs.ErrGone)
	}
	return st.PPid, st.State == 'Z', false
}

// ending tells whether an id is that of a zombie, or has just become free.
func ending(pid int) bool {
	_, is, free := zombie(pid)
	return is || free
}

// one makes a single remote call.
func one(s *inject.Session, nr uintptr, args ...uint64) (uint64, error) {
	b := s.NewBatch()
	i := b.Call(nr, args...)
	if err := s.Run(b); err != nil {
		return 0, err
	}
	return b.Result(i)
}

// channelsAtOnce is how many processes can receive descriptors at the same time.
const channelsAtOnce = 4

// openChannels makes the ways for descriptors, at numbers that no process needs.
func (r *restorer) openChannels() error {
	used := numbers{}
	highest := 0
	for _, t := range r.tasks {
		if t.dead {
			continue
		}
		table, err := r.files.Table(t.ids.GetFilesId())
		if err != nil {
			return err
		}
		for _, e := range table {
			used.take(e.FD)
			highest = max(highest, e.FD)
		}
	}
	// Room for all numbers and for the files of maps. Every task gets its own limits back.
	var lim unix.Rlimit
	if err := unix.Prlimit(r.nursery.T.Tid, unix.RLIMIT_NOFILE, nil, &lim); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	lim.Max = max(lim.Max, uint64(highest)+extraDescriptors)
	lim.Cur = lim.Max
	if err := unix.Prlimit(r.nursery.T.Tid, unix.RLIMIT_NOFILE, &lim, nil); err != nil {
		r.log.Warn("the limit of open files can't be raised", "to", lim.Max, "err", err)
	}
	ahead, err := r.planAhead()
	if err != nil {
		return err
	}
	count := channelsAtOnce
	if ahead != nil {
		count++
	}
	at := 0
	for n := 0; n < count; n++ {
		if used.used[at+n] {
			at, n = at+n+1, -1
		}
	}
	r.channels, err = r.nursery.OpenChannels(at, count)
	r.ahead = ahead
	return err
}

// extraDescriptors is how many descriptors a task may need beyond its own while it is being restored.
const extraDescriptors = 4096

// exit lets a process end by itself.
func exit(s *inject.Session, status int) error {
	b := s.NewBatch()
	b.Call(unix.SYS_EXIT_GROUP, uint64(status))
	err := s.Run(b)
	if errors.Is(err, inject.ErrGone) {
		return nil
	}
	return err
}

// zombies ends those that had ended, in their own way.
func (r *restorer) zombies() error {
	for i := len(r.tasks) - 1; i >= 0; i-- {
		t := r.tasks[i]
		if !t.dead {
			continue
		}
		b := t.s.NewBatch()
		b.Call(unix.SYS_PRCTL, unix.PR_SET_NAME, b.String(t.comm()))
		// no core file of the stub, whatever killed the program
		b.Call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
		if err := t.s.Run(b); err != nil {
			return err
		}
		status := t.core.Tc.GetExitCode()
		var err error
		if sig := unix.Signal(status & 0x7f); sig == 0 {
			err = exit(t.s, int(status>>8&0xff))
		} else {
			err = t.s.Kill(sig)
		}
		if err != nil {
			return fmt.Errorf("%v: ending it as it had ended: %w", t, err)
		}
		t.ended = true
	}
	return nil
}
