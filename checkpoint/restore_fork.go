// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/inject"
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
	binary.LittleEndian.PutUint64(a[0:], flags)
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
		by := ""
		if c, rerr := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); rerr == nil {
			by = fmt.Sprintf(" by %q", strings.TrimSpace(string(c)))
		}
		return fmt.Errorf("pid %d is in use%s: end that, or restore in a PID namespace of its own: %w", pid, by, err)
	}
	return fmt.Errorf("creating pid %d: %w", pid, err)
}

// fork creates all processes, each in its session and process group, stopped and with nothing of its own yet.
func (r *restorer) fork() error {
	if err := r.spawn(); err != nil {
		return err
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
	if root.s, err = r.clone(r.nursery.Session, unix.CLONE_PARENT, root.pid); err != nil {
		return err
	}
	r.result.RootPid = root.pid
	r.result.Processes = len(r.tasks)
	r.endNursery()
	helpers := map[int]*inject.Session{}
	defer func() {
		for _, h := range helpers {
			_ = unix.Kill(h.T.Tid, unix.SIGKILL)
			_, _ = h.T.Wait()
			h.Close()
		}
	}()
	session := func(pid int) *inject.Session {
		if h := helpers[pid]; h != nil {
			return h
		}
		if t := r.byPid[pid]; t != nil {
			return t.s
		}
		return nil
	}
	for _, st := range steps {
		by := session(st.by)
		if by == nil {
			return fmt.Errorf("pid %d has no creator: %w", st.by, ErrImage)
		}
		var err error
		switch st.op {
		case birthFork, birthSibling:
			var flags uint64
			if st.op == birthSibling {
				flags = unix.CLONE_PARENT
			}
			if p, c := r.byPid[st.by], r.byPid[st.pid]; p != nil && c != nil && sharesFiles(p, c) {
				flags |= unix.CLONE_FILES
			}
			var s *inject.Session
			if s, err = r.clone(by, flags, st.pid); err != nil {
				return err
			}
			if t := r.byPid[st.pid]; t != nil {
				t.s = s
			} else {
				helpers[st.pid] = s
			}
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
				delete(helpers, st.by)
				by.Close()
				_, err = one(session(st.pid), unix.SYS_WAIT4, uint64(by.T.Tid), 0, unix.WALL, 0)
			}
		}
		if err != nil {
			return fmt.Errorf("pid %d: session or process group: %w", st.by, err)
		}
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
	return r.hook(ActionPostSetupNamespaces, root.pid)
}

func sharesFiles(a, b *task) bool {
	return a.ids != nil && b.ids != nil && a.ids.GetFilesId() != 0 && a.ids.GetFilesId() == b.ids.GetFilesId()
}

// spawn starts the nursery where none of the tree's maps will be, under an id that none of its tasks has.
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
	for try := 0; ; try++ {
		n, err := inject.Spawn(avoid, areaSize)
		if err != nil {
			return err
		}
		r.nursery = n
		r.cradle.maps, r.cradle.area = n.Maps, n.Whole()
		if !ids[n.T.Tid] {
			return nil
		}
		r.endNursery()
		if try == 100 {
			return fmt.Errorf("no process id is free beside those of the tree")
		}
	}
}

// clone lets a process make a child (or, with CLONE_PARENT, a sibling) with a given id. An id whose last owner has
// ended but was not waited for yet is waited for: a tree that is restored right after its dump is still being reaped.
func (r *restorer) clone(by *inject.Session, flags uint64, pid int) (*inject.Session, error) {
	if r.byPid[pid] != nil { // not one that is there only for the fork
		defer r.tl.Begin(stage.Fork, pid).End()
	}
	for until := time.Now().Add(reapTime); ; time.Sleep(time.Millisecond) {
		s, err := r.cloneOnce(by, flags, pid)
		if !errors.Is(err, unix.EEXIST) || !ending(pid) || time.Now().After(until) {
			return s, err
		}
	}
}

// reapTime is how long an ended process may keep an id that the tree needs.
const reapTime = 5 * time.Second

// ending tells whether an id is that of a zombie, or has just become free.
func ending(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	i := bytes.LastIndexByte(b, ')')
	return i >= 0 && bytes.HasPrefix(b[i:], []byte(") Z"))
}

func (r *restorer) cloneOnce(by *inject.Session, flags uint64, pid int) (*inject.Session, error) {
	sig := unix.SIGCHLD
	if flags&unix.CLONE_PARENT != 0 {
		sig = 0
	}
	b := by.NewBatch()
	by.Born = nil
	i := clone3(b, flags, sig, 0, pid)
	if err := by.Run(b); err != nil {
		return nil, err
	}
	if _, err := b.Result(i); err != nil {
		return nil, pidError(pid, err)
	}
	if len(by.Born) != 1 {
		return nil, fmt.Errorf("pid %d was created, but did not stop", pid)
	}
	t := by.Born[0]
	by.Born = nil
	return by.Child(t, t.Tid)
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
