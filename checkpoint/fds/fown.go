// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Who gets SIGIO of an open file, and which signal in its place (fcntl(2): F_SETOWN_EX, F_SETSIG).

// Of linux/fcntl.h; package unix has no names for them.
const (
	fSetOwnEx     = 15
	fGetOwnEx     = 16
	fSetSig       = 10
	fGetSig       = 11
	fGetOwnerUids = 17
)

// ownerEx is struct f_owner_ex.
type ownerEx struct {
	Type int32 // F_OWNER_TID 0, F_OWNER_PID 1, F_OWNER_PGRP 2
	Pid  int32
}

func fcntlPointer(fd, cmd int, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_FCNTL, uintptr(fd), uintptr(cmd), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

func noOwner() *fown.FownEntry {
	return &fown.FownEntry{
		Uid: proto.Uint32(0), Euid: proto.Uint32(0), Signum: proto.Uint32(0), PidType: proto.Uint32(0), Pid: proto.Uint32(0),
	}
}

// nobody is the owner of nearly all files. Entries share it; it is never changed.
var nobody = noOwner()

// ownerOf reads owner and signal of an open file. Files opened with O_PATH have none.
func ownerOf(o *object) (*fown.FownEntry, error) {
	if o.local < 0 || o.fd < 0 && o.info.Flags == 0 {
		return nobody, nil
	}
	var own ownerEx
	if err := fcntlPointer(o.local, fGetOwnEx, unsafe.Pointer(&own)); err != nil {
		if errors.Is(err, unix.EBADF) || errors.Is(err, unix.ESRCH) {
			return nobody, nil // O_PATH; or a thread that has ended
		}
		return nil, o.fail("F_GETOWN_EX", err)
	}
	sig, err := unix.FcntlInt(uintptr(o.local), fGetSig, 0)
	if err != nil {
		return nil, o.fail("F_GETSIG", err)
	}
	if sig == 0 && own.Pid == 0 {
		return nobody, nil
	}
	e := noOwner()
	*e.Signum = uint32(sig)
	if own.Pid == 0 {
		return e, nil
	}
	var uids [2]uint32
	if err := fcntlPointer(o.local, fGetOwnerUids, unsafe.Pointer(&uids)); err != nil {
		return nil, o.fail("F_GETOWNER_UIDS", err)
	}
	*e.Uid, *e.Euid, *e.PidType, *e.Pid = uids[0], uids[1], uint32(own.Type), uint32(own.Pid)
	return e, nil
}

// setOwner makes a task of the restored tree the owner. The kernel records the caller's user ids with it and checks them
// when it sends the signal, so they are taken on for the moment.
func setOwner(fd int, e *fown.FownEntry) error {
	own := ownerEx{Type: int32(e.GetPidType()), Pid: int32(e.GetPid())}
	set := func() error {
		if err := fcntlPointer(fd, fSetOwnEx, unsafe.Pointer(&own)); err != nil {
			return fmt.Errorf("F_SETOWN_EX to %d: %w", own.Pid, err)
		}
		return nil
	}
	if e.GetUid() == 0 && e.GetEuid() == 0 {
		return set()
	}
	failed := make(chan error)
	go func() {
		// Raw system calls change this thread only. It is never unlocked, so the thread ends with the goroutine and
		// nothing else runs with these ids.
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(e.GetUid()), uintptr(e.GetEuid()), ^uintptr(0)); errno != 0 {
			failed <- fmt.Errorf("setresuid(%d, %d) for F_SETOWN_EX: %w", e.GetUid(), e.GetEuid(), errno)
			return
		}
		failed <- set()
	}()
	return <-failed
}

// remoteAsync sets O_ASYNC. The number of the descriptor with which that is done is the si_fd of every signal that comes
// of it, so a process of the tree has to do it with its own. Which of several descriptors the program used is nowhere to
// be seen: it is the first.
func remoteAsync(s *Set, e *fdinfo.FileEntry, procs []Process, add func(pid int, r ...Remote)) error {
	k := kindOfType(e.GetType())
	if k.common == nil {
		return nil
	}
	flags, _ := k.common(s, e)
	if flags&unix.O_ASYNC == 0 || flags&unix.O_PATH != 0 {
		return nil
	}
	for _, p := range procs {
		at := entryOf(p.Table, e.GetId())
		if at == nil {
			continue
		}
		add(p.Pid, Remote{
			Nr: unix.SYS_FCNTL, Args: [6]uint64{uint64(at.FD), unix.F_SETFL, uint64(flags&settable | unix.O_ASYNC)},
			What: fmt.Sprintf("descriptor %d: O_ASYNC", at.FD),
		})
		return nil
	}
	// In no table: in the queue of a socket. Signals of such a file have no number that means anything.
	fd, ok := s.open[e.GetId()]
	if !ok {
		return nil
	}
	now, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, now|unix.O_ASYNC)
	}
	if err != nil {
		return fmt.Errorf("%s %d: O_ASYNC: %w", e.GetType(), e.GetId(), err)
	}
	return nil
}
