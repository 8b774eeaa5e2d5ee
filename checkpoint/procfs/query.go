// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MapQuery asks for single mappings of a process by address (the ioctl PROCMAP_QUERY, Linux 6.11), without its
// other mappings being printed. It knows neither names nor flags.
type MapQuery struct {
	fd  int
	pid int
}

// MapQuery opens /proc/PID/maps for queries.
func (p *Proc) MapQuery() (*MapQuery, error) {
	fd, err := p.OpenFile("maps", unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return &MapQuery{fd: fd, pid: p.pid}, nil
}

// Close closes the file.
func (q *MapQuery) Close() error {
	fd := q.fd
	q.fd = -1
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close /proc/%d/maps: %w", q.pid, err)
	}
	return nil
}

// procmapQuery is struct procmap_query of linux/fs.h.
type procmapQuery struct {
	size, flags, addr       uint64
	start, end, vmaFlags    uint64
	pageSize, offset, inode uint64
	major, minor            uint32
	nameSize, buildIDSize   uint32
	nameAddr, buildIDAddr   uint64
}

const (
	procmapQueryIoctl = 0xc0686611 // _IOWR('f', 17, struct procmap_query)

	queryRead   = 0x01
	queryWrite  = 0x02
	queryExec   = 0x04
	queryShared = 0x08
	queryOrNext = 0x10 // PROCMAP_QUERY_COVERING_OR_NEXT_VMA
)

// Next returns the mapping that covers addr or else the next one above; ok is false when there is none. Kind, Path and
// Name are not set. On kernels before 6.11: [ErrNotSupported].
func (q *MapQuery) Next(addr uint64) (v VMA, ok bool, err error) {
	arg := procmapQuery{size: uint64(unsafe.Sizeof(procmapQuery{})), flags: queryOrNext, addr: addr}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(q.fd), procmapQueryIoctl, uintptr(unsafe.Pointer(&arg)))
	switch errno {
	case 0:
	case unix.ENOENT:
		return v, false, nil
	case unix.ENOTTY:
		return v, false, fmt.Errorf("query maps of pid %d: %w (PROCMAP_QUERY, Linux 6.11): %w", q.pid, ErrNotSupported, errno)
	case unix.ESRCH:
		return v, false, fmt.Errorf("query maps of pid %d: %w: %w", q.pid, ErrNoMM, errno)
	default:
		return v, false, fmt.Errorf("query maps of pid %d at %#x: %w", q.pid, addr, errno)
	}
	v = VMA{
		Start: arg.start, End: arg.end, Offset: arg.offset, Inode: arg.inode, PageSize: arg.pageSize,
		Dev: unix.Mkdev(arg.major, arg.minor), Shared: arg.vmaFlags&queryShared != 0,
	}
	if arg.vmaFlags&queryRead != 0 {
		v.Prot |= unix.PROT_READ
	}
	if arg.vmaFlags&queryWrite != 0 {
		v.Prot |= unix.PROT_WRITE
	}
	if arg.vmaFlags&queryExec != 0 {
		v.Prot |= unix.PROT_EXEC
	}
	return v, true, nil
}
