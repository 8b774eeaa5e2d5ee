// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/inject"
)

const (
	iovMax = 1024 // IOV_MAX
	// readMax bounds one preadv: what is left to wait for when one of process and engine has nothing more to read.
	readMax = 8 << 20
	// batchMax bounds what one batch reads, so that progress shows.
	batchMax = 64 << 20
	// assistMin is how much there must be to read before the engine helps.
	assistMin = 32 << 20
)

// pageSource is a pages file.
type pageSource struct {
	level int
	id    uint32
}

// pageRead is a piece of a pages file, and the ranges of memory that it goes to: one preadv.
type pageRead struct {
	from pageSource
	at   int64
	size int64
	runs []inject.Range
}

// readList is what has to be read. The process takes it from its beginning, the engine from its end.
type readList struct {
	mu    sync.Mutex
	reads []pageRead
	size  int64 // of all reads ever added
}

func (l *readList) first() (r pageRead, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.reads) == 0 {
		return r, false
	}
	r, l.reads = l.reads[0], l.reads[1:]
	return r, true
}

func (l *readList) last() (r pageRead, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.reads) - 1
	if n < 0 {
		return r, false
	}
	r, l.reads = l.reads[n], l.reads[:n]
	return r, true
}

func (l *readList) giveBack(r pageRead) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads = append(l.reads, r)
}

// add adds a part of a run. What is next to each other in the file is read at once.
func (l *readList) add(e *image.PagemapEntry, start, end uint64) {
	from := pageSource{e.Level, e.PagesID}
	for start < end {
		n := min(end-start, readMax)
		at := e.Offset + int64(start-e.Start)
		var r *pageRead
		if k := len(l.reads); k > 0 {
			r = &l.reads[k-1]
		}
		if r == nil || r.from != from || r.at+r.size != at || len(r.runs) == iovMax || r.size+int64(n) > readMax {
			l.reads = append(l.reads, pageRead{from: from, at: at})
			r = &l.reads[len(l.reads)-1]
		}
		r.runs = append(r.runs, inject.Range{Start: start, End: start + n})
		r.size += int64(n)
		l.size += int64(n)
		start += n
	}
}

// reads lists what has to be read for a process.
func (t *task) reads() *readList {
	l := &readList{}
	skip := t.kernelRanges()
	for i := range t.pagemap.Entries {
		e := &t.pagemap.Entries[i]
		if e.Offset != image.NoData && !skip(e.Start) {
			t.missing(e, func(start, end uint64) { l.add(e, start, end) })
		}
	}
	return l
}

// readPages fills the maps of one process. The last part may still be in the batch when it returns.
func (r *restorer) readPages(t *task, c *calls) error {
	if t.pagemap == nil || t.filled {
		return nil
	}
	t.filled = true
	l := t.reads()
	r.log.Debug("pages to read", "pid", t.pid, "bytes", l.size, "reads", len(l.reads))
	p := &pageReader{r: r, t: t, c: c, files: map[pageSource]*pagesFile{}, atOnce: batchMax}
	defer p.close()
	for i := range l.reads {
		if err := p.open(&l.reads[i]); err != nil {
			return err
		}
	}
	stop := func() {}
	if l.size >= assistMin && runtime.GOMAXPROCS(0) > 1 {
		// The engine must find the maps made: they may still be in the batch.
		if err := c.run(); err != nil {
			return err
		}
		p.atOnce = 2 * readMax // what is in a batch the engine can't take any more
		stop = p.assist(l)
	}
	err := p.readAll(l)
	stop()
	if err == nil {
		err = p.readAll(l) // what the engine could not
	}
	if err != nil {
		return err
	}
	for _, f := range p.files {
		c.giveBack(f.fd)
	}
	p.count()
	return nil
}

// pagesFile is open in the engine, and in the process as fd.
type pagesFile struct {
	*os.File
	fd int
}

// pageReader adds the reading of pages to a batch.
type pageReader struct {
	r        *restorer
	t        *task
	c        *calls
	files    map[pageSource]*pagesFile
	atOnce   int64 // bytes that make a batch full
	pending  int64 // bytes in the batch
	iov      []byte
	assisted atomic.Int64 // bytes that the engine has read and that are not counted yet
}

func (p *pageReader) close() {
	for _, f := range p.files {
		f.Close()
	}
}

// open lends the process the file that a read is from.
func (p *pageReader) open(rd *pageRead) error {
	if p.files[rd.from] != nil {
		return nil
	}
	f, err := p.r.images.Pages(&image.PagemapEntry{Level: rd.from.level, PagesID: rd.from.id})
	if err != nil {
		return err
	}
	file := &pagesFile{File: f}
	p.files[rd.from] = file
	got, err := p.c.pass([]int{int(f.Fd())}, true)
	if err != nil {
		return err
	}
	file.fd = got[0]
	return nil
}

// readAll lets the process read what is in the list.
func (p *pageReader) readAll(l *readList) error {
	for {
		rd, ok := l.first()
		if !ok {
			return nil
		}
		p.iov = p.iov[:0]
		for _, m := range rd.runs {
			p.iov = binary.LittleEndian.AppendUint64(p.iov, m.Start)
			p.iov = binary.LittleEndian.AppendUint64(p.iov, m.End-m.Start)
		}
		c := p.c
		c.doSize("reading pages", rd.size, unix.SYS_PREADV, uint64(p.files[rd.from].fd), c.Data(p.iov), uint64(len(rd.runs)), uint64(rd.at), 0)
		p.pending += rd.size
		if p.pending < p.atOnce && c.Room() > iovMax*16+callRoom {
			continue
		}
		if err := c.run(); err != nil {
			return err
		}
		p.count()
	}
}

// count is called when a batch has been made, or will be without further ado.
func (p *pageReader) count() {
	p.r.result.Bytes += p.pending + p.assisted.Swap(0)
	p.pending = 0
	if p.r.opts.Progress != nil {
		p.r.opts.Progress(p.r.result.Bytes, p.r.totalBytes())
	}
}

// assistBuffer is what the engine copies at a time, in bytes: it stays in the cache of a CPU.
const assistBuffer = 256 << 10

// assist lets the engine read from the end of the list while the process reads from the beginning: most of the time goes to faults, and two
// CPUs take them faster than one. The maps must be made. What it can't write it leaves in the list. It is done when stop returns.
func (p *pageReader) assist(l *readList) (stop func()) {
	var stopped atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, assistBuffer)
		for !stopped.Load() {
			rd, ok := l.last()
			if !ok {
				return
			}
			if err := p.copy(&rd, buf); err != nil {
				p.r.log.Debug("the process reads all of its pages itself", "pid", p.t.pid, "why", err)
				l.giveBack(rd)
				return
			}
			p.assisted.Add(rd.size)
		}
	}()
	return func() {
		stopped.Store(true) // nothing is left, or the process has failed
		<-done
	}
}

// copy reads pages into the memory of the process.
func (p *pageReader) copy(rd *pageRead, buf []byte) error {
	f, at := p.files[rd.from], rd.at
	for _, m := range rd.runs {
		for a := m.Start; a < m.End; {
			b := buf[:min(uint64(len(buf)), m.End-a)]
			if _, err := f.ReadAt(b, at); err != nil {
				return err
			}
			if err := p.t.s.WriteMem(a, b); err != nil {
				return err
			}
			a += uint64(len(b))
			at += int64(len(b))
		}
	}
	return nil
}
