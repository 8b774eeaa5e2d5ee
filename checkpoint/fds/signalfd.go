// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/signalfd"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// signalfd: a mask. Whose signals it gives is decided by who reads it.

func init() {
	register(&kind{
		typ:   fdinfo.FdTypes_SIGNALFD,
		match: func(o *object) bool { return o.link == "anon_inode:[signalfd]" },
		dump: func(_ *Collector, o *object) (*fdinfo.FileEntry, error) {
			if o.info.SigMask == nil {
				return nil, o.fail("fdinfo", errors.New("no sigmask"))
			}
			own, err := ownerOf(o)
			if err != nil {
				return nil, err
			}
			return &fdinfo.FileEntry{
				Type: fdinfo.FdTypes_SIGNALFD.Enum(), Id: proto.Uint32(o.id),
				Sgfd: &signalfd.SignalfdEntry{
					Id: proto.Uint32(o.id), Flags: proto.Uint32(o.flags()), Fown: own, Sigmask: proto.Uint64(*o.info.SigMask),
				},
			}, nil
		},
		check: func(_ *Set, e *fdinfo.FileEntry) error {
			if e.GetSgfd() == nil {
				return errors.New("no signalfd entry")
			}
			return nil
		},
		open: func(_ *Set, e *fdinfo.FileEntry) (int, error) {
			// The kernel's own mask of 64 bits, not the C library's of 1024.
			mask := e.GetSgfd().GetSigmask()
			fd, _, errno := unix.Syscall6(unix.SYS_SIGNALFD4, ^uintptr(0), uintptr(unsafe.Pointer(&mask)), unsafe.Sizeof(mask),
				unix.SFD_CLOEXEC|unix.SFD_NONBLOCK, 0, 0)
			if errno != 0 {
				return -1, fmt.Errorf("signalfd: %w", errno)
			}
			return int(fd), nil
		},
		common: func(_ *Set, e *fdinfo.FileEntry) (uint32, *fown.FownEntry) {
			return e.GetSgfd().GetFlags(), e.GetSgfd().GetFown()
		},
	})
}
