// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/eventpoll"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"github.com/trapline/trapline/checkpoint/image"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// epoll: which descriptors are watched for what. A registration belongs to an open file and the number by which it was
// added; the number may be closed since, or be another file, while the open file lives on under another. CRIU's image has
// one number, which must refer to the file now; the number of the registration is kept beside (extra.Epoll).
//
// Registrations are made by a process of the tree, after its descriptors are in place: they hold the number, and what
// signalfd says depends on who asks.

func init() {
	register(&kind{
		typ:    fdinfo.FdTypes_EVENTPOLL,
		remote: remoteEpoll,
		match:  func(o *object) bool { return o.link == "anon_inode:[eventpoll]" },
		dump:   dumpEpoll,
		settle: settleEpolls,
		check: func(_ *Set, e *fdinfo.FileEntry) error {
			if e.GetEpfd() == nil {
				return errors.New("no eventpoll entry")
			}
			return nil
		},
		open: func(_ *Set, _ *fdinfo.FileEntry) (int, error) {
			fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
			if err != nil {
				return -1, fmt.Errorf("epoll_create1: %w", err)
			}
			return fd, nil
		},
		common: func(_ *Set, e *fdinfo.FileEntry) (uint32, *fown.FownEntry) {
			return e.GetEpfd().GetFlags(), e.GetEpfd().GetFown()
		},
	})
}

// epolls are the instances met so far. Their targets are looked up at the end, when all open files are known.
type epolls struct{ order []epollFound }

type epollFound struct {
	pid, fd int
	where   string
	entry   *eventpoll.EventpollFileEntry
}

func dumpEpoll(c *Collector, o *object) (*fdinfo.FileEntry, error) {
	own, err := ownerOf(o)
	if err != nil {
		return nil, err
	}
	e := &eventpoll.EventpollFileEntry{Id: proto.Uint32(o.id), Flags: proto.Uint32(o.flags()), Fown: own}
	for _, t := range o.info.Epoll {
		e.Tfd = append(e.Tfd, &eventpoll.EventpollTfdEntry{
			Id: proto.Uint32(0), Tfd: proto.Uint32(uint32(t.FD)), Events: proto.Uint32(t.Events), Data: proto.Uint64(t.Data),
			Dev: proto.Uint32(uint32(t.Dev)), Inode: proto.Uint64(t.Ino), Pos: proto.Uint64(uint64(t.Pos)),
		})
	}
	s := state[epolls](c.states)
	s.order = append(s.order, epollFound{o.task.Pid, o.fd, o.task.String() + ": " + o.where, e})
	return &fdinfo.FileEntry{Type: fdinfo.FdTypes_EVENTPOLL.Enum(), Id: proto.Uint32(o.id), Epfd: e}, nil
}

// epollSlot is struct kcmp_epoll_slot of linux/kcmp.h.
type epollSlot struct{ efd, tfd, toff uint32 }

const kcmpEpollTfd = 7 // KCMP_EPOLL_TFD, since Linux 4.13

func settleEpolls(c *Collector) error {
	for _, ep := range state[epolls](c.states).order {
		if err := c.resolveEpoll(&ep); err != nil {
			return fmt.Errorf("%s (epoll): %w", ep.where, err)
		}
	}
	return nil
}

// resolveEpoll finds the open file of each target of an epoll instance.
func (c *Collector) resolveEpoll(ep *epollFound) error {
	// How many targets before this one were added by the same number.
	before := map[uint32]uint32{}
	var (
		targets []epollTarget
		moved   bool
	)
	for _, t := range ep.entry.Tfd {
		n := t.GetTfd()
		slot := epollSlot{uint32(ep.fd), n, before[n]}
		before[n]++
		id, now, err := c.epollTarget(ep, n, slot)
		if err != nil {
			return err
		}
		targets = append(targets, epollTarget{File: id, FD: int32(n)})
		if now != n {
			moved = true
			*t.Tfd = now
		}
	}
	if moved {
		if c.extra.Epoll == nil {
			c.extra.Epoll = map[uint32][]epollTarget{}
		}
		c.extra.Epoll[ep.entry.GetId()] = targets
	}
	return nil
}

// epollTarget finds the open file of a target, and a number by which a process that has the instance has it now: the
// number of the registration if that still is the file, as nearly always.
func (c *Collector) epollTarget(ep *epollFound, n uint32, slot epollSlot) (id, now uint32, err error) {
	same := func(t *Task, fd uint32) bool {
		var r int
		if err == nil {
			r, err = kcmpEpoll(t.Pid, int(fd), ep.pid, &slot)
		}
		return err == nil && r == 0
	}
	var having []*tableIndex
	for _, table := range c.indexes {
		if table.has(ep.entry.GetId()) {
			having = append(having, table)
		}
	}
	for _, table := range having {
		if id, ok := table.ids[n]; ok && same(table.task, n) {
			return id, n, nil
		}
	}
	for _, table := range having {
		for _, fd := range table.order {
			if same(table.task, fd) {
				return table.ids[fd], fd, nil
			}
		}
	}
	if err != nil {
		return 0, 0, fmt.Errorf("target %d: kcmp: %w", n, err)
	}
	return 0, 0, fmt.Errorf("it watches a file that was descriptor %d and that no process with the epoll instance has any more, "+
		"which %w; let the program use EPOLL_CTL_DEL before it closes a descriptor that others share", n, ErrUnsupported)
}

// kcmpEpoll compares the open file that pid has as fd with a target of an epoll instance of another process.
func kcmpEpoll(pid, fd, epollPid int, slot *epollSlot) (int, error) {
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid), uintptr(epollPid), kcmpEpollTfd, uintptr(fd), uintptr(unsafe.Pointer(slot)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

const (
	epollEventSize = unsafe.Sizeof(unix.EpollEvent{})
	epollData      = unsafe.Offsetof(unix.EpollEvent{}.Fd)
)

// remoteEpoll makes the calls that register the targets of an instance. Each is made by the first process that has both
// the instance and the target.
func remoteEpoll(s *Set, e *fdinfo.FileEntry, procs []Process, add func(pid int, r ...Remote)) error {
	known := s.extra.Epoll[e.GetId()]
	var having []Process
	for _, p := range procs {
		if entryOf(p.Table, e.GetId()) != nil {
			having = append(having, p)
		}
	}
	if len(having) == 0 {
		return nil // in no table: it was in a queue, or of a process that is not restored
	}
	added := map[int]bool{}
	for i, t := range e.GetEpfd().GetTfd() {
		n := int(int32(t.GetTfd()))
		number, file := n, uint32(0)
		if i < len(known) && known[i].FD >= 0 && known[i].FD < 1<<20 {
			number, file = int(known[i].FD), known[i].File
		}
		var by *Process
		for j := range having {
			at := entryAt(having[j].Table, n)
			if at != nil && (file == 0 || at.ID == file) {
				by = &having[j]
				break
			}
		}
		if by == nil {
			return fmt.Errorf("files.img: epoll %d watches descriptor %d, which is not open: %w", e.GetId(), n, image.ErrCorrupt)
		}
		if len(known) == 0 && added[n] {
			// CRIU gives a target whose number is closed that of a duplicate, which may be a target itself. Its own number
			// is lost; any free one serves the purpose.
			for number = 0; added[number] || entryAt(by.Table, number) != nil; number++ {
			}
		}
		added[number] = true
		epfd := entryOf(by.Table, e.GetId()).FD
		event := make([]byte, epollEventSize)
		binary.NativeEndian.PutUint32(event, t.GetEvents())
		binary.NativeEndian.PutUint64(event[epollData:], t.GetData())
		call := Remote{
			Nr: unix.SYS_EPOLL_CTL, Args: [6]uint64{uint64(epfd), unix.EPOLL_CTL_ADD, uint64(number)}, Data: event, DataArg: 3,
			What: fmt.Sprintf("epoll descriptor %d: add %d", epfd, number),
		}
		if number == n {
			add(by.Pid, call)
		} else {
			add(by.Pid, aside(by.Table, n, number, call)...)
		}
	}
	return nil
}

// aside makes a call for which the file of descriptor from must be descriptor to, which is closed or another file.
func aside(table []Entry, from, to int, call Remote) []Remote {
	occupied := entryAt(table, to)
	if occupied == nil {
		return []Remote{dup3(from, to, false), call, closeFD(to)}
	}
	free := 0
	for _, e := range table {
		free = max(free, e.FD+1)
	}
	return []Remote{dup3(to, free, false), dup3(from, to, false), call, dup3(free, to, occupied.CloseOnExec), closeFD(free)}
}
