// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/stage"
)

// iovMax is IOV_MAX; readMax bounds one preadv, so that progress shows and results stay small.
const (
	iovMax  = 1024
	readMax = 64 << 20
)

// pages lets every process read its pages from the image into its maps, then gives the maps their protections.
func (r *restorer) pages() error {
	total := r.result.Bytes // shared memory is in already
	maps := make(map[*task]*image.Pagemap, len(r.tasks))
	for _, t := range r.tasks {
		if t.dead {
			continue
		}
		pm, err := r.images.Pagemap(uint32(t.pid), false)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := t.checkPagemap(pm); err != nil {
			return err
		}
		maps[t] = pm
		for _, e := range pm.Entries {
			if e.Offset != image.NoData {
				total += int64(e.Pages) * image.PageSize
			}
		}
	}
	if err := r.each(stage.Pages, func(t *task) error {
		if pm := maps[t]; pm != nil {
			if err := r.readPages(t, pm, total); err != nil {
				return err
			}
		}
		if err := r.finishMaps(t); err != nil {
			return err
		}
		return r.protectionKeys(t)
	}); err != nil {
		return err
	}
	r.result.Pages = r.result.Bytes / image.PageSize
	return nil
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

// readPages fills the maps of one process.
func (r *restorer) readPages(t *task, pm *image.Pagemap, total int64) error {
	type source struct {
		level int
		id    uint32
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	var order []source
	index := map[source]int{}
	for i := range pm.Entries {
		e := &pm.Entries[i]
		k := source{e.Level, e.PagesID}
		if _, ok := index[k]; ok || e.Offset == image.NoData {
			continue
		}
		f, err := r.images.Pages(e)
		if err != nil {
			return err
		}
		files = append(files, f)
		index[k] = len(order)
		order = append(order, k)
	}
	if len(files) == 0 {
		return nil
	}
	p, err := r.passage(t)
	if err != nil {
		return err
	}
	own := make([]int, len(files))
	for i, f := range files {
		own[i] = int(f.Fd())
	}
	fds, err := borrow(p, own)
	if err != nil {
		return err
	}
	skip := t.kernelRanges()
	var iov []byte
	var at, next, size int64
	var from int
	b := t.s.NewBatch()
	var want []int64
	run := func() error {
		if b.Len() == 0 {
			return nil
		}
		if err := t.s.Run(b); err != nil {
			return err
		}
		for i, n := range want {
			got, err := b.Result(i)
			if err == nil && int64(got) != n {
				err = fmt.Errorf("%d bytes instead of %d", got, n)
			}
			if err != nil {
				return fmt.Errorf("reading pages: %w", err)
			}
			r.result.Bytes += n
		}
		if r.opts.Progress != nil {
			r.opts.Progress(r.result.Bytes, total)
		}
		b, want = t.s.NewBatch(), nil
		return nil
	}
	flush := func() error {
		if size == 0 {
			return nil
		}
		b.Call(unix.SYS_PREADV, uint64(fds[from]), b.Data(iov), uint64(len(iov)/16), uint64(at), 0)
		want = append(want, size)
		iov, size = iov[:0], 0
		if len(want) == 16 || b.Room() < iovMax*16+4096 {
			return run()
		}
		return nil
	}
	for i := range pm.Entries {
		e := &pm.Entries[i]
		if e.Offset == image.NoData || skip(e.Start) {
			continue
		}
		src := index[source{e.Level, e.PagesID}]
		for done := uint64(0); done < e.Pages*image.PageSize; {
			n := min(e.Pages*image.PageSize-done, readMax)
			off := e.Offset + int64(done)
			if size > 0 && (src != from || off != next || len(iov) == iovMax*16 || size+int64(n) > readMax) {
				if err := flush(); err != nil {
					return err
				}
			}
			if size == 0 {
				at, from = off, src
			}
			iov = binary.LittleEndian.AppendUint64(iov, e.Start+done)
			iov = binary.LittleEndian.AppendUint64(iov, n)
			size += int64(n)
			next = off + int64(n)
			done += n
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if err := run(); err != nil {
		return err
	}
	b = t.s.NewBatch()
	for _, fd := range fds {
		b.Call(unix.SYS_CLOSE, uint64(fd))
	}
	if err := t.s.Run(b); err != nil {
		return err
	}
	return p.Close()
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
