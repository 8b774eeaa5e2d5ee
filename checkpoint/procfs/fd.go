// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"encoding/binary"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// FDs appends the open descriptors of the process to fds (which may be nil) in ascending order. A zombie has none.
func (p *Proc) FDs(fds []int) ([]int, error) {
	return p.numbers("fd", fds)
}

// Tasks appends the thread ids of the process to tids (which may be nil), in ascending order. A thread that has ended but
// is not yet reaped is listed too.
func (p *Proc) Tasks(tids []int) ([]int, error) {
	return p.numbers("task", tids)
}

// FDLink reads the symbolic link of a descriptor: a path (see [CutDeleted]), "socket:[INODE]", "pipe:[INODE]",
// "anon_inode:[KIND]". A descriptor that is not open gives an error that is [io/fs.ErrNotExist].
func (p *Proc) FDLink(fd int) (string, error) {
	return p.readlink("fd/" + strconv.Itoa(fd))
}

// Exe reads the link to the executable. A kernel thread gives [io/fs.ErrNotExist], a zombie [ErrNoMM] or that too.
func (p *Proc) Exe() (string, error) { return p.readlink("exe") }

// Cwd reads the link to the current directory, as seen from the reader's root.
func (p *Proc) Cwd() (string, error) { return p.readlink("cwd") }

// Root reads the link to the process' root directory, as seen from the reader's root.
func (p *Proc) Root() (string, error) { return p.readlink("root") }

// MapLink reads the link of the mapping start-end in map_files, which in contrast to maps has no escapes. The
// boundaries must be exact. Needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
func (p *Proc) MapLink(start, end uint64) (string, error) {
	return p.readlink(mapName(start, end))
}

// MapFile opens the file behind the mapping start-end, deleted or not, for the access given in flags. The descriptor is
// the caller's. Needs the rights of [Proc.MapLink]. With O_PATH the file itself is not opened, only found.
func (p *Proc) MapFile(start, end uint64, flags int) (int, error) {
	return p.OpenFile(mapName(start, end), flags)
}

func mapName(start, end uint64) string {
	b := make([]byte, 0, 48)
	b = append(b, "map_files/"...)
	b = strconv.AppendUint(b, start, 16)
	b = append(b, '-')
	b = strconv.AppendUint(b, end, 16)
	return string(b)
}

// numbers appends the entries of a directory that are numbers, sorted.
func (p *Proc) numbers(name string, list []int) ([]int, error) {
	fd, err := openat(p.dir, p.prefix+name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return list, p.fail("open", name, err)
	}
	defer unix.Close(fd)
	out, err := readNumbers(fd, list)
	if err != nil {
		return list, p.fail("read", name, err)
	}
	return out, nil
}

// readNumbers appends those entries of an open directory that are decimal numbers, in ascending order.
func readNumbers(fd int, list []int) ([]int, error) {
	buf := getBuffer()
	defer putBuffer(buf)
	first := len(list)
	for {
		n, err := unix.Getdents(fd, *buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return list, err
		}
		if n <= 0 {
			break
		}
		list = direntNumbers((*buf)[:n], list)
	}
	if !slices.IsSorted(list[first:]) {
		slices.Sort(list[first:])
	}
	return slices.Clip(list), nil
}

// direntNumbers walks records of getdents64(2):
//
//	u64 inode | s64 next | u16 length of the record | u8 type | name, NUL …
func direntNumbers(b []byte, list []int) []int {
	const header = 8 + 8 + 2 + 1
	for len(b) >= header {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size < header || size > len(b) {
			return list
		}
		name := b[header:size]
		for i, c := range name {
			if c == 0 {
				name = name[:i]
				break
			}
		}
		if id, ok := parseID(name); ok && id >= 0 {
			list = append(list, id)
		}
		b = b[size:]
	}
	return list
}
