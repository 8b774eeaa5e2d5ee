// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/stage"
)

// memory gives each process its address space: nothing of the nursery's but the vDSO, every map at its place, empty.
func (r *restorer) memory() error {
	return r.pipeline(stage.Memory, func(t *task, c *calls) error {
		if t.mapped {
			return nil
		}
		return r.addressSpace(t, c)
	}, nil)
}

// cradle is the address space that a process is born with, apart from the scratch area.
type cradle struct {
	maps []inject.NamedRange
}

// addressSpace adds the calls that make it. The last may still be in the batch when it returns.
func (r *restorer) addressSpace(t *task, c *calls) error {
	borrowed, err := r.lendFiles(t, c)
	if err != nil {
		return err
	}
	r.clearOut(t, c)
	if err := r.placeVDSO(t, c); err != nil {
		return err
	}
	if err := r.mapAll(t, c); err != nil {
		return err
	}
	if err := r.dropStale(t, c); err != nil {
		return err
	}
	c.giveBack(borrowed...)
	t.mapped = true
	return nil
}

// clearOut unmaps what a process was born with, except the scratch area, what the kernel gave it and what it keeps.
func (r *restorer) clearOut(t *task, c *calls) {
	keep := []inject.Range{r.area}
	var end uint64
	for _, m := range t.cradle.maps {
		switch {
		case slices.Contains(kernelMaps, m.Name):
			keep = append(keep, m.Range)
		case m.Name != "[vsyscall]":
			end = max(end, m.End)
		}
	}
	for _, k := range t.kept {
		keep = append(keep, k.Range)
	}
	slices.SortFunc(keep, func(a, b inject.Range) int { return cmp.Compare(a.Start, b.Start) })
	var at uint64
	for _, k := range append(keep, inject.Range{Start: end, End: end}) {
		if k.Start > at {
			c.doAt("unmapping", at, unix.SYS_MUNMAP, at, k.Start-at)
		}
		at = max(at, k.End)
	}
}

// kernelMaps are the special mappings in the order in which the kernel lays them.
var kernelMaps = []string{"[vvar]", "[vvar_vclock]", "[vdso]"}

// placeVDSO moves the vDSO and its data pages to where the process had them.
func (r *restorer) placeVDSO(t *task, c *calls) error {
	old := map[string]inject.Range{}
	for _, m := range t.cradle.maps {
		old[m.Name] = m.Range
	}
	var first, last uint64
	var vdso inject.Range
	for _, v := range t.mm.Vmas {
		if v.GetStatus()&(image.VMAVDSO|image.VMAVVAR) == 0 {
			continue
		}
		if first == 0 {
			first = v.GetStart()
		}
		last = v.GetEnd()
		if v.GetStatus()&image.VMAVDSO != 0 {
			vdso = inject.Range{Start: v.GetStart(), End: v.GetEnd()}
		}
	}
	if first == 0 {
		for _, n := range kernelMaps {
			if m, ok := old[n]; ok {
				c.doAt("unmapping", m.Start, unix.SYS_MUNMAP, m.Start, m.End-m.Start)
			}
		}
		return nil
	}
	have := old["[vdso]"]
	if vdso.End-vdso.Start != have.End-have.Start {
		return refuse("its vDSO has %d bytes, this kernel's has %d; restore on the kernel of the dump", vdso.End-vdso.Start, have.End-have.Start)
	}
	// all three keep their distances; [vvar_vclock] is part of [vvar] in images of kernels before 6.13
	shift := vdso.Start - have.Start
	lo := have.Start
	for _, n := range kernelMaps {
		if m, ok := old[n]; ok && m.Start < lo {
			lo = m.Start
		}
	}
	if lo+shift != first || have.End+shift != last {
		return refuse("its vDSO and vvar lie at %#x-%#x, this kernel's would at %#x-%#x; restore on the kernel of the dump", first, last, lo+shift, have.End+shift)
	}
	defer func() {
		for _, n := range kernelMaps {
			if m, ok := old[n]; ok {
				t.kernelMaps = append(t.kernelMaps, inject.NamedRange{Range: m, Name: n})
			}
		}
	}()
	if shift == 0 {
		return nil
	}
	hops := []uint64{shift}
	if first < have.End && lo < last {
		// the ranges overlap: by way of a free place
		via, err := r.freeRange(t, have.End-lo)
		if err != nil {
			return err
		}
		hops = []uint64{via - lo, first - via}
	}
	for _, h := range hops {
		for _, n := range kernelMaps {
			m, ok := old[n]
			if !ok {
				continue
			}
			c.doAt("moving the vDSO", m.Start, unix.SYS_MREMAP, m.Start, m.End-m.Start, m.End-m.Start, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, m.Start+h)
			old[n] = inject.Range{Start: m.Start + h, End: m.End + h}
		}
	}
	return nil
}

// freeRange finds addresses that neither the process nor the nursery uses.
func (r *restorer) freeRange(t *task, size uint64) (uint64, error) {
	var used []inject.Range
	for _, v := range t.mm.Vmas {
		used = append(used, inject.Range{Start: v.GetStart(), End: v.GetEnd()})
	}
	for _, m := range t.cradle.maps {
		used = append(used, m.Range)
	}
	used = append(used, r.area)
	return inject.Hole(used, size)
}

// fileOf tells which file a map is of, and how it was opened.
func fileOf(v *vma.VmaEntry) (id uint32, flags int, ok bool) {
	st := v.GetStatus()
	if st&(image.VMAFilePrivate|image.VMAFileShared|image.VMAMemfd) == 0 {
		return 0, 0, false
	}
	flags = unix.O_RDONLY
	if v.Fdflags != nil {
		flags = int(v.GetFdflags())
	} else if st&image.VMAFileShared != 0 && v.GetProt()&unix.PROT_WRITE != 0 {
		flags = unix.O_RDWR
	}
	return uint32(v.GetShmid()), flags, true
}

type fileKey struct {
	id    uint32
	flags int
}

// lendFiles gives the process a descriptor of each file that it maps, and of the objects of its shared memory, and
// returns their numbers.
func (r *restorer) lendFiles(t *task, c *calls) ([]int, error) {
	t.lent = map[fileKey]int{}
	var keys []fileKey
	var own []int
	for _, v := range t.mm.Vmas {
		id, flags, ok := fileOf(v)
		if !ok {
			continue
		}
		k := fileKey{id, flags}
		if _, ok := t.lent[k]; ok {
			continue
		}
		fd, err := r.files.OpenMapped(id, flags)
		if err != nil {
			return nil, fmt.Errorf("map %#x-%#x: %w", v.GetStart(), v.GetEnd(), err)
		}
		t.lent[k] = -1
		keys, own = append(keys, k), append(own, fd)
	}
	objects, err := r.sharedObjects(t)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		keys, own = append(keys, o.key()), append(own, int(o.file.Fd()))
	}
	got, err := c.pass(own, true)
	if err != nil {
		return nil, err
	}
	for i, k := range keys {
		t.lent[k] = got[i]
	}
	return got, nil
}

// describeProgram sets what /proc/PID shows of the program: PR_SET_MM_MAP. exe is a descriptor of its file.
func describeProgram(t *task, c *calls, exe int) {
	// struct prctl_mm_map
	m := make([]byte, 0, 104)
	for _, v := range []*uint64{
		t.mm.MmStartCode, t.mm.MmEndCode, t.mm.MmStartData, t.mm.MmEndData, t.mm.MmStartBrk, t.mm.MmBrk, t.mm.MmStartStack,
		t.mm.MmArgStart, t.mm.MmArgEnd, t.mm.MmEnvStart, t.mm.MmEnvEnd,
	} {
		m = binary.LittleEndian.AppendUint64(m, *v)
	}
	var auxv []byte
	for _, w := range t.mm.MmSavedAuxv {
		auxv = binary.LittleEndian.AppendUint64(auxv, w)
	}
	m = binary.LittleEndian.AppendUint64(m, c.Data(auxv))
	m = binary.LittleEndian.AppendUint32(m, uint32(len(auxv)))
	m = binary.LittleEndian.AppendUint32(m, uint32(exe))
	c.do("setting its code, data, stack, arguments and program file", unix.SYS_PRCTL, unix.PR_SET_MM, unix.PR_SET_MM_MAP, c.Data(m), uint64(len(m)), 0)
}
