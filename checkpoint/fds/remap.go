// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"

	ghost_file "github.com/checkpoint-restore/go-criu/v8/crit/images/ghost-file"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
	remap_file_path "github.com/checkpoint-restore/go-criu/v8/crit/images/remap-file-path"
	"github.com/trapline/trapline/checkpoint/image"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// The way back of files that have lost their name: a deleted file is made again where it was and removed when the
// restore ends, so that its descriptors are of a deleted file once more.

// madeGhosts maps the id of a deleted file to the path where it is now.
type madeGhosts struct{ names map[uint32]string }

// nameOf returns the path under which the file of an entry can be opened, and whether that is not its own.
func (s *Set) nameOf(e *regfile.RegFileEntry) (name string, remapped bool, err error) {
	m := s.remaps[e.GetId()]
	if m == nil {
		return e.GetName(), false, nil
	}
	switch m.GetRemapType() {
	case remap_file_path.RemapType_GHOST:
		name, err = s.ghost(m.GetRemapId(), e.GetName())
		return name, true, err
	case remap_file_path.RemapType_LINKED:
		link, err := s.regularFile(m.GetRemapId())
		if err != nil {
			return "", false, err
		}
		name, err = s.relink(m.GetRemapId(), link.GetName(), e.GetName())
		return name, true, err
	}
	return "", false, fmt.Errorf("file %s: of a process that is not in the images: %w", e.GetName(), ErrUnsupported)
}

// parent opens the directory of a path below the root.
func (s *Set) parent(name string) (dir int, base string, err error) {
	base = path.Base(path.Clean("/" + name))
	if base == "/" || base == "." {
		return -1, "", fmt.Errorf("%s: %w", name, os.ErrInvalid)
	}
	dir, err = s.openPath(path.Dir(path.Clean("/"+name)), unix.O_PATH|unix.O_DIRECTORY)
	return dir, base, err
}

// ghost makes a deleted file and returns its path.
func (s *Set) ghost(id uint32, name string) (string, error) {
	g := state[madeGhosts](s.states)
	if g.names == nil {
		g.names = map[uint32]string{}
	}
	if made, ok := g.names[id]; ok {
		return made, nil
	}
	if err := s.parents(path.Dir(path.Clean("/" + name))); err != nil {
		return "", fmt.Errorf("deleted file %s: %w", name, err)
	}
	dir, base, err := s.parent(name)
	if err != nil {
		return "", fmt.Errorf("deleted file %s: its directory: %w", name, err)
	}
	s.spare = append(s.spare, dir)
	made := base
	err = s.makeGhost(dir, made, id)
	for i := 0; errors.Is(err, unix.EEXIST) && i < 100; i++ {
		made = base + ".trapline." + strconv.Itoa(i)
		err = s.makeGhost(dir, made, id)
	}
	if err != nil {
		return "", fmt.Errorf("deleted file %s: %w", name, err)
	}
	g.names[id] = path.Join(path.Dir(path.Clean("/"+name)), made)
	return g.names[id], nil
}

// parents makes the directories of a deleted file again that were deleted with it, for as long as the restore takes.
func (s *Set) parents(name string) error {
	fd, err := s.openPath(name, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		return unix.Close(fd)
	}
	if !errors.Is(err, unix.ENOENT) || name == "/" {
		return fmt.Errorf("directory %s: %w", name, err)
	}
	if id := s.deletedDir(name); id != 0 {
		_, err := s.ghost(id, name)
		return err
	}
	if err := s.parents(path.Dir(name)); err != nil {
		return err
	}
	dir, base, err := s.parent(name)
	if err != nil {
		return fmt.Errorf("directory %s: %w", name, err)
	}
	if err := unix.Mkdirat(dir, base, 0o700); err != nil {
		_ = unix.Close(dir)
		return fmt.Errorf("directory %s: %w", name, err)
	}
	s.spare = append(s.spare, dir)
	s.temporary(func() error { return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR) })
	return nil
}

// deletedDir returns the number of a deleted directory of that path which the images have, 0 if there is none.
func (s *Set) deletedDir(name string) uint32 {
	for _, id := range s.order {
		m, reg := s.remaps[id], s.files[id].GetReg()
		if m.GetRemapType() == remap_file_path.RemapType_GHOST && m != nil && reg.GetMode()&unix.S_IFMT == unix.S_IFDIR && reg.GetName() == name {
			return m.GetRemapId()
		}
	}
	return 0
}

// makeGhost makes the file dir/base from ghost-file-ID.img. It fails with EEXIST if the name is taken.
func (s *Set) makeGhost(dir int, base string, id uint32) error {
	name := ghostImage(id)
	var (
		head *ghost_file.GhostFileEntry
		f    *os.File
	)
	defer func() {
		if f != nil {
			_ = f.Close()
		}
	}()
	first := true
	err := s.r.Each(name, func() proto.Message {
		if first {
			first = false
			return &ghost_file.GhostFileEntry{}
		}
		return &ghost_file.GhostChunkEntry{}
	}, func(m proto.Message, payload io.Reader) (err error) {
		switch m := m.(type) {
		case *ghost_file.GhostFileEntry:
			head = m
			if f, err = s.createGhost(dir, base, m); err != nil || f == nil || m.GetChunks() {
				return err
			}
			_, err = io.Copy(f, payload)
		case *ghost_file.GhostChunkEntry:
			if f == nil || !head.GetChunks() || m.GetOff() > head.GetSize() || m.GetLen() > head.GetSize()-m.GetOff() {
				return fmt.Errorf("%s: chunk of %d bytes at %d: %w", name, m.GetLen(), m.GetOff(), image.ErrCorrupt)
			}
			_, err = io.Copy(io.NewOffsetWriter(f, int64(m.GetOff())), payload)
		}
		return err
	})
	if err != nil {
		return err
	}
	if head == nil {
		return fmt.Errorf("%s: no entry: %w", name, image.ErrCorrupt)
	}
	return ghostTimes(dir, base, head)
}

// createGhost makes the inode. The file is returned only if it has contents.
func (s *Set) createGhost(dir int, base string, e *ghost_file.GhostFileEntry) (*os.File, error) {
	mode := e.GetMode()
	var (
		f    *os.File
		err  error
		flag int
	)
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		var fd int
		fd, err = unix.Openat(dir, base, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == nil {
			f = os.NewFile(uintptr(fd), base)
		}
	case unix.S_IFDIR:
		flag = unix.AT_REMOVEDIR
		err = unix.Mkdirat(dir, base, 0o700)
	case unix.S_IFIFO:
		err = unix.Mknodat(dir, base, unix.S_IFIFO|0o600, 0)
	case unix.S_IFCHR, unix.S_IFBLK:
		err = unix.Mknodat(dir, base, mode&unix.S_IFMT|0o600, int(unix.Mkdev(e.GetRdev()>>20, e.GetRdev()&(1<<20-1))))
	default:
		return nil, fmt.Errorf("a deleted %s: %w", formatName(mode), ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	s.temporary(func() error {
		if err := unix.Unlinkat(dir, base, flag); err != nil {
			return fmt.Errorf("remove %s, made for a deleted file: %w", base, err)
		}
		return nil
	})
	if err := unix.Fchownat(dir, base, int(e.GetUid()), int(e.GetGid()), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return f, fmt.Errorf("chown: %w", err)
	}
	// After chown, which takes set-user-ID away.
	if err := unix.Fchmodat(dir, base, mode&0o7777, 0); err != nil {
		return f, fmt.Errorf("chmod: %w", err)
	}
	if f != nil && e.GetChunks() {
		if e.GetSize() > 1<<62 {
			return f, fmt.Errorf("size %d: %w", e.GetSize(), image.ErrCorrupt)
		}
		if err := f.Truncate(int64(e.GetSize())); err != nil {
			return f, err
		}
	}
	return f, nil
}

func ghostTimes(dir int, base string, e *ghost_file.GhostFileEntry) error {
	if e.Atim == nil || e.Mtim == nil {
		return nil
	}
	times := []unix.Timespec{
		unix.NsecToTimespec(int64(e.GetAtim().GetTvSec())*1e9 + int64(e.GetAtim().GetTvUsec())*1e3),
		unix.NsecToTimespec(int64(e.GetMtim().GetTvSec())*1e9 + int64(e.GetMtim().GetTvUsec())*1e3),
	}
	if err := unix.UtimesNanoAt(dir, base, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("times: %w", err)
	}
	return nil
}

// relink gives a file that was dumped under a link beside its lost name that name back for as long as the restore takes.
// The link itself goes when the restore has succeeded.
func (s *Set) relink(id uint32, link, name string) (string, error) {
	g := state[madeGhosts](s.states)
	if g.names == nil {
		g.names = map[uint32]string{}
	}
	// Ids of files and of ghosts are counted apart, but a file of files.img is never both.
	key := id | 1<<31
	if made, ok := g.names[key]; ok {
		return made, nil
	}
	fromDir, from, err := s.parent(link)
	if err != nil {
		return "", fmt.Errorf("link %s: %w", link, err)
	}
	s.spare = append(s.spare, fromDir)
	toDir, to, err := s.parent(name)
	if err != nil {
		return "", fmt.Errorf("file %s: %w", name, err)
	}
	s.spare = append(s.spare, toDir)
	made := name
	err = unix.Linkat(fromDir, from, toDir, to, 0)
	switch {
	case errors.Is(err, unix.EEXIST):
		made = link
	case err != nil:
		return "", fmt.Errorf("link %s to %s: %w", link, name, err)
	default:
		s.temporary(func() error { return unix.Unlinkat(toDir, to, 0) })
	}
	s.finish = append(s.finish, func() error {
		if err := unix.Unlinkat(fromDir, from, 0); err != nil {
			return fmt.Errorf("remove %s: %w", link, err)
		}
		return nil
	})
	g.names[key] = made
	return made, nil
}
