// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
	"github.com/trapline/trapline/checkpoint/image"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Regular files, directories, the memory devices, and whatever is opened with O_PATH: all that is found again by its
// path.

func init() {
	register(&kind{
		typ:   fdinfo.FdTypes_REG,
		match: isRegular,
		dump:  dumpRegular,
		flush: flushRegular,
		check: func(_ *Set, e *fdinfo.FileEntry) error {
			if e.GetReg() == nil {
				return errors.New("no reg entry")
			}
			return nil
		},
		open: func(s *Set, e *fdinfo.FileEntry) (int, error) {
			return s.openRegular(e.GetReg(), int(e.GetReg().GetFlags()))
		},
		common: func(_ *Set, e *fdinfo.FileEntry) (uint32, *fown.FownEntry) {
			return e.GetReg().GetFlags(), e.GetReg().GetFown()
		},
	})
}

// memMajor is the major number of /dev/null, zero, full, random, urandom, mem, port and kmsg.
const memMajor = 1

func isRegular(o *object) bool {
	if !strings.HasPrefix(o.link, "/") || o.format() == unix.S_IFREG && isMemfd(o) {
		return false
	}
	if o.info.Flags&unix.O_PATH != 0 {
		return true
	}
	switch o.format() {
	case unix.S_IFREG:
		return !strings.HasPrefix(o.link, "/secretmem")
	case unix.S_IFDIR:
		return true
	case unix.S_IFCHR:
		return unix.Major(o.st.Rdev) == memMajor
	}
	return false
}

func dumpRegular(c *Collector, o *object) (*fdinfo.FileEntry, error) {
	name, err := c.place(o, o.id)
	if err != nil {
		return nil, err
	}
	return regEntry(o, o.id, name)
}

// regEntry makes the entry of a file that is found by name.
func regEntry(o *object, id uint32, name string) (*fdinfo.FileEntry, error) {
	own, err := ownerOf(o)
	if err != nil {
		return nil, err
	}
	reg := &regfile.RegFileEntry{
		Id:    proto.Uint32(id),
		Flags: proto.Uint32(withoutTmpfile(o.flags())),
		Pos:   proto.Uint64(uint64(o.info.Pos)),
		Fown:  own,
		Name:  proto.String(name),
		Mode:  proto.Uint32(o.st.Mode),
	}
	if o.format() == unix.S_IFREG {
		reg.Size = proto.Uint64(uint64(o.st.Size))
	}
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Id: proto.Uint32(id), Reg: reg}, nil
}

// withoutTmpfile takes O_TMPFILE out of a file's flags: opening it again must not make another file. O_TMPFILE contains
// O_DIRECTORY.
func withoutTmpfile(flags uint32) uint32 {
	if flags&unix.O_TMPFILE == unix.O_TMPFILE {
		return flags &^ unix.O_TMPFILE
	}
	return flags
}

const deletedSuffix = " (deleted)"

// place returns the path under which a file is to be found, after it has made sure that it is this file which is there.
// The link is what the kernel builds from the names that the file was reached by; renaming changes it, so only removal
// and mounts make it wrong.
func (c *Collector) place(o *object, id uint32) (string, error) {
	name, deleted := strings.CutSuffix(o.link, deletedSuffix)
	if o.st.Nlink == 0 {
		return name, c.ghost(o, id, name)
	}
	var st unix.Stat_t
	err := unix.Fstatat(unix.AT_FDCWD, o.link, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err == nil && st.Dev == o.st.Dev && st.Ino == o.st.Ino:
		return o.link, nil
	case err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR):
		return "", o.fail("stat", err)
	case deleted:
		return name, c.linkRemap(o, id, name)
	case err == nil:
		return "", o.refuse("the file "+o.link+", whose path leads to another file",
			"unmount what covers it, or checkpoint in the mount namespace of the program")
	}
	return "", o.refuse("the file "+o.link+", which its path no longer leads to",
		"checkpoint in the mount namespace of the program, or let it close the file")
}

// openRegular opens the file of an entry, for the given flags instead of its own.
func (s *Set) openRegular(e *regfile.RegFileEntry, flags int) (int, error) {
	name, remapped, err := s.nameOf(e)
	if err != nil {
		return -1, err
	}
	flags = int(withoutTmpfile(uint32(flags))) &^ (unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC)
	if flags&unix.O_PATH == 0 {
		flags |= unix.O_NOCTTY
	} else {
		flags &= unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW
	}
	fd, err := s.openExpected(name, flags, e, remapped)
	if err != nil {
		return -1, err
	}
	if pos := e.GetPos(); pos != 0 && flags&unix.O_PATH == 0 {
		if _, err := unix.Seek(fd, int64(pos), unix.SEEK_SET); err != nil && !errors.Is(err, unix.ESPIPE) {
			_ = unix.Close(fd)
			return -1, fmt.Errorf("file %s: seek to %d: %w", e.GetName(), pos, err)
		}
	}
	return fd, nil
}

// openExpected opens a file and makes sure that it is what the image says.
func (s *Set) openExpected(name string, flags int, e *regfile.RegFileEntry, remapped bool) (int, error) {
	if fd, err := s.openAsRegular(name, flags, e, remapped); err != errNotSimple {
		return fd, err
	}
	// Opening a FIFO or a device that took the file's place could block or do something. So it is looked at first.
	found, err := s.openPath(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return -1, fmt.Errorf("file %s: %w", e.GetName(), err)
	}
	defer unix.Close(found)
	if err := s.sameFile(found, e, remapped); err != nil {
		return -1, err
	}
	var fd int
	switch {
	case flags&unix.O_NOFOLLOW != 0:
		// /proc/thread-self/fd/N is a link, which O_NOFOLLOW would refuse.
		fd, err = s.openPath(name, flags)
	default:
		fd, err = reopen(found, flags)
	}
	if err != nil {
		return -1, fmt.Errorf("file %s: open: %w", e.GetName(), err)
	}
	return fd, nil
}

var errNotSimple = errors.New("not a regular file in a directory that is where it was")

// openAsRegular opens what was a regular file and should still be one at its place. Only root could have put a device there; a FIFO does not
// block. Where links lead elsewhere, and where something is amiss, it leaves the matter, with errNotSimple, to a closer look.
func (s *Set) openAsRegular(name string, flags int, e *regfile.RegFileEntry, remapped bool) (int, error) {
	if flags&(unix.O_PATH|unix.O_NOFOLLOW) != 0 || e.GetMode()&unix.S_IFMT != unix.S_IFREG {
		return -1, errNotSimple
	}
	fd, err := s.openResolved(name, flags|unix.O_NONBLOCK, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return -1, errNotSimple
	}
	err = s.sameFile(fd, e, remapped)
	if err == nil && flags&unix.O_NONBLOCK == 0 {
		if _, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&settable); err != nil {
			err = fmt.Errorf("file %s: F_SETFL to %#o: %w", e.GetName(), flags&settable, err)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// sameFile compares a file that was found with what the image says about it.
func (s *Set) sameFile(fd int, e *regfile.RegFileEntry, remapped bool) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("file %s: %w", e.GetName(), err)
	}
	if e.Mode != nil {
		was := e.GetMode()
		if (st.Mode^was)&unix.S_IFMT != 0 {
			return fmt.Errorf("file %s %w: it is %s, it was %s", e.GetName(), ErrChanged, formatName(st.Mode), formatName(was))
		}
		if st.Mode != was && !s.opts.SkipRWXCheck && !remapped {
			return fmt.Errorf("file %s %w: its mode is %#o, it was %#o (--skip-file-rwx-check accepts it)",
				e.GetName(), ErrChanged, st.Mode&0o7777, was&0o7777)
		}
	}
	if e.Size != nil && st.Mode&unix.S_IFMT == unix.S_IFREG && !remapped && st.Size != int64(e.GetSize()) {
		if kernelMade(fd) {
			return nil
		}
		return fmt.Errorf("file %s %w: its size is %d bytes, it was %d", e.GetName(), ErrChanged, st.Size, e.GetSize())
	}
	if len(e.GetBuildId()) > 0 && !s.opts.SizeOnly {
		return sameBuild(fd, e)
	}
	return nil
}

// sameBuild compares the build ID of a program or library with that in the image.
func sameBuild(found int, e *regfile.RegFileEntry) error {
	fd, err := reopen(found, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return fmt.Errorf("file %s: %w", e.GetName(), err)
	}
	defer unix.Close(fd)
	id, err := buildID(fd)
	if err != nil {
		return fmt.Errorf("file %s: build ID: %w", e.GetName(), err)
	}
	// A build ID that can't be found says nothing.
	if len(id) > 0 && !slices.Equal(imageBuildID(id), e.GetBuildId()) {
		return fmt.Errorf("file %s %w: it is another build (build ID %x)", e.GetName(), ErrChanged, id)
	}
	return nil
}

// kernelMade says that a file is of a file system whose sizes mean nothing.
func kernelMade(fd int) bool {
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) != nil {
		return false
	}
	switch int64(fs.Type) {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC:
		return true
	}
	return false
}

func formatName(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "a regular file"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFCHR:
		return "a character device"
	case unix.S_IFBLK:
		return "a block device"
	case unix.S_IFIFO:
		return "a FIFO"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFLNK:
		return "a symbolic link"
	}
	return fmt.Sprintf("of type %#o", mode&unix.S_IFMT)
}

// regularFile returns the entry of a file with a path: of a REG, or the one that a FIFO refers to.
func (s *Set) regularFile(id uint32) (*regfile.RegFileEntry, error) {
	e := s.files[id]
	if e.GetReg() == nil {
		return nil, fmt.Errorf("files.img: file %d is no file with a path: %w", id, image.ErrCorrupt)
	}
	return e.GetReg(), nil
}
