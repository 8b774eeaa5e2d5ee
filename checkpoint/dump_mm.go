// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"math/bits"
	"strconv"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/procfs"
	"github.com/trapline/trapline/checkpoint/stage"
)

// mm writes mm-PID.img of each process: its mappings and what the kernel keeps about the layout.
func (d *dumper) mm() error {
	return d.each(stage.MM, func(t *target, _ stage.Span) error {
		st := &t.stat
		e := &mm.MmEntry{
			MmStartCode: proto.Uint64(st.StartCode), MmEndCode: proto.Uint64(st.EndCode),
			MmStartData: proto.Uint64(st.StartData), MmEndData: proto.Uint64(st.EndData),
			MmStartStack: proto.Uint64(st.StartStack), MmStartBrk: proto.Uint64(st.StartBrk), MmBrk: proto.Uint64(t.answers.brk),
			MmArgStart: proto.Uint64(st.ArgStart), MmArgEnd: proto.Uint64(st.ArgEnd),
			MmEnvStart: proto.Uint64(st.EnvStart), MmEnvEnd: proto.Uint64(st.EnvEnd),
			ExeFileId:   proto.Uint32(t.exeID),
			MmSavedAuxv: procfs.AuxvWords(t.auxv),
			Dumpable:    proto.Int32(t.answers.dumpable),
			ThpDisabled: proto.Bool(t.answers.thpDisabled),
		}
		// The kernel's list ends in AT_NULL words, which CRIU leaves out.
		for n := len(e.MmSavedAuxv); n >= 2 && e.MmSavedAuxv[n-2] == 0 && e.MmSavedAuxv[n-1] == 0; n = len(e.MmSavedAuxv) {
			e.MmSavedAuxv = e.MmSavedAuxv[:n-2]
		}
		var err error
		if e.Vmas, err = vmaEntries(t.vmas, t.vmaIDs); err != nil {
			return err
		}
		return d.w.Put("mm-"+strconv.Itoa(t.vpid)+".img", e)
	})
}

// vmaEntries turns mappings into CRIU's form. ids are their shmid fields.
func vmaEntries(vmas []procfs.VMA, ids []uint64) ([]*vma.VmaEntry, error) {
	// One allocation for the entries and one for their fields: there may be tens of thousands.
	type fields struct {
		start, end, pgoff, shmid, madv uint64
		prot, flags, status, fdflags   uint32
		fd                             int64
	}
	all, vals := make([]vma.VmaEntry, len(vmas)), make([]fields, len(vmas))
	list := make([]*vma.VmaEntry, 0, len(vmas))
	for i := range vmas {
		v, f, e := &vmas[i], &vals[i], &all[i]
		var ok bool
		if f.status, ok = vmaStatus(v); !ok {
			return nil, refuse("mapping %x-%x (%s %s) can't be carried; let the program unmap it first", v.Start, v.End, v.Kind, v.Path)
		}
		// CRIU knows the vvar pages as one mapping, as they were before Linux 6.13.
		if v.Kind == procfs.KindVVarVClock && len(list) > 0 && list[len(list)-1].GetEnd() == v.Start && list[len(list)-1].GetStatus()&image.VMAVVAR != 0 {
			*list[len(list)-1].End = v.End
			continue
		}
		f.start, f.end, f.shmid, f.prot, f.fd = v.Start, v.End, ids[i], uint32(v.Prot), -1
		f.flags, f.madv = vmaFlags(v), vmaAdvice(v.Flags)
		if f.status&(image.VMAFilePrivate|image.VMAFileShared|image.VMAAnonShared) != 0 {
			f.pgoff = v.Offset
		}
		*e = vma.VmaEntry{
			Start: &f.start, End: &f.end, Pgoff: &f.pgoff, Shmid: &f.shmid, Prot: &f.prot, Flags: &f.flags, Status: &f.status, Fd: &f.fd,
		}
		if f.madv != 0 {
			e.Madv = &f.madv
		}
		if f.status&(image.VMAFilePrivate|image.VMAFileShared) != 0 {
			// A shared mapping that may be made writable is one of a file that was opened for writing.
			if v.Shared && v.Flags&procfs.VMMayWrite != 0 {
				f.fdflags = unix.O_RDWR
			}
			e.Fdflags = &f.fdflags
		}
		list = append(list, e)
	}
	return list, nil
}

// vmaStatus is what CRIU calls the status of a mapping: its kind.
func vmaStatus(v *procfs.VMA) (uint32, bool) {
	file := func() uint32 {
		if v.Shared {
			return image.VMARegular | image.VMAFileShared
		}
		return image.VMARegular | image.VMAFilePrivate
	}
	switch v.Kind {
	case procfs.KindAnon, procfs.KindAnonNamed, procfs.KindStack:
		return image.VMARegular | image.VMAAnonPrivate, true
	case procfs.KindAnonHuge:
		return image.VMARegular | image.VMAAnonPrivate, !v.Shared
	case procfs.KindHeap:
		return image.VMARegular | image.VMAAnonPrivate | image.VMAHeap, true
	case procfs.KindVDSO:
		return image.VMARegular | image.VMAAnonPrivate | image.VMAVDSO, true
	case procfs.KindVVar, procfs.KindVVarVClock:
		return image.VMARegular | image.VMAAnonPrivate | image.VMAVVAR, true
	case procfs.KindVSyscall:
		return image.VMAAnonPrivate | image.VMAVsyscall, true
	case procfs.KindFile:
		return file(), true
	case procfs.KindMemfd, procfs.KindAnonShmem, procfs.KindAnonShmemNamed:
		return file() | image.VMAMemfd, true
	case procfs.KindSysV:
		return image.VMARegular | image.VMAAnonShared | image.VMASysVIPC, v.Shared
	}
	return 0, false
}

// vmaFlags are the flags for mmap that make such a mapping.
func vmaFlags(v *procfs.VMA) uint32 {
	flags := uint32(unix.MAP_PRIVATE)
	if v.Shared {
		flags = unix.MAP_SHARED
	}
	switch v.Kind {
	case procfs.KindFile, procfs.KindMemfd, procfs.KindAnonShmem, procfs.KindAnonShmemNamed:
	default:
		flags |= unix.MAP_ANONYMOUS
	}
	for _, f := range []struct {
		have procfs.VMFlags
		want uint32
	}{
		{procfs.VMGrowsDown, unix.MAP_GROWSDOWN},
		{procfs.VMLocked, unix.MAP_LOCKED},
		{procfs.VMNoReserve, unix.MAP_NORESERVE},
		{procfs.VMHugeTLB, unix.MAP_HUGETLB},
	} {
		if v.Flags&f.have != 0 {
			flags |= f.want
		}
	}
	if v.Flags&procfs.VMHugeTLB != 0 && v.PageSize != 0 {
		flags |= uint32(bits.TrailingZeros64(v.PageSize)) << unix.MAP_HUGE_SHIFT
	}
	return flags
}

// vmaAdvice is the set of madvise(2) values in force, bit n for advice n.
func vmaAdvice(f procfs.VMFlags) uint64 {
	var m uint64
	for _, a := range [...]struct {
		have procfs.VMFlags
		bit  int
	}{
		{procfs.VMRandRead, unix.MADV_RANDOM},
		{procfs.VMSeqRead, unix.MADV_SEQUENTIAL},
		{procfs.VMDontCopy, unix.MADV_DONTFORK},
		{procfs.VMMergeable, unix.MADV_MERGEABLE},
		{procfs.VMHugePage, unix.MADV_HUGEPAGE},
		{procfs.VMNoHugePage, unix.MADV_NOHUGEPAGE},
		{procfs.VMDontDump, unix.MADV_DONTDUMP},
		{procfs.VMWipeOnFork, unix.MADV_WIPEONFORK},
	} {
		if f&a.have != 0 {
			m |= 1 << a.bit
		}
	}
	return m
}
