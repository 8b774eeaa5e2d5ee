// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/memory"
	"github.com/trapline/trapline/checkpoint/stage"
)

// pages writes the memory of each process into pages-N.img, and which pages these are into pagemap-PID.img.
func (d *dumper) pages() error {
	for _, t := range d.tasks {
		if !t.dead() {
			d.memTotal += memory.Estimate(t.vmas)
		}
	}
	// What the engine copies any OS thread may, so several processes at once.
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	var big []*target
	for _, t := range d.tasks {
		if t.dead() {
			continue
		}
		t.pagesID = d.nextPagesID()
		if memory.Estimate(t.vmas) >= insideBytes {
			big = append(big, t)
			continue
		}
		g.Go(func() error { return d.dumpPages(t) })
	}
	var errs []error
	for _, t := range big {
		if err := d.dumpPages(t); err != nil {
			errs = append(errs, err)
			break
		}
	}
	return errors.Join(append(errs, g.Wait())...)
}

// insideBytes is from which amount on it pays to hand the pages file to the process.
const insideBytes = 512 << 10

// dumpPages writes the memory of one process.
func (d *dumper) dumpPages(t *target) error {
	s := d.tl.Begin(stage.Pages, t.pid)
	defer s.End()
	before := t.session.Calls
	err := d.writePages(t, s)
	s.Add(stage.Counts{Calls: t.session.Calls - before})
	if err != nil {
		return t.errorf(err)
	}
	return nil
}

func (d *dumper) writePages(t *target, s stage.Span) (err error) {
	pm, err := t.proc.Pagemap()
	if err != nil {
		return err
	}
	defer pm.Close()
	pagesName := image.PagesName(t.pagesID)
	out, err := d.w.Raw(pagesName)
	if err != nil {
		return err
	}
	defer out.Close()
	entries, err := d.w.Append(image.PagemapName(uint32(t.vpid), false))
	if err != nil {
		return err
	}
	defer func() {
		if cerr := entries.Close(); err == nil {
			err = cerr
		}
	}()
	if err := entries.Write(&pagemap.PagemapHead{PagesId: proto.Uint32(t.pagesID)}); err != nil {
		return err
	}
	estimate := memory.Estimate(t.vmas)
	w := memory.Outside(t.mem, out)
	if estimate >= insideBytes {
		if err := d.w.SumAhead(pagesName); err != nil {
			return err
		}
		var leave func() error
		if w, leave, err = d.pagesWriter(t, out); err != nil {
			return err
		}
		defer func() {
			if lerr := leave(); err == nil {
				err = lerr
			}
		}()
	}
	p := pageDump{d: d, t: t, w: w, entries: entries, span: s}
	if err := p.open(); err != nil {
		return err
	}
	defer p.close()
	if err := memory.Walk(pm, t.vmas, p.run, p.guard); err != nil {
		return err
	}
	if err := p.finish(); err != nil {
		return err
	}
	s.Add(stage.Counts{Pages: p.pages, Bytes: p.bytes()})
	d.log.Debug("pages", "pid", t.pid, "file", pagesName, "pages", p.pages, "shared with the parent", p.parentPages, "bytes", p.bytes())
	d.pagesMu.Lock()
	defer d.pagesMu.Unlock()
	d.memDone += uint64(p.bytes())
	d.stats.pagesWritten += uint64(p.pages)
	d.stats.pagesParent += uint64(p.parentPages)
	for i := range t.vmas {
		d.stats.pagesScanned += t.vmas[i].Len() / memory.PageSize
	}
	return nil
}

// pagesWriter lets the process write its own pages if it may and can. leave takes the descriptor away again.
func (d *dumper) pagesWriter(t *target, out *os.File) (memory.Writer, func() error, error) {
	nothing := func() error { return nil }
	if why := d.whyOutside(t); why != "" {
		d.log.Debug("the engine copies the pages", "pid", t.pid, "why", why)
		return memory.Outside(t.mem, out), nothing, nil
	}
	passage, err := t.session.Open(t.pidfd)
	if err != nil {
		d.log.Debug("the engine copies the pages", "pid", t.pid, "why", err)
		return memory.Outside(t.mem, out), nothing, nil
	}
	got, err := passage.Send([]int{int(out.Fd())})
	if err != nil || len(got) != 1 {
		d.log.Debug("the engine copies the pages", "pid", t.pid, "why", err)
		return memory.Outside(t.mem, out), passage.Close, nil
	}
	return memory.Inside(t.session, got[0], t.mem, out), passage.Close, nil
}

// pageDump is the dump of one process' pages.
type pageDump struct {
	d       *dumper
	t       *target
	w       memory.Writer
	entries *image.Stream
	span    stage.Span
	cow     *cowFinder // nil: the process shares nothing with an ancestor

	pending     pagemap.PagemapEntry // the entry that the next run may extend
	start, end  uint64
	flags       uint32
	pages       int64
	parentPages int64
	told        int64
	vdsoDone    bool
}

func (p *pageDump) bytes() int64 { return p.w.Written() }

func (p *pageDump) open() error {
	var err error
	p.cow, err = p.d.findCOW(p.t)
	return err
}

func (p *pageDump) close() {
	if p.cow != nil {
		p.cow.close()
	}
}

// run takes pages in ascending order. The vDSO's come in their place.
func (p *pageDump) run(r memory.Run) error {
	if err := p.vdso(r.Start); err != nil {
		return err
	}
	if p.cow != nil && r.Forkable {
		return p.cow.split(r, p.own, p.inParent)
	}
	return p.own(r)
}

// own takes pages that belong to this process alone.
func (p *pageDump) own(r memory.Run) error {
	flags := uint32(image.PagePresent)
	if r.Lazy {
		flags |= image.PageLazy
	}
	if err := p.entry(r.Start, r.End, flags); err != nil {
		return err
	}
	p.pages += int64(r.Pages())
	for end := r.End; r.Start < end; r.Start = r.End {
		r.End = min(end, r.Start+progressBytes)
		if err := p.w.Add(r); err != nil {
			return err
		}
		if err := p.progress(); err != nil {
			return err
		}
	}
	return nil
}

// inParent takes pages that the images of an ancestor hold.
func (p *pageDump) inParent(r memory.Run) error {
	p.t.cowParent = p.t.parent
	p.parentPages += int64(r.Pages())
	return p.entry(r.Start, r.End, image.PageParent)
}

// progressBytes is about how much is written between one sign of progress and the next.
const progressBytes = 64 << 20

// progress tells listeners, at most every 16 MiB; a cancelled dump ends here too.
func (p *pageDump) progress() error {
	done := p.w.Written()
	if done-p.told < 16<<20 {
		return nil
	}
	p.told = done
	p.d.pagesMu.Lock()
	done += int64(p.d.memDone)
	p.d.pagesMu.Unlock()
	total := max(int64(p.d.memTotal), done)
	p.span.Progress(done, total)
	if p.d.opts.Progress != nil {
		p.d.opts.Progress(done, total)
	}
	if err := context.Cause(p.d.ctx); err != nil {
		return fmt.Errorf("stopped while pages were written: %w", err)
	}
	return nil
}

// entry writes an entry of the pagemap, joined with the one before if they are neighbours of one kind.
func (p *pageDump) entry(start, end uint64, flags uint32) error {
	if p.end == start && p.flags == flags && p.end > p.start {
		p.end = end
		return nil
	}
	if err := p.flushEntry(); err != nil {
		return err
	}
	p.start, p.end, p.flags = start, end, flags
	return nil
}

// maxEntryPages keeps the number of pages of an entry within the field that old CRIUs read.
const maxEntryPages = 1<<32 - 1

func (p *pageDump) flushEntry() error {
	for p.start < p.end {
		n := min((p.end-p.start)/memory.PageSize, maxEntryPages)
		p.pending = pagemap.PagemapEntry{Vaddr: proto.Uint64(p.start), CompatNrPages: proto.Uint32(uint32(n)), NrPages: proto.Uint64(n), Flags: proto.Uint32(p.flags)}
		if p.flags&image.PageParent != 0 {
			p.pending.InParent = proto.Bool(true)
		}
		if err := p.entries.Write(&p.pending); err != nil {
			return err
		}
		p.start += n * memory.PageSize
	}
	return nil
}

func (p *pageDump) guard(start, end uint64) error {
	g := p.t.guards
	if n := len(g); n > 0 && g[n-1].end == start {
		g[n-1].end = end
		return nil
	}
	p.t.guards = append(g, guardRange{start, end})
	return nil
}

// vdso adds the vDSO's pages in their place, as they were before the blob came. CRIU keeps them to redirect calls to another
// kernel's vDSO.
func (p *pageDump) vdso(before uint64) error {
	v := p.t.vdsoMap
	if p.vdsoDone || v == nil || v.Start >= before {
		return nil
	}
	p.vdsoDone = true
	if err := p.entry(v.Start, v.End, image.PagePresent); err != nil {
		return err
	}
	p.pages += int64(v.Len() / memory.PageSize)
	return p.w.Bytes(p.t.vdso)
}

// finish writes what is still kept back.
func (p *pageDump) finish() error {
	if err := p.vdso(^uint64(0)); err != nil {
		return err
	}
	if err := p.w.Flush(); err != nil {
		return err
	}
	return p.flushEntry()
}
