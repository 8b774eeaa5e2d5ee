// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Process is a restored process and its descriptors. Of processes that share a table only one is to be given.
type Process struct {
	Pid   int // in the tree's PID namespace
	Table []Entry
}

// Remote is a system call to be made by a process of the tree. It has failed if its result is an error (-4095…-1).
type Remote struct {
	Nr      uintptr
	Args    [6]uint64
	Data    []byte // if not empty: memory whose address is argument DataArg
	DataArg int
	What    string // for messages
}

// Remotes returns the calls that each process, by its Pid, must make in the given order after its descriptors are in
// place: epoll registrations, O_ASYNC, file locks. The calls may use descriptor numbers above the highest of the table for a moment.
func (s *Set) Remotes(procs []Process) (map[int][]Remote, error) {
	calls := map[int][]Remote{}
	add := func(pid int, r ...Remote) { calls[pid] = append(calls[pid], r...) }
	for _, id := range s.order {
		e := s.files[id]
		if k := kindOfType(e.GetType()); k.remote != nil {
			if err := k.remote(s, e, procs, add); err != nil {
				return nil, err
			}
		}
		if err := remoteAsync(s, e, procs, add); err != nil {
			return nil, err
		}
	}
	if err := s.remoteLocks(procs, add); err != nil {
		return nil, err
	}
	return calls, nil
}

// entryAt finds a descriptor by its number. Tables are sorted by it.
func entryAt(table []Entry, fd int) *Entry {
	lo, hi := 0, len(table)
	for lo < hi {
		mid := (lo + hi) / 2
		if table[mid].FD < fd {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(table) && table[lo].FD == fd {
		return &table[lo]
	}
	return nil
}

// entryOf finds the first descriptor of an open file.
func entryOf(table []Entry, id uint32) *Entry {
	for i := range table {
		if table[i].ID == id {
			return &table[i]
		}
	}
	return nil
}

func dup3(from, to int, closeOnExec bool) Remote {
	r := Remote{
		Nr: unix.SYS_DUP3, Args: [6]uint64{uint64(from), uint64(to)},
		What: fmt.Sprintf("descriptor %d to %d", from, to),
	}
	if closeOnExec {
		r.Args[2] = unix.O_CLOEXEC
	}
	return r
}

func closeFD(fd int) Remote {
	return Remote{Nr: unix.SYS_CLOSE, Args: [6]uint64{uint64(fd)}, What: fmt.Sprintf("close descriptor %d", fd)}
}
