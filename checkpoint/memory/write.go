// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/inject"
)

var errMoved = errors.New("the mappings changed while the process was stopped")

// Writer writes runs of pages one after the other into a pages file.
type Writer interface {
	// Add takes a run. It may be written later, at the latest by Flush.
	Add(Run) error
	Flush() error
	// Bytes writes contents that the caller has, in their place.
	Bytes([]byte) error
	// Written is how many bytes are in the file.
	Written() int64
}

// copySize is the buffer for pages that the engine reads, in bytes.
const copySize = 1 << 20

// Outside returns a Writer that reads through mem (/proc/PID/mem) and writes to the end of out.
func Outside(mem io.ReaderAt, out *os.File) Writer {
	return &outside{mem: mem, out: out}
}

type outside struct {
	mem io.ReaderAt
	out *os.File
	buf []byte
	off int64
}

func (o *outside) Written() int64 { return o.off }
func (o *outside) Flush() error   { return nil }

func (o *outside) Bytes(b []byte) error {
	_, err := o.out.WriteAt(b, o.off)
	o.off += int64(len(b))
	return err
}

func (o *outside) Add(r Run) error {
	if o.buf == nil {
		o.buf = make([]byte, copySize)
	}
	for at := r.Start; at < r.End; {
		b := o.buf[:min(uint64(len(o.buf)), r.End-at)]
		n, err := o.mem.ReadAt(b, int64(at))
		n -= n % int(PageSize)
		if n == 0 {
			return fmt.Errorf("reading memory at %#x: %w", at, err)
		}
		if _, err := o.out.WriteAt(b[:n], o.off); err != nil {
			return err
		}
		at += uint64(n)
		o.off += int64(n)
	}
	return nil
}

const (
	iovMax = 1024 // UIO_MAXIOV
	// batchBytes is the most one batch moves; more would only keep progress and cancellation waiting.
	batchBytes = 64 << 20
	// maxCalls is how many pwritevs one batch holds: 8 × (64 B + 16 KiB) fits the scratch area.
	maxCalls = 8
)

// Inside returns a Writer that lets the process of s write to its descriptor fd, which is out. Pages that it can't read
// are left to the engine.
func Inside(s *inject.Session, fd int, mem io.ReaderAt, out *os.File) Writer {
	return &inside{s: s, fd: fd, slow: outside{mem: mem, out: out}}
}

// call is one pwritev: where its bytes go, and what they are.
type call struct {
	off   int64
	bytes uint64
	runs  []Run
}

type inside struct {
	s     *inject.Session
	fd    int
	slow  outside
	off   int64 // of what has been added
	calls []call
	// queued is how many bytes are in calls.
	queued uint64
	done   int64
}

func (w *inside) Written() int64 { return w.done }

func (w *inside) Bytes(b []byte) error { return w.slowly(func() error { return w.slow.Bytes(b) }) }

// slowly lets the engine write at the end of the file, which is written in order, so that its checksums can be taken
// meanwhile.
func (w *inside) slowly(write func() error) error {
	if err := w.Flush(); err != nil {
		return err
	}
	w.slow.off = w.off
	err := write()
	w.off, w.done = w.slow.off, w.slow.off
	return err
}

func (w *inside) Add(r Run) error {
	if !r.Direct {
		return w.slowly(func() error { return w.slow.Add(r) })
	}
	for r.Start < r.End {
		c := w.current()
		if c == nil {
			if err := w.Flush(); err != nil {
				return err
			}
			continue
		}
		part := r
		part.End = min(r.End, r.Start+batchBytes-w.queued)
		n := part.End - part.Start
		if k := len(c.runs); k > 0 && c.runs[k-1].End == part.Start {
			c.runs[k-1].End = part.End
		} else {
			c.runs = append(c.runs, part)
		}
		c.bytes += n
		w.queued += n
		w.off += int64(n)
		r.Start = part.End
	}
	return nil
}

// current returns the call that has room for another run, nil if a batch is full.
func (w *inside) current() *call {
	if n := len(w.calls); n > 0 && w.queued < batchBytes {
		if c := &w.calls[n-1]; len(c.runs) < iovMax {
			return c
		}
	}
	if len(w.calls) == maxCalls || w.queued >= batchBytes {
		return nil
	}
	if n := len(w.calls); n < cap(w.calls) {
		w.calls = w.calls[:n+1]
	} else {
		w.calls = append(w.calls, call{})
	}
	c := &w.calls[len(w.calls)-1]
	c.off, c.bytes, c.runs = w.off, 0, c.runs[:0]
	return c
}

func (w *inside) Flush() error {
	if len(w.calls) == 0 {
		return nil
	}
	b := w.s.NewBatch()
	entries := make([]int, len(w.calls))
	for i := range w.calls {
		c := &w.calls[i]
		iov := make([]byte, 16*len(c.runs))
		for k, r := range c.runs {
			binary.NativeEndian.PutUint64(iov[16*k:], r.Start)
			binary.NativeEndian.PutUint64(iov[16*k+8:], r.End-r.Start)
		}
		entries[i] = b.Call(unix.SYS_PWRITEV, uint64(w.fd), b.Data(iov), uint64(len(c.runs)), uint64(c.off), 0)
	}
	if err := w.s.Run(b); err != nil {
		return err
	}
	for i := range w.calls {
		n, err := b.Result(entries[i])
		switch {
		case errors.Is(err, unix.EFAULT):
			n = 0
		case err != nil:
			return fmt.Errorf("%s: written by the process itself: %w", w.slow.out.Name(), err)
		}
		if err := w.rest(&w.calls[i], n); err != nil {
			return err
		}
	}
	w.calls, w.queued = w.calls[:0], 0
	w.done = w.off
	return nil
}

// rest writes from outside what a call has left out: it stops at the first page that the process can't read, and where
// the disk is full, which the engine's own write then tells.
func (w *inside) rest(c *call, n uint64) error {
	if n >= c.bytes {
		return nil
	}
	n -= n % PageSize
	w.slow.off = c.off + int64(n)
	for _, r := range c.runs {
		if size := r.End - r.Start; n >= size {
			n -= size
			continue
		}
		r.Start += n
		n = 0
		if err := w.slow.Add(r); err != nil {
			return err
		}
	}
	return nil
}
