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
	remap_file_path "github.com/checkpoint-restore/go-criu/v8/crit/images/remap-file-path"
	criutime "github.com/checkpoint-restore/go-criu/v8/crit/images/time"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Files that have lost their name: a deleted file is a "ghost", whose contents go into the images; a file that has
// another name left is linked beside its old one (--link-remap).

type ghosts struct {
	ids    map[inode]uint32
	order  []ghost
	remaps []proto.Message
}

type ghost struct {
	id    uint32
	local int // duplicate in the engine
	st    unix.Stat_t
	name  string
}

func remapEntry(orig, remap uint32, typ remap_file_path.RemapType) *remap_file_path.RemapFilePathEntry {
	return &remap_file_path.RemapFilePathEntry{OrigId: proto.Uint32(orig), RemapId: proto.Uint32(remap), RemapType: typ.Enum()}
}

// ghost records that file id is deleted and must be made again from the images.
func (c *Collector) ghost(o *object, id uint32, name string) error {
	g := state[ghosts](c.states)
	if g.ids == nil {
		g.ids = map[inode]uint32{}
	}
	key := inode{o.st.Dev, o.st.Ino}
	gid, ok := g.ids[key]
	if !ok {
		switch o.format() {
		case unix.S_IFREG, unix.S_IFDIR, unix.S_IFIFO, unix.S_IFCHR, unix.S_IFBLK:
		default:
			return o.refuse("a deleted "+formatName(o.st.Mode)+" ("+name+")", "let the program close it before the dump")
		}
		if onDisk := min(o.st.Size, o.st.Blocks*512); o.format() == unix.S_IFREG && onDisk > c.opts.ghostLimit() {
			return o.refuse(fmt.Sprintf("the deleted file %s of %d bytes", name, o.st.Size),
				fmt.Sprintf("raise --ghost-limit above %d", onDisk))
		}
		gid = uint32(len(g.ids) + 1)
		g.ids[key] = gid
		g.order = append(g.order, ghost{gid, o.hold(), o.st, name})
	}
	g.remaps = append(g.remaps, remapEntry(id, gid, remap_file_path.RemapType_GHOST))
	return nil
}

// linkRemap gives a file that has lost its name, but has others, a name beside its old one.
func (c *Collector) linkRemap(o *object, id uint32, name string) error {
	if !c.opts.LinkRemap {
		return o.refuse("the file "+name+", which is deleted but has another hard link",
			"allow a temporary link beside it with --link-remap")
	}
	g := state[ghosts](c.states)
	rid := c.nextID()
	link := path.Join(path.Dir(name), "link_remap."+strconv.FormatUint(uint64(rid), 10))
	if c.w != nil {
		err := unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(o.local), unix.AT_FDCWD, link, unix.AT_SYMLINK_FOLLOW)
		if err != nil {
			return o.fail("link to "+link, err)
		}
		c.undo = append(c.undo, func() { _ = unix.Unlink(link) })
	}
	// The link is found through a file entry of its own.
	e, err := regEntry(o, rid, link)
	if err != nil {
		return err
	}
	c.entries = append(c.entries, e)
	g.remaps = append(g.remaps, remapEntry(id, rid, remap_file_path.RemapType_LINKED))
	return nil
}

func flushRegular(c *Collector) error {
	g := state[ghosts](c.states)
	if len(g.remaps) == 0 {
		return nil
	}
	for i := range g.order {
		if err := g.order[i].write(c); err != nil {
			return fmt.Errorf("deleted file %s: %w", g.order[i].name, err)
		}
	}
	return c.w.Put("remap-fpath.img", g.remaps...)
}

func timeval(t unix.Timespec) *criutime.Timeval {
	return &criutime.Timeval{TvSec: proto.Uint64(uint64(t.Sec)), TvUsec: proto.Uint64(uint64(t.Nsec / 1000))}
}

// write makes ghost-file-N.img. A file with holes is written in chunks.
func (g *ghost) write(c *Collector) (err error) {
	out, err := c.w.Append(ghostImage(g.id))
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	e := &ghost_file.GhostFileEntry{
		Uid: proto.Uint32(g.st.Uid), Gid: proto.Uint32(g.st.Gid), Mode: proto.Uint32(g.st.Mode),
		Dev: proto.Uint32(kernelDev(g.st.Dev)), Ino: proto.Uint64(g.st.Ino),
		Atim: timeval(g.st.Atim), Mtim: timeval(g.st.Mtim),
	}
	switch g.st.Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Rdev = proto.Uint32(kernelDev(g.st.Rdev))
		return out.Write(e)
	case unix.S_IFDIR, unix.S_IFIFO:
		return out.Write(e)
	}
	f, err := reopenFile(g.local)
	if err != nil {
		return err
	}
	defer f.Close()
	// Read times of a deleted file are of no use to anyone, but ours should not show.
	_, _ = unix.FcntlInt(f.Fd(), unix.F_SETFL, unix.O_NOATIME)
	if g.st.Blocks*512 >= g.st.Size {
		if err := out.Write(e); err != nil {
			return err
		}
		return out.PayloadFrom(f, g.st.Size)
	}
	e.Chunks, e.Size = proto.Bool(true), proto.Uint64(uint64(g.st.Size))
	if err := out.Write(e); err != nil {
		return err
	}
	return eachData(f, g.st.Size, func(off, n int64) error {
		chunk := &ghost_file.GhostChunkEntry{Off: proto.Uint64(uint64(off)), Len: proto.Uint64(uint64(n))}
		if err := out.Write(chunk); err != nil {
			return err
		}
		return out.PayloadFrom(io.NewSectionReader(f, off, n), n)
	})
}

// eachData calls fn for each part of a file that is not a hole. It moves the position of f.
func eachData(f *os.File, size int64, fn func(off, n int64) error) error {
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only holes follow
		}
		if err != nil {
			return fmt.Errorf("SEEK_DATA: %w", err)
		}
		end, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return fmt.Errorf("SEEK_HOLE: %w", err)
		}
		end = min(end, size)
		if data >= end {
			return nil
		}
		if err := fn(data, end-data); err != nil {
			return err
		}
		at = end
	}
	return nil
}

func ghostImage(id uint32) string { return "ghost-file-" + strconv.FormatUint(uint64(id), 16) + ".img" }

// kernelDev is the number by which the kernel (and CRIU) names a device: major << 20 | minor.
func kernelDev(dev uint64) uint32 { return unix.Major(dev)<<20 | unix.Minor(dev)&(1<<20-1) }
