// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/stage"
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
