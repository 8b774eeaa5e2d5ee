// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	targets["kinds"] = targetKinds
	targets["descriptors"] = targetDescriptors
	targets["state"] = targetState
	targets["tree"] = targetTree
}

// guardInstall is MADV_GUARD_INSTALL, Linux 6.13.
const guardInstall = 102

func mapAnon(pages, prot, flags int) []byte {
	mem, err := unix.Mmap(-1, 0, pages*int(pageSize), prot, flags)
	must(err)
	return mem
}

func addr(mem []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(mem))) }

// targetKinds makes a mapping of every kind that a process can make by itself and prints the addresses, in the order
// of TestKinds, and what this kernel has of the optional ones.
func targetKinds(int) string {
	const rw = unix.PROT_READ | unix.PROT_WRITE
	var out string
	add := func(mem []byte) []byte {
		out += fmt.Sprintf("%d ", addr(mem))
		return mem
	}
	madvised := func(advice int) { must(unix.Madvise(add(mapAnon(2, rw, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)), advice)) }

	named := add(mapAnon(2, rw, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS))
	name := []byte("my heap\x00")
	has := "has:"
	if _, _, e := unix.Syscall6(unix.SYS_PRCTL, unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, addr(named), uintptr(len(named)), uintptr(unsafe.Pointer(&name[0])), 0); e == 0 {
		has += "names" // CONFIG_ANON_VMA_NAME
	}
	runtime.KeepAlive(name)
	add(mapAnon(2, rw, unix.MAP_SHARED|unix.MAP_ANONYMOUS))

	fd, err := unix.MemfdCreate("a memfd", 0)
	must(err)
	must(unix.Ftruncate(fd, 1<<16))
	mem, err := unix.Mmap(fd, 4096, 4096, rw, unix.MAP_SHARED)
	must(err)
	add(mem)

	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 1<<16, unix.IPC_CREAT|0o600)
	must(err)
	mem, err = unix.SysvShmAttach(id, 0, 0)
	must(err)
	_, err = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	must(err)
	add(mem)

	file, err := os.CreateTemp("", "a file\nwith a newline")
	must(err)
	must(file.Truncate(1 << 16))
	must(os.Remove(file.Name()))
	mem, err = unix.Mmap(int(file.Fd()), 8192, 4096, unix.PROT_READ, unix.MAP_PRIVATE)
	must(err)
	add(mem)

	add(mapAnon(2, rw, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_GROWSDOWN))
	must(unix.Mlock(add(mapAnon(2, rw, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS))))
	madvised(unix.MADV_DONTFORK)
	madvised(unix.MADV_WIPEONFORK)
	madvised(unix.MADV_DONTDUMP)
	madvised(unix.MADV_NOHUGEPAGE)
	add(mapAnon(2, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE))

	// A page each: written, only read, untouched, guard, written.
	mem = add(mapAnon(5, rw, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS))
	must(unix.Madvise(mem, unix.MADV_NOHUGEPAGE))
	mem[0], mem[4*pageSize] = 1, 1
	if mem[pageSize] != 0 {
		panic("not zero")
	}
	if unix.Madvise(mem[3*pageSize:4*pageSize], guardInstall) == nil {
		has += "guard"
	}
	return out + has
}

// targetDescriptors opens one descriptor of each kind and prints their numbers in the order of TestDescriptors.
func targetDescriptors(int) string {
	var out string
	add := func(fd int, err error) int {
		must(err)
		out += fmt.Sprintf("%d ", fd)
		return fd
	}
	file, err := os.CreateTemp("", "procfs")
	must(err)
	must(os.Remove(file.Name()))
	fd := add(unix.Dup(int(file.Fd())))
	_, err = unix.Write(fd, []byte("12345"))
	must(err)
	must(unix.Flock(fd, unix.LOCK_EX))

	event := add(unix.Eventfd(0x5a, unix.EFD_SEMAPHORE|unix.EFD_CLOEXEC))
	epoll := add(unix.EpollCreate1(0))
	must(unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: 7, Pad: -1}))
	var mask unix.Sigset_t
	mask.Val[0] = 1<<(unix.SIGUSR1-1) | 1<<(unix.SIGTERM-1)
	add(unix.Signalfd(-1, &mask, 0))
	timer := add(unix.TimerfdCreate(unix.CLOCK_MONOTONIC, 0))
	must(unix.TimerfdSettime(timer, 0, &unix.ItimerSpec{Value: unix.Timespec{Sec: 1000}, Interval: unix.Timespec{Sec: 3, Nsec: 5}}, nil))
	inotify := add(unix.InotifyInit1(0))
	_, err = unix.InotifyAddWatch(inotify, "/", unix.IN_CREATE)
	must(err)
	add(unix.PidfdOpen(os.Getpid(), 0))
	fan := add(unix.FanotifyInit(unix.FAN_CLASS_NOTIF, 0))
	must(unix.FanotifyMark(fan, unix.FAN_MARK_ADD, unix.FAN_OPEN, unix.AT_FDCWD, "/"))
	add(unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
	return out
}

// targetState changes what a process can change of itself and prints its second thread's id.
func targetState(int) string {
	must(unix.Prctl(unix.PR_SET_TIMERSLACK, 12345, 0, 0, 0))
	var name [16]byte
	copy(name[:], "a) \n\\(")
	if _, _, e := unix.Syscall(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name)), 0); e != 0 {
		must(e)
	}
	// The name and slack above are the calling thread's: main is locked to the first by init order, say which it was.
	tid := unix.Gettid()
	must(os.WriteFile("/proc/self/oom_score_adj", []byte("77"), 0))
	must(os.WriteFile("/proc/self/coredump_filter", []byte("0x7b"), 0))
	must(unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: 4096}))
	unix.Umask(0o27)

	type sigevent struct {
		value          uint64
		signal, notify int32
		tid            int32
		_              [44]byte
	}
	for i, ev := range []sigevent{
		{value: 0x123456789abc, signal: 40},
		{value: 7, signal: 12, notify: 4, tid: int32(tid)}, // SIGEV_THREAD_ID
		{notify: 1}, // SIGEV_NONE
	} {
		var id int32
		_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, uintptr(i%2), uintptr(unsafe.Pointer(&ev)), uintptr(unsafe.Pointer(&id)))
		if errno != 0 {
			panic(errno)
		}
	}
	return fmt.Sprint(tid)
}

// targetTree starts two children, one of which ends and stays a zombie, and prints their pids: first the zombie's.
func targetTree(int) string {
	zombie := exec.Command("/proc/self/exe")
	zombie.Env = []string{childEnv + "=idle"}
	must(zombie.Start())
	running := exec.Command("/proc/self/exe")
	running.Env = zombie.Env
	stdin, err := running.StdinPipe()
	must(err)
	_ = stdin // closed with this process, which ends the child
	must(running.Start())
	// The zombie has /dev/null for its input and ends at once; wait for that without reaping it.
	must(unix.Waitid(unix.P_PID, zombie.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
	return fmt.Sprint(zombie.Process.Pid, " ", running.Process.Pid)
}
