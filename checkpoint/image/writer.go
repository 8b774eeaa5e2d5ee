// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

const (
	inventoryName = "inventory.img"
	// tempSuffix marks what becomes a file in one step, when it is whole.
	tempSuffix    = ".tmp"
	inventoryTemp = inventoryName + tempSuffix
	sumsTemp      = SumsName + tempSuffix
	parentName    = "parent"
	ownPrefix     = "trapline-" // files of ours beside CRIU's

	// Memory and keys of the dumped processes are nobody else's business.
	filePerm = 0o600
)

// Writer writes the images of one dump into a directory. Its methods may be called from several
// goroutines. After a method failed [Writer.Finish] fails as well, so a directory can't become
// complete with something missing.
//
//	w, err := image.Create(dir)
//	defer w.Close()
//	…
//	err = w.Finish(inv)
type Writer struct {
	path  string
	dir   *os.File
	dirfd int // of dir

	mu       sync.Mutex
	sums     sums
	raws     map[string]*rawFile
	streams  map[*Stream]*os.File // not closed yet
	written  []string             // in order, for Abort
	cow      []*ancestors         // directories for pages shared copy-on-write
	err      error                // the first that happened
	finished bool
	closed   bool
}

// Create starts a dump into dir, which must exist and be writable. It fails with [ErrExists] if dir
// holds a complete checkpoint and with [ErrBusy] if another Writer is at work in it. Images of a
// dump that never finished are removed.
func Create(dir string) (*Writer, error) {
	return create(dir, false)
}

// CreateAnew is Create for a directory that may hold a complete checkpoint, which is removed.
func CreateAnew(dir string) (*Writer, error) { return create(dir, true) }

func create(dir string, anew bool) (*Writer, error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: make it first", err)
	}
	if err != nil {
		return nil, fmt.Errorf("images directory: %w", err)
	}
	w := &Writer{path: dir, dir: d, dirfd: int(d.Fd()), sums: sums{}, raws: map[string]*rawFile{}, streams: map[*Stream]*os.File{}}
	if err := w.claim(anew); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("images directory %s: %w", dir, err)
	}
	return w, nil
}

// fd is the directory. Use it only while dir is open.
func (w *Writer) fd() int { return w.dirfd }

// claim checks and locks the directory and removes what an unfinished dump left.
func (w *Writer) claim(anew bool) error {
	if err := unix.Faccessat(w.fd(), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("can't be written: %w", err)
	}
	// Some network file systems can't lock directories; the lock only guards against mistakes.
	if err := unix.Flock(w.fd(), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return ErrBusy
	}
	entries, err := w.dir.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == inventoryName {
			if !anew {
				return fmt.Errorf("%w: empty it, or give another", ErrExists)
			}
			// It goes first: without it the rest is that of a dump that never finished.
			if err := unix.Unlinkat(w.fd(), inventoryName, 0); err != nil {
				return fmt.Errorf("%s of the checkpoint before: %w", inventoryName, err)
			}
		}
	}
	if err := w.removeAncestors(); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && isImageName(e.Name()) && e.Name() != inventoryName {
			if err := unix.Unlinkat(w.fd(), e.Name(), 0); err != nil {
				return fmt.Errorf("%s of an unfinished dump: %w", e.Name(), err)
			}
		}
	}
	return nil
}

// isImageName tells whether a dump may have written a file of this name.
func isImageName(name string) bool {
	if _, _, ok := KindOf(name); ok {
		return true
	}
	switch name {
	case inventoryTemp, sumsTemp, SumsName:
		return true
	}
	if isStats(strings.TrimSuffix(name, tempSuffix)) {
		return true
	}
	return strings.HasPrefix(name, ownPrefix) && strings.HasSuffix(name, ".json")
}

// fail remembers the first error for Finish and returns err with the file's name.
func (w *Writer) fail(name string, err error) error {
	err = fmt.Errorf("write %s: %w", filepath.Join(w.path, name), err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	return err
}

// create makes a new file. Each name can be written once.
func (w *Writer) create(name string) (*os.File, error) {
	fd, err := w.createFD(name)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), filepath.Join(w.path, name)), nil
}

func (w *Writer) createFD(name string) (int, error) {
	if !validName(name) {
		return -1, fmt.Errorf("not a file name: %w", fs.ErrInvalid)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return -1, fs.ErrClosed
	}
	if w.finished && !isStats(name) {
		return -1, fmt.Errorf("the checkpoint is finished: %w", fs.ErrClosed)
	}
	fd, err := openat(w.fd(), name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, filePerm)
	if err != nil {
		return -1, err
	}
	w.written = append(w.written, name)
	return fd, nil
}

func openat(dir int, name string, flags int, perm uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, perm)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// put writes a whole file and takes its checksums.
func (w *Writer) put(name string, data []byte) error {
	fd, err := w.createFD(name)
	if err != nil {
		return err
	}
	err = writeFD(fd, data)
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	w.record(sumBytes(name, data))
	return nil
}

// writeFD writes all of data. An os.File costs two more system calls, which count for the thousand
// small images of a process with as many threads.
func writeFD(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data[:min(len(data), 1<<30)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return io.ErrShortWrite
		default:
			data = data[n:]
		}
	}
	return nil
}

func sumBytes(name string, data []byte) fileSum {
	var s blockSummer
	_, _ = s.Write(data)
	return s.done(name)
}

func (w *Writer) record(f fileSum) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sums[f.Name] = f
}

// imageKind is KindOf for a name that must be an image with entries.
func imageKind(name string) (*Kind, error) {
	k, _, ok := KindOf(name)
	if !ok || k.New == nil {
		return nil, fmt.Errorf("not the name of an image with entries: %w", fs.ErrInvalid)
	}
	return k, nil
}

// Put writes one whole image of the kind that its name tells, with an entry per message.
// stats-dump may be put after Finish; its checksums are then added to those on disk.
func (w *Writer) Put(name string, msgs ...proto.Message) error {
	k, err := imageKind(name)
	if err != nil {
		return w.fail(name, err)
	}
	data := k.header()
	for _, m := range msgs {
		if data, err = appendEntry(data, m); err != nil {
			return w.fail(name, err)
		}
	}
	if err := w.put(name, data); err != nil {
		return w.fail(name, err)
	}
	return w.late()
}

// Extra writes a file of our own beside the images, as JSON. The name should begin with "trapline-"
// and end in ".json".
func (w *Writer) Extra(name string, v any) error {
	if !strings.HasPrefix(name, ownPrefix) || !strings.HasSuffix(name, ".json") {
		return w.fail(name, fmt.Errorf("not a name for a file of ours (%s*.json): %w", ownPrefix, fs.ErrInvalid))
	}
	data, err := json.Marshal(v)
	if err == nil {
		err = w.put(name, append(data, '\n'))
	}
	if err != nil {
		return w.fail(name, err)
	}
	return nil
}

// Raw creates a raw image (pages-N.img) and returns it open for reading and writing. The caller
// closes it, and must have written all of it before Finish, which reads it back for the checksums
// ([Writer.SumAhead] does so earlier).
func (w *Writer) Raw(name string) (*os.File, error) {
	if k, _, ok := KindOf(name); !ok || k.Header != HeaderNone {
		return nil, w.fail(name, fmt.Errorf("not the name of a raw image: %w", fs.ErrInvalid))
	}
	f, err := w.create(name)
	if err != nil {
		return nil, w.fail(name, err)
	}
	fd, err := openat(w.fd(), name, unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		_ = f.Close()
		return nil, w.fail(name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.raws[name] = &rawFile{name: name, f: os.NewFile(uintptr(fd), f.Name())}
	return f, nil
}

// SumAhead starts to take the checksums of a raw image while it is still being written, in a
// goroutine that ends at Finish, Abort or Close. The file must be written in order, from its start
// to its end.
func (w *Writer) SumAhead(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.raws[name]
	if r == nil {
		return fmt.Errorf("%s: no raw image of this dump: %w", name, fs.ErrNotExist)
	}
	if r.stop == nil {
		r.stop, r.idle = make(chan struct{}), make(chan struct{})
		go r.follow()
	}
	return nil
}
