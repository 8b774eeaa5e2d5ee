// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"cmp"
	"slices"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/stage"
)

// Pages that a process has shared with its parent since fork are in the images of the parent only. To be shared again they must
// be there when the parent forks: such a parent gets its maps and pages in the stage fork, before its children are born.

// kept is a range of memory that a process keeps from its parent.
type kept struct {
	inject.Range
	vma int // index of the map in mm-PID.img that it belongs to, from its start on
}

// beforeFork maps and fills a process if one of the children that it is about to make shares pages with it.
func (r *restorer) beforeFork(p *task, births []birth) error {
	if p.mapped || p.dead {
		return nil
	}
	for _, st := range births {
		if child := r.byPid[st.pid]; st.op != birthFork || child == nil || !child.sharesPages() {
			continue
		}
		span := r.tl.Begin(stage.Fork, p.pid)
		defer span.End()
		before := r.result.Bytes
		c := r.batch(p, r.channels[0])
		if err := r.addressSpace(p, c); err != nil {
			return err
		}
		if err := r.readPages(p, c); err != nil {
			return err
		}
		n := r.result.Bytes - before
		span.Add(stage.Counts{Bytes: n, Pages: n / image.PageSize})
		return c.run()
	}
	return nil
}

// shared tells whether the contents of a run are those of the parent process, at the same addresses.
func (t *task) shared(e *image.PagemapEntry) bool {
	return t.pagemap.CopyOnWrite && e.Level > 0 && e.Offset != image.NoData
}

func (t *task) sharesPages() bool {
	return !t.dead && t.pagemap != nil && slices.ContainsFunc(t.pagemap.Entries, func(e image.PagemapEntry) bool { return t.shared(&e) })
}

// bequest is what a process that is mapped leaves to its children.
func (t *task) bequest() *cradle {
	c := &cradle{maps: slices.Clone(t.kernelMaps)}
	for _, v := range t.mm.Vmas {
		if regular(v) {
			c.maps = append(c.maps, inject.NamedRange{Range: inject.Range{Start: v.GetStart(), End: v.GetEnd()}})
		}
	}
	return c
}

// keep finds what a process that was just forked from p keeps of its memory: those of its maps that begin inside a map of p of the
// same kind, as far as that goes, if pages in them are shared.
func (t *task) keep(p *task) {
	if t.dead || !t.sharesPages() {
		return
	}
	theirs := p.mm.Vmas
	for i, v := range t.mm.Vmas {
		k, found := slices.BinarySearchFunc(theirs, v.GetStart(), func(o *vma.VmaEntry, at uint64) int { return cmp.Compare(o.GetStart(), at) })
		if !found {
			k--
		}
		if k < 0 || !sameKind(theirs[k], v) {
			continue
		}
		at := inject.Range{Start: v.GetStart(), End: min(v.GetEnd(), theirs[k].GetEnd())}
		if at.Start < at.End && t.sharesIn(at) {
			t.kept = append(t.kept, kept{at, i})
		}
	}
}

// sameKind tells whether the map v is part of what the parent's map o was, or has grown from it.
func sameKind(o, v *vma.VmaEntry) bool {
	if !regular(o) || !regular(v) || v.GetFlags()&unix.MAP_PRIVATE == 0 || o.GetFlags() != v.GetFlags() {
		return false
	}
	id, how, isFile := fileOf(v)
	oid, ohow, oIsFile := fileOf(o)
	if isFile != oIsFile || id != oid || how != ohow {
		return false
	}
	return !isFile || v.GetPgoff()-o.GetPgoff() == v.GetStart()-o.GetStart()
}

func (t *task) sharesIn(at inject.Range) bool {
	entries := t.pagemap.Entries
	i, _ := slices.BinarySearchFunc(entries, at.Start, func(e image.PagemapEntry, a uint64) int { return cmp.Compare(e.End(), a+1) })
	for ; i < len(entries) && entries[i].Start < at.End; i++ {
		if t.shared(&entries[i]) {
			return true
		}
	}
	return false
}

// keptOf is what the map of an index keeps, or nil.
func (t *task) keptOf(i int) *kept {
	k, ok := slices.BinarySearchFunc(t.kept, i, func(k kept, i int) int { return cmp.Compare(k.vma, i) })
	if !ok {
		return nil
	}
	return &t.kept[k]
}

// missing calls fn with those parts of a run of pages that are not already there: shared with the parent and kept.
func (t *task) missing(e *image.PagemapEntry, fn func(start, end uint64)) {
	at, end := e.Start, e.End()
	if t.shared(e) {
		i, _ := slices.BinarySearchFunc(t.kept, at, func(k kept, at uint64) int { return cmp.Compare(k.End, at+1) })
		for ; i < len(t.kept) && t.kept[i].Start < end; i++ {
			if k := t.kept[i]; k.Start > at {
				fn(at, k.Start)
			}
			at = t.kept[i].End
		}
	}
	if at < end {
		fn(at, end)
	}
}

// dropStale takes those pages of the parent out of what a process keeps that it has not: it never had them, or gave them back.
func (r *restorer) dropStale(t *task, c *calls) error {
	if len(t.kept) == 0 {
		return nil
	}
	parent := r.byPid[t.ppid].pagemap.Entries
	own := t.pagemap.Entries
	for _, k := range t.kept {
		i, _ := slices.BinarySearchFunc(parent, k.Start, func(e image.PagemapEntry, a uint64) int { return cmp.Compare(e.End(), a+1) })
		j, _ := slices.BinarySearchFunc(own, k.Start, func(e image.PagemapEntry, a uint64) int { return cmp.Compare(e.End(), a+1) })
		for ; i < len(parent) && parent[i].Start < k.End; i++ {
			if parent[i].Offset == image.NoData {
				continue
			}
			// what of the parent's run no run of the process covers
			at, end := max(parent[i].Start, k.Start), min(parent[i].End(), k.End)
			for ; at < end; j++ {
				if j == len(own) || own[j].Start >= end {
					if err := c.drop(at, end); err != nil {
						return err
					}
					break
				}
				if own[j].Start > at {
					if err := c.drop(at, own[j].Start); err != nil {
						return err
					}
				}
				at = max(at, own[j].End())
				if at >= end {
					break // the next run of the parent may have more of it
				}
			}
		}
	}
	return nil
}

func (c *calls) drop(start, end uint64) error {
	c.doAt("madvise", start, unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED)
	return c.more()
}
