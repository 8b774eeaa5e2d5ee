// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bytes"
	"encoding/hex"
	"strconv"

	"golang.org/x/sys/unix"
)

// FDInfo is /proc/PID/fdinfo/N: what is common to all descriptors, and what the kind of file adds.
type FDInfo struct {
	Pos   int64
	Flags int // O_… of the open file, and O_CLOEXEC of the descriptor
	MntID int
	Ino   uint64 // since Linux 5.14

	Locks []string // file locks, each the text after "lock:\t", as /proc/locks has them

	EventFD  *EventFD
	Epoll    []EpollTarget
	SigMask  *uint64 // signalfd: bit N-1 is signal N
	TimerFD  *TimerFD
	Inotify  []InotifyWatch
	Fanotify *Fanotify
	PidFD    *PidFD
	TTYIndex *int // of a pty master
	IOUring  bool
	// Other holds the lines of all other kinds (drm, bpf, userfaultfd, dma-buf …) as they are.
	Other []string
}

// EventFD is what an eventfd holds.
type EventFD struct {
	Count     uint64
	ID        int
	Semaphore bool // EFD_SEMAPHORE; printed since Linux 6.5, false before
}

// EpollTarget is one descriptor that an epoll instance watches.
type EpollTarget struct {
	FD     int // number at the time of EPOLL_CTL_ADD; may be closed since or be another file
	Events uint32
	Data   uint64
	Pos    int64
	Ino    uint64
	Dev    uint64 // as unix.Mkdev makes it
}

// TimerFD is what a timerfd holds. Times are in ns.
type TimerFD struct {
	ClockID  int
	Ticks    uint64 // expirations not yet read
	SetFlags uint32 // flags of timerfd_settime
	Value    uint64 // ns to the next expiration, 0 when disarmed; also for absolute timers
	Interval uint64 // ns
}

// InotifyWatch is one watch of an inotify instance.
type InotifyWatch struct {
	WD         int
	Ino        uint64
	Dev        uint64
	Mask       uint32
	Ignored    uint32
	HandleType int
	Handle     []byte // file handle for open_by_handle_at; empty when the filesystem has none
}

// Fanotify is a fanotify group and its marks.
type Fanotify struct {
	Flags      uint32 // of fanotify_init
	EventFlags uint32
	Marks      []FanotifyMark
}

// FanotifyMark is one mark: of a mount (MntID), an inode or a filesystem (Dev).
type FanotifyMark struct {
	MntID      int // -1 when the mark is not a mount's
	Ino        uint64
	Dev        uint64
	MFlags     uint32
	Mask       uint32
	Ignored    uint32
	HandleType int
	Handle     []byte
}

// PidFD names the process of a pidfd.
type PidFD struct {
	Pid   int   // -1 when it has been reaped, 0 when it is outside the reader's PID namespace
	NSpid []int // in each namespace down to the process' own
}

// FDInfo reads fdinfo/N. A descriptor that is not open gives an error that is [io/fs.ErrNotExist].
func (p *Proc) FDInfo(fd int) (*FDInfo, error) {
	f := new(FDInfo)
	return f, p.text("fdinfo/"+strconv.Itoa(fd), f.parse)
}

func (f *FDInfo) parse(text []byte) error {
	*f = FDInfo{}
	var seen int
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		key, v, ok := cutKey(line)
		if !ok {
			if len(line) > 0 {
				f.Other = append(f.Other, string(line))
			}
			continue
		}
		ok = true
		switch string(key) {
		case "pos":
			f.Pos, ok = parseInt(v)
			seen |= 1
		case "flags":
			var flags uint64
			flags, ok = parseUint(v, 8)
			f.Flags = int(flags)
			seen |= 2
		case "mnt_id":
			f.MntID, ok = parseID(v)
		case "ino":
			f.Ino, ok = parseUint(v, 10)
		case "lock":
			f.Locks = append(f.Locks, string(v))
		case "eventfd-count":
			f.event().Count, ok = parseUint(v, 16)
		case "eventfd-id":
			f.event().ID, ok = parseID(v)
		case "eventfd-semaphore":
			f.event().Semaphore = string(v) == "1"
		case "sigmask":
			f.SigMask = new(uint64)
			*f.SigMask, ok = parseUint(v, 16)
		case "clockid":
			f.timer().ClockID, ok = parseID(v)
		case "ticks":
			f.timer().Ticks, ok = parseUint(v, 10)
		case "settime flags":
			var flags uint64
			flags, ok = parseUint(v, 8)
			f.timer().SetFlags = uint32(flags)
		case "it_value":
			f.timer().Value, ok = parseTimespec(v)
		case "it_interval":
			f.timer().Interval, ok = parseTimespec(v)
		case "tfd":
			ok = f.parseEpoll(line)
		case "Pid":
			f.pidfd().Pid, ok = parseID(v)
		case "NSpid":
			f.pidfd().NSpid, ok = parseIDs(nil, v)
		case "tty-index":
			f.TTYIndex = new(int)
			*f.TTYIndex, ok = parseID(v)
		case "SqMask":
			f.IOUring = true
			f.Other = append(f.Other, string(line))
		default:
			switch {
			case bytes.HasPrefix(line, []byte("inotify ")):
				ok = f.parseInotify(line[len("inotify "):])
			case bytes.HasPrefix(line, []byte("fanotify ")):
				ok = f.parseFanotify(line[len("fanotify "):])
			default:
				f.Other = append(f.Other, string(line))
			}
		}
		if !ok {
			return bad("fdinfo", line)
		}
	}
	if seen != 3 {
		return bad("fdinfo: no pos or flags", nil)
	}
	return nil
}

func (f *FDInfo) event() *EventFD {
	if f.EventFD == nil {
		f.EventFD = new(EventFD)
	}
	return f.EventFD
}

func (f *FDInfo) timer() *TimerFD {
	if f.TimerFD == nil {
		f.TimerFD = new(TimerFD)
	}
	return f.TimerFD
}

func (f *FDInfo) pidfd() *PidFD {
	if f.PidFD == nil {
		f.PidFD = new(PidFD)
	}
	return f.PidFD
}

// parseTimespec parses "(seconds, nanoseconds)" into ns.
func parseTimespec(b []byte) (uint64, bool) {
	if len(b) < 2 || b[0] != '(' || b[len(b)-1] != ')' {
		return 0, false
	}
	s, ns, ok := bytes.Cut(b[1:len(b)-1], []byte(", "))
	if !ok {
		return 0, false
	}
	sec, ok1 := parseUint(s, 10)
	nsec, ok2 := parseUint(ns, 10)
	if !ok1 || !ok2 || nsec >= 1e9 || sec > 1<<63/1_000_000_000 {
		return 0, false
	}
	return sec*1e9 + nsec, true
}

// pairs calls fn for each "key:value" of a line; blanks may follow the colon.
func pairs(b []byte, fn func(key, value []byte) bool) bool {
	for {
		for len(b) > 0 && b[0] == ' ' {
			b = b[1:]
		}
		if len(b) == 0 {
			return true
		}
		key, rest, ok := bytes.Cut(b, []byte(":"))
		if !ok {
			return false
		}
		var value []byte
		value, b = cutField(rest)
		if !fn(key, value) {
			return false
		}
	}
}

// kernelDev turns the kernel's own dev_t (major << 20 | minor) into that of user space.
func kernelDev(dev uint64) uint64 {
	return unix.Mkdev(uint32(dev>>20), uint32(dev&(1<<20-1)))
}

// parseEpoll parses "tfd: 5 events: 1d data: ffffffff00000005  pos:0 ino:61af sdev:7".
func (f *FDInfo) parseEpoll(line []byte) bool {
	var t EpollTarget
	ok := pairs(line, func(key, value []byte) (ok bool) {
		var v uint64
		switch string(key) {
		case "tfd":
			t.FD, ok = parseID(value)
			return ok
		case "pos":
			t.Pos, ok = parseInt(value)
			return ok
		}
		v, ok = parseUint(value, 16)
		switch string(key) {
		case "events":
			t.Events = uint32(v)
		case "data":
			t.Data = v
		case "ino":
			t.Ino = v
		case "sdev":
			t.Dev = kernelDev(v)
		default:
			return true
		}
		return ok
	})
	f.Epoll = append(f.Epoll, t)
	return ok
}

// parseInotify parses "wd:3 ino:9e7e sdev:800013 mask:800afce ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:7e9e".
func (f *FDInfo) parseInotify(line []byte) bool {
	var w InotifyWatch
	ok := pairs(line, func(key, value []byte) bool {
		if string(key) == "f_handle" {
			w.Handle = make([]byte, hex.DecodedLen(len(value)))
			_, err := hex.Decode(w.Handle, value)
			return err == nil
		}
		v, ok := parseUint(value, 16)
		switch string(key) {
		case "wd":
			w.WD = int(int32(v))
		case "ino":
			w.Ino = v
		case "sdev":
			w.Dev = kernelDev(v)
		case "mask":
			w.Mask = uint32(v)
		case "ignored_mask":
			w.Ignored = uint32(v)
		case "fhandle-type":
			w.HandleType = int(int32(v))
		default:
			return true
		}
		return ok
	})
	f.Inotify = append(f.Inotify, w)
	return ok
}

// parseFanotify parses the line of the group ("flags:10 event-flags:0") or of a mark.
func (f *FDInfo) parseFanotify(line []byte) bool {
	if f.Fanotify == nil {
		f.Fanotify = new(Fanotify)
	}
	g, m, mark := f.Fanotify, FanotifyMark{MntID: -1}, true
	ok := pairs(line, func(key, value []byte) bool {
		if string(key) == "f_handle" {
			m.Handle = make([]byte, hex.DecodedLen(len(value)))
			_, err := hex.Decode(m.Handle, value)
			return err == nil
		}
		v, ok := parseUint(value, 16)
		switch string(key) {
		case "flags":
			g.Flags, mark = uint32(v), false
		case "event-flags":
			g.EventFlags, mark = uint32(v), false
		case "mnt_id":
			m.MntID = int(int32(v))
		case "ino":
			m.Ino = v
		case "sdev":
			m.Dev = kernelDev(v)
		case "mflags":
			m.MFlags = uint32(v)
		case "mask":
			m.Mask = uint32(v)
		case "ignored_mask":
			m.Ignored = uint32(v)
		case "fhandle-type":
			m.HandleType = int(int32(v))
		default:
			return true
		}
		return ok
	})
	if mark {
		g.Marks = append(g.Marks, m)
	}
	return ok
}
