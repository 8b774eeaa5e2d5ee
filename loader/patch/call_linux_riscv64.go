// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// rawOpen is the system call.
func rawOpen(attr *abi.Attr, size uintptr, flags uint32) (int, error) {
	fd, _, errno := unix.Syscall(abi.SysProbeOpen, uintptr(unsafe.Pointer(attr)), size, uintptr(flags))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
