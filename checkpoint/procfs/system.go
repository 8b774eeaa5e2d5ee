// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// systemError names a file that belongs to no process.
func systemError(op, name string, err error) error {
	return fmt.Errorf("%s %s: %w", op, name, err)
}

// systemText reads a file below /proc and gives it to parse, which must not keep the bytes.
func systemText(name string, parse func([]byte) error) error {
	fd, err := openat(unix.AT_FDCWD, name, unix.O_RDONLY)
	if err != nil {
		return systemError("open", name, err)
	}
	defer unix.Close(fd)
	buf := getBuffer()
	defer putBuffer(buf)
	b, err := readMore(fd, buf, 0)
	if err != nil {
		return systemError("read", name, err)
	}
	if err := parse(b); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// ShmSegment is a SysV shared memory segment of the caller's IPC namespace.
type ShmSegment struct {
	Key        int32
	ID         int // also the inode of its mappings
	Perms      uint32
	Size       uint64 // bytes
	CPid, LPid int    // creator, and who last attached or detached
	NAttach    uint64
	UID, GID   uint32
	CUID, CGID uint32
	ATime      int64 // seconds since 1970
	DTime      int64
	CTime      int64
	Rss, Swap  uint64 // bytes
}

// SysVShm reads /proc/sysvipc/shm. Without CONFIG_SYSVIPC: no segments.
func SysVShm() ([]ShmSegment, error) {
	var segments []ShmSegment
	err := systemText("/proc/sysvipc/shm", func(b []byte) (err error) {
		segments, err = parseSysVShm(b)
		return err
	})
	if isMissing(err) {
		return nil, nil
	}
	return segments, err
}

// parseSysVShm parses a heading and lines of 16 numbers.
func parseSysVShm(text []byte) ([]ShmSegment, error) {
	var segments []ShmSegment
	_, text = cutLine(text)
	for len(text) > 0 {
		var line []byte
		line, text = cutLine(text)
		var f [16]uint64
		rest := line
		for i := range f {
			var b []byte
			var ok bool
			b, rest = cutField(rest)
			switch i {
			case 2: // permissions
				f[i], ok = parseUint(b, 8)
			case 3, 14, 15: // sizes, which may exceed an int64
				f[i], ok = parseUint(b, 10)
			default:
				var v int64
				v, ok = parseInt(b)
				f[i] = uint64(v)
			}
			if !ok {
				return nil, bad("sysvipc/shm", line)
			}
		}
		segments = append(segments, ShmSegment{
			Key: int32(f[0]), ID: int(int32(f[1])), Perms: uint32(f[2]), Size: f[3], CPid: int(int32(f[4])), LPid: int(int32(f[5])),
			NAttach: f[6], UID: uint32(f[7]), GID: uint32(f[8]), CUID: uint32(f[9]), CGID: uint32(f[10]),
			ATime: int64(f[11]), DTime: int64(f[12]), CTime: int64(f[13]), Rss: f[14], Swap: f[15],
		})
	}
	return segments, nil
}

// PidMax reads the largest pid plus one.
func PidMax() (int, error) { return sysctl("/proc/sys/kernel/pid_max") }

// NSLastPid reads the pid last given out in the caller's PID namespace.
func NSLastPid() (int, error) { return sysctl("/proc/sys/kernel/ns_last_pid") }

// ShmNextID reads the id that the next SysV segment is to get, -1 for any.
func ShmNextID() (int, error) { return sysctl("/proc/sys/kernel/shm_next_id") }

func sysctl(name string) (int, error) {
	var v int
	err := systemText(name, func(b []byte) (err error) {
		v, err = parseNumberLine(b)
		return err
	})
	return v, err
}

// BootID reads the random id of this boot, a UUID.
func BootID() (string, error) {
	var id string
	err := systemText("/proc/sys/kernel/random/boot_id", func(b []byte) error {
		id = string(trimNewline(b))
		return nil
	})
	return id, err
}

// Uptime reads the ns since boot, suspended time included. It is CLOCK_BOOTTIME, in the caller's time namespace.
func Uptime() (uint64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("clock_gettime: %w", err)
	}
	return uint64(ts.Nano()), nil
}

// ShmemDev is the device of the kernel's own tmpfs, which memfds, shared anonymous memory and SysV segments live on
// (those of huge pages excepted). It tells them from deleted files of the same name.
var ShmemDev = sync.OnceValues(func() (uint64, error) {
	fd, err := unix.MemfdCreate("trapline", unix.MFD_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("memfd_create: %w", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("stat a memfd: %w", err)
	}
	return st.Dev, nil
})

// pageSize is the size of a page in bytes.
var pageSize = uint64(os.Getpagesize())
