// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/stage"
)

// iovMax is IOV_MAX; readMax bounds one preadv, so that progress shows and results stay small.
const (
	iovMax  = 1024
	readMax = 64 << 20
)

// loadPagemap reads and checks where the pages of a process are.
func (r *restorer) loadPagemap(t *task) error {
	pm, err := r.images.Pagemap(uint32(t.pid), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	t.pagemap = pm
	return t.checkPagemap(pm)
}

// pages lets every process read its pages from the image into its maps, then gives the maps their protections.
func (r *restorer) pages() error {
	err := r.pipeline(stage.Pages, func(t *task, c *calls) error {
		if err := r.readPages(t, c); err != nil {
			return err
		}
		return r.finishMaps(t, c)
	}, r.protectionKeys)
	r.result.Pages = r.result.Bytes / image.PageSize
	return err
}

// totalBytes is how much memory the pagemaps have.
func (r *restorer) totalBytes() int64 {
	if r.pageBytes != 0 {
		return r.pageBytes
	}
	for _, t := range r.tasks {
		if t.pagemap == nil {
			continue
		}
		for _, e := range t.pagemap.Entries {
			if e.Offset != image.NoData {
				r.pageBytes += int64(e.Pages) * image.PageSize
			}
		}
	}
	return r.pageBytes
}

// checkPagemap makes sure that pages go nowhere but into the process' own private maps.
func (t *task) checkPagemap(pm *image.Pagemap) error {
	i := 0
	vmas := t.mm.Vmas
	for _, e := range pm.Entries {
		at := e.Start
		for at < e.End() {
			for i < len(vmas) && vmas[i].GetEnd() <= at {
				i++
			}
			if i == len(vmas) || vmas[i].GetStart() > at {
				return fmt.Errorf("%v: pagemap-%d.img has pages at %#x, where mm-%d.img has no map: %w", t, t.pid, at, t.pid, ErrImage)
			}
			at = vmas[i].GetEnd()
		}
	}
	return nil
}

// pageSource is a pages file.
type pageSource struct {
	level int
	id    uint32
}

// pageReader adds the reading of pages to a batch, neighbours in one call.
type pageReader struct {
	r       *restorer
	c       *calls
	fds     map[pageSource]int
	from    pageSource
	at      int64 // where in the file the call reads
	size    int64
	iov     []byte
	pending int64 // bytes in the batch
}

// readPages fills the maps of one process. The last part may still be in the batch when it returns.
func (r *restorer) readPages(t *task, c *calls) error {
	if t.pagemap == nil || t.filled {
		return nil
	}
	t.filled = true
	p := &pageReader{r: r, c: c, fds: map[pageSource]int{}}
	skip := t.kernelRanges()
	for i := range t.pagemap.Entries {
		e := &t.pagemap.Entries[i]
		if e.Offset == image.NoData || skip(e.Start) {
			continue
		}
		if err := t.missing(e, func(start, end uint64) error { return p.add(t, e, start, end) }); err != nil {
			return err
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	for _, fd := range p.fds {
		c.giveBack(fd)
	}
	p.count()
	return nil
}

// add adds a part of a run.
func (p *pageReader) add(t *task, e *image.PagemapEntry, start, end uint64) error {
	src := pageSource{e.Level, e.PagesID}
	if _, ok := p.fds[src]; !ok {
		f, err := p.r.images.Pages(e)
		if err != nil {
			return err
		}
		got, err := p.c.pass([]int{int(f.Fd())}, true)
		f.Close()
		if err != nil {
			return err
		}
		p.fds[src] = got[0]
	}
	for start < end {
		n := min(end-start, readMax)
		off := e.Offset + int64(start-e.Start)
		if p.size > 0 && (src != p.from || off != p.at+p.size || len(p.iov) == iovMax*16 || p.size+int64(n) > readMax) {
			if err := p.flush(); err != nil {
				return err
			}
		}
		if p.size == 0 {
			p.at, p.from = off, src
		}
		p.iov = binary.LittleEndian.AppendUint64(p.iov, start)
		p.iov = binary.LittleEndian.AppendUint64(p.iov, n)
		p.size += int64(n)
		start += n
	}
	return nil
}

func (p *pageReader) flush() error {
	if p.size == 0 {
		return nil
	}
	c := p.c
	c.doSize("reading pages", p.size, unix.SYS_PREADV, uint64(p.fds[p.from]), c.Data(p.iov), uint64(len(p.iov)/16), uint64(p.at), 0)
	p.pending += p.size
	p.iov, p.size = p.iov[:0], 0
	if p.pending < readMax && c.Room() > iovMax*16+callRoom {
		return nil
	}
	if err := c.run(); err != nil {
		return err
	}
	p.count()
	return nil
}

func (p *pageReader) count() {
	p.r.result.Bytes += p.pending
	p.pending = 0
	if p.r.opts.Progress != nil {
		p.r.opts.Progress(p.r.result.Bytes, p.r.totalBytes())
	}
}

// kernelRanges tells which addresses are the vDSO's: CRIU stores its pages, the kernel brings its own.
func (t *task) kernelRanges() func(uint64) bool {
	type span struct{ start, end uint64 }
	var spans []span
	for _, v := range t.mm.Vmas {
		if v.GetStatus()&(image.VMAVDSO|image.VMAVVAR|image.VMAVsyscall) != 0 {
			spans = append(spans, span{v.GetStart(), v.GetEnd()})
		}
	}
	return func(a uint64) bool {
		for _, s := range spans {
			if s.start <= a && a < s.end {
				return true
			}
		}
		return false
	}
}
