// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/fds"
	"github.com/trapline/trapline/checkpoint/inject"
)

// ahead opens the last files of the largest table on another CPU, from the moment on when there is a channel to send them through. It is a
// thread with a table of descriptors of its own: threads that share one wait for each other at each descriptor.
type ahead struct {
	t       *task
	from    int // which part of the table: from here to the end
	entries []fds.Entry
	channel *inject.Channel
	done    chan struct{}
	err     error // valid when done is closed
}

// aheadMin is the smallest number of files that is worth a thread. There are at most as many as messages can be under way.
const (
	aheadMin = 100
	aheadMax = messagesAtOnce * handOutChunk
)

// planAhead finds the part of a table that can be opened without looking left or right: files with a path that are nowhere else. It is nil if
// there are too few.
func (r *restorer) planAhead() (*ahead, error) {
	uses := map[uint32]int{}
	done := map[uint32]bool{}
	var largest *task
	var table []fds.Entry
	for _, t := range r.tasks {
		id := t.ids.GetFilesId()
		if t.dead || id != 0 && done[id] {
			continue
		}
		done[id] = true
		entries, err := r.files.Table(id)
		if err != nil {
			return nil, err
		}
		if len(uses) == 0 {
			uses = make(map[uint32]int, len(entries))
		}
		for _, e := range entries {
			uses[e.ID]++
		}
		if len(entries) > len(table) {
			largest, table = t, entries
		}
	}
	// It begins earlier than the process itself, so it gets the larger part.
	from := len(table)
	for end := max(len(table)*2/5, len(table)-aheadMax); from > end; from-- {
		if e := table[from-1]; uses[e.ID] != 1 || !r.files.Plain(e.ID) {
			break
		}
	}
	if len(table)-from < aheadMin || runtime.GOMAXPROCS(0) < 2 {
		return nil, nil
	}
	return &ahead{t: largest, from: from, entries: table[from:]}, nil
}

func (a *ahead) start(files *fds.Set, channel *inject.Channel) {
	ids := make([]uint32, len(a.entries))
	for i, e := range a.entries {
		ids[i] = e.ID
	}
	files.Reserve(ids)
	a.channel, a.done = channel, make(chan struct{})
	go func() {
		defer close(a.done)
		runtime.LockOSThread() // and never unlocked: the thread ends with its table
		if a.err = unix.Unshare(unix.CLONE_FILES); a.err != nil {
			a.err = fmt.Errorf("a table of descriptors for opening files: %w", a.err)
			return
		}
		// The program's first thread can't end, and would keep what was open.
		defer func() { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE_RANGE, 0, uintptr(^uint32(0)), 0) }()
		for chunk := range slices.Chunk(a.entries, handOutChunk) {
			if a.err = sendPlain(files, channel, chunk); a.err != nil {
				return
			}
		}
	}()
}

// sendPlain opens files and sends their descriptors in one message.
func sendPlain(files *fds.Set, channel *inject.Channel, chunk []fds.Entry) error {
	own := make([]int, 0, len(chunk))
	defer func() {
		for _, fd := range own {
			_ = unix.Close(fd)
		}
	}()
	for _, e := range chunk {
		fd, err := files.OpenPlain(e.ID)
		if err != nil {
			return fmt.Errorf("fd %d: %w", e.FD, err)
		}
		own = append(own, fd)
	}
	return channel.Send(own)
}

func (a *ahead) wait() error {
	<-a.done
	return a.err
}

// receiveAhead adds the receipt of what was opened ahead for a process.
func (r *restorer) receiveAhead(t *task, c *calls) error {
	if err := r.ahead.wait(); err != nil {
		return err
	}
	for chunk := range slices.Chunk(r.ahead.entries, handOutChunk) {
		if err := c.room(handOutRoom); err != nil {
			return err
		}
		cloexec := allCloseOnExec(chunk)
		c.place(chunk, c.receive(r.ahead.channel, len(chunk), cloexec), cloexec)
	}
	return nil
}

func allCloseOnExec(chunk []fds.Entry) bool {
	return !slices.ContainsFunc(chunk, func(e fds.Entry) bool { return !e.CloseOnExec })
}
