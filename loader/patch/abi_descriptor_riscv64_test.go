// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// A probe for what follows, closed with the test.
func validProbe(t *testing.T, change func(*call)) int {
	t.Helper()
	c := validCall()
	if change != nil {
		change(c)
	}
	fd, errno := c.open()
	if errno != 0 {
		t.Fatal(errno)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// The same of what a descriptor does.
func TestDescriptorErrors(t *testing.T) {
	fd := validProbe(t, nil)
	filtered := validProbe(t, func(c *call) { c.attr.Flags = abi.FlagFilter })
	dead := command("writes", "0")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	closed := validProbe(t, nil)
	unix.Close(closed)
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x (%v), want close-on-exec", flags, err)
	}
	for _, c := range []struct {
		name     string
		fd       int
		request  uint
		argument uintptr
		want     unix.Errno
	}{
		{"unknown request", fd, 0xb97f, 0, unix.ENOTTY},
		{"enable 2", fd, abi.IocEnable, 2, unix.EINVAL},
		{"disable what is disabled", fd, abi.IocDisable, 0, 0},
		{"enable twice", fd, abi.IocEnable, 0, 0},
		{"enable twice, again", fd, abi.IocEnable, abi.WholeGroup, 0},
		{"reset", fd, abi.IocReset, abi.WholeGroup, 0},
		{"reset 7", fd, abi.IocReset, 7, unix.EINVAL},
		{"disable", fd, abi.IocDisable, abi.WholeGroup, 0},
		{"follow without a filter", fd, abi.IocFollow, 1, unix.EINVAL},
		{"launch without a filter", fd, abi.IocLaunch, 1, unix.EINVAL},
		{"follow 0", filtered, abi.IocFollow, 0, unix.EINVAL},
		{"follow a number that is none", filtered, abi.IocFollow, 1 << 40, unix.EINVAL},
		{"follow what has ended", filtered, abi.IocFollow, uintptr(dead.Process.Pid), unix.ESRCH},
		{"launch 2", filtered, abi.IocLaunch, 2, unix.EINVAL},
		{"info to 8", fd, abi.IocInfo, nowhere, unix.EFAULT},
		{"enable, closed", closed, abi.IocEnable, 0, unix.EBADF},
		{"info, closed", closed, abi.IocInfo, nowhere, unix.EBADF},
	} {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), uintptr(c.request), c.argument)
		if errno != c.want {
			t.Errorf("ioctl, %s: %d (%v), want %d (%v)", c.name, errno, errno, c.want, c.want)
		}
	}

	b := make([]byte, 2*statsSize)
	if n, err := unix.Read(filtered, nil); n != 0 || err != nil {
		t.Errorf("read of what has seen nothing: %d bytes (%v)", n, err)
	}
	if err := control(fd, abi.IocEnable, 0); err != nil {
		t.Fatal(err)
	}
	if err := writes(1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		to   uintptr
		n    int
		got  int
		want unix.Errno
	}{
		{"nothing", uintptr(unsafe.Pointer(&b[0])), 0, 0, unix.ENOSPC},
		{"a byte short", uintptr(unsafe.Pointer(&b[0])), statsSize - 1, 0, unix.ENOSPC},
		{"one", uintptr(unsafe.Pointer(&b[0])), statsSize, statsSize, 0},
		{"more", uintptr(unsafe.Pointer(&b[0])), 2 * statsSize, statsSize, 0},
		{"to 8", nowhere, statsSize, 0, unix.EFAULT},
	} {
		n, _, errno := unix.Syscall(unix.SYS_READ, uintptr(fd), c.to, uintptr(c.n))
		if errno != c.want || errno == 0 && int(n) != c.got {
			t.Errorf("read, %s: %d bytes, error %d (%v); want %d, %d (%v)", c.name, n, errno, errno, c.got, c.want, c.want)
		}
	}
	if _, err := unix.Write(fd, b[:8]); err == nil {
		t.Error("a probe can be written to")
	}
}

// A buffer for fewer contexts than have seen something is refused: what is read is always all.
func TestReadAll(t *testing.T) {
	fd := validProbe(t, func(c *call) { c.attr.Contexts = 3 })
	page, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(page)
	for _, context := range []uint32{1, 2} {
		(*abi.Page)(unsafe.Pointer(&page[0])).Context = context // before anybody's write can count
		if err := control(fd, abi.IocEnable, 0); err != nil {
			t.Fatal(err)
		}
		if err := writes(1); err != nil {
			t.Fatal(err)
		}
	}
	if err := control(fd, abi.IocDisable, 0); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3*statsSize)
	for size, want := range map[int]unix.Errno{0: unix.ENOSPC, statsSize: unix.ENOSPC, 2*statsSize - 1: unix.ENOSPC, 2 * statsSize: 0, 3 * statsSize: 0} {
		n, _, errno := unix.Syscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(size))
		if errno != want || errno == 0 && n != uintptr(2*statsSize) {
			t.Errorf("read with room for %d bytes: %d bytes (%v), want %d (%v)", size, n, errno, 2*statsSize, want)
		}
	}
}

// The same of its memory.
func TestMapErrors(t *testing.T) {
	fd := validProbe(t, nil)
	const read, write, exec = unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC
	for _, c := range []struct {
		name          string
		offset, pages int
		prot, flags   int
		want          unix.Errno
	}{
		{"page", 0, 1, read | write, unix.MAP_SHARED, 0},
		{"page, two of it", 0, 2, read | write, unix.MAP_SHARED, unix.EINVAL},
		{"page, private", 0, 1, read | write, unix.MAP_PRIVATE, unix.EINVAL},
		{"page, executable", 0, 1, read | exec, unix.MAP_SHARED, unix.EINVAL},
		{"ring, without events", 1, 1, read, unix.MAP_SHARED, unix.EINVAL},
		{"ring of 3 pages", 1, 4, read, unix.MAP_SHARED, unix.EINVAL},
		{"ring, writable", 1, 5, read | write, unix.MAP_SHARED, unix.EPERM},
		{"ring, private", 1, 5, read, unix.MAP_PRIVATE, unix.EINVAL},
		{"ring, huge", 1, 1 + 1<<20, read, unix.MAP_SHARED, unix.EINVAL},
		{"ring at 2", 2, 5, read, unix.MAP_SHARED, unix.EINVAL},
		{"ring far behind", 1 << 40, 5, read, unix.MAP_SHARED, unix.EINVAL},
		{"ring", 1, 5, read, unix.MAP_SHARED, 0},
		{"ring, again", 1, 5, read, unix.MAP_SHARED, 0},
		{"ring, of another size", 1, 9, read, unix.MAP_SHARED, unix.EBUSY},
	} {
		b, err := unix.Mmap(fd, int64(c.offset)*int64(pageSize), c.pages*pageSize, c.prot, c.flags)
		if err == nil {
			if c.offset == 1 {
				if err := unix.Mprotect(b, read|write); err != unix.EACCES {
					t.Errorf("mprotect of %s, to be written: %v, want EACCES", c.name, err)
				}
			}
			if err := unix.Munmap(b); err != nil {
				t.Error(err)
			}
		}
		if err == nil && c.want == 0 {
			continue
		}
		if err != c.want {
			t.Errorf("mmap, %s: %v, want %v", c.name, err, c.want)
		}
	}
	unix.Close(fd)
	if _, err := unix.Mmap(fd, 0, pageSize, read, unix.MAP_SHARED); err != unix.EBADF {
		t.Errorf("mmap of what is closed: %v, want EBADF", err)
	}
}

// Memory that is mapped stays, whatever becomes of the descriptor.
func TestMapOutlives(t *testing.T) {
	c := validCall()
	c.attr.Flags = abi.FlagEvents
	fd, errno := c.open()
	if errno != 0 {
		t.Fatal(errno)
	}
	page, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := unix.Mmap(fd, int64(pageSize), 5*pageSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	if err := control(fd, abi.IocEnable, 0); err != nil {
		t.Fatal(err)
	}
	if err := writes(10); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if err := writes(10); err != nil {
		t.Fatal(err)
	}
	for i := range page {
		page[i] = 0xff
	}
	if head := (*abi.Ring)(unsafe.Pointer(&ring[0])).Head; head == 0 {
		t.Error("no event was written")
	}
	for _, b := range [][]byte{page, ring} {
		if err := unix.Munmap(b); err != nil {
			t.Error(err)
		}
	}
}
