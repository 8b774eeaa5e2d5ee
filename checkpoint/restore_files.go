// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/fds"
	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/stage"
)

// rightsPerMessage is SCM_MAX_FD.
const rightsPerMessage = 253

// openFiles opens every file once, in the engine, and hands the descriptors out: so what was shared by dup or fork is
// shared again.
func (r *restorer) openFiles() error {
	done := map[uint32]bool{}
	return r.each(stage.Files, func(t *task) error {
		id := t.ids.GetFilesId()
		if id != 0 && done[id] {
			return nil // shares the table (CLONE_FILES) of one that has it
		}
		done[id] = true
		var err error
		if t.table, err = r.files.Table(id); err != nil {
			return err
		}
		return r.handOut(t)
	})
}

// passage opens the way for descriptors into a process, at a number that none of its own has.
func (r *restorer) passage(t *task) (*inject.Passage, error) {
	pidfd, err := unix.PidfdOpen(t.s.T.Tid, 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	// room for our own socket and the files of maps: limits come back in the stage state
	b := t.s.NewBatch()
	var lim [16]byte
	get := b.Data(lim[:])
	b.Call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, 0, get)
	if err := t.s.Run(b); err != nil {
		return nil, err
	}
	if err := b.Read(get, lim[:]); err != nil {
		return nil, err
	}
	copy(lim[:8], lim[8:])
	b = t.s.NewBatch()
	b.Call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, b.Data(lim[:]), 0)
	if err := t.s.Run(b); err != nil {
		return nil, err
	}
	return t.s.Open(pidfd)
}

// handOut gives a process its descriptors at their numbers.
func (r *restorer) handOut(t *task) error {
	if len(t.table) == 0 {
		return nil
	}
	table := slices.Clone(t.table)
	slices.SortFunc(table, func(a, b fds.Entry) int { return a.FD - b.FD })
	p, err := r.passage(t)
	if err != nil {
		return err
	}
	used := map[int]bool{}
	for _, e := range table {
		used[e.FD] = true
	}
	away := table[len(table)-1].FD + 1
	if err := move(t.s, p.Remote(), away, true); err != nil {
		// the table reaches up to the limit: any gap does
		for away = 0; used[away]; away++ {
		}
		if away != p.Remote() {
			if err := move(t.s, p.Remote(), away, true); err != nil {
				return fmt.Errorf("a descriptor for the restore itself: %w", err)
			}
		}
	}
	p.Moved(away)
	for chunk := range slices.Chunk(table, rightsPerMessage) {
		own := make([]int, len(chunk))
		for i, e := range chunk {
			if own[i], err = r.files.Open(e.ID); err != nil {
				return fmt.Errorf("fd %d: %w", e.FD, err)
			}
		}
		got, err := p.Send(own, true)
		if err != nil {
			return err
		}
		if err := place(t.s, chunk, got); err != nil {
			return err
		}
	}
	return p.Close()
}

// place moves received descriptors to their numbers. Both lists ascend, and each number received was the lowest free
// one, so none lies above its goal: from the highest down no move meets another.
func place(s *inject.Session, want []fds.Entry, got []int) error {
	b := s.NewBatch()
	var what []int
	for i := len(want) - 1; i >= 0; i-- {
		e := want[i]
		switch {
		case got[i] != e.FD:
			var flags uint64
			if e.CloseOnExec {
				flags = unix.O_CLOEXEC
			}
			what = append(what, e.FD, got[i])
			b.Call(unix.SYS_DUP3, uint64(got[i]), uint64(e.FD), flags)
			b.Call(unix.SYS_CLOSE, uint64(got[i]))
		case !e.CloseOnExec:
			what = append(what, e.FD)
			b.Call(unix.SYS_FCNTL, uint64(e.FD), unix.F_SETFD, 0)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	if err := s.Run(b); err != nil {
		return err
	}
	for i, fd := range what {
		if _, err := b.Result(i); err != nil {
			return fmt.Errorf("fd %d: putting it to its number: %w", fd, err)
		}
	}
	return nil
}

func move(s *inject.Session, from, to int, closeOnExec bool) error {
	if from == to {
		return nil
	}
	var flags uint64
	if closeOnExec {
		flags = unix.O_CLOEXEC
	}
	b := s.NewBatch()
	i := b.Call(unix.SYS_DUP3, uint64(from), uint64(to), flags)
	if err := s.Run(b); err != nil {
		return err
	}
	if _, err := b.Result(i); err != nil {
		return err
	}
	b = s.NewBatch()
	b.Call(unix.SYS_CLOSE, uint64(from))
	return s.Run(b)
}

// borrow hands engine descriptors to a process for the time of its restore and returns their numbers there.
func borrow(p *inject.Passage, own []int) ([]int, error) {
	var all []int
	for chunk := range slices.Chunk(own, rightsPerMessage) {
		got, err := p.Send(chunk, true)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
	}
	return all, nil
}
