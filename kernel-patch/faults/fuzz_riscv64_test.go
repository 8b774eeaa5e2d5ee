// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// shortFuzz is how long the fuzzer runs in the short form.
const shortFuzz = 5 * time.Second

// TestFuzz makes random system calls from several threads while the load runs. Ordinary use works afterwards.
func TestFuzz(t *testing.T) {
	watchKernel(t)
	number := seed(t)
	functions := writeFunctions(t, text(t))
	length := stress(t)
	if length == 0 {
		length = shortFuzz
	}
	l := startLoad(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=fuzz", "TRAPLINE_FUNCTIONS="+functions,
		fmt.Sprintf("TRAPLINE_FUZZ_SEED=%d", number), "TRAPLINE_FUZZ_TIME="+length.String(), fmt.Sprintf("TRAPLINE_FUZZ_LOAD=%d", l.cmd.Process.Pid))
	out, err := cmd.CombinedOutput()
	t.Logf("the fuzzer:\n%s", out)
	if err != nil {
		t.Errorf("the fuzzer ended with %v", err)
	}
}

func init() { roles["fuzz"] = fuzzRole }

// fuzzThreads is how many threads fuzz at the same time, on shared descriptors.
const fuzzThreads = 4

// fuzzer is what the threads share.
type fuzzer struct {
	functions []uint64
	load      int // a process to follow
	fds       [128]atomic.Int64
	memory    []byte // what is mapped may go there
	stop      atomic.Bool

	mu     sync.Mutex
	counts map[string]int // of answers
	wrong  []string
}

func fuzzRole() int {
	k, err := readFunctions(os.Getenv("TRAPLINE_FUNCTIONS"))
	seed, e := strconv.ParseUint(os.Getenv("TRAPLINE_FUZZ_SEED"), 10, 64)
	length, e2 := time.ParseDuration(os.Getenv("TRAPLINE_FUZZ_TIME"))
	load, e3 := strconv.Atoi(os.Getenv("TRAPLINE_FUZZ_LOAD"))
	f := &fuzzer{load: load, counts: map[string]int{}}
	var e4 error
	f.memory, e4 = fuzzMemory()
	limit := unix.Rlimit{Cur: 8192, Max: 8192}
	if err := errors.Join(err, e, e2, e3, e4, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)); err != nil {
		fmt.Println(err)
		return 1
	}
	for _, s := range k.functions {
		f.functions = append(f.functions, s.Address)
	}
	for i := range f.fds {
		f.fds[i].Store(-1)
	}
	var threads sync.WaitGroup
	for i := range uint64(fuzzThreads) {
		threads.Go(func() {
			th := &fuzzThread{fuzzer: f, Rand: rand.New(rand.NewPCG(seed, i)), area: f.memory[i*fuzzArea:][:fuzzArea], counts: map[string]int{}}
			for !f.stop.Load() {
				th.step()
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			for name, n := range th.counts {
				f.counts[name] += n
			}
		})
	}
	time.AfterFunc(length, func() { f.stop.Store(true) })
	threads.Wait()
	for _, name := range slices.Sorted(maps.Keys(f.counts)) {
		fmt.Printf("%8d %s\n", f.counts[name], name)
	}
	if len(f.wrong) > 0 {
		fmt.Println(strings.Join(f.wrong, "\n"))
		return 1
	}
	return 0
}

// fuzzArea is where one thread maps, bytes.
const fuzzArea = 1 << 20

// fuzzMemory reserves an area for each thread. It is far from where the kernel puts what has no address of its own: a mapping that
// fails leaves a hole there, which must not become the runtime's.
func fuzzMemory() ([]byte, error) {
	const size = fuzzThreads * fuzzArea
	flags := unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_FIXED_NOREPLACE
	at, err := unix.MmapPtr(-1, 0, unsafe.Add(nil, 0x70000000), size, unix.PROT_NONE, flags)
	if err != nil {
		return nil, fmt.Errorf("reserve memory: %w", err)
	}
	return unsafe.Slice((*byte)(at), size), nil
}

// fuzzThread is one thread's part.
type fuzzThread struct {
	*fuzzer
	*rand.Rand
	area   []byte
	counts map[string]int

	// What an attr points to.
	symbol    [64]byte
	fetches   [16]abi.Fetch
	tests     [32]abi.Test
	constants [256]byte
}

func (f *fuzzThread) one(in int) bool { return f.IntN(in) == 0 }

// count keeps an answer: what was called and how it ended.
func (f *fuzzThread) count(call string, errno unix.Errno) {
	if errno != 0 {
		call += ": " + unix.ErrnoName(errno)
	}
	f.counts[call]++
}

// expect counts an answer, and keeps it if the header has no such error.
func (f *fuzzThread) expect(call string, errno unix.Errno, documented ...unix.Errno) {
	f.count(call, errno)
	if errno == 0 || errno == unix.EINTR || slices.Contains(documented, errno) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.wrong) < 20 {
		f.wrong = append(f.wrong, fmt.Sprintf("%s: %v is not documented", call, error(errno)))
	}
}

func (f *fuzzThread) step() {
	switch n := f.IntN(100); {
	case n < 35:
		f.open()
	case n < 45:
		f.close()
	case n < 75:
		f.ioctl()
	case n < 85:
		f.read()
	case n < 93:
		f.mmap()
	case n < 96:
		f.poll()
	default:
		f.idle()
	}
}

func (f *fuzzThread) open() {
	attr, size, flags := f.attr(), unsafe.Sizeof(abi.Attr{}), uint32(0)
	if f.one(20) {
		size = uintptr(f.number())
	}
	if f.one(50) {
		flags = uint32(f.number())
	}
	// More than the struct is behind it, so that a longer size reads memory that is there.
	var long struct {
		abi.Attr
		_ [4096]byte
	}
	long.Attr = attr
	at := &long.Attr
	if f.one(100) {
		at = (*abi.Attr)(unsafe.Pointer(&f.area[f.IntN(fuzzArea-200)])) // not mapped, or a mapped ring
	}
	fd, errno := openRaw(at, size, flags)
	f.expect("open", errno, unix.E2BIG, unix.EINVAL, unix.EFAULT, unix.ENOENT, unix.EADDRNOTAVAIL, unix.ERANGE, unix.EILSEQ, unix.EACCES,
		unix.EOPNOTSUPP, unix.EBUSY, unix.ENOSPC, unix.EUSERS, unix.EBADF, unix.ENOMEM, unix.EMFILE, unix.ENAMETOOLONG)
	if errno != 0 {
		return
	}
	if old := f.fds[f.IntN(len(f.fds))].Swap(int64(fd)); old >= 0 {
		unix.Close(int(old))
	}
}

func (f *fuzzThread) close() {
	if fd := f.fds[f.IntN(len(f.fds))].Swap(-1); fd >= 0 {
		f.count("close", errnoOf(unix.Close(int(fd))))
	}
}

func errnoOf(err error) unix.Errno {
	errno, _ := errors.AsType[unix.Errno](err)
	return errno
}

func (f *fuzzThread) ioctl() {
	request := []uintptr{abi.IocEnable, abi.IocEnable, abi.IocEnable, abi.IocDisable, abi.IocReset, abi.IocFollow, abi.IocLaunch, abi.IocInfo}[f.IntN(8)]
	argument := uintptr(f.IntN(2))
	var info abi.Info
	switch request {
	case abi.IocInfo:
		argument = uintptr(unsafe.Pointer(&info))
	case abi.IocFollow:
		argument = uintptr([]int{os.Getpid(), f.load, 1, 1 << 22}[f.IntN(4)])
	}
	if f.one(20) {
		argument = uintptr(f.number())
		if request == abi.IocInfo {
			argument = uintptr(unsafe.Pointer(&f.area[f.IntN(fuzzArea-200)]))
		}
	}
	if f.one(20) {
		// No request that writes to memory by another's rules: descriptors here are probes or none.
		request = uintptr(0xb900) | uintptr(f.IntN(256))
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(f.fd()), request, argument)
	f.expect(fmt.Sprintf("ioctl %#x", request&0xffff&^0xf0), errno, unix.EBADF, unix.EINVAL, unix.ENOTTY, unix.EFAULT, unix.ESRCH, unix.EBUSY, unix.ENOMEM,
		unix.EACCES, unix.ENOSPC, unix.EPERM)
}

func (f *fuzzThread) read() {
	var buffer [64 << 10]byte
	n := []int{len(buffer), 488, 487, 0, 976, f.IntN(len(buffer))}[f.IntN(6)]
	at := uintptr(unsafe.Pointer(&buffer[0]))
	if f.one(10) {
		at = uintptr(unsafe.Pointer(&f.area[f.IntN(fuzzArea-len(buffer))]))
	}
	fd := f.fd()
	var errno unix.Errno
	switch f.IntN(8) {
	case 0:
		_, _, errno = unix.Syscall6(unix.SYS_PREAD64, uintptr(fd), at, uintptr(n), uintptr(f.number()), 0, 0)
		f.count("pread", errno)
		return
	case 1:
		_, _, errno = unix.Syscall(unix.SYS_WRITE, uintptr(fd), at, uintptr(n))
		f.count("write", errno)
		return
	}
	_, _, errno = unix.Syscall(unix.SYS_READ, uintptr(fd), at, uintptr(n))
	f.expect("read", errno, unix.EBADF, unix.ENOSPC, unix.EFAULT, unix.EINVAL)
}

// mmap maps into this thread's area, reads and writes there what it can, and as a rule takes it out again.
func (f *fuzzThread) mmap() {
	page := unix.Getpagesize()
	size, offset := page, 0
	if f.one(2) {
		size, offset = page*(1+1<<f.IntN(7)), page
	}
	prot, flags := unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED
	if offset > 0 {
		prot = unix.PROT_READ
	}
	if f.one(4) {
		prot = f.IntN(8)
	}
	if f.one(8) {
		flags = unix.MAP_PRIVATE
	}
	if f.one(4) {
		size = page * (1 + f.IntN(fuzzArea/page))
	}
	if f.one(8) {
		offset = page * f.IntN(300)
	}
	at := f.area[:min(size, fuzzArea)]
	address := uintptr(unsafe.Pointer(&at[0]))
	_, _, errno := unix.Syscall6(unix.SYS_MMAP, address, uintptr(len(at)), uintptr(prot), uintptr(flags|unix.MAP_FIXED), uintptr(f.fd()), uintptr(offset))
	f.expect("mmap", errno, unix.EBADF, unix.EINVAL, unix.EPERM, unix.EBUSY, unix.ENOMEM, unix.EACCES)
	if errno != 0 {
		return
	}
	// Reads and writes by the kernel: where a page is not there they fail, and do not kill this process.
	local := f.constants[:]
	own := []unix.Iovec{{Base: &local[0], Len: uint64(len(local))}}
	for range 4 {
		remote := []unix.RemoteIovec{{Base: address + uintptr(f.IntN(len(at))), Len: len(local)}}
		if f.one(2) {
			unix.ProcessVMReadv(os.Getpid(), own, remote, 0)
		} else {
			unix.ProcessVMWritev(os.Getpid(), own, remote, 0)
		}
	}
	switch f.IntN(4) {
	case 0:
		unix.Syscall(unix.SYS_MPROTECT, address, uintptr(len(at)), uintptr(f.IntN(8)))
	case 1:
		unix.Syscall(unix.SYS_MADVISE, address, uintptr(len(at)), uintptr(f.IntN(20)))
	case 2:
		return // stays, over the next one of this thread
	}
	unix.Syscall6(unix.SYS_MMAP, uintptr(unsafe.Pointer(&f.area[0])), fuzzArea, unix.PROT_NONE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED, ^uintptr(0), 0)
}

func (f *fuzzThread) poll() {
	fds := []unix.PollFd{{Fd: int32(f.fd()), Events: int16(f.number())}, {Fd: int32(f.fd()), Events: unix.POLLIN}}
	_, err := unix.Poll(fds, f.IntN(2))
	f.count("poll", errnoOf(err))
}

// idle makes calls that need no descriptor: one that is closed and opened anew by another thread is a probe, and must stay one.
func (f *fuzzThread) idle() {
	unix.Getppid()
	pause := unix.NsecToTimespec(int64(f.IntN(100_000)))
	unix.Nanosleep(&pause, nil)
}
