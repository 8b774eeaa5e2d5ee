// SPDX-License-Identifier: Apache-2.0

package features

import (
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
	kcmpTypeFile     = 0 // include/uapi/linux/kcmp.h
	kcmpTypeEpollTFD = 7
	tfdIocSetTicks   = 0x40085400 // _IOW('T', 0, u64), include/uapi/linux/timerfd.h
	prTimerCreateIDs = 77         // PR_TIMER_CREATE_RESTORE_IDS
	prTimerIDsGet    = 2          // PR_TIMER_CREATE_RESTORE_IDS_GET
	maxPID           = 1 << 22    // PID_MAX_LIMIT of 64-bit kernels: no task can have it
)

// clone3SetTID asks for a child with a PID beyond all possible ones. No kernel makes it: one that knows set_tid
// says EINVAL, one that does not E2BIG.
func clone3SetTID() error {
	tid := int32(maxPID)
	var pin runtime.Pinner // its address is but a number to Go
	pin.Pin(&tid)
	defer pin.Unpin()
	args := struct {
		flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize uint64
	}{exitSignal: uint64(unix.SIGCHLD), setTID: uint64(uintptr(unsafe.Pointer(&tid))), setTIDSize: 1}
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	if errno == 0 {
		if pid == 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0) // can't be; but must not go on as a second engine
		}
		return errors.New("clone3 made a task with an impossible PID")
	}
	if errno == unix.EINVAL {
		return nil
	}
	return feature.Unless("clone3 with set_tid", errno, unix.E2BIG)
}

func setMMMap() error {
	var size uint32
	_, _, errno := unix.Syscall6(unix.SYS_PRCTL, unix.PR_SET_MM, unix.PR_SET_MM_MAP_SIZE, uintptr(unsafe.Pointer(&size)), 0, 0, 0)
	return feature.Unless("PR_SET_MM_MAP_SIZE", orNil(errno), unix.EINVAL)
}

// kcmp compares resources of this process.
func kcmp(kind int, a, b uintptr) error {
	self := uintptr(os.Getpid())
	_, _, errno := unix.Syscall6(unix.SYS_KCMP, self, self, uintptr(kind), a, b, 0)
	return orNil(errno)
}

// orNil is errno as an error.
func orNil(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

func kcmpFile() error {
	return withFile(os.DevNull, func(fd int) error {
		return feature.Unless("kcmp(KCMP_FILE)", kcmp(kcmpTypeFile, uintptr(fd), uintptr(fd)), unix.EINVAL)
	})
}

func kcmpEpoll() error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	defer unix.Close(ep)
	ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	defer unix.Close(ev)
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, ev, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	slot := struct{ efd, tfd, toff uint32 }{efd: uint32(ep), tfd: uint32(ev)}
	self := uintptr(os.Getpid())
	_, _, errno := unix.Syscall6(unix.SYS_KCMP, self, self, kcmpTypeEpollTFD, uintptr(ev), uintptr(unsafe.Pointer(&slot)), 0)
	return feature.Unless("kcmp(KCMP_EPOLL_TFD)", orNil(errno), unix.EINVAL)
}

func pidfdOpen() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return feature.Unless("pidfd_open", err)
	}
	return unix.Close(fd)
}

func pidfdGetfd() error {
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return feature.Unless("pidfd_open", err)
	}
	defer unix.Close(pidfd)
	return withFile(os.DevNull, func(fd int) error {
		got, err := unix.PidfdGetfd(pidfd, fd, 0)
		if err != nil {
			return feature.Unless("pidfd_getfd", err)
		}
		return unix.Close(got)
	})
}

func robustList() error {
	var head, size uintptr
	_, _, errno := unix.Syscall(unix.SYS_GET_ROBUST_LIST, 0, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return feature.Unless("get_robust_list", errno)
	}
	return nil
}

func timerRestoreIDs() error {
	return feature.Unless("PR_TIMER_CREATE_RESTORE_IDS", unix.Prctl(prTimerCreateIDs, prTimerIDsGet, 0, 0, 0), unix.EINVAL)
}

func timerfdTicks() error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("timerfd_create: %w", err)
	}
	defer unix.Close(fd)
	ticks := uint64(1)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), tfdIocSetTicks, uintptr(unsafe.Pointer(&ticks)))
	if errno != 0 {
		return feature.Unless("TFD_IOC_SET_TICKS", errno, unix.ENOTTY, unix.EINVAL)
	}
	return nil
}

// compatTasks is what CRIU asks the kernel for; here it is the engine that can't.
func compatTasks() error {
	return feature.Missing("this engine does not checkpoint 32-bit tasks on any kernel")
}
