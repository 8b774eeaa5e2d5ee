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
	done    chan struct{} // nil: not begun
	sent    int           // how many of entries; valid when done is closed, like
	err     error         // why not all
}

// aheadMin is the smallest number of files that is worth a thread. There are at most as many as messages can be under way.
const (
	aheadMin = 100
	aheadMax = messagesAtOnce * handOutChunk
)

// planAhead finds the part of a table that can be opened by itself: files with a path that are nowhere else. It is nil if there are too few.
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

// startAhead begins with it, once.
func (r *restorer) startAhead() {
	if r.ahead != nil && r.ahead.done == nil {
		r.ahead.start(r.files, r.channels[channelsAtOnce])
	}
}

func (a *ahead) start(files *fds.Set, channel *inject.Channel) {
	a.channel, a.done = channel, make(chan struct{})
	go func() {
		defer close(a.done)
		onOtherThread(func() {
			if a.err = unix.Unshare(unix.CLONE_FILES); a.err != nil {
				return
			}
			for chunk := range slices.Chunk(a.entries, handOutChunk) {
				if a.err = sendPlain(files, channel, chunk); a.err != nil {
					return
				}
				a.sent += len(chunk)
			}
		})
	}()
}

// onOtherThread runs fn on an OS thread that ends with it, so never on the program's first one: that can't end, and what it has is what
// /proc/self shows.
func onOtherThread(fn func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		fn() // never unlocked
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		onOtherThread(fn)
	}()
	<-done
	runtime.UnlockOSThread()
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

// receiveAhead adds the receipt of what was opened ahead for a process, and returns how many that are. What could not be opened so early
// may be there when its turn comes, and if not the error is better then.
func (r *restorer) receiveAhead(c *calls) (int, error) {
	a := r.ahead
	<-a.done
	r.log.Debug("files opened ahead", "pid", a.t.pid, "count", a.sent, "of", len(a.entries), "err", a.err)
	for chunk := range slices.Chunk(a.entries[:a.sent], handOutChunk) {
		if err := c.room(handOutRoom); err != nil {
			return 0, err
		}
		cloexec := allCloseOnExec(chunk)
		c.place(chunk, c.receive(a.channel, len(chunk), cloexec), cloexec)
	}
	return a.sent, nil
}

func allCloseOnExec(chunk []fds.Entry) bool {
	return !slices.ContainsFunc(chunk, func(e fds.Entry) bool { return !e.CloseOnExec })
}
