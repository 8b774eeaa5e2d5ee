// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	// ErrGone says that the process or thread no longer exists: it has been reaped.
	ErrGone = errors.New("process is gone")
	// ErrNoMM says that the task exists but has no address space: a zombie or a kernel thread.
	ErrNoMM = errors.New("task has no address space")
	// ErrFormat says that the kernel's text is not what this package knows.
	ErrFormat = errors.New("unexpected text in /proc")
	// ErrNotSupported says that this kernel lacks the interface that was asked for.
	ErrNotSupported = errors.New("not supported by this kernel")
)

// Proc is an open /proc/PID, or one thread of it.
type Proc struct {
	dir    int    // descriptor of /proc/PID
	pid    int    // as this process' /proc shows it
	tid    int    // the thread, or pid for the process itself
	prefix string // "task/TID/", or empty for the process itself
}

// Open opens /proc/PID. The pid is one of the PID namespace that /proc was mounted in, the caller's own as a
// rule. It fails with [ErrGone] when there is no such process; the number of a thread that is not the first of
// its process works too, as in /proc itself.
func Open(pid int) (*Proc, error) {
	return OpenIn("/proc", pid)
}

// OpenIn is [Open] below another mount of procfs than /proc.
func OpenIn(root string, pid int) (*Proc, error) {
	name := root + "/" + strconv.Itoa(pid)
	// O_PATH would do for openat, but not for reading the directory.
	fd, err := openat(unix.AT_FDCWD, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		if err == unix.ENOENT || err == unix.ESRCH {
			return nil, fmt.Errorf("pid %d: %w: %w", pid, ErrGone, err)
		}
		return nil, fmt.Errorf("pid %d: open %s: %w", pid, name, err)
	}
	return &Proc{dir: fd, pid: pid, tid: pid}, nil
}

// Close gives the descriptor back. A Proc made by [Proc.Task] has none of its own, closing it does nothing.
func (p *Proc) Close() error {
	if p.prefix != "" || p.dir < 0 {
		return nil
	}
	fd := p.dir
	p.dir = -1
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close %s: %w", p.path(""), err)
	}
	return nil
}

// Dir is the descriptor of /proc/PID, for openat and the like; of a thread it is that of its process. It
// stays owned by the Proc.
func (p *Proc) Dir() int { return p.dir }

// Pid is the number that the process was opened by.
func (p *Proc) Pid() int { return p.pid }

// Tid is the thread's number; Pid for a Proc that is not a thread's.
func (p *Proc) Tid() int { return p.tid }

// Task is the thread tid of the process. Nothing is opened, so it costs nothing, needs no Close, and a thread that
// does not exist is found out by the first read. It is valid until p is closed.
func (p *Proc) Task(tid int) *Proc {
	return &Proc{dir: p.dir, pid: p.pid, tid: tid, prefix: "task/" + strconv.Itoa(tid) + "/"}
}

// Alive says whether the process or thread still exists. A zombie does.
func (p *Proc) Alive() bool {
	var st unix.Stat_t
	if unix.Fstatat(p.dir, p.prefix+"stat", &st, 0) != nil {
		return false
	}
	// Looking it up may succeed on a cached entry of a process that is gone, opening does not read: read it.
	buf := getBuffer()
	defer putBuffer(buf)
	fd, err := openat(p.dir, p.prefix+"stat", unix.O_RDONLY)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	n, err := read(fd, *buf)
	return err == nil && n > 0
}

// OpenFile opens a file of the process' directory, name being relative to it ("mem", "map_files/…", "ns/net"). The
// descriptor is close-on-exec and the caller's.
func (p *Proc) OpenFile(name string, flags int) (int, error) {
	fd, err := openat(p.dir, p.prefix+name, flags)
	if err != nil {
		return -1, p.fail("open", name, err)
	}
	return fd, nil
}

// path is the name of a file in messages.
func (p *Proc) path(name string) string {
	if other, ok := strings.CutPrefix(p.prefix, "../"); ok {
		return "/proc/" + other + name
	}
	return "/proc/" + strconv.Itoa(p.pid) + "/" + p.prefix + name
}

// fail makes the error of an operation on a file of the process. ENOENT and ESRCH have several meanings: the task
// is gone, it is there but has no memory, or the kernel has no such file. A look at another file tells which.
func (p *Proc) fail(op, name string, err error) error {
	switch err {
	case unix.ESRCH:
		if p.Alive() {
			return fmt.Errorf("%s %s: %w: %w", op, p.path(name), ErrNoMM, err)
		}
		return fmt.Errorf("%s %s: %w: %w", op, p.path(name), ErrGone, err)
	case unix.ENOENT:
		if !p.Alive() {
			return fmt.Errorf("%s %s: %w: %w", op, p.path(name), ErrGone, err)
		}
		// unix.ENOENT is fs.ErrNotExist for errors.Is.
	}
	return fmt.Errorf("%s %s: %w", op, p.path(name), err)
}

// malformed is the error for text that can't be parsed.
func (p *Proc) malformed(name string, err error) error {
	return fmt.Errorf("%s: %w", p.path(name), err)
}

// bad makes an error that wraps ErrFormat and shows at most the first bytes of the text in question.
func bad(what string, text []byte) error {
	const most = 80
	if len(text) > most {
		text = text[:most]
	}
	return fmt.Errorf("%w: %s: %q", ErrFormat, what, text)
}

// bufferSize is the size of the pooled buffers. Most files of /proc are below a page, and one read of a list such as
// maps returns a page at most, whatever the buffer.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(b *[]byte) {
	// A buffer that had to grow for an environment of megabytes is not kept.
	if cap(*b) <= 4*bufferSize {
		*b = (*b)[:cap(*b)]
		buffers.Put(b)
	}
}

// openat is openat(2) with O_CLOEXEC and without the copy of the name that package unix makes. It returns the bare
// errno.
func openat(dir int, name string, flags int) (int, error) {
	var path [256]byte
	if len(name) >= len(path) {
		return unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
	}
	copy(path[:], name)
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&path[0])),
			uintptr(flags|unix.O_CLOEXEC), 0, 0, 0)
		if errno == 0 {
			return int(fd), nil
		}
		if errno != unix.EINTR {
			return -1, errno
		}
	}
}

// read is read(2), again when interrupted.
func read(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// text reads a file that the kernel writes in one go (status, stat, fdinfo/N …: single_open in its sources) and gives it
// to parse, which must not keep the bytes. A read that leaves room in the buffer was the whole of such a file, so
// the usual second read is spared.
func (p *Proc) text(name string, parse func([]byte) error) error {
	buf := getBuffer()
	defer putBuffer(buf)
	return p.parse(name, buf, (*Proc).record, parse)
}

// list is text for files that the kernel writes record by record and returns in pieces.
func (p *Proc) list(name string, parse func([]byte) error) error {
	buf := getBuffer()
	defer putBuffer(buf)
	return p.parse(name, buf, (*Proc).contents, parse)
}

func (p *Proc) parse(name string, buf *[]byte, get func(*Proc, string, *[]byte) ([]byte, error), parse func([]byte) error) error {
	b, err := get(p, name, buf)
	if err != nil {
		return err
	}
	if err := parse(b); err != nil {
		return p.malformed(name, err)
	}
	return nil
}

// record reads a file of one record into *buf, which grows as needed.
func (p *Proc) record(name string, buf *[]byte) ([]byte, error) {
	fd, err := openat(p.dir, p.prefix+name, unix.O_RDONLY)
	if err != nil {
		return nil, p.fail("open", name, err)
	}
	defer unix.Close(fd)
	n, err := read(fd, *buf)
	if err == nil && n == len(*buf) {
		var more []byte
		more, err = readMore(fd, buf, n)
		n = len(more)
	}
	if err != nil {
		return nil, p.fail("read", name, err)
	}
	return (*buf)[:n], nil
}

// contents reads a whole file into *buf, which grows as needed.
func (p *Proc) contents(name string, buf *[]byte) ([]byte, error) {
	fd, err := openat(p.dir, p.prefix+name, unix.O_RDONLY)
	if err != nil {
		return nil, p.fail("open", name, err)
	}
	defer unix.Close(fd)
	b, err := readMore(fd, buf, 0)
	if err != nil {
		return nil, p.fail("read", name, err)
	}
	return b, nil
}

// readMore reads until the end of the file into *buf, which holds n bytes already and grows as needed.
func readMore(fd int, buf *[]byte, n int) ([]byte, error) {
	for {
		if n == len(*buf) {
			*buf = append(*buf, make([]byte, len(*buf))...)
		}
		m, err := read(fd, (*buf)[n:])
		if err != nil {
			return nil, err
		}
		if m == 0 {
			return (*buf)[:n], nil
		}
		n += m
	}
}

// bytes returns a copy of a file's contents.
func (p *Proc) bytes(name string) ([]byte, error) {
	buf := getBuffer()
	defer putBuffer(buf)
	b, err := p.contents(name, buf)
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(b)), b...), nil
}

// readlink reads a symbolic link of the directory. The kernel builds such paths in one page, so they are never longer
// than 4095 bytes.
func (p *Proc) readlink(name string) (string, error) {
	var (
		path [256]byte
		link [unix.PathMax]byte
	)
	full := p.prefix + name
	if len(full) >= len(path) {
		return "", fmt.Errorf("readlink %s: %w", p.path(name), unix.ENAMETOOLONG)
	}
	copy(path[:], full)
	n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(p.dir), uintptr(unsafe.Pointer(&path[0])),
		uintptr(unsafe.Pointer(&link[0])), uintptr(len(link)), 0, 0)
	runtime.KeepAlive(&path)
	if errno != 0 {
		return "", p.fail("readlink", name, errno)
	}
	return string(link[:n]), nil
}

// isMissing says that the file is not there while the process is.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrGone)
}
