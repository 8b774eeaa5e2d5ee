// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// A request is one call of probe_open, before addresses stand in place of what they point to.
type request struct {
	attr      abi.Attr
	symbol    string // "" for attr.Address alone
	fetches   []abi.Fetch
	tests     []abi.Test
	constants *[abi.StringsMax][abi.ConstantSize]byte
}

// open makes the system call. The descriptor is the caller's. Errors are a [refusal].
func (r *request) open() (int, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := &r.attr
	pin.Pin(a)
	a.Size = uint32(unsafe.Sizeof(*a))
	if r.symbol != "" {
		name := append([]byte(r.symbol), 0)
		pin.Pin(&name[0])
		a.Symbol = uint64(uintptr(unsafe.Pointer(&name[0])))
	}
	if len(r.fetches) > 0 {
		pin.Pin(&r.fetches[0])
		a.Fetches = uint64(uintptr(unsafe.Pointer(&r.fetches[0])))
	}
	if len(r.tests) > 0 {
		pin.Pin(&r.tests[0])
		a.Tests = uint64(uintptr(unsafe.Pointer(&r.tests[0])))
	}
	if r.constants != nil {
		pin.Pin(r.constants)
		a.Constants = uint64(uintptr(unsafe.Pointer(r.constants)))
	}
	for grown := false; ; grown = true {
		a.Reason, a.ReasonAddress = 0, 0
		fd, err := rawOpen(a, unsafe.Sizeof(*a), 0)
		if err == nil {
			return fd, nil
		}
		errno, _ := errors.AsType[unix.Errno](err)
		if errno == unix.EINTR || errno == unix.EMFILE && !grown && moreDescriptors() == nil {
			continue
		}
		return -1, &refusal{errno: errno, reason: abi.Reason(a.Reason), address: a.ReasonAddress}
	}
}

// moreDescriptors raises the limit of descriptors of this process: each probe has one, and a glob may name thousands. It does
// not go through package syscall, which would then hand the new limit down to the commands that are traced.
func moreDescriptors() error {
	var now unix.Rlimit
	if err := prlimit(nil, &now); err != nil {
		return err
	}
	want := unix.Rlimit{Cur: max(now.Max, descriptors), Max: max(now.Max, descriptors)}
	if want.Cur <= now.Cur {
		return unix.EMFILE
	}
	err := prlimit(&want, nil)
	if err != nil && now.Max > now.Cur {
		err = prlimit(&unix.Rlimit{Cur: now.Max, Max: now.Max}, nil) // without CAP_SYS_RESOURCE
	}
	return err
}

// descriptors is how many a process may have on a kernel whose limit nobody has changed: fs.nr_open.
const descriptors = 1 << 20

func prlimit(set, get *unix.Rlimit) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// control makes an ioctl with a number.
func control(fd int, request uint, argument int) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(argument))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}

// info asks how a probe is placed.
func info(fd int) (*abi.Info, error) {
	i := &abi.Info{}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), abi.IocInfo, uintptr(unsafe.Pointer(i))); errno != 0 {
		return nil, fmt.Errorf("ask how it is placed: %w", errno)
	}
	return i, nil
}

// pageSize is that of this machine.
var pageSize = os.Getpagesize()
