// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// burst is some 20 system calls of all sorts, straight after each other: what a probe that was placed this moment sees at least. It
// checks nothing; the load does. Nothing sleeps or yields, which would give the load a time slice.
func burst() {
	var pair [2]int32
	var data [64]byte
	at := uintptr(unsafe.Pointer(&data[0]))
	call := func(nr, a, b, c, d uintptr) uintptr {
		r, _, errno := unix.RawSyscall6(nr, a, b, c, d, 0, 0)
		if errno != 0 {
			return ^uintptr(0)
		}
		return r
	}
	ends := func(body func(r, w uintptr)) {
		body(uintptr(pair[0]), uintptr(pair[1]))
		call(unix.SYS_CLOSE, uintptr(pair[0]), 0, 0, 0)
		call(unix.SYS_CLOSE, uintptr(pair[1]), 0, 0, 0)
	}
	exchange := func(r, w uintptr) {
		call(unix.SYS_WRITE, w, at, 64, 0)
		call(unix.SYS_READ, r, at, 64, 0)
	}
	if call(unix.SYS_PIPE2, uintptr(unsafe.Pointer(&pair)), unix.O_CLOEXEC, 0, 0) == 0 {
		ends(exchange)
	}
	if call(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0, uintptr(unsafe.Pointer(&pair))) == 0 {
		ends(exchange)
	}
	const size = 2 << 12
	if m, _, errno := unix.RawSyscall6(unix.SYS_MMAP, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON, ^uintptr(0), 0); errno == 0 {
		call(unix.SYS_GETCPU, m, m+4096, 0, 0) // the kernel's own fault in these pages
		call(unix.SYS_MUNMAP, m, size, 0, 0)
	}
	call(unix.SYS_GETTIMEOFDAY, at, 0, 0, 0)
	path := [...]byte{'/', 'p', 'r', 'o', 'c', '/', 's', 'e', 'l', 'f', '/', 's', 't', 'a', 't', 0}
	dir := unix.AT_FDCWD
	if fd := call(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&path[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0); fd != ^uintptr(0) {
		call(unix.SYS_READ, fd, at, 64, 0)
		call(unix.SYS_CLOSE, fd, 0, 0, 0)
	}
}
