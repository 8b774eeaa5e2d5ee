// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"io"
	"os"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/image"
)

// sharedKey marks the fileKey of a shared memory object, which no flags of a file can be.
const sharedKey = -1

// sharedObject is anonymous memory that several maps share.
type sharedObject struct {
	id   uint32
	file *os.File
}

func (o *sharedObject) key() fileKey { return fileKey{id: o.id, flags: sharedKey} }

// sharedMemory are the objects made so far. CRIU writes shared anonymous memory as memfds named /dev/zero since 4.0;
// what is here is for older images and for System V segments.
type sharedMemory struct {
	anon map[uint32]*sharedObject
	sysv map[uint32]int // id in the images → id here
	// created are the segments that did not exist any more.
	created []segment
}

// close lets the objects go: their maps keep them. After a failure what was created is removed.
func (m *sharedMemory) close(failed bool) {
	for _, s := range m.created {
		if failed || s.destroy {
			_, _ = unix.SysvShmCtl(s.id, unix.IPC_RMID, nil)
		}
	}
	m.created = nil
	for _, o := range m.anon {
		o.file.Close()
	}
	m.anon = nil
}

// sharedObjects are those that a process maps.
func (r *restorer) sharedObjects(t *task) ([]*sharedObject, error) {
	var out []*sharedObject
	seen := map[uint32]bool{}
	for _, v := range t.mm.Vmas {
		id := uint32(v.GetShmid())
		if v.GetStatus()&image.VMAAnonShared == 0 || v.GetStatus()&(image.VMASysVIPC|image.VMAMemfd) != 0 || seen[id] {
			continue
		}
		seen[id] = true
		o, err := r.sharedAnon(id)
		if err != nil {
			return nil, fmt.Errorf("map %#x-%#x: shared memory %d: %w", v.GetStart(), v.GetEnd(), id, err)
		}
		out = append(out, o)
	}
	return out, nil
}

func (r *restorer) sharedAnon(id uint32) (*sharedObject, error) {
	if o := r.shared.anon[id]; o != nil {
		return o, nil
	}
	var size uint64
	for _, t := range r.tasks {
		for _, v := range t.mm.GetVmas() {
			if v.GetStatus()&image.VMAAnonShared != 0 && uint32(v.GetShmid()) == id {
				size = max(size, v.GetPgoff()+v.GetEnd()-v.GetStart())
			}
		}
	}
	fd, err := unix.MemfdCreate("/dev/zero", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	o := &sharedObject{id: id, file: os.NewFile(uintptr(fd), "shared memory")}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		o.file.Close()
		return nil, fmt.Errorf("making it %d bytes long: %w", size, err)
	}
	if err := r.fill(o.file, id); err != nil {
		o.file.Close()
		return nil, err
	}
	if r.shared.anon == nil {
		r.shared.anon = map[uint32]*sharedObject{}
	}
	r.shared.anon[id] = o
	return o, nil
}

// fill writes the contents of shared memory object id to a file.
func (r *restorer) fill(f *os.File, id uint32) error {
	pm, err := r.images.Pagemap(id, true)
	if err != nil {
		return err
	}
	for i := range pm.Entries {
		e := &pm.Entries[i]
		if e.Offset == image.NoData {
			continue
		}
		if err := r.fillRange(f, e); err != nil {
			return err
		}
	}
	return nil
}

func (r *restorer) fillRange(f *os.File, e *image.PagemapEntry) error {
	src, err := r.images.Pages(e)
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := src.Seek(e.Offset, io.SeekStart); err != nil {
		return err
	}
	if _, err := f.Seek(int64(e.Start), io.SeekStart); err != nil {
		return err
	}
	n := int64(e.Pages) * image.PageSize
	if got, err := io.CopyN(f, src, n); err != nil {
		return fmt.Errorf("%d of %d bytes at %#x: %w", got, n, e.Start, err)
	}
	r.result.Bytes += n
	return nil
}

// attachSysV attaches a System V segment.
func (r *restorer) attachSysV(t *task, v *vma.VmaEntry) error {
	id, err := r.sysvSegment(uint32(v.GetShmid()))
	if err != nil {
		return fmt.Errorf("map %#x-%#x: SysV segment %d: %w", v.GetStart(), v.GetEnd(), v.GetShmid(), err)
	}
	var flags uint64
	if v.GetProt()&unix.PROT_WRITE == 0 {
		flags |= unix.SHM_RDONLY
	}
	if v.GetProt()&unix.PROT_EXEC != 0 {
		flags |= 0o100000 // SHM_EXEC
	}
	var d unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &d); err != nil {
		return fmt.Errorf("map %#x-%#x: SysV segment %d: %w", v.GetStart(), v.GetEnd(), id, err)
	}
	// attached whole, where nothing else is; the part that the process still has goes to its place
	size := (uint64(d.Segsz) + image.PageSize - 1) &^ (image.PageSize - 1)
	n := v.GetEnd() - v.GetStart()
	if v.GetPgoff() > size || n > size-v.GetPgoff() {
		return fmt.Errorf("map %#x-%#x: SysV segment %d has %d bytes: %w", v.GetStart(), v.GetEnd(), id, size, ErrImage)
	}
	via, err := r.freeRange(t, size)
	if err != nil {
		return err
	}
	c := newCalls(t.s)
	c.do("shmat", unix.SYS_SHMAT, uint64(id), via, flags)
	c.do("mremap", unix.SYS_MREMAP, via+v.GetPgoff(), n, n, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, v.GetStart())
	if n < size {
		c.do("munmap", unix.SYS_MUNMAP, via, size)
	}
	if err := c.run(); err != nil {
		return fmt.Errorf("map %#x-%#x: SysV segment %d: %w", v.GetStart(), v.GetEnd(), id, err)
	}
	return nil
}
