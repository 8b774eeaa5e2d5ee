// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"sort"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/memfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
)

// VMA status bits in mm-PID.img, as in CRIU's include/image.h. What CRIU 4.1 sets:
//
//	anonymous, private     VMARegular|VMAAnonPrivate, plus VMAHeap, VMAVDSO or VMAVVAR; the stack is MAP_GROWSDOWN only
//	file                   VMARegular|VMAFilePrivate or VMAFileShared, shmid is the file's id in files.img
//	memfd, and anonymous   VMARegular|VMAFileShared or VMAFilePrivate|VMAMemfd, shmid is the id of a memfd in files.img, whose
//	shared (a memfd named  inode in memfd.img has the shmid of pagemap-shmem-SHMID.img
//	/dev/zero)
const (
	VMARegular     = 1 << 0 // its contents are the checkpoint's business
	VMAStack       = 1 << 1
	VMAVsyscall    = 1 << 2
	VMAVDSO        = 1 << 3
	VMAHeap        = 1 << 5
	VMAFilePrivate = 1 << 6
	VMAFileShared  = 1 << 7
	VMAAnonShared  = 1 << 8
	VMAAnonPrivate = 1 << 9
	VMASysVIPC     = 1 << 10
	VMASocket      = 1 << 11
	VMAVVAR        = 1 << 12
	VMAAIORing     = 1 << 13
	VMAMemfd       = 1 << 14
)

// Memory is one process's address space and what of it is in the images. Bytes.
type Memory struct {
	VMAs    int   `json:"vmas"`
	Mapped  int64 `json:"mapped"`  // total length of the VMAs
	Private int64 `json:"private"` // of it private
	Shared  int64 `json:"shared"`
	// Where the contents of private pages are.
	Dumped int64 `json:"dumped"` // in the pages file of this directory
	Parent int64 `json:"parent"` // in those of previous pre-dumps
	Zero   int64 `json:"zero"`   // listed, but without contents
	Lazy   int64 `json:"lazy"`   // of all these, what may be restored on demand
	// Kinds splits Mapped and Dumped by what the memory is.
	Kinds []MemoryKind `json:"kinds"`
}

// MemoryKind is memory of one kind within a process.
type MemoryKind struct {
	Kind   string `json:"kind"`
	VMAs   int    `json:"vmas"`
	Mapped int64  `json:"mapped"`
	Dumped int64  `json:"dumped"` // contents in the images, previous pre-dumps included
}

// Segment is memory that several processes can share. Bytes.
type Segment struct {
	ID     uint64 `json:"id"` // in pagemap-shmem-ID.img
	Name   string `json:"name,omitempty"`
	Size   int64  `json:"size,omitempty"` // 0 if unknown
	Dumped int64  `json:"dumped"`
	Users  int    `json:"users"` // VMAs that map it
}

// MAP_SHARED and MAP_GROWSDOWN of mmap, the same on all architectures that we run on.
const (
	mapShared    = 0x1
	mapGrowsDown = 0x100
)

// devZero is the name of the memfd that stands for a shared anonymous mapping.
const devZero = "/dev/zero"

func (d *describer) vmaKind(v *vma.VmaEntry) string {
	s := v.GetStatus()
	switch {
	case s&VMAVDSO != 0:
		return "vdso"
	case s&VMAVVAR != 0:
		return "vvar"
	case s&VMAVsyscall != 0:
		return "vsyscall"
	case s&VMAHeap != 0:
		return "heap"
	case s&VMAStack != 0, v.GetFlags()&mapGrowsDown != 0:
		return "stack"
	case s&VMAMemfd != 0:
		if d.memfdOf(v).GetName() == devZero {
			return "anonymous, shared"
		}
		return "memfd"
	case s&VMAFilePrivate != 0:
		return "file, private"
	case s&VMAFileShared != 0:
		return "file, shared"
	case s&VMASysVIPC != 0:
		return "sysv shared"
	case s&VMAAnonShared != 0:
		return "anonymous, shared"
	case s&VMAAIORing != 0:
		return "aio ring"
	case s&VMASocket != 0:
		return "packet socket"
	case s&VMAAnonPrivate != 0:
		return "anonymous"
	}
	return "other"
}

// memfdOf is the inode that a VMAMemfd maps; nil if the images don't have it.
func (d *describer) memfdOf(v *vma.VmaEntry) *memfd.MemfdInodeEntry {
	return d.memfds[uint64(d.files[uint32(v.GetShmid())].GetMemfd().GetInodeId())]
}

// segmentOf is the shared memory that a VMA maps, nil if it maps none.
func (d *describer) segmentOf(v *vma.VmaEntry) *Segment {
	switch s := v.GetStatus(); {
	case s&VMAMemfd != 0:
		if m := d.memfdOf(v); m != nil {
			return d.segment(uint64(m.GetShmid()))
		}
	case s&(VMAAnonShared|VMASysVIPC) != 0:
		seg := d.segment(v.GetShmid())
		seg.Size = max(seg.Size, clampLen(v.GetPgoff()+v.GetEnd()-v.GetStart()))
		if seg.Name = "anonymous"; s&VMASysVIPC != 0 {
			seg.Name = "sysv"
		}
		return seg
	}
	return nil
}

func (d *describer) segment(id uint64) *Segment {
	seg := d.shared[id]
	if seg == nil {
		seg = &Segment{ID: id}
		d.shared[id] = seg
		if id <= 1<<32-1 {
			seg.Dumped = d.shmemBytes(uint32(id))
		}
	}
	return seg
}

// shmemBytes is how much of a shared memory segment the images have. An error is kept for Describe.
func (d *describer) shmemBytes(id uint32) int64 {
	pm, err := d.r.Pagemap(id, true)
	if err != nil {
		if d.err == nil {
			d.err = optional(err)
		}
		return 0
	}
	n := int64(0)
	for i := range pm.Entries {
		if pm.Entries[i].Offset != NoData {
			n += int64(pm.Entries[i].Pages) * PageSize
		}
	}
	return n
}

func (d *describer) memory(p *Process) error {
	var e mm.MmEntry
	err := d.r.One(fmt.Sprintf("mm-%d.img", p.PID), &e)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a zombie, or its memory is another process's
	}
	if err != nil {
		return err
	}
	p.Exe = d.path(e.GetExeFileId())
	m := &Memory{VMAs: len(e.GetVmas()), Kinds: []MemoryKind{}}
	p.Memory = m
	index := map[string]int{}
	kinds := make([]int, len(e.GetVmas())) // of each VMA, into m.Kinds
	for i, v := range e.GetVmas() {
		if v.GetEnd() < v.GetStart() || (i > 0 && v.GetStart() < e.GetVmas()[i-1].GetEnd()) {
			return fmt.Errorf("images directory %s: %w", d.r.path,
				corrupt(fmt.Sprintf("mm-%d.img", p.PID), -1, "VMA at %#x has no length or is out of order", v.GetStart()))
		}
		kind := d.vmaKind(v)
		k, ok := index[kind]
		if !ok {
			k = len(m.Kinds)
			index[kind] = k
			m.Kinds = append(m.Kinds, MemoryKind{Kind: kind})
		}
		kinds[i] = k
		size := int64(v.GetEnd() - v.GetStart())
		m.Kinds[k].VMAs++
		m.Kinds[k].Mapped += size
		m.Mapped += size
		if v.GetFlags()&mapShared != 0 {
			m.Shared += size
		} else {
			m.Private += size
		}
		if seg := d.segmentOf(v); seg != nil {
			seg.Users++
		}
	}
	pm, err := d.r.Pagemap(p.PID, false)
	if err != nil {
		return optional(err)
	}
	for i := range pm.Entries {
		x := &pm.Entries[i]
		n := int64(x.Pages) * PageSize
		switch {
		case x.Offset == NoData:
			m.Zero += n
		case x.Level > 0:
			m.Parent += n
		default:
			m.Dumped += n
		}
		if x.Flags&PageLazy != 0 {
			m.Lazy += n
		}
		if x.Offset != NoData {
			m.split(e.GetVmas(), kinds, x)
		}
	}
	return nil
}

// split adds a run of pages to the kinds of the VMAs that it lies in.
func (m *Memory) split(vmas []*vma.VmaEntry, kinds []int, x *PagemapEntry) {
	i := sort.Search(len(vmas), func(i int) bool { return vmas[i].GetEnd() > x.Start })
	for ; i < len(vmas) && vmas[i].GetStart() < x.End(); i++ {
		n := min(vmas[i].GetEnd(), x.End()) - max(vmas[i].GetStart(), x.Start)
		m.Kinds[kinds[i]].Dumped += int64(n)
	}
}
