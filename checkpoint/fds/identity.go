// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"sort"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"golang.org/x/sys/unix"
)

// identity is one open file: a descriptor that refers to it, and its entry.
type identity struct {
	pid, fd int
	entry   *fdinfo.FileEntry
}

type inode struct{ dev, ino uint64 }

// identities holds the open files of each inode in the order that kcmp(2) gives them. All anonymous inodes (eventfd …)
// are one inode, so a list may be long: it is searched by halves.
type identities map[inode][]identity

// kcmpFile is KCMP_FILE of linux/kcmp.h.
const kcmpFile = 0

// kcmp compares two open files: -1, 0 or 1. The order is stable as long as the kernel runs and has no other meaning.
func kcmp(pid1, fd1, pid2, fd2 int) (int, error) {
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), kcmpFile, uintptr(fd1), uintptr(fd2), 0)
	switch {
	case errno != 0:
		return 0, errno
	case r == 0:
		return 0, nil
	case r == 1:
		return -1, nil
	}
	return 1, nil
}

// find returns the entry of the file that pid has as fd, or where in the list it belongs.
func (m identities) find(o *object, pid, fd int) (at int, e *fdinfo.FileEntry, err error) {
	list := m[inode{o.st.Dev, o.st.Ino}]
	at = sort.Search(len(list), func(i int) bool {
		if err != nil || e != nil {
			return true
		}
		var r int
		if r, err = kcmp(list[i].pid, list[i].fd, pid, fd); err == nil && r == 0 {
			e = list[i].entry
		}
		return r >= 0
	})
	if err != nil {
		return 0, nil, o.fail("kcmp", err)
	}
	return at, e, nil
}

func (m identities) insert(o *object, at int, id identity) {
	key := inode{o.st.Dev, o.st.Ino}
	list := append(m[key], identity{})
	copy(list[at+1:], list[at:])
	list[at] = id
	m[key] = list
}
