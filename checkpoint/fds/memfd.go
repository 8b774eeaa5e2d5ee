// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/memfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	"github.com/trapline/trapline/checkpoint/image"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// memfds: the inode (name, owner, size, seals) in memfd.img, its contents like those of shared memory, and an entry for each
// open file of it. A mapping of a memfd refers to such an entry too.

func init() {
	register(&kind{
		typ:   fdinfo.FdTypes_MEMFD,
		match: func(o *object) bool { return o.format() == unix.S_IFREG && isMemfd(o) },
		dump:  dumpMemfd,
		flush: flushMemfds,
		check: func(s *Set, e *fdinfo.FileEntry) error {
			m := e.GetMemfd()
			if m == nil {
				return errors.New("no memfd entry")
			}
			_, err := s.memfdInode(m.GetInodeId())
			return err
		},
		open: func(s *Set, e *fdinfo.FileEntry) (int, error) {
			return s.openMemfd(e.GetMemfd(), int(e.GetMemfd().GetFlags()), e.GetMemfd().GetPos())
		},
		common: func(_ *Set, e *fdinfo.FileEntry) (uint32, *fown.FownEntry) {
			return e.GetMemfd().GetFlags(), e.GetMemfd().GetFown()
		},
	})
}

const memfdPrefix = "/memfd:"

// sharedAnonymousName is the name of shared anonymous memory among the memfds.
const sharedAnonymousName = "/dev/zero"

// sharedAnonymous is what a mapping of shared anonymous memory leads to. It is a memfd in all but name, and images since
// CRIU 4.0 have it as one of the name /dev/zero.
const sharedAnonymous = sharedAnonymousName + deletedSuffix

// isMemfd tells a memfd from a deleted file of that name in the root directory, by the kernel-internal mount it is on.
func isMemfd(o *object) bool {
	return (strings.HasPrefix(o.link, memfdPrefix) || o.link == sharedAnonymous) && strings.HasSuffix(o.link, deletedSuffix) && unix.Major(o.st.Dev) == 0 && o.st.Nlink == 0
}

type memfds struct {
	ids   map[inode]uint32
	order []memfdFound
}

type memfdFound struct {
	local int
	entry *memfd.MemfdInodeEntry
	where string
}

func dumpMemfd(c *Collector, o *object) (*fdinfo.FileEntry, error) {
	own, err := ownerOf(o)
	if err != nil {
		return nil, err
	}
	m := state[memfds](c.states)
	if m.ids == nil {
		m.ids = map[inode]uint32{}
	}
	key := inode{o.st.Dev, o.st.Ino}
	id, ok := m.ids[key]
	if !ok {
		id = uint32(len(m.ids) + 1)
		m.ids[key] = id
		e, err := memfdInode(o, id)
		if err != nil {
			return nil, err
		}
		m.order = append(m.order, memfdFound{o.hold(), e, o.task.String() + ": " + o.where})
	}
	return &fdinfo.FileEntry{
		Type: fdinfo.FdTypes_MEMFD.Enum(), Id: proto.Uint32(o.id),
		Memfd: &memfd.MemfdFileEntry{
			Id: proto.Uint32(o.id), Flags: proto.Uint32(o.flags()), Pos: proto.Uint64(uint64(o.info.Pos)), Fown: own, InodeId: proto.Uint32(id),
		},
	}, nil
}

func memfdInode(o *object, id uint32) (*memfd.MemfdInodeEntry, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(o.local, &fs); err != nil {
		return nil, o.fail("fstatfs", err)
	}
	if int64(fs.Type) == unix.HUGETLBFS_MAGIC {
		return nil, o.refuse("a memfd of huge pages ("+o.link+")", "not supported yet: let the program use normal pages")
	}
	file, err := reopenFile(o.local)
	if err != nil {
		return nil, o.fail("open", err)
	}
	defer file.Close()
	seals, err := unix.FcntlInt(file.Fd(), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, o.fail("F_GET_SEALS", err)
	}
	name := strings.TrimSuffix(strings.TrimPrefix(o.link, memfdPrefix), deletedSuffix)
	return &memfd.MemfdInodeEntry{
		Name: proto.String(name), Uid: proto.Uint32(o.st.Uid), Gid: proto.Uint32(o.st.Gid), Size: proto.Uint64(uint64(o.st.Size)),
		// Shared memory of all kinds is on one internal file system, so inode numbers tell segments apart.
		Shmid: proto.Uint32(uint32(o.st.Ino)), Seals: proto.Uint32(uint32(seals)), InodeId: proto.Uint64(uint64(id)), Mode: proto.Uint32(o.st.Mode),
	}, nil
}

func flushMemfds(c *Collector) error {
	m := state[memfds](c.states)
	if len(m.order) == 0 {
		return nil
	}
	var inodes []proto.Message
	for _, f := range m.order {
		if err := f.write(c); err != nil {
			return fmt.Errorf("%s: memfd %s: %w", f.where, f.entry.GetName(), err)
		}
		inodes = append(inodes, f.entry)
	}
	return c.w.Put("memfd.img", inodes...)
}

// write copies the contents, without holes, as those of a shared memory segment.
func (m *memfdFound) write(c *Collector) (err error) {
	if c.opts.PagesID == nil {
		return errors.New("no number for its pages")
	}
	file, err := reopenFile(m.local)
	if err != nil {
		return err
	}
	defer file.Close()
	id := c.opts.PagesID()
	pages, err := c.w.Raw(image.PagesName(id))
	if err != nil {
		return err
	}
	defer func() {
		if cerr := pages.Close(); err == nil {
			err = cerr
		}
	}()
	runs := []proto.Message{&pagemap.PagemapHead{PagesId: proto.Uint32(id)}}
	buf := make([]byte, 1<<20)
	// The last page counts as a whole, what is behind the end of the file in it is zero.
	size := int64(m.entry.GetSize())
	err = eachData(file, size, func(off, n int64) error {
		count := (n + image.PageSize - 1) / image.PageSize
		if err := copyPages(pages, file, off, n, count*image.PageSize-n, buf); err != nil {
			return err
		}
		for count > 0 {
			// A run's length has 32 bits.
			part := min(count, 1<<30)
			runs = append(runs, &pagemap.PagemapEntry{
				Vaddr: proto.Uint64(uint64(off)), CompatNrPages: proto.Uint32(uint32(part)), NrPages: proto.Uint64(uint64(part)), Flags: proto.Uint32(image.PagePresent),
			})
			off, count = off+part*image.PageSize, count-part
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.w.Put(image.PagemapName(m.entry.GetShmid(), true), runs...)
}

// copyPages copies n bytes from offset off of a file to the end of another and adds pad zeros.
func copyPages(to io.Writer, from io.ReaderAt, off, n, pad int64, buf []byte) error {
	for n > 0 {
		b := buf[:min(int64(len(buf)), n)]
		if _, err := from.ReadAt(b, off); err != nil {
			return err
		}
		if _, err := to.Write(b); err != nil {
			return err
		}
		off, n = off+int64(len(b)), n-int64(len(b))
	}
	if pad > 0 {
		clear(buf[:pad])
		_, err := to.Write(buf[:pad])
		return err
	}
	return nil
}

// madeMemfds are the memfds of a restore.
type madeMemfds struct {
	inodes map[uint64]*memfd.MemfdInodeEntry
	files  map[uint64]*os.File // open for both directions
}

func (s *Set) memfds() (*madeMemfds, error) {
	m := state[madeMemfds](s.states)
	if m.inodes != nil {
		return m, nil
	}
	inodes := map[uint64]*memfd.MemfdInodeEntry{}
	err := optional(s.r.Each("memfd.img", nil, func(msg proto.Message, _ io.Reader) error {
		e := msg.(*memfd.MemfdInodeEntry)
		if inodes[e.GetInodeId()] != nil {
			return fmt.Errorf("memfd.img: two inodes %d: %w", e.GetInodeId(), image.ErrCorrupt)
		}
		inodes[e.GetInodeId()] = e
		return nil
	}))
	if err != nil {
		return nil, err
	}
	m.inodes, m.files = inodes, map[uint64]*os.File{}
	return m, nil
}

func (s *Set) memfdInode(id uint32) (*memfd.MemfdInodeEntry, error) {
	m, err := s.memfds()
	if err != nil {
		return nil, err
	}
	e := m.inodes[uint64(id)]
	switch {
	case e == nil:
		return nil, fmt.Errorf("memfd.img has no inode %d", id)
	case e.GetHugetlbFlag() != 0:
		return nil, fmt.Errorf("memfd %s has huge pages: %w", e.GetName(), ErrUnsupported)
	case e.GetSize() > 1<<62:
		return nil, fmt.Errorf("memfd %s: size %d", e.GetName(), e.GetSize())
	}
	return e, nil
}

// openMemfd opens a memfd with flags of its own; the inode is made when first asked for.
func (s *Set) openMemfd(e *memfd.MemfdFileEntry, flags int, pos uint64) (int, error) {
	in, err := s.memfdInode(e.GetInodeId())
	if err != nil {
		return -1, err
	}
	m, err := s.memfds()
	if err != nil {
		return -1, err
	}
	file := m.files[in.GetInodeId()]
	if file == nil {
		if file, err = s.makeMemfd(in); err != nil {
			return -1, fmt.Errorf("memfd %s: %w", in.GetName(), err)
		}
		m.files[in.GetInodeId()] = file
	}
	fd, err := reopen(int(file.Fd()), flags&^(unix.O_CREAT|unix.O_EXCL|unix.O_TRUNC|unix.O_NOFOLLOW))
	if err == nil && pos != 0 {
		if _, err = unix.Seek(fd, int64(pos), unix.SEEK_SET); err != nil {
			_ = unix.Close(fd)
		}
	}
	if err != nil {
		return -1, fmt.Errorf("memfd %s: open: %w", in.GetName(), err)
	}
	return fd, nil
}

func (s *Set) makeMemfd(in *memfd.MemfdInodeEntry) (*os.File, error) {
	flags := unix.MFD_CLOEXEC
	if in.GetSeals() != unix.F_SEAL_SEAL {
		flags |= unix.MFD_ALLOW_SEALING
	}
	var fd int
	err := error(unix.ENOSYS)
	if in.GetName() == sharedAnonymousName && in.GetSeals() == unix.F_SEAL_SEAL {
		fd, err = sharedAnonymousFile(in.GetSize())
	}
	if err != nil {
		if fd, err = unix.MemfdCreate(in.GetName(), flags); err != nil {
			return nil, err
		}
	}
	// Closed by Close or Abort. That the finalizer of an os.File could close it earlier is prevented by madeMemfds.
	file := os.NewFile(uintptr(fd), in.GetName())
	closeFile := func() error { return file.Close() }
	s.temporary(closeFile)
	if err := file.Truncate(int64(in.GetSize())); err != nil {
		return nil, err
	}
	if err := s.fillMemfd(file, in); err != nil {
		return nil, err
	}
	if err := unix.Fchown(fd, int(in.GetUid()), int(in.GetGid())); err != nil {
		return nil, fmt.Errorf("chown: %w", err)
	}
	if in.Mode != nil {
		if err := unix.Fchmod(fd, in.GetMode()&0o7777); err != nil {
			return nil, fmt.Errorf("chmod: %w", err)
		}
	}
	return file, nil
}

// sharedAnonymousFile makes shared anonymous memory and returns the file behind it, so that its mappings are again what
// they were and not those of a memfd. It needs the right to open map_files (CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN).
func sharedAnonymousFile(size uint64) (int, error) {
	if size == 0 || size > 1<<46 {
		return -1, unix.EINVAL
	}
	at, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_NONE, unix.MAP_SHARED|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return -1, err
	}
	name := fmt.Sprintf("/proc/self/map_files/%x-%x", uintptr(at), uint64(uintptr(at))+(size+image.PageSize-1)/image.PageSize*image.PageSize)
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if uerr := unix.MunmapPtr(at, uintptr(size)); err == nil && uerr != nil {
		_ = unix.Close(fd)
		return -1, uerr
	}
	return fd, err
}

func (s *Set) fillMemfd(file *os.File, in *memfd.MemfdInodeEntry) error {
	name := image.PagemapName(in.GetShmid(), true)
	if !s.r.Has(name) {
		return nil // nothing was ever written
	}
	pm, err := s.r.Pagemap(in.GetShmid(), true)
	if err != nil {
		return err
	}
	var pages *os.File
	last := -1
	defer func() {
		if pages != nil {
			_ = pages.Close()
		}
	}()
	for i := range pm.Entries {
		e := &pm.Entries[i]
		if e.Offset == image.NoData {
			continue
		}
		if e.Start >= in.GetSize() {
			return fmt.Errorf("%s: page at %d behind the end: %w", name, e.Start, image.ErrCorrupt)
		}
		if pages == nil || pm.Entries[last].Level != e.Level || pm.Entries[last].PagesID != e.PagesID {
			if pages != nil {
				_ = pages.Close()
			}
			if pages, err = s.r.Pages(e); err != nil {
				return err
			}
		}
		last = i
		n := min(int64(e.Pages)*image.PageSize, int64(in.GetSize()-e.Start))
		_, err := io.Copy(io.NewOffsetWriter(file, int64(e.Start)), io.NewSectionReader(pages, e.Offset, n))
		if err != nil {
			return fmt.Errorf("pages at %s: %w", strconv.FormatUint(e.Start, 10), err)
		}
	}
	return nil
}

func (s *Set) sealMemfds() error {
	m, err := s.memfds()
	if err != nil {
		return err
	}
	for id, file := range m.files {
		in := m.inodes[id]
		if in.GetSeals() == 0 || in.GetSeals() == unix.F_SEAL_SEAL {
			continue
		}
		if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, int(in.GetSeals())); err != nil {
			return fmt.Errorf("memfd %s: F_ADD_SEALS %#x: %w", in.GetName(), in.GetSeals(), err)
		}
	}
	return nil
}
