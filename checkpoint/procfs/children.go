// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Children returns the pids of the children of all threads of the process, in ascending order, zombies included. The list
// is exact only while process and children are stopped: the kernel may skip a child when one before it exits.
//
// It reads task/TID/children (CONFIG_PROC_CHILDREN); without these files it looks at the parent of every process.
func (p *Proc) Children() ([]int, error) {
	tids, err := p.Tasks(nil)
	if err != nil {
		return nil, err
	}
	var kids []int
	for _, tid := range tids {
		list, err := p.Task(tid).children(kids)
		switch {
		case err == nil:
			kids = list
		case errors.Is(err, ErrGone):
			// A thread that ended meanwhile leaves its children to another thread.
			if !p.Alive() {
				return nil, err
			}
		case isMissing(err):
			return p.scanChildren()
		default:
			return nil, err
		}
	}
	slices.Sort(kids)
	return slices.Compact(kids), nil
}

// children appends what the thread's file lists: pids with a blank after each.
func (p *Proc) children(kids []int) ([]int, error) {
	var ok bool
	err := p.list("children", func(b []byte) error {
		if kids, ok = parseIDs(kids, trimNewline(b)); !ok {
			return bad("children", b)
		}
		return nil
	})
	return kids, err
}

// scanChildren looks at every process that this mount of /proc shows.
func (p *Proc) scanChildren() ([]int, error) {
	pids, err := p.numbers("..", nil)
	if err != nil {
		return nil, err
	}
	var kids []int
	for _, pid := range pids {
		var s Stat
		q := &Proc{dir: p.dir, pid: pid, tid: pid, prefix: "../" + strconv.Itoa(pid) + "/"}
		if err := q.ReadStat(&s); err != nil {
			if errors.Is(err, ErrGone) {
				continue
			}
			return nil, err
		}
		if s.PPid == p.pid {
			kids = append(kids, pid)
		}
	}
	return kids, nil
}

// trimNewline takes one newline off the end.
func trimNewline(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}

// Pids appends the processes that the mount of /proc shows, in ascending order.
func Pids(pids []int) ([]int, error) {
	fd, err := openat(unix.AT_FDCWD, "/proc", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return pids, systemError("open", "/proc", err)
	}
	defer unix.Close(fd)
	out, err := readNumbers(fd, pids)
	if err != nil {
		return pids, systemError("read", "/proc", err)
	}
	return out, nil
}
