// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timerfd"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// timerfd: the time that remains, the interval, and expirations not yet read. As in CRIU the time between dump and restore
// does not count, for absolute timers too.

func init() {
	register(&kind{
		typ:   fdinfo.FdTypes_TIMERFD,
		match: func(o *object) bool { return o.link == "anon_inode:[timerfd]" },
		dump:  dumpTimerfd,
		check: func(_ *Set, e *fdinfo.FileEntry) error {
			t := e.GetTfd()
			switch {
			case t == nil:
				return errors.New("no timerfd entry")
			case t.GetVnsec() >= 1e9 || t.GetInsec() >= 1e9 || t.GetVsec() > 1<<33 || t.GetIsec() > 1<<33:
				return errors.New("time out of range")
			case t.GetSettimeFlags()&^uint32(unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET) != 0:
				return errors.New("unknown flags")
			}
			return nil
		},
		open: openTimerfd,
		common: func(_ *Set, e *fdinfo.FileEntry) (uint32, *fown.FownEntry) {
			return e.GetTfd().GetFlags(), e.GetTfd().GetFown()
		},
	})
}

func dumpTimerfd(_ *Collector, o *object) (*fdinfo.FileEntry, error) {
	t := o.info.TimerFD
	if t == nil {
		return nil, o.fail("fdinfo", errors.New("no clockid"))
	}
	own, err := ownerOf(o)
	if err != nil {
		return nil, err
	}
	return &fdinfo.FileEntry{
		Type: fdinfo.FdTypes_TIMERFD.Enum(), Id: proto.Uint32(o.id),
		Tfd: &timerfd.TimerfdEntry{
			Id: proto.Uint32(o.id), Flags: proto.Uint32(o.flags()), Fown: own,
			Clockid: proto.Uint32(uint32(t.ClockID)), Ticks: proto.Uint64(t.Ticks), SettimeFlags: proto.Uint32(t.SetFlags),
			Vsec: proto.Uint64(t.Value / 1e9), Vnsec: proto.Uint64(t.Value % 1e9),
			Isec: proto.Uint64(t.Interval / 1e9), Insec: proto.Uint64(t.Interval % 1e9),
		},
	}, nil
}

// tfdIocSetTicks is TFD_IOC_SET_TICKS, _IOW('T', 0, __u64), since Linux 3.17 with CONFIG_CHECKPOINT_RESTORE.
const tfdIocSetTicks = 0x40085400

func openTimerfd(_ *Set, e *fdinfo.FileEntry) (int, error) {
	t := e.GetTfd()
	fd, err := unix.TimerfdCreate(int(t.GetClockid()), unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("timerfd of clock %d: %w", t.GetClockid(), err)
	}
	if err := armTimerfd(fd, t); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("timerfd of clock %d: %w", t.GetClockid(), err)
	}
	return fd, nil
}

func armTimerfd(fd int, t *timerfd.TimerfdEntry) error {
	spec := unix.ItimerSpec{
		Value:    unix.Timespec{Sec: int64(t.GetVsec()), Nsec: int64(t.GetVnsec())},
		Interval: unix.Timespec{Sec: int64(t.GetIsec()), Nsec: int64(t.GetInsec())},
	}
	flags := int(t.GetSettimeFlags())
	periodic := spec.Interval != unix.Timespec{}
	expired := spec.Value == unix.Timespec{} && periodic && t.GetTicks() != 0
	switch {
	case expired:
		// A periodic timer that has expired is armed again when its ticks are read, and only if it has expired: let it.
		spec.Value.Nsec = 1
		flags &^= unix.TFD_TIMER_ABSTIME | unix.TFD_TIMER_CANCEL_ON_SET
	case flags&unix.TFD_TIMER_ABSTIME != 0 && spec.Value != unix.Timespec{}:
		// The image has the time that remained.
		var now unix.Timespec
		if err := unix.ClockGettime(int32(t.GetClockid()), &now); err != nil {
			return fmt.Errorf("clock_gettime: %w", err)
		}
		spec.Value.Sec += now.Sec
		if spec.Value.Nsec += now.Nsec; spec.Value.Nsec >= 1e9 {
			spec.Value.Sec, spec.Value.Nsec = spec.Value.Sec+1, spec.Value.Nsec-1e9
		}
	}
	if err := unix.TimerfdSettime(fd, flags, &spec, nil); err != nil {
		return fmt.Errorf("timerfd_settime: %w", err)
	}
	if expired {
		if err := awaitReadable(fd); err != nil {
			return err
		}
	}
	if ticks := t.GetTicks(); ticks != 0 {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), tfdIocSetTicks, uintptr(unsafe.Pointer(&ticks))); errno != 0 {
			return fmt.Errorf("set %d ticks: %w", ticks, errno)
		}
	}
	return nil
}

// awaitReadable waits for a timer that expires at once.
func awaitReadable(fd int) error {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(p, 1000)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("poll: %w", err)
		case n == 0:
			return errors.New("the timer did not expire")
		default:
			return nil
		}
	}
}
