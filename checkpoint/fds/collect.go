// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/procfs"
)

// Collector reads the descriptors of a tree and writes their images. It is for one goroutine. Its methods leave the
// targets as they are.
type Collector struct {
	w    *image.Writer // nil in a Precheck
	opts Options

	entries []*fdinfo.FileEntry
	known   identities
	paths   map[pathKey]uint32
	states  states
	extra   extra
	lastID  uint32
	tables  uint32
	indexes []*tableIndex
	settled bool
	pidfds  map[*Task]int
	held    []int // duplicates to close at the end
	undo    []func()
	verbose bool // opts.Log wants every descriptor
}

// tableIndex is a table that has been collected: the file of each number, and the numbers in order.
type tableIndex struct {
	task  *Task
	ids   map[uint32]uint32
	order []uint32
}

func (t *tableIndex) has(id uint32) bool {
	for _, v := range t.ids {
		if v == id {
			return true
		}
	}
	return false
}

// pathKey tells files apart that are no descriptors: one entry serves all maps of a file.
type pathKey struct {
	dev, ino uint64
	path     string
}

// NewCollector starts a collection that will be written with w. o may be nil.
func NewCollector(w *image.Writer, o *Options) *Collector {
	c := &Collector{
		w: w, known: identities{}, paths: map[pathKey]uint32{}, states: states{}, pidfds: map[*Task]int{},
		// CRIU numbers tables from 2 on: 1 stands for the engine's own.
		tables: 1,
	}
	if o != nil {
		c.opts = *o
		c.verbose = w != nil && o.Log != nil && o.Log.Enabled(context.Background(), slog.LevelDebug)
	}
	return c
}

// Precheck looks for descriptors that could not be carried, while the tasks may be running. Those that come and go
// meanwhile are ignored. It returns the first refusal, which wraps [ErrUnsupported].
func Precheck(tasks []*Task, o *Options) error {
	c := NewCollector(nil, o)
	defer c.Close()
	for _, t := range tasks {
		if _, err := c.Collect(t); errors.Is(err, ErrUnsupported) {
			return err
		}
	}
	if err := c.Settle(); errors.Is(err, ErrUnsupported) {
		return err
	}
	return nil
}

// Collect reads the descriptor table of a task and returns its number, that of fdinfo-N.img and of files_id in
// ids-PID.img. Tasks that share a table (CLONE_FILES) must be collected once. An object that can't be carried gives an
// error that wraps [ErrUnsupported].
func (c *Collector) Collect(t *Task) (uint32, error) {
	numbers, err := t.Proc.FDs(nil)
	if err != nil {
		return 0, fmt.Errorf("%s: descriptors: %w", t, err)
	}
	c.tables++
	index := &tableIndex{task: t, ids: make(map[uint32]uint32, len(numbers))}
	c.indexes = append(c.indexes, index)
	id := c.tables
	table := make([]proto.Message, 0, len(numbers))
	next, stop := readAhead(t, numbers)
	defer stop()
	for _, n := range numbers {
		seen := next()
		e, err := c.descriptor(t, n, seen)
		if err != nil {
			if c.w == nil && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EBADF)) {
				continue // Precheck of a running task: closed since it was listed
			}
			return 0, err
		}
		if e != nil {
			if c.verbose {
				c.opts.Log.Debug("descriptor", "pid", t.Pid, "fd", n, "is", seen.link, "kind", e.GetType(), "file", e.GetId())
			}
			table = append(table, e)
			index.ids[e.GetFd()] = e.GetId()
			index.order = append(index.order, e.GetFd())
		}
	}
	if c.w == nil {
		return id, nil
	}
	return id, c.w.Put("fdinfo-"+strconv.FormatUint(uint64(id), 10)+".img", table...)
}

// descriptor makes the entry of one descriptor, nil if the descriptor is to be left out.
func (c *Collector) descriptor(t *Task, n int, seen procEntry) (*fdinfo.FdinfoEntry, error) {
	if seen.err != nil {
		return nil, fmt.Errorf("%s: fd %d: %w", t, n, seen.err)
	}
	o := &object{task: t, fd: n, where: "fd " + strconv.Itoa(n), local: -1, link: seen.link, info: seen.info}
	var err error
	pidfd, err := c.pidfd(t)
	if err != nil {
		return nil, err
	}
	if o.local, err = unix.PidfdGetfd(pidfd, n, 0); err != nil {
		return nil, o.fail("pidfd_getfd", err)
	}
	defer c.release(o)
	if err := unix.Fstat(o.local, &o.st); err != nil {
		return nil, o.fail("fstat", err)
	}
	e, err := c.file(o, t.Pid, n)
	if err != nil || e == nil {
		return nil, err
	}
	if err := c.locks(o, e.GetId()); err != nil {
		return nil, err
	}
	var flags uint32
	if o.info.Flags&unix.O_CLOEXEC != 0 {
		flags = unix.FD_CLOEXEC
	}
	return &fdinfo.FdinfoEntry{
		Id: proto.Uint32(e.GetId()), Flags: proto.Uint32(flags), Type: e.GetType().Enum(), Fd: proto.Uint32(uint32(n)),
	}, nil
}

// file finds the entry of the open file that pid has as number fd (for kcmp), and makes it if it is new.
func (c *Collector) file(o *object, pid, fd int) (*fdinfo.FileEntry, error) {
	at, e, err := c.known.find(o, pid, fd)
	if err != nil || e != nil {
		return e, err
	}
	k := kindOf(o)
	if k == nil {
		return nil, refuseUnknown(o)
	}
	o.id = c.nextID()
	if e, err = k.dump(c, o); err != nil {
		return nil, err
	}
	c.known.insert(o, at, identity{pid: pid, fd: fd, entry: e})
	c.entries = append(c.entries, e)
	return e, nil
}

func (c *Collector) nextID() uint32 {
	c.lastID++
	return c.lastID
}

func (c *Collector) release(o *object) {
	if o.local < 0 {
		return
	}
	if o.held {
		c.held = append(c.held, o.local)
		return
	}
	_ = unix.Close(o.local)
	o.local = -1
}

func (c *Collector) pidfd(t *Task) (int, error) {
	if t.Pidfd > 0 {
		return t.Pidfd, nil
	}
	if fd, ok := c.pidfds[t]; ok {
		return fd, nil
	}
	fd, err := unix.PidfdOpen(t.Pid, 0)
	if err != nil {
		return -1, fmt.Errorf("%s: pidfd_open: %w", t, err)
	}
	c.pidfds[t] = fd
	return fd, nil
}

// Mapped returns the id of the file behind a mapping of a task, for the shmid field of its VMA entry. All mappings of a
// file share one entry.
func (c *Collector) Mapped(t *Task, v *procfs.VMA) (uint32, error) {
	o := &object{
		task: t, fd: -1, local: -1, link: v.Path,
		where: "the file of mapping " + strconv.FormatUint(v.Start, 16) + "-" + strconv.FormatUint(v.End, 16),
	}
	key := pathKey{v.Dev, v.Inode, v.Path}
	if id, ok := c.paths[key]; ok {
		return id, nil
	}
	link, err := t.Proc.MapLink(v.Start, v.End)
	if err != nil {
		return 0, fmt.Errorf("%s: %s (%s): %w", t, o.where, v.Path, err)
	}
	o.link = link
	o.local, err = t.Proc.MapFile(v.Start, v.End, unix.O_PATH)
	if err != nil {
		return 0, fmt.Errorf("%s: %s (%s): %w", t, o.where, v.Path, err)
	}
	return c.named(o, key)
}

// Link returns the id of the file behind one of the links of /proc/PID: "exe", "cwd" or "root".
func (c *Collector) Link(t *Task, name string) (uint32, error) {
	o := &object{task: t, fd: -1, local: -1, where: "its " + name}
	var err error
	switch name {
	case "exe":
		o.link, err = t.Proc.Exe()
	case "cwd":
		o.link, err = t.Proc.Cwd()
	case "root":
		o.link, err = t.Proc.Root()
	default:
		err = fmt.Errorf("link %s: %w", name, fs.ErrInvalid)
	}
	if err == nil {
		o.local, err = t.Proc.OpenFile(name, unix.O_PATH)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t, err)
	}
	return c.named(o, pathKey{})
}

// named makes or finds the entry of a file that is no descriptor.
func (c *Collector) named(o *object, alias pathKey) (uint32, error) {
	defer c.release(o)
	if err := unix.Fstat(o.local, &o.st); err != nil {
		return 0, o.fail("fstat", err)
	}
	key := pathKey{o.st.Dev, o.st.Ino, o.link}
	id, ok := c.paths[key]
	if !ok {
		// The flags with which a mapping needs its file are in the VMA entry.
		o.info = &procfs.FDInfo{}
		if o.format() == unix.S_IFDIR {
			o.info.Flags = unix.O_DIRECTORY
		}
		k := kindOf(o)
		if k == nil {
			return 0, refuseUnknown(o)
		}
		o.id = c.nextID()
		e, err := k.dump(c, o)
		if err != nil {
			return 0, err
		}
		if reg := e.GetReg(); reg != nil && c.w != nil && o.format() == unix.S_IFREG && o.st.Nlink > 0 {
			if reg.BuildId, err = c.buildID(o); err != nil {
				return 0, o.fail("build ID", err)
			}
		}
		c.entries = append(c.entries, e)
		id = o.id
		c.paths[key] = id
	}
	if alias != (pathKey{}) {
		c.paths[alias] = id
	}
	return id, nil
}

// buildID reads the build ID of a file that a task has mapped or runs, if the options ask for it and the file can be read.
func (c *Collector) buildID(o *object) ([]uint32, error) {
	if c.opts.SizeOnly {
		return nil, nil
	}
	fd, err := reopen(o.local, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, nil // its size alone tells then
	}
	defer unix.Close(fd)
	id, err := buildID(fd)
	return imageBuildID(id), err
}

// Settle looks for open files in the queues of sockets, and refuses what can only be told when all tables have been
// collected: a socket whose peer is nobody's, say. Finish does it too if it was not called.
func (c *Collector) Settle() error {
	if c.settled {
		return nil
	}
	c.settled = true
	for _, k := range kinds {
		if k.scan == nil || c.w == nil {
			continue
		}
		if err := k.scan(c); err != nil {
			return err
		}
	}
	for _, k := range kinds {
		if k.settle == nil {
			continue
		}
		if err := k.settle(c); err != nil {
			return err
		}
	}
	return nil
}

// Finish writes what the objects hold and files.img. The tasks must still be stopped. A Precheck's collector writes nothing.
func (c *Collector) Finish() error {
	if c.w == nil {
		return nil
	}
	if err := c.Settle(); err != nil {
		return err
	}
	for _, k := range kinds {
		if k.flush != nil {
			if err := k.flush(c); err != nil {
				return err
			}
		}
	}
	if err := c.writeLocks(); err != nil {
		return err
	}
	msgs := make([]proto.Message, len(c.entries))
	for i, e := range c.entries {
		msgs[i] = e
	}
	if err := c.w.Put("files.img", msgs...); err != nil {
		return err
	}
	if err := c.extra.write(c.w); err != nil {
		return err
	}
	c.undo = nil
	return nil
}

// Close gives all descriptors back. What a dump that did not reach the end of Finish put into the file system (see
// [Options].LinkRemap) is removed.
func (c *Collector) Close() {
	for _, fd := range c.held {
		_ = unix.Close(fd)
	}
	for _, fd := range c.pidfds {
		_ = unix.Close(fd)
	}
	c.held, c.pidfds = nil, map[*Task]int{}
	for _, f := range slices.Backward(c.undo) {
		f()
	}
	c.undo = nil
}

// reopen opens the file behind a descriptor of the engine anew, so that its position is its own. The kernel adds
// O_LARGEFILE, which shows in a program's F_GETFL.
func reopen(fd, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(uint32(flags | unix.O_CLOEXEC))}
	for {
		n, err := unix.Openat2(unix.AT_FDCWD, "/proc/thread-self/fd/"+strconv.Itoa(fd), &how)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// reopenFile is reopen for reading, as an os.File.
func reopenFile(fd int) (*os.File, error) {
	n, err := reopen(fd, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(n), "file"), nil
}
