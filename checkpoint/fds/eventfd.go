// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/eventfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// eventfd: the counter. CRIU's image has no room for EFD_SEMAPHORE, ours keeps it beside (extra.Semaphores); the kernel
// shows it since Linux 6.5.

func init() {
	register(&kind{
		typ:   fdinfo.FdTypes_EVENTFD,
		match: func(o *object) bool { return o.link == "anon_inode:[eventfd]" },
		dump: func(c *Collector, o *object) (*fdinfo.FileEntry, error) {
			if o.info.EventFD == nil {
				return nil, o.fail("fdinfo", errors.New("no eventfd-count"))
			}
			own, err := ownerOf(o)
			if err != nil {
				return nil, err
			}
			if o.info.EventFD.Semaphore {
				c.extra.Semaphores = append(c.extra.Semaphores, o.id)
			}
			return &fdinfo.FileEntry{
				Type: fdinfo.FdTypes_EVENTFD.Enum(), Id: proto.Uint32(o.id),
				Efd: &eventfd.EventfdFileEntry{
					Id: proto.Uint32(o.id), Flags: proto.Uint32(o.flags()), Fown: own, Counter: proto.Uint64(o.info.EventFD.Count),
				},
			}, nil
		},
		check: func(_ *Set, e *fdinfo.FileEntry) error {
			if e.GetEfd() == nil {
				return errors.New("no eventfd entry")
			}
			if e.GetEfd().GetCounter() == math.MaxUint64 {
				return errors.New("counter that no eventfd can have")
			}
			return nil
		},
		open: openEventfd,
		common: func(_ *Set, e *fdinfo.FileEntry) (uint32, *fown.FownEntry) {
			return e.GetEfd().GetFlags(), e.GetEfd().GetFown()
		},
	})
}

func openEventfd(s *Set, e *fdinfo.FileEntry) (int, error) {
	flags := unix.EFD_CLOEXEC | unix.EFD_NONBLOCK
	if slices.Contains(s.extra.Semaphores, e.GetId()) {
		flags |= unix.EFD_SEMAPHORE
	}
	fd, err := unix.Eventfd(0, flags)
	if err != nil {
		return -1, fmt.Errorf("eventfd: %w", err)
	}
	if n := e.GetEfd().GetCounter(); n != 0 {
		// The argument of eventfd has 32 bits, the counter 64.
		if _, err := unix.Write(fd, binary.NativeEndian.AppendUint64(nil, n)); err != nil {
			_ = unix.Close(fd)
			return -1, fmt.Errorf("eventfd: set to %d: %w", n, err)
		}
	}
	return fd, nil
}
