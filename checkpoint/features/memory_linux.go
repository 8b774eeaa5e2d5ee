// SPDX-License-Identifier: Apache-2.0

package features

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/feature"
)

// Constants that x/sys/unix has no name for.
const (
	pagemapScanIoctl  = 0xc0606610 // PAGEMAP_SCAN, _IOWR('f', 16, struct pm_scan_arg), include/uapi/linux/fs.h
	pagemapSoftDirty  = 1 << 55    // Documentation/admin-guide/mm/pagemap.rst
	madvGuardInstall  = 102
	uffdioAPI         = 0xc018aa3f // _IOWR(0xaa, 0x3f, struct uffdio_api), include/uapi/linux/userfaultfd.h
	uffdAPI           = 0xaa
	uffdEventFork     = 1 << 1
	uffdEventRemap    = 1 << 2
	uffdEventRemove   = 1 << 3
	uffdEventUnmap    = 1 << 6
	uffdWPAsync       = 1 << 15
	aioRingCheckCount = 16

	uffdNonCooperative = uffdEventFork | uffdEventRemap | uffdEventRemove | uffdEventUnmap
)

// withPage runs fn with a fresh page of anonymous memory that has been written to.
func withPage(fn func(page []byte) error) error {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	defer unix.Munmap(page)
	page[0] = 1
	return fn(page)
}

func address(page []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(page))) }

func pagemapScan() error {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return fmt.Errorf("pagemap: %w", err)
	}
	defer f.Close()
	return withPage(func(page []byte) error {
		var region [3]uint64
		var pin runtime.Pinner // its address is but a number to Go
		pin.Pin(&region)
		defer pin.Unpin()
		arg := struct {
			size, flags, start, end, walkEnd, vec, vecLen, maxPages  uint64
			categoryInverted, categoryMask, categoryAny, returnsMask uint64
		}{
			start: uint64(address(page)), end: uint64(address(page)) + uint64(len(page)),
			vec: uint64(uintptr(unsafe.Pointer(&region))), vecLen: 1,
			categoryMask: 1 << 3, returnsMask: 1 << 3, // PAGE_IS_PRESENT
		}
		arg.size = uint64(unsafe.Sizeof(arg))
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), pagemapScanIoctl, uintptr(unsafe.Pointer(&arg)))
		if errno != 0 {
			return feature.Unless("PAGEMAP_SCAN", errno, unix.ENOTTY, unix.EINVAL)
		}
		return nil
	})
}

// softDirty looks for the bit on a page just written: without CONFIG_MEM_SOFT_DIRTY it is never set.
func softDirty() error {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return fmt.Errorf("pagemap: %w", err)
	}
	defer f.Close()
	return withPage(func(page []byte) error {
		var entry [8]byte
		if _, err := f.ReadAt(entry[:], int64(address(page))/int64(os.Getpagesize())*int64(len(entry))); err != nil {
			return fmt.Errorf("pagemap: %w", err)
		}
		if binary.NativeEndian.Uint64(entry[:])&pagemapSoftDirty == 0 {
			return feature.Missing("a page just written has no soft-dirty bit")
		}
		return nil
	})
}

func guardPages() error {
	return withPage(func(page []byte) error {
		return feature.Unless("MADV_GUARD_INSTALL", unix.Madvise(page, madvGuardInstall), unix.EINVAL)
	})
}

func anonName() error {
	return withPage(func(page []byte) error {
		name := []byte("trapline\x00")
		_, _, errno := unix.Syscall6(unix.SYS_PRCTL, unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, address(page), uintptr(len(page)), uintptr(unsafe.Pointer(&name[0])), 0)
		return feature.Unless("PR_SET_VMA_ANON_NAME", orNil(errno), unix.EINVAL)
	})
}

func memfd() error {
	fd, err := unix.MemfdCreate("trapline", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return feature.Unless("memfd_create", err)
	}
	return unix.Close(fd)
}

func memfdHugetlb() error {
	fd, err := unix.MemfdCreate("trapline", unix.MFD_CLOEXEC|unix.MFD_HUGETLB)
	if err != nil {
		return feature.Unless("memfd_create(MFD_HUGETLB)", err, unix.EINVAL, unix.ENODEV, unix.ENOENT)
	}
	return unix.Close(fd)
}

// userfault makes a probe of userfaultfd with some of its features.
func userfault(want uint64) func() error {
	return func() error {
		fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
		if errno != 0 {
			return feature.Unless("userfaultfd", errno)
		}
		defer unix.Close(int(fd))
		api := struct{ api, features, ioctls uint64 }{api: uffdAPI}
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uffdioAPI, uintptr(unsafe.Pointer(&api)))
		if errno != 0 {
			return fmt.Errorf("UFFDIO_API: %w", errno)
		}
		if api.features&want != want {
			return feature.Missing("userfaultfd has features %#x, wanted are %#x", api.features, want)
		}
		return nil
	}
}

func mapFiles() error {
	names, err := os.ReadDir("/proc/self/map_files")
	if errors.Is(err, os.ErrNotExist) {
		return feature.Missing("no /proc/PID/map_files")
	}
	if err != nil {
		return feature.Unless("/proc/PID/map_files", err, unix.EPERM, unix.EACCES)
	}
	for _, n := range names {
		f, err := os.Open("/proc/self/map_files/" + n.Name())
		switch {
		case err == nil:
			return f.Close()
		case errors.Is(err, os.ErrPermission):
			return feature.Missing("/proc/PID/map_files: %v", err)
		}
		// A map that is gone again; the next one will do.
	}
	return errors.New("no file is mapped")
}

// aioRemap moves the ring of an AIO context and destroys the context by its new address.
func aioRemap() error {
	var ctx uintptr
	_, _, errno := unix.Syscall(unix.SYS_IO_SETUP, aioRingCheckCount, uintptr(unsafe.Pointer(&ctx)), 0)
	if errno != 0 {
		return feature.Unless("io_setup", errno)
	}
	size := uintptr(os.Getpagesize())
	// A place to go: reserve two pages and leave them to mremap.
	to, _, errno := unix.Syscall6(unix.SYS_MMAP, 0, 2*size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0), 0)
	if errno != 0 {
		unix.Syscall(unix.SYS_IO_DESTROY, ctx, 0, 0)
		return fmt.Errorf("mmap: %w", errno)
	}
	defer unix.Syscall(unix.SYS_MUNMAP, to, 2*size, 0)
	moved, _, errno := unix.Syscall6(unix.SYS_MREMAP, ctx, size, size, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, to, 0)
	if errno != 0 {
		unix.Syscall(unix.SYS_IO_DESTROY, ctx, 0, 0)
		return feature.Missing("mremap of an AIO ring: %v", errno)
	}
	if _, _, errno = unix.Syscall(unix.SYS_IO_DESTROY, moved, 0, 0); errno != 0 {
		return feature.Missing("an AIO ring does not follow mremap: %v", errno)
	}
	return nil
}
