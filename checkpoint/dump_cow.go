// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"github.com/trapline/trapline/checkpoint/memory"
	"github.com/trapline/trapline/checkpoint/procfs"
)

// cowFinder finds the pages that a process still shares with its parent since fork: the same page frame, or the same place
// on swap, at the same address. They are left to the parent's images.
type cowFinder struct {
	t             *target
	own, parent   *procfs.Pagemap
	mine, parents []procfs.PageEntry
}

// cowBatch is how many pages are compared at a time: 16 MiB, two buffers of 32 KiB.
const cowBatch = 4096

// findCOW returns nil for a process that has no parent in the tree.
func (d *dumper) findCOW(t *target) (*cowFinder, error) {
	if t.parent == nil || t.parent.dead() {
		return nil, nil
	}
	c := &cowFinder{t: t, mine: make([]procfs.PageEntry, cowBatch), parents: make([]procfs.PageEntry, cowBatch)}
	var err error
	if c.own, err = t.proc.Pagemap(); err != nil {
		return nil, err
	}
	if c.parent, err = t.parent.proc.Pagemap(); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *cowFinder) close() {
	_ = c.own.Close()
	if c.parent != nil {
		_ = c.parent.Close()
	}
}

// split calls own and inParent with the parts of a run, in their order.
func (c *cowFinder) split(r memory.Run, own, inParent func(memory.Run) error) error {
	part := r
	part.End = r.Start
	was := false
	emit := func() error {
		if part.End == part.Start {
			return nil
		}
		if was {
			return inParent(part)
		}
		return own(part)
	}
	for at := r.Start; at < r.End; {
		n := min((r.End-at)/memory.PageSize, cowBatch)
		shared, err := c.compare(at, n)
		if err != nil {
			return err
		}
		for i := range n {
			is := shared && samePage(c.mine[i], c.parents[i])
			if is != was {
				if err := emit(); err != nil {
					return err
				}
				was, part.Start = is, part.End
			}
			part.End += memory.PageSize
		}
		at += n * memory.PageSize
	}
	return emit()
}

// compare reads the entries of n pages. It returns false, and not the parent's, if all are known to be the process'
// own.
func (c *cowFinder) compare(at, n uint64) (bool, error) {
	got, err := c.own.Entries(c.mine[:n], at)
	if err != nil {
		return false, err
	}
	maybe := false
	for _, e := range c.mine[:got] {
		maybe = maybe || !e.Exclusive() && !e.File()
	}
	if !maybe {
		return false, nil
	}
	gotParent, err := c.parent.Entries(c.parents[:n], at)
	if err != nil {
		return false, err
	}
	clear(c.mine[got:n])
	clear(c.parents[gotParent:n])
	return true, nil
}

// samePage tells whether two pagemap entries are of the same anonymous page. Without CAP_SYS_ADMIN the kernel shows no
// frame numbers and none is.
func samePage(a, b procfs.PageEntry) bool {
	if a.File() || b.File() || a.Guard() || b.Guard() {
		return false
	}
	if a.Present() {
		return a.PFN() != 0 && a.PFN() == b.PFN()
	}
	const swap = 1<<55 - 1 // type and offset
	return a.Swapped() && b.Swapped() && !b.Present() && a&swap != 0 && a&swap == b&swap
}

// linkAncestors names the processes whose images hold what t has left to its parent.
func (d *dumper) linkAncestors(t *target) error {
	generation := 1
	for a := t; a.cowParent != nil; a = a.cowParent {
		p := a.cowParent
		if err := d.w.Ancestor(generation, uint32(t.vpid), uint32(p.vpid), p.pagesID); err != nil {
			return err
		}
		generation++
	}
	return nil
}
