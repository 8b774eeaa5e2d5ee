// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// PageSize is the unit of pagemaps in bytes: 4 KiB on both architectures that we run on.
const PageSize = 4096

// Flags of a pagemap entry, as in CRIU's include/pagemap.h.
const (
	PageParent  = 1 << 0 // contents are in the parent directory
	PageLazy    = 1 << 1 // may be restored on demand
	PagePresent = 1 << 2 // contents are in the pages file
)

// NoData is the Offset of pages that no pages file holds.
const NoData = -1

// PagemapEntry is a run of pages, all of whose contents are in one place.
type PagemapEntry struct {
	Start uint64 // address of the first page; in a shared memory segment the offset in it; bytes
	Pages uint64 // how many
	Flags uint32 // PageParent, PageLazy, PagePresent, as the entry in this directory has them
	// Level is in which directory the contents are: 0 this one, n the n-th parent.
	Level int
	// PagesID numbers the file in that directory: pages-N.img.
	PagesID uint32
	// Offset is where in the file the contents begin, in bytes. NoData: no file has them, the pages are
	// zero (or, if lazy, still with their source).
	Offset int64
}

// End is the address behind the last page.
func (e *PagemapEntry) End() uint64 { return e.Start + e.Pages*PageSize }

// Pagemap says where the pages of one process, or of one shared memory segment, are.
type Pagemap struct {
	PagesID uint32 // of the pages file in this directory
	Entries []PagemapEntry
	// Bytes is how much of the pages file in this directory the entries take up.
	Bytes int64
	// CopyOnWrite says that what is in parent directories are pages that the process shares with its parent process since
	// fork, and not those of a dump before.
	CopyOnWrite bool
}

// PagesName is the name of a pages file.
func PagesName(id uint32) string { return fmt.Sprintf("pages-%d.img", id) }

// PagemapName is the name of the pagemap of a process, or of a shared memory segment.
func PagemapName(id uint32, shmem bool) string {
	if shmem {
		return fmt.Sprintf("pagemap-shmem-%d.img", id)
	}
	return fmt.Sprintf("pagemap-%d.img", id)
}

// Pagemap reads the pagemap of process id or, with shmem, of shared memory segment id. The entries
// are sorted, don't overlap and lie within the pages file. Runs that were left to the parent
// directory are looked up there, and so on, as CRIU does.
func (r *Reader) Pagemap(id uint32, shmem bool) (*Pagemap, error) {
	p, err := r.pagemap(PagemapName(id, shmem))
	if err != nil {
		return nil, fmt.Errorf("images directory %s: %w", r.path, err)
	}
	if err := r.resolve(p, id, shmem); err != nil {
		return nil, err
	}
	return p, nil
}

// pagemap reads one pagemap; what is with the parent has Level 1 and no PagesID and Offset yet.
func (r *Reader) pagemap(name string) (*Pagemap, error) {
	var head pagemap.PagemapHead
	var e pagemap.PagemapEntry // the same for all: a pagemap may have a million
	p := &Pagemap{}
	var end uint64 // of the entries so far
	first := true
	newMsg := func(i int) proto.Message {
		if i == 0 {
			return &head
		}
		return &e
	}
	err := r.each(name, newMsg, func(proto.Message, io.Reader) error {
		if first {
			first = false
			p.PagesID = head.GetPagesId()
			return nil
		}
		x := PagemapEntry{Start: e.GetVaddr(), Pages: uint64(e.GetCompatNrPages()), Flags: e.GetFlags()}
		if e.NrPages != nil {
			x.Pages = e.GetNrPages()
		}
		if e.Flags == nil {
			// Before flags existed there was only in_parent.
			x.Flags = PagePresent
			if e.GetInParent() {
				x.Flags = PageParent
			}
		}
		switch {
		case x.Pages == 0:
			return corrupt(name, -1, "empty run at %#x", x.Start)
		case x.Start%PageSize != 0:
			return corrupt(name, -1, "run at %#x does not begin with a page", x.Start)
		case x.Pages > (math.MaxInt64-x.Start)/PageSize || x.Start > math.MaxInt64:
			return corrupt(name, -1, "run of %d pages at %#x is beyond any address space", x.Pages, x.Start)
		case x.Start < end:
			return corrupt(name, -1, "run at %#x overlaps the one before it or is out of order", x.Start)
		}
		end = x.End()
		x.Offset = NoData
		switch {
		case x.Flags&PageParent != 0:
			x.Level = 1
		case x.Flags&PagePresent != 0:
			x.PagesID, x.Offset = p.PagesID, p.Bytes
			// No overflow: the runs are disjoint and below MaxInt64.
			p.Bytes += int64(x.Pages) * PageSize
		}
		p.Entries = append(p.Entries, x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if first {
		return nil, corrupt(name, -1, "no entry")
	}
	if p.Bytes > 0 {
		size, err := r.Size(PagesName(p.PagesID))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, corrupt(PagesName(p.PagesID), -1, "missing, but %s refers to it", name)
		}
		if err != nil {
			return nil, err
		}
		if size < p.Bytes {
			return nil, corrupt(PagesName(p.PagesID), -1, "%d bytes, but %s needs %d", size, name, p.Bytes)
		}
	}
	return p, nil
}

// resolve replaces the runs that are with the parent by the runs that they consist of there.
func (r *Reader) resolve(p *Pagemap, id uint32, shmem bool) error {
	need := false
	for i := range p.Entries {
		need = need || p.Entries[i].Level != 0
	}
	if !need {
		return nil
	}
	name := PagemapName(id, shmem)
	parent, err := r.Parent()
	if err != nil {
		return fmt.Errorf("images directory %s: %s refers to the previous dump: %w", r.path, name, err)
	}
	if parent == nil {
		return fmt.Errorf("images directory %s: %w", r.path, corrupt(name, -1, "refers to a previous dump, but there is no `%s` link", parentName))
	}
	below, err := parent.Pagemap(id, shmem)
	if err != nil {
		return err
	}
	entries := make([]PagemapEntry, 0, len(p.Entries))
	for _, e := range p.Entries {
		if e.Level == 0 {
			entries = append(entries, e)
			continue
		}
		if entries, err = below.cut(entries, e); err != nil {
			return fmt.Errorf("images directory %s: %w", r.path, corrupt(name, -1, "%v", err))
		}
	}
	p.Entries = entries
	target, err := readlinkat(int(r.dir.Fd()), parentName)
	if err != nil {
		return fmt.Errorf("images directory %s: `%s` link: %w", r.path, parentName, err)
	}
	p.CopyOnWrite = strings.HasPrefix(target, ancestorPrefix)
	return nil
}

// cut appends to dst what p, the parent's pagemap, has of the run want.
func (p *Pagemap) cut(dst []PagemapEntry, want PagemapEntry) ([]PagemapEntry, error) {
	i := sort.Search(len(p.Entries), func(i int) bool { return p.Entries[i].End() > want.Start })
	for at := want.Start; at < want.End(); i++ {
		if i == len(p.Entries) || p.Entries[i].Start > at {
			return nil, fmt.Errorf("page %#x is not in the previous dump", at)
		}
		e := p.Entries[i]
		end := min(e.End(), want.End())
		part := PagemapEntry{
			Start: at, Pages: (end - at) / PageSize, Flags: want.Flags,
			Level: e.Level + 1, PagesID: e.PagesID, Offset: e.Offset,
		}
		if e.Offset != NoData {
			part.Offset += int64(at - e.Start)
		}
		dst = append(dst, part)
		at = end
	}
	return dst, nil
}

// Pages opens the pages file that an entry of Pagemap points into. The caller closes it.
func (r *Reader) Pages(e *PagemapEntry) (*os.File, error) {
	dir := r
	for range e.Level {
		parent, err := dir.Parent()
		if err != nil {
			return nil, err
		}
		if parent == nil {
			return nil, fmt.Errorf("images directory %s: `%s` link: %w", dir.path, parentName, fs.ErrNotExist)
		}
		dir = parent
	}
	return dir.Raw(PagesName(e.PagesID))
}

// Parent opens the directory of the previous pre-dump, to which a link named `parent` points. It is
// nil if there is none. It is closed with r.
func (r *Reader) Parent() (*Reader, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parent != nil {
		return r.parent, nil
	}
	dir, path, err := r.openParent()
	if dir == nil || err != nil {
		return nil, err
	}
	p, err := open(dir, path, r)
	if err != nil {
		return nil, err
	}
	r.parent = p
	return p, nil
}

// openParent opens the directory itself; nil if there is none.
func (r *Reader) openParent() (dir *os.File, path string, err error) {
	path = filepath.Join(r.path, parentName)
	fd, err := openat(int(r.dir.Fd()), parentName, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ENOENT) {
		if _, err := readlinkat(int(r.dir.Fd()), parentName); err != nil {
			return nil, path, nil
		}
	}
	if err != nil {
		return nil, path, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	dir = os.NewFile(uintptr(fd), path)
	switch {
	case r.depth >= maxParents:
		err = corrupt(parentName, -1, "more than %d previous dumps", maxParents)
	case r.isBelow(dir):
		err = corrupt(parentName, -1, "the links of previous dumps form a circle")
	default:
		return dir, path, nil
	}
	_ = dir.Close()
	return nil, path, fmt.Errorf("%s: %w", path, err)
}

// isBelow tells whether dir is r's directory or one that led to it.
func (r *Reader) isBelow(dir *os.File) bool {
	fi, err := dir.Stat()
	if err != nil {
		return false // reading it will fail
	}
	for c := r; c != nil; c = c.child {
		if ci, err := c.dir.Stat(); err == nil && os.SameFile(fi, ci) {
			return true
		}
	}
	return false
}
