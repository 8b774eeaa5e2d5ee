// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/image"
)

// regular tells whether a map is to be made: not the vDSO, vvar and vsyscall.
func regular(v *vma.VmaEntry) bool {
	return v.GetStatus()&image.VMARegular != 0 && v.GetStatus()&(image.VMAVDSO|image.VMAVVAR|image.VMAVsyscall) == 0
}

// filledLater tells whether pages will be read into a private map, which has to be writable for that. No other may be: the kernel reserves
// memory for what is private and writable, also for a terabyte that is only reserved addresses.
func (t *task) filledLater(v *vma.VmaEntry) bool {
	if v.GetFlags()&unix.MAP_PRIVATE == 0 || t.pagemap == nil {
		return false
	}
	entries := t.pagemap.Entries
	i, _ := slices.BinarySearchFunc(entries, v.GetStart(), func(e image.PagemapEntry, a uint64) int { return cmp.Compare(e.End(), a+1) })
	for ; i < len(entries) && entries[i].Start < v.GetEnd(); i++ {
		if entries[i].Offset != image.NoData {
			return true
		}
	}
	return false
}

// mapAll makes the maps. Where pages will be read into, a map is writable until then. Neighbours that the kernel would make one of are
// made by one call.
func (r *restorer) mapAll(t *task, c *calls) error {
	var run mapping
	flush := func() error {
		if run.size > 0 {
			c.doAt("mapping", run.start, unix.SYS_MMAP, run.start, run.size, run.prot, run.flags, run.fd, run.off)
			run.size = 0
		}
		return c.more()
	}
	for i, v := range t.mm.Vmas {
		if !regular(v) {
			continue
		}
		if k := t.keptOf(i); k != nil {
			if k.End < v.GetEnd() {
				c.doAt("growing the map", v.GetStart(), unix.SYS_MREMAP, v.GetStart(), k.End-v.GetStart(), v.GetEnd()-v.GetStart(), 0)
			}
			if err := c.more(); err != nil {
				return err
			}
			continue
		}
		if v.GetStatus()&image.VMASysVIPC != 0 {
			if err := flush(); err != nil {
				return err
			}
			if err := c.run(); err != nil {
				return err
			}
			if err := r.attachSysV(t, v); err != nil {
				return err
			}
			continue
		}
		m := t.mapping(v)
		if run.size > 0 && run.joins(&m) {
			run.size += m.size
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		run = m
	}
	return flush()
}

// mapping is one mmap.
type mapping struct {
	start, size, prot, flags, fd, off uint64
}

const nothing = ^uint64(0) // as the descriptor of an anonymous map

// joinMax bounds what neighbours are joined to, in bytes: the kernel refuses a single map that is larger than all memory, where it allows
// its parts one by one (vm.overcommit_memory 0).
const joinMax = 256 << 20

// joins tells whether n continues m and is anonymous memory of the same kind. A stack grows by itself, huge pages have a size of their own.
func (m *mapping) joins(n *mapping) bool {
	return m.start+m.size == n.start && m.size+n.size <= joinMax && m.fd == nothing && n.fd == nothing && m.prot == n.prot && m.flags == n.flags &&
		m.flags&(unix.MAP_GROWSDOWN|unix.MAP_HUGETLB|unix.MAP_SHARED) == 0
}

func (t *task) mapping(v *vma.VmaEntry) mapping {
	m := mapping{start: v.GetStart(), size: v.GetEnd() - v.GetStart(), prot: uint64(v.GetProt()), fd: nothing}
	m.flags = uint64(v.GetFlags())&(unix.MAP_PRIVATE|unix.MAP_SHARED|unix.MAP_GROWSDOWN|unix.MAP_HUGETLB|unix.MAP_NORESERVE|0x3f<<26) | unix.MAP_FIXED_NOREPLACE
	id, how, isFile := fileOf(v)
	switch {
	case isFile:
		m.fd, m.off = uint64(t.lent[fileKey{id, how}]), v.GetPgoff()
	case v.GetStatus()&image.VMAAnonShared != 0:
		m.fd, m.off = uint64(t.lent[fileKey{id: uint32(v.GetShmid()), flags: sharedKey}]), v.GetPgoff()
		m.flags &^= unix.MAP_ANONYMOUS
	default:
		m.flags |= unix.MAP_ANONYMOUS
	}
	if m.flags&unix.MAP_PRIVATE != 0 && t.droppable(v.GetStart()) {
		m.flags = m.flags&^unix.MAP_PRIVATE | mapDroppable
	}
	if t.filledLater(v) {
		m.prot |= unix.PROT_WRITE | unix.PROT_READ
	}
	return m
}

// alikeRun is a range of maps that follow each other without a gap.
type alikeRun struct{ start, size, what uint64 }

// alike yields the ranges of maps for which fn returns the same.
func (t *task) alike(fn func(i int, v *vma.VmaEntry) uint64) iter.Seq[alikeRun] {
	return func(yield func(alikeRun) bool) {
		var run alikeRun
		for i, v := range t.mm.Vmas {
			if !regular(v) {
				continue
			}
			what, size := fn(i, v), v.GetEnd()-v.GetStart()
			if run.size > 0 && run.start+run.size == v.GetStart() && run.what == what {
				run.size += size
				continue
			}
			if run.size > 0 && !yield(run) {
				return
			}
			run = alikeRun{v.GetStart(), size, what}
		}
		if run.size > 0 {
			yield(run)
		}
	}
}

// finishMaps is for when the pages are in: protections, advices, names, locks.
func (r *restorer) finishMaps(t *task, c *calls) error {
	add := func(w string, at uint64, nr uintptr, args ...uint64) error {
		c.doAt(w, at, nr, args...)
		return c.more()
	}
	// Advice before protections: so far there are few maps, which different protections will split.
	for run := range t.alike(func(_ int, v *vma.VmaEntry) uint64 { return v.GetMadv() }) {
		for m := run.what; m != 0; m &= m - 1 {
			if err := add("madvise", run.start, unix.SYS_MADVISE, run.start, run.size, uint64(bits.TrailingZeros64(m))); err != nil {
				return err
			}
		}
	}
	const asIs = ^uint64(0)
	for run := range t.alike(func(i int, v *vma.VmaEntry) uint64 {
		const rw = unix.PROT_READ | unix.PROT_WRITE
		if prot := v.GetProt(); prot&rw != rw && (t.filledLater(v) || t.keptOf(i) != nil) {
			return uint64(prot)
		}
		return asIs
	}) {
		if run.what != asIs {
			if err := add("protecting", run.start, unix.SYS_MPROTECT, run.start, run.size, run.what); err != nil {
				return err
			}
		}
	}
	if x := t.extra; x != nil {
		for _, n := range x.Names {
			if err := add("", 0, unix.SYS_PRCTL, unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, n.Start, n.End-n.Start, c.String(n.Name)); err != nil {
				return err
			}
		}
		for _, g := range x.Guards {
			if err := add("guard pages", g.Start, unix.SYS_MADVISE, g.Start, g.End-g.Start, madvGuardInstall); err != nil {
				return err
			}
		}
		for _, l := range x.LockOnFault {
			if err := add("locking", l.Start, unix.SYS_MLOCK2, l.Start, l.End-l.Start, unix.MLOCK_ONFAULT); err != nil {
				return err
			}
		}
	}
	for _, v := range t.mm.Vmas {
		if regular(v) && v.GetFlags()&unix.MAP_LOCKED != 0 && !t.onFault(v.GetStart()) {
			if err := add("locking", v.GetStart(), unix.SYS_MLOCK, v.GetStart(), v.GetEnd()-v.GetStart()); err != nil {
				return err
			}
		}
	}
	if x := t.extra; x != nil {
		for _, g := range x.Sealed {
			if err := add("sealing", g.Start, sysMseal, g.Start, g.End-g.Start, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// Numbers newer than the library's.
const (
	madvGuardInstall = 102
	mapDroppable     = 0x08
	sysMseal         = 462
)

func (t *task) onFault(addr uint64) bool {
	return t.extra != nil && within(t.extra.LockOnFault, addr)
}

func (t *task) droppable(addr uint64) bool {
	return t.extra != nil && within(t.extra.Droppable, addr)
}

func within(list []ExtraRange, addr uint64) bool {
	for _, l := range list {
		if l.Start <= addr && addr < l.End {
			return true
		}
	}
	return false
}
