// SPDX-License-Identifier: Apache-2.0

package features

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/feature"
)

// Requests of ptrace(2) that x/sys/unix has no name for (include/uapi/linux/ptrace.h).
const (
	ptraceGetRseqConfiguration = 0x420f // Linux 5.13
	ptraceSetSyscallInfoReq    = 0x4212 // Linux 6.16
	ptraceOSuspendSeccomp      = 1 << 21
)

// withTracee runs fn with a child that is stopped by ptrace before its first instruction and is killed afterwards.
func withTracee(fn func(pid int) error) error {
	runtime.LockOSThread() // ptrace requests have to come from the thread that started the child
	defer runtime.UnlockOSThread()
	// The file is never executed: the child stops when it has been mapped.
	p, err := os.StartProcess("/proc/self/exe", []string{"trapline-feature-test"}, &os.ProcAttr{
		Sys: &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return fmt.Errorf("start a child to trace: %w", err)
	}
	defer func() {
		// Both may fail only if the child is gone, which is what they are for.
		_ = p.Kill()
		_, _ = p.Wait()
	}()
	if err := waitStop(p.Pid); err != nil {
		return err
	}
	return fn(p.Pid)
}

// waitStop waits until a tracee has stopped.
func waitStop(pid int) error {
	for {
		var ws unix.WaitStatus
		_, err := unix.Wait4(pid, &ws, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("wait for the traced child: %w", err)
		case !ws.Stopped():
			return fmt.Errorf("the traced child ended with status %#x", ws)
		}
		return nil
	}
}

// ptrace makes a request.
func ptrace(req, pid int, addr uintptr, data unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(req), uintptr(pid), addr, uintptr(data), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func ptraceSeize() error {
	return withTracee(func(pid int) error {
		// A child of PTRACE_TRACEME can't be seized: let it go into a stop first.
		if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, uintptr(unix.SIGSTOP), 0, 0); errno != 0 {
			return fmt.Errorf("PTRACE_DETACH: %w", errno)
		}
		if err := ptrace(unix.PTRACE_SEIZE, pid, 0, nil); err != nil {
			return feature.Unless("PTRACE_SEIZE", err, unix.EIO)
		}
		return feature.Unless("PTRACE_INTERRUPT", ptrace(unix.PTRACE_INTERRUPT, pid, 0, nil), unix.EIO)
	})
}

func ptracePeekSiginfo() error {
	return withTracee(func(pid int) error {
		args := struct {
			off       uint64
			flags, nr uint32
		}{nr: 1}
		var info [128]byte
		_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_PEEKSIGINFO, uintptr(pid),
			uintptr(unsafe.Pointer(&args)), uintptr(unsafe.Pointer(&info)), 0, 0)
		if errno != 0 {
			return feature.Unless("PTRACE_PEEKSIGINFO", errno, unix.EIO)
		}
		return nil
	})
}

func ptraceSigmask() error {
	return withTracee(func(pid int) error {
		var mask uint64
		return feature.Unless("PTRACE_GETSIGMASK", ptrace(unix.PTRACE_GETSIGMASK, pid, unsafe.Sizeof(mask), unsafe.Pointer(&mask)), unix.EIO)
	})
}

func ptraceSuspendSeccomp() error {
	return withTracee(func(pid int) error {
		_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SETOPTIONS, uintptr(pid), 0, ptraceOSuspendSeccomp, 0, 0)
		if errno != 0 {
			return feature.Unless("PTRACE_O_SUSPEND_SECCOMP", errno, unix.EINVAL, unix.EPERM)
		}
		return nil
	})
}

func ptraceSeccompFilter() error {
	return withTracee(func(pid int) error {
		// The child has no filter. A kernel that knows the request says so (EINVAL or ENOENT), one that does not EIO.
		err := ptrace(unix.PTRACE_SECCOMP_GET_FILTER, pid, 0, nil)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		return feature.Unless("PTRACE_SECCOMP_GET_FILTER", err, unix.EIO, unix.EACCES)
	})
}

func ptraceSyscallInfo() error {
	return withTracee(func(pid int) error {
		var info [128]byte
		return feature.Unless("PTRACE_GET_SYSCALL_INFO", ptrace(unix.PTRACE_GET_SYSCALL_INFO, pid, unsafe.Sizeof(info), unsafe.Pointer(&info)), unix.EIO)
	})
}

func ptraceSetSyscallInfo() error {
	return withTracee(func(pid int) error {
		// Too short a structure: EINVAL from a kernel that knows the request, EIO from one that does not.
		var info [8]byte
		err := ptrace(ptraceSetSyscallInfoReq, pid, 1, unsafe.Pointer(&info))
		if errors.Is(err, unix.EINVAL) {
			return nil
		}
		return feature.Unless("PTRACE_SET_SYSCALL_INFO", err, unix.EIO)
	})
}

func ptraceRseq() error {
	return withTracee(func(pid int) error {
		var conf [24]byte // struct ptrace_rseq_configuration
		return feature.Unless("PTRACE_GET_RSEQ_CONFIGURATION", ptrace(ptraceGetRseqConfiguration, pid, unsafe.Sizeof(conf), unsafe.Pointer(&conf)), unix.EIO)
	})
}
