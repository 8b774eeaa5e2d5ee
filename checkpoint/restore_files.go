// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/fds"
	"github.com/trapline/trapline/checkpoint/stage"
)

// openFiles opens every file once, in the engine, and hands the descriptors out: so what was shared by dup or fork is
// shared again.
func (r *restorer) openFiles() error {
	done := map[uint32]bool{}
	uses := map[uint32]int{} // of an open file: how many tables it is still to go to
	for _, t := range r.tasks {
		if t.dead {
			continue
		}
		id := t.ids.GetFilesId()
		if id != 0 && done[id] {
			continue // shares the table (CLONE_FILES) of one that has it
		}
		done[id] = true
		var err error
		if t.table, err = r.files.Table(id); err != nil {
			return err
		}
		seen := make(map[uint32]bool, len(t.table))
		for _, e := range t.table {
			if !seen[e.ID] {
				seen[e.ID] = true
				uses[e.ID]++
			}
		}
	}
	return r.pipeline(stage.Files, func(t *task, c *calls) error { return r.handOut(t, c, uses) }, nil)
}

// handOutChunk is how many descriptors are opened, sent and closed again at a time. So the engine's own table stays small:
// when it grows, the kernel waits for all CPUs, some milliseconds, since threads share it.
const handOutChunk = 24

const (
	// messagesAtOnce bounds the messages that are under way.
	messagesAtOnce = 64
	// handOutRoom is more than the calls of a chunk need in a batch, in bytes.
	handOutRoom = 64 << 10
)

// handOut gives a process its descriptors at their numbers. uses counts the tables that each open file is still to go to.
func (r *restorer) handOut(t *task, c *calls, uses map[uint32]int) error {
	last := make(map[uint32]int, len(t.table)) // where in the table an open file is for the last time
	for i, e := range t.table {
		last[e.ID] = i
	}
	plugs := c.plug(t.table)
	r.log.Debug("descriptors", "pid", t.pid, "count", len(t.table))
	table := t.table
	if r.ahead != nil && r.ahead.t == t {
		table = table[:r.ahead.from]
	}
	at := 0
	for chunk := range slices.Chunk(table, handOutChunk) {
		own := make([]int, len(chunk))
		allCloexec := allCloseOnExec(chunk)
		for i, e := range chunk {
			var err error
			if own[i], err = r.files.Open(e.ID); err != nil {
				return fmt.Errorf("fd %d: %w", e.FD, err)
			}
		}
		got, err := c.pass(own, allCloexec)
		if err != nil {
			return err
		}
		c.place(chunk, got, allCloexec)
		for i, e := range chunk {
			if last[e.ID] != at+i {
				continue
			}
			if uses[e.ID]--; uses[e.ID] == 0 {
				r.files.Release(e.ID)
			}
		}
		at += len(chunk)
		if len(c.lent) >= messagesAtOnce || c.Room() < handOutRoom {
			if err := c.run(); err != nil {
				return err
			}
		}
	}
	if len(table) < len(t.table) {
		if err := r.receiveAhead(t, c); err != nil {
			return err
		}
	}
	c.giveBack(plugs...)
	return nil
}

// plug fills the gaps below the highest number of a table for the moment: so each descriptor is received at its own number. Where
// there are more gaps than descriptors it leaves them; place then moves what is received.
func (c *calls) plug(table []fds.Entry) []int {
	var gaps []int
	next := 0
	for _, e := range table {
		for ; next < e.FD; next++ {
			if len(gaps) > len(table) {
				return nil
			}
			if !c.numbers.used[next] {
				gaps = append(gaps, next)
			}
		}
		next = e.FD + 1
	}
	for _, fd := range gaps {
		c.doAt("filling a gap", uint64(fd), unix.SYS_DUP3, uint64(c.channel.Remote), uint64(fd), unix.O_CLOEXEC)
		c.numbers.take(fd)
	}
	return gaps
}

// place moves received descriptors to their numbers. Both lists ascend, and each number received was the lowest free
// one, so none lies above its goal: from the highest down no move meets another.
func (c *calls) place(want []fds.Entry, got []int, allCloexec bool) {
	for i := len(want) - 1; i >= 0; i-- {
		e := want[i]
		var cloexec uint64
		if e.CloseOnExec {
			cloexec = unix.O_CLOEXEC
		}
		switch {
		case got[i] != e.FD:
			c.doAt("putting a descriptor to its number", uint64(e.FD), unix.SYS_DUP3, uint64(got[i]), uint64(e.FD), cloexec)
			c.numbers.take(e.FD)
			c.giveBack(got[i])
		case e.CloseOnExec && !allCloexec:
			c.do("FD_CLOEXEC", unix.SYS_FCNTL, uint64(e.FD), unix.F_SETFD, unix.FD_CLOEXEC)
		}
	}
}
