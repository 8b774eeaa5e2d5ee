// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	remap_file_path "github.com/checkpoint-restore/go-criu/v8/crit/images/remap-file-path"
	"github.com/trapline/trapline/checkpoint/image"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// RestoreOptions says how to restore. The names are those of criu-restore's flags. A nil pointer is the zero value.
type RestoreOptions struct {
	Root         string // directory below which paths of the images are opened; empty means /
	TCPClose     bool   // restore connected TCP sockets closed; without it they are refused
	FileLocks    bool   // take the file locks of the images again
	SizeOnly     bool   // do not compare build IDs (--file-validation filesize)
	SkipRWXCheck bool   // accept files whose permission bits have changed

	// Inherit maps a resource ("pipe:[inode]", "socket:[inode]", both also without the colon, or a path without its
	// leading slash) to a descriptor of the engine that takes its place. The Set duplicates it, and warns of a
	// resource that is not in the images.
	Inherit map[string]int

	// Log gets messages; nil is silent.
	Log *slog.Logger
}

// Set is the open files of an image directory. It is for one goroutine, with the exception of [Set.OpenPlain].
type Set struct {
	r      *image.Reader
	opts   RestoreOptions
	root   int // O_PATH descriptor of the root directory
	files  map[uint32]*fdinfo.FileEntry
	order  []uint32 // ids as in files.img
	remaps map[uint32]*remap_file_path.RemapFilePathEntry
	tables map[uint32][]Entry
	extra  extra
	states states

	open     map[uint32]int // id to descriptor of the engine
	opening  map[uint32]bool
	inFlight map[uint32]bool // in the queue of a unix socket
	// released are the files whose descriptor is closed again.
	released map[uint32]bool
	mapped   map[mappedKey]int
	spare    []int          // descriptors that only keep something alive until Close
	finish   []func() error // what Close does to the file system
	undo     []func()       // what Abort does
}

type mappedKey struct {
	id    uint32
	flags int
}

// Load reads the images' open files and checks them. Nothing is opened yet. An image that can't be right gives an error
// that wraps [image.ErrCorrupt], a kind that this version can't restore one that wraps [ErrUnsupported].
func Load(r *image.Reader, o *RestoreOptions) (*Set, error) {
	s := &Set{
		r: r, root: -1,
		files: map[uint32]*fdinfo.FileEntry{}, remaps: map[uint32]*remap_file_path.RemapFilePathEntry{},
		tables: map[uint32][]Entry{}, states: states{},
		open: map[uint32]int{}, opening: map[uint32]bool{}, released: map[uint32]bool{}, mapped: map[mappedKey]int{},
	}
	if o != nil {
		s.opts = *o
	}
	if err := s.loadFiles(); err != nil {
		return nil, err
	}
	err := optional(r.Each("remap-fpath.img", nil, func(m proto.Message, _ io.Reader) error {
		e := m.(*remap_file_path.RemapFilePathEntry)
		s.remaps[e.GetOrigId()] = e
		return nil
	}))
	if err != nil {
		return nil, err
	}
	if s.inFlight, err = queuedFiles(r); err != nil {
		return nil, err
	}
	if err := optional(r.Extra(extraName, &s.extra)); err != nil {
		return nil, err
	}
	s.inheritKeys()
	for _, id := range s.order {
		e := s.files[id]
		k := kindOfType(e.GetType())
		if k == nil || k.open == nil {
			return nil, fmt.Errorf("files.img: file %d is of kind %s, which can't be restored yet: %w", id, e.GetType(), ErrUnsupported)
		}
		if k.check == nil {
			continue
		}
		if err := k.check(s, e); err != nil {
			return nil, fmt.Errorf("files.img: %s %d: %w: %w", e.GetType(), id, image.ErrCorrupt, err)
		}
	}
	root := s.opts.Root
	if root == "" {
		root = "/"
	}
	if s.root, err = unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("root %s: %w", root, err)
	}
	return s, nil
}

// optional takes a missing image for an empty one: CRIU leaves out those that would hold nothing.
func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *Set) loadFiles() error {
	return optional(s.r.Each("files.img", nil, func(m proto.Message, _ io.Reader) error {
		e := m.(*fdinfo.FileEntry)
		id := e.GetId()
		if s.files[id] != nil {
			return fmt.Errorf("files.img: two files of id %d: %w", id, image.ErrCorrupt)
		}
		s.files[id] = e
		s.order = append(s.order, id)
		return nil
	}))
}

// Open makes the open file of an entry, once, and returns the engine's descriptor of it. The descriptor is the Set's and
// stays open until [Set.Close].
func (s *Set) Open(id uint32) (int, error) {
	if fd, ok := s.open[id]; ok {
		return fd, nil
	}
	e := s.files[id]
	if e == nil {
		return -1, fmt.Errorf("files.img: no file %d: %w", id, image.ErrCorrupt)
	}
	if s.released[id] {
		return -1, fmt.Errorf("files.img: file %d is in a table more than expected: %w", id, image.ErrCorrupt)
	}
	if s.opening[id] {
		return -1, fmt.Errorf("files.img: file %d needs itself: %w", id, image.ErrCorrupt)
	}
	if e.GetReg() == nil { // needs no other
		s.opening[id] = true
		defer delete(s.opening, id)
	}
	if fd, ok, err := s.inherited(e); ok || err != nil {
		if err == nil {
			s.open[id] = fd
		}
		return fd, err
	}
	k := kindOfType(e.GetType())
	fd, err := k.open(s, e)
	if err != nil {
		return -1, err
	}
	s.open[id] = fd
	if k.common == nil {
		return fd, nil
	}
	if err := s.common(fd, k, e); err != nil {
		return -1, err
	}
	return fd, nil
}

// Release closes the descriptor of an open file that all its tables have by now, if nothing else can need it: a file found by its
// path, without an owner.
func (s *Set) Release(id uint32) {
	fd, ok := s.open[id]
	reg := s.files[id].GetReg()
	if !ok || reg == nil || s.inFlight[id] || reg.GetFlags()&unix.O_ASYNC != 0 || reg.GetFown().GetPid() != 0 || s.opts.FileLocks {
		return
	}
	_ = unix.Close(fd)
	delete(s.open, id)
	s.released[id] = true
}

// Plain tells whether a file depends on nothing but its path, and nothing on it but the tables that it is in. What is below /proc may be the
// tree's own.
func (s *Set) Plain(id uint32) bool {
	reg := s.files[id].GetReg()
	if reg == nil || s.remaps[reg.GetId()] != nil || s.inFlight[id] || s.opts.FileLocks || len(s.opts.Inherit) > 0 {
		return false
	}
	own := reg.GetFown()
	return own.GetPid() == 0 && own.GetSignum() == 0 && reg.GetFlags()&unix.O_ASYNC == 0 &&
		!strings.HasPrefix(path.Clean("/"+reg.GetName()), "/proc/")
}

// OpenPlain makes the open file of an entry that is [Set.Plain], beside the Set. The descriptor is the caller's. Any goroutine may call it, until
// Close or Abort.
func (s *Set) OpenPlain(id uint32) (int, error) {
	reg := s.files[id].GetReg()
	return s.openRegular(reg, int(reg.GetFlags()))
}

// settable are the status flags that F_SETFL can change, O_ASYNC apart: see remoteAsync.
const settable = unix.O_APPEND | unix.O_NONBLOCK | unix.O_DIRECT | unix.O_NOATIME

// common sets what every kind has.
func (s *Set) common(fd int, k *kind, e *fdinfo.FileEntry) error {
	flags, own := k.common(s, e)
	if flags&unix.O_PATH != 0 {
		return nil
	}
	if e.GetReg() == nil { // which was opened with its flags
		now, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil {
			return fmt.Errorf("file %d: F_GETFL: %w", e.GetId(), err)
		}
		if want := now&^settable | int(flags)&settable; want != now {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, want); err != nil {
				return fmt.Errorf("file %d: F_SETFL to %#o: %w", e.GetId(), want, err)
			}
		}
	}
	if sig := own.GetSignum(); sig != 0 {
		if _, err := unix.FcntlInt(uintptr(fd), fSetSig, int(sig)); err != nil {
			return fmt.Errorf("file %d: F_SETSIG to %d: %w", e.GetId(), sig, err)
		}
	}
	return nil
}

// SetOwners sets the owner of the files opened so far. The tree's tasks must exist. O_ASYNC comes by [Set.Remotes].
func (s *Set) SetOwners() error {
	for _, id := range s.order {
		fd, ok := s.open[id]
		e := s.files[id]
		k := kindOfType(e.GetType())
		if !ok || k.common == nil {
			continue
		}
		flags, own := k.common(s, e)
		if flags&unix.O_PATH != 0 || own.GetPid() == 0 {
			continue
		}
		if err := setOwner(fd, own); err != nil {
			return fmt.Errorf("%s %d: %w", e.GetType(), id, err)
		}
	}
	return nil
}

// OpenMapped opens the file of a mapping for the access that flags (fdflags of the VMA entry) name, once for each
// combination. The descriptor is the Set's and stays open until [Set.Close].
func (s *Set) OpenMapped(id uint32, flags int) (int, error) {
	key := mappedKey{id, flags}
	if fd, ok := s.mapped[key]; ok {
		return fd, nil
	}
	e := s.files[id]
	var (
		fd  int
		err error
	)
	switch {
	case e.GetReg() != nil:
		fd, err = s.openRegular(e.GetReg(), flags)
	case e.GetMemfd() != nil:
		fd, err = s.openMemfd(e.GetMemfd(), flags, 0)
	default:
		return -1, fmt.Errorf("files.img: file %d can't be mapped: %w", id, image.ErrCorrupt)
	}
	if err != nil {
		return -1, err
	}
	s.mapped[key] = fd
	return fd, nil
}

// Path returns the path of a regular file, as the tree sees it below its root: of cwd, root, exe. It does not look whether
// the file is there.
func (s *Set) Path(id uint32) (string, error) {
	e, err := s.regularFile(id)
	if err != nil {
		return "", err
	}
	return e.GetName(), nil
}

// openPath opens a path of the images below the root. Links of /proc that jump elsewhere are not followed.
func (s *Set) openPath(name string, flags int) (int, error) { return s.openResolved(name, flags, 0) }

// openResolved is openPath with further RESOLVE_ flags.
func (s *Set) openResolved(name string, flags int, resolve uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(uint32(flags | unix.O_CLOEXEC)),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | resolve,
	}
	for {
		fd, err := unix.Openat2(s.root, name, &how)
		// RESOLVE_IN_ROOT gives EAGAIN when something was renamed at the same time.
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// Seal adds the seals of the memfds. It must come after everything is mapped: a memfd that is sealed against writing
// can't be mapped for it.
func (s *Set) Seal() error { return s.sealMemfds() }

// Close ends a restore that succeeded: it removes from the file system what must not stay and closes all descriptors.
// Everything must have been handed out and mapped. It must come before the tasks run: as long as the engine holds the
// other end of a pipe no reader of it sees its end.
func (s *Set) Close() error {
	var errs []error
	for _, f := range slices.Backward(s.finish) {
		errs = append(errs, f())
	}
	s.release()
	return errors.Join(errs...)
}

// Abort undoes what opening has done to the file system and closes all descriptors. After Close it does nothing.
func (s *Set) Abort() {
	for _, f := range slices.Backward(s.undo) {
		f()
	}
	s.release()
}

func (s *Set) release() {
	for _, fd := range s.open {
		_ = unix.Close(fd)
	}
	for _, fd := range s.mapped {
		_ = unix.Close(fd)
	}
	for _, fd := range s.spare {
		_ = unix.Close(fd)
	}
	if s.root >= 0 {
		_ = unix.Close(s.root)
	}
	s.open, s.mapped, s.spare, s.root = map[uint32]int{}, map[mappedKey]int{}, nil, -1
	s.finish, s.undo = nil, nil
}

// temporary removes a name when the restore ends, whichever way.
func (s *Set) temporary(remove func() error) {
	s.finish = append(s.finish, remove)
	s.undo = append(s.undo, func() { _ = remove() })
}
