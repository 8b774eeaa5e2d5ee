// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	file_lock "github.com/checkpoint-restore/go-criu/v8/crit/images/file-lock"
	"github.com/trapline/trapline/checkpoint/image"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// File locks, from the "lock:" lines of fdinfo (proc_pid_fdinfo(5)):
//
//	1: POSIX  ADVISORY  WRITE 812 fe:00:1234 2 6
//
// A POSIX lock belongs to the table and is taken again by a process; flock and OFD locks belong to the open file and are
// taken again by the engine.

// Kinds and types (F_…) of locks in filelocks.img.
const (
	lockPOSIX = 1
	lockFlock = 2
	lockOFD   = 4
	lockLease = 8

	lockRead  = 0 // F_RDLCK
	lockWrite = 1 // F_WRLCK
)

// fileLocks are the locks found so far.
type fileLocks struct {
	seen map[string]bool
	list []proto.Message
}

// locks records the locks that go with a descriptor. The kernel shows a POSIX lock with every descriptor of the inode
// in the table, and flock and OFD locks with those of the open file.
func (c *Collector) locks(o *object, id uint32) error {
	for _, line := range o.info.Locks {
		e, key, err := parseLock(line)
		if err != nil {
			return o.fail("file lock", err)
		}
		if !c.opts.FileLocks {
			return o.refuse("a file with a lock ("+strings.Join(strings.Fields(line), " ")+")",
				"carry locks over with --file-locks, if no process outside of the tree uses them")
		}
		if e.GetFlag() == lockLease {
			return o.refuse("a file with a lease", "not supported yet: let the program give it up (F_SETLEASE)")
		}
		// In the image a POSIX lock has the descriptor through which it is to be taken, the others one of the file.
		who := strconv.Itoa(o.task.Pid)
		if e.GetFlag() != lockPOSIX {
			who = "file " + strconv.FormatUint(uint64(id), 10)
		}
		s := state[fileLocks](c.states)
		if s.seen == nil {
			s.seen = map[string]bool{}
		}
		key = who + " " + key
		if s.seen[key] {
			continue
		}
		// A write lock must be taken through a descriptor that can write.
		if acc := o.info.Flags & unix.O_ACCMODE; e.GetFlag() == lockPOSIX &&
			(e.GetType() == lockWrite && acc == unix.O_RDONLY || e.GetType() == lockRead && acc == unix.O_WRONLY) {
			continue
		}
		s.seen[key] = true
		e.Pid, e.Fd = proto.Int32(int32(o.task.VPid)), proto.Int32(int32(o.fd))
		s.list = append(s.list, e)
	}
	return nil
}

// parseLock parses a line of fdinfo. The key is what makes it another lock than its neighbours.
func parseLock(line string) (e *file_lock.FileLockEntry, key string, err error) {
	f := strings.Fields(line)
	if len(f) > 1 && f[1] == "->" {
		return nil, "", fmt.Errorf("%q waits for it: %w", line, ErrUnsupported)
	}
	if len(f) != 8 {
		return nil, "", fmt.Errorf("unexpected text %q", line)
	}
	e = &file_lock.FileLockEntry{Flag: proto.Uint32(0), Type: proto.Uint32(0), Start: proto.Int64(0), Len: proto.Int64(0)}
	switch f[1] {
	case "POSIX":
		*e.Flag = lockPOSIX
	case "FLOCK":
		*e.Flag = lockFlock
	case "OFDLCK":
		*e.Flag = lockOFD
	case "LEASE", "DELEG":
		*e.Flag = lockLease
	default:
		return nil, "", fmt.Errorf("unexpected text %q", line)
	}
	switch f[3] {
	case "READ":
		*e.Type = lockRead
	case "WRITE":
		*e.Type = lockWrite
	default:
		if *e.Flag != lockLease {
			return nil, "", fmt.Errorf("unexpected text %q", line)
		}
	}
	if *e.Start, err = strconv.ParseInt(f[6], 10, 64); err != nil {
		return nil, "", err
	}
	if f[7] != "EOF" {
		end, err := strconv.ParseInt(f[7], 10, 64)
		if err != nil {
			return nil, "", err
		}
		*e.Len = end - *e.Start + 1
	}
	return e, strings.Join(f[1:], " "), nil
}

func (c *Collector) writeLocks() error {
	if list := state[fileLocks](c.states).list; len(list) > 0 {
		return c.w.Put("filelocks.img", list...)
	}
	return nil
}

// remoteLocks takes the locks again: those of open files at once, those of tables by calls of their processes.
func (s *Set) remoteLocks(procs []Process, add func(pid int, r ...Remote)) error {
	const name = "filelocks.img"
	tables := map[int][]Entry{}
	for _, p := range procs {
		tables[p.Pid] = p.Table
	}
	return optional(s.r.Each(name, nil, func(m proto.Message, _ io.Reader) error {
		e := m.(*file_lock.FileLockEntry)
		if !s.opts.FileLocks {
			return errors.New("the images have file locks: restore them with --file-locks")
		}
		at := entryAt(tables[int(e.GetPid())], int(e.GetFd()))
		if at == nil {
			return fmt.Errorf("%s: process %d has no descriptor %d: %w", name, e.GetPid(), e.GetFd(), image.ErrCorrupt)
		}
		if e.GetFlag() == lockPOSIX {
			add(int(e.GetPid()), Remote{
				Nr: unix.SYS_FCNTL, Args: [6]uint64{uint64(e.GetFd()), unix.F_SETLK}, Data: flock64(e), DataArg: 2,
				What: fmt.Sprintf("descriptor %d: file lock at %d", e.GetFd(), e.GetStart()),
			})
			return nil
		}
		fd, err := s.Open(at.ID)
		if err != nil {
			return err
		}
		if err := lockFile(fd, e); err != nil {
			return fmt.Errorf("process %d: descriptor %d: file lock: %w", e.GetPid(), e.GetFd(), err)
		}
		return nil
	}))
}

func lockFile(fd int, e *file_lock.FileLockEntry) error {
	typ := int16(unix.F_RDLCK)
	if e.GetType()&3 == lockWrite {
		typ = unix.F_WRLCK
	}
	switch e.GetFlag() {
	case lockFlock:
		how := unix.LOCK_SH
		if typ == unix.F_WRLCK {
			how = unix.LOCK_EX
		}
		return unix.Flock(fd, how|unix.LOCK_NB)
	case lockOFD:
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: typ, Start: e.GetStart(), Len: e.GetLen()})
	}
	return fmt.Errorf("of kind %d: %w", e.GetFlag(), ErrUnsupported)
}

// flock64 is struct flock of a 64-bit kernel:
//
//	+0 i16 type | +2 i16 whence | +8 i64 start | +16 i64 length | +24 i32 pid
func flock64(e *file_lock.FileLockEntry) []byte {
	b := make([]byte, 32)
	binary.NativeEndian.PutUint16(b, uint16(e.GetType()))
	binary.NativeEndian.PutUint64(b[8:], uint64(e.GetStart()))
	binary.NativeEndian.PutUint64(b[16:], uint64(e.GetLen()))
	return b
}
