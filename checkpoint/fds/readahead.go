// SPDX-License-Identifier: Apache-2.0

package fds

import "github.com/trapline/trapline/checkpoint/procfs"

// procEntry is what /proc says about a descriptor.
type procEntry struct {
	link string
	info *procfs.FDInfo
	err  error
}

func readEntry(t *Task, fd int) (e procEntry) {
	if e.link, e.err = t.Proc.FDLink(fd); e.err == nil {
		e.info, e.err = t.Proc.FDInfo(fd)
	}
	return e
}

// aheadChunk is how many descriptors are handed over at a time: so many that waking the other side costs little, so few
// that it need not wait for long.
const aheadChunk = 32

// readAhead returns a function that gives what /proc says about one descriptor after the other. That is more than half the
// work for a descriptor, so for a long table it is done by a goroutine, at most three chunks ahead. next must
// not be called more often than there are descriptors. stop ends the goroutine and waits for it.
func readAhead(t *Task, fds []int) (next func() procEntry, stop func()) {
	if len(fds) <= 2*aheadChunk {
		return func() procEntry {
			fd := fds[0]
			fds = fds[1:]
			return readEntry(t, fd)
		}, func() {}
	}
	chunks, done, ended := make(chan []procEntry, 2), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for len(fds) > 0 {
			n := min(aheadChunk, len(fds))
			chunk := make([]procEntry, n)
			for i, fd := range fds[:n] {
				chunk[i] = readEntry(t, fd)
			}
			fds = fds[n:]
			select {
			case chunks <- chunk:
			case <-done:
				return
			}
		}
	}()
	var chunk []procEntry
	return func() procEntry {
			if len(chunk) == 0 {
				chunk = <-chunks
			}
			e := chunk[0]
			chunk = chunk[1:]
			return e
		}, func() {
			close(done)
			<-ended
		}
}
