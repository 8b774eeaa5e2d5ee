// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	ipc_desc "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-desc"
	ipc_shm "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-shm"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/memory"
	"github.com/trapline/trapline/checkpoint/procfs"
	"github.com/trapline/trapline/checkpoint/stage"
)

// sharedDump collects SysV segments. Shared anonymous memory is a memfd in all but name and left to package fds.
type sharedDump struct {
	objects map[uint64]*dumpedObject // by inode; they all live on one file system
	order   []uint64
}

type dumpedObject struct {
	t     *target // one that maps it, and where
	vma   *procfs.VMA
	limit uint64 // end of the mapped part, in bytes of the object
}

// add notes a mapping of such an object.
func (s *sharedDump) add(t *target, v *procfs.VMA) {
	o := s.objects[v.Inode]
	if o == nil {
		o = &dumpedObject{t: t, vma: v}
		if s.objects == nil {
			s.objects = map[uint64]*dumpedObject{}
		}
		s.objects[v.Inode] = o
		s.order = append(s.order, v.Inode)
	}
	o.limit = max(o.limit, v.Offset+v.Len())
}

// dumpShared writes the contents of each object once, however many processes map it.
func (d *dumper) dumpShared(s stage.Span) error {
	slices.Sort(d.shared.order)
	for _, id := range d.shared.order {
		o := d.shared.objects[id]
		if err := d.dumpSharedObject(s, id, o); err != nil {
			return o.t.errorf(fmt.Errorf("shared memory of mapping %x-%x: %w", o.vma.Start, o.vma.End, err))
		}
	}
	return d.dumpSysV()
}

func (d *dumper) dumpSharedObject(s stage.Span, id uint64, o *dumpedObject) (err error) {
	fd, err := o.t.proc.MapFile(o.vma.Start, o.vma.End, unix.O_RDONLY)
	if err != nil {
		return err
	}
	obj := os.NewFile(uintptr(fd), o.vma.Path)
	defer obj.Close()
	pagesID := d.nextPagesID()
	out, err := d.w.Raw("pages-" + strconv.Itoa(int(pagesID)) + ".img")
	if err != nil {
		return err
	}
	defer out.Close()
	list := []proto.Message{&pagemap.PagemapHead{PagesId: proto.Uint32(pagesID)}}
	err = memory.CopyObject(obj, int64(o.limit), out, func(start, end uint64) error {
		n := (end - start) / memory.PageSize
		if n > maxEntryPages {
			return refuse("shared memory of %d pages in a row, more than an image can say; let the program divide it", n)
		}
		list = append(list, &pagemap.PagemapEntry{
			Vaddr: proto.Uint64(start), CompatNrPages: proto.Uint32(uint32(n)), NrPages: proto.Uint64(n), Flags: proto.Uint32(image.PagePresent),
		})
		s.Add(stage.Counts{Pages: int64(n), Bytes: int64(end - start)})
		d.stats.sharedWritten += n
		return nil
	})
	if err != nil {
		return err
	}
	d.stats.sharedScanned += o.limit / memory.PageSize
	return d.w.Put("pagemap-shmem-"+strconv.FormatUint(id, 10)+".img", list...)
}

// dumpSysV writes what SysV segments are apart from their contents.
func (d *dumper) dumpSysV() error {
	var segments []procfs.ShmSegment
	var list []proto.Message
	for _, id := range d.shared.order {
		o := d.shared.objects[id]
		if segments == nil {
			var err error
			if segments, err = procfs.SysVShm(); err != nil {
				return err
			}
		}
		i := slices.IndexFunc(segments, func(s procfs.ShmSegment) bool { return uint64(s.ID) == id })
		if i < 0 {
			return o.t.errorf(refuse("SysV segment %d of mapping %x-%x is not in /proc/sysvipc/shm; dump in the IPC namespace of the program", id, o.vma.Start, o.vma.End))
		}
		g := &segments[i]
		list = append(list, &ipc_shm.IpcShmEntry{
			Desc: &ipc_desc.IpcDescEntry{
				Key: proto.Uint32(uint32(g.Key)), Uid: proto.Uint32(g.UID), Gid: proto.Uint32(g.GID), Cuid: proto.Uint32(g.CUID),
				Cgid: proto.Uint32(g.CGID), Mode: proto.Uint32(g.Perms), Id: proto.Uint32(uint32(g.ID)),
			},
			Size: proto.Uint64(g.Size), InPagemaps: proto.Bool(true),
		})
	}
	if len(list) == 0 {
		return nil
	}
	return d.w.Put("ipcns-shm-"+strconv.Itoa(ipcNS)+".img", list...)
}
