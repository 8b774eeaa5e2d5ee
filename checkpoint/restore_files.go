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
	r.log.Debug("descriptors", "pid", t.pid, "count", len(t.table))
	left := make(map[uint32]int, len(t.table)) // how many descriptors of this table an open file is still to get
	for _, e := range t.table {
		left[e.ID]++
	}
	release := func(id uint32) {
		if left[id]--; left[id] > 0 {
			return
		}
		if uses[id]--; uses[id] == 0 {
			r.files.Release(id)
		}
	}
	plugs := c.plug(t.table)
	rest := t.table
	if r.ahead != nil && r.ahead.t == t {
		if err := r.openAndSend(c, t.table[:r.ahead.from], release); err != nil {
			return err
		}
		n, err := r.receiveAhead(c)
		if err != nil {
			return err
		}
		rest = t.table[r.ahead.from+n:]
	}
	if err := r.openAndSend(c, rest, release); err != nil {
		return err
	}
	c.giveBack(plugs...)
	return nil
}

// openAndSend opens files of a table and sends them. release is told each that has been sent.
func (r *restorer) openAndSend(c *calls, table []fds.Entry, release func(id uint32)) error {
	for chunk := range slices.Chunk(table, handOutChunk) {
		own := make([]int, len(chunk))
		for i, e := range chunk {
			var err error
			if own[i], err = r.files.Open(e.ID); err != nil {
				return fmt.Errorf("fd %d: %w", e.FD, err)
			}
		}
		cloexec := allCloseOnExec(chunk)
		got, err := c.pass(own, cloexec)
		if err != nil {
			return err
		}
		c.place(chunk, got, cloexec)
		for _, e := range chunk {
			release(e.ID)
		}
		if len(c.lent) >= messagesAtOnce || c.Room() < handOutRoom {
			if err := c.run(); err != nil {
				return err
			}
		}
	}
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
