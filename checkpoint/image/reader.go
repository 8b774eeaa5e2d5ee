// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// imageVersion is CRTOOLS_IMAGES_V1_1, the only one that CRIU since 2.0 writes.
const imageVersion = 2

// maxParents bounds the chain of pre-dumps below a dump; each costs a descriptor and a stack frame.
// CRIU has no limit of its own.
const maxParents = 1024

// Reader reads the images of one directory. Its methods may be called from several goroutines.
type Reader struct {
	path string
	dir  *os.File
	inv  *inventory.InventoryEntry
	sums sums // nil: the directory has none, or they are ignored

	mu     sync.Mutex
	parent *Reader // opened on first use
	child  *Reader // whose `parent` link led here; nil for what Open opened
	depth  int     // how many links that were
}

// Open opens a directory of images. It fails with [ErrIncomplete] if the dump never finished, with
// [ErrCorrupt] or [ErrVersion] if its inventory or checksums can't be used. The caller must Close
// the Reader.
func Open(dir string) (*Reader, error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("images directory: %w", err)
	}
	return open(d, dir, nil)
}

// open takes over d, on failure as well. child is the directory whose `parent` link led here.
func open(d *os.File, path string, child *Reader) (*Reader, error) {
	r := &Reader{path: path, dir: d, child: child}
	if child != nil {
		r.depth = child.depth + 1
	}
	if err := r.load(); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("images directory %s: %w", path, err)
	}
	return r, nil
}

func (r *Reader) load() error {
	if err := r.loadSums(); err != nil {
		return err
	}
	inv, err := r.loadInventory()
	r.inv = inv
	return err
}

func (r *Reader) loadSums() error {
	data, err := r.whole(SumsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.sums, err = decodeSums(data)
	return err
}

func (r *Reader) loadInventory() (*inventory.InventoryEntry, error) {
	var inv inventory.InventoryEntry
	if err := r.one(inventoryName, &inv); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it has no %s, which a dump writes last", ErrIncomplete, inventoryName)
	} else if err != nil {
		return nil, err
	}
	if v := inv.GetImgVersion(); v != imageVersion {
		return nil, fmt.Errorf("%w: %d, want %d", ErrVersion, v, imageVersion)
	}
	return &inv, nil
}

// Close releases the directory.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	if r.parent != nil {
		err = r.parent.Close()
		r.parent = nil
	}
	return errors.Join(err, r.dir.Close())
}

// Path is the directory as it was given to Open.
func (r *Reader) Path() string { return r.path }

// Summed tells whether the directory has checksums, which the Reader then checks.
func (r *Reader) Summed() bool { return r.sums != nil }

// IgnoreSums reads on without checksums, for images that were changed on purpose. Call it before
// anything is read.
func (r *Reader) IgnoreSums() { r.sums = nil }

// Inventory is the contents of inventory.img. It must not be changed.
func (r *Reader) Inventory() *inventory.InventoryEntry { return r.inv }

// Names lists the files of the directory, sorted, whatever they are. An unreadable directory has
// none.
func (r *Reader) Names() []string {
	names, _ := r.list()
	return names
}

func (r *Reader) list() ([]string, error) {
	// A description of its own: r.dir has one position for all goroutines.
	fd, err := openat(int(r.dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("images directory %s: %w", r.path, err)
	}
	d := os.NewFile(uintptr(fd), r.path)
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Has tells whether a regular file of this name exists.
func (r *Reader) Has(name string) bool {
	var st unix.Stat_t
	return validName(name) && unix.Fstatat(int(r.dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		st.Mode&unix.S_IFMT == unix.S_IFREG
}

// CheckLengths looks whether all files that the checksums know are there with their lengths, also those that a restore has
// no use for: a directory of which a copy was cut short is not to be trusted. It reads nothing of them. The error wraps
// [ErrCorrupt]. Without checksums there is nothing to compare with.
func (r *Reader) CheckLengths() error {
	for _, name := range slices.Sorted(maps.Keys(r.sums)) {
		want := r.sums[name]
		if want.Skip || want.Link || unsummed(name) {
			continue
		}
		var st unix.Stat_t
		err := unix.Fstatat(int(r.dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		switch {
		case errors.Is(err, unix.ENOENT):
			err = corrupt(name, -1, "missing, %s lists it", SumsName)
		case err != nil:
			err = &fs.PathError{Op: "stat", Path: filepath.Join(r.path, name), Err: err}
		case st.Size != want.Size || st.Mode&unix.S_IFMT != unix.S_IFREG:
			err = corrupt(name, -1, "it has %d bytes, %s says %d", st.Size, SumsName, want.Size)
		}
		if err != nil {
			return fmt.Errorf("images directory %s: %w", r.path, err)
		}
	}
	return nil
}

// Size returns the length of a file in bytes.
func (r *Reader) Size(name string) (int64, error) {
	f, size, err := r.open(name)
	if err != nil {
		return 0, err
	}
	return size, f.Close()
}

// Raw opens a file for reading. Its checksums are not checked, which for memory would cost as much as
// reading it: see [Verify]. The caller closes it.
func (r *Reader) Raw(name string) (*os.File, error) {
	f, _, err := r.open(name)
	return f, err
}

// open opens a regular file of the directory itself and returns its length.
func (r *Reader) open(name string) (*os.File, int64, error) {
	path := filepath.Join(r.path, name)
	if !validName(name) {
		return nil, 0, &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
	}
	// O_NONBLOCK: a FIFO of that name must not hang us before we see what it is.
	fd, err := openat(int(r.dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, 0, corrupt(name, -1, "a symbolic link, not a regular file")
	}
	if err != nil {
		return nil, 0, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return nil, 0, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(fd)
		return nil, 0, corrupt(name, -1, "not a regular file")
	}
	return os.NewFile(uintptr(fd), path), st.Size, nil
}

// openChecked opens a file for reading from its start, through its checksums if there are any.
func (r *Reader) openChecked(name string) (*imageReader, io.Closer, error) {
	f, size, err := r.open(name)
	if err != nil {
		return nil, nil, err
	}
	blocks := newBlockReader(name, f, size)
	if r.sums != nil {
		want, ok := r.sums[name]
		if !ok && !unsummed(name) {
			_ = f.Close()
			return nil, nil, corrupt(name, -1, "%s does not list it", SumsName)
		}
		if ok && (want.Link || want.Skip || want.Size != size) {
			_ = f.Close()
			return nil, nil, corrupt(name, -1, "it has %d bytes, %s says %d", size, SumsName, want.Size)
		}
		if ok {
			blocks.want = want.Blocks
		}
	}
	return &imageReader{name: name, in: blocks, size: size}, f, nil
}

// whole reads a file without checksums into memory.
func (r *Reader) whole(name string) ([]byte, error) {
	f, size, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxMessage {
		return nil, corrupt(name, -1, "%d bytes are too many", size)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, corrupt(name, -1, "shorter than it was: %v", err)
	}
	return data, nil
}

// One reads an image that has exactly one entry. It fails with fs.ErrNotExist if the image is missing
// and with [ErrCorrupt] if it can't be right.
func (r *Reader) One(name string, m proto.Message) error {
	if err := r.one(name, m); err != nil {
		return fmt.Errorf("images directory %s: %w", r.path, err)
	}
	return nil
}

func (r *Reader) one(name string, m proto.Message) error {
	n := 0
	err := r.each(name, func(int) proto.Message { return m }, func(proto.Message, io.Reader) error {
		if n++; n > 1 {
			return corrupt(name, -1, "more than one entry")
		}
		return nil
	})
	if err == nil && n == 0 {
		err = corrupt(name, -1, "no entry")
	}
	return err
}

// Each reads the entries of an image in their order. newMsg makes the message for the next one; nil
// takes the kind's own (see [Kinds]). payload reads what [Payload] says follows the entry and is
// valid during the call only; what fn leaves of it is skipped. An error of fn ends the reading and
// is returned as it is.
func (r *Reader) Each(name string, newMsg func() proto.Message, fn func(m proto.Message, payload io.Reader) error) error {
	var next func(int) proto.Message
	if newMsg != nil {
		next = func(int) proto.Message { return newMsg() }
	}
	var own error
	err := r.each(name, next, func(m proto.Message, payload io.Reader) error {
		own = fn(m, payload)
		return own
	})
	if err != nil && own == nil {
		return fmt.Errorf("images directory %s: %w", r.path, err)
	}
	return err
}

func (r *Reader) each(name string, newMsg func(int) proto.Message, fn func(proto.Message, io.Reader) error) error {
	k, err := imageKind(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if newMsg == nil {
		newMsg = k.New
	}
	in, c, err := r.openChecked(name)
	if err != nil {
		return err
	}
	defer c.Close()
	return in.each(k, newMsg, fn)
}

// Extra reads a file of our own, which [Writer.Extra] wrote.
func (r *Reader) Extra(name string, v any) error {
	in, c, err := r.openChecked(name)
	if err != nil {
		return err
	}
	defer c.Close()
	if in.size > maxMessage {
		return corrupt(name, -1, "%d bytes are too many", in.size)
	}
	data := make([]byte, in.size)
	if _, err := io.ReadFull(in.in, data); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return corrupt(name, -1, "%v", err)
	}
	return nil
}

// unsummed tells whether a file may be in a directory without a line in its sums: everything that no
// reader of images would take for one. A restore, a container runtime, a log or a pid file of any name, -W
// with the same directory add such files afterwards, and a dump that was killed after its inventory
// was in place leaves some.
func unsummed(name string) bool {
	if name == SumsName || name == sumsTemp || isStats(strings.TrimSuffix(name, tempSuffix)) {
		return true
	}
	_, _, known := KindOf(name)
	return !known && !strings.Contains(name, ".img") && !strings.HasPrefix(name, ownPrefix) && name != parentName
}
