// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"golang.org/x/sys/unix"
)

// Finish completes the checkpoint: checksums of the raw images, the sums file, then inventory.img
// under a temporary name that becomes its own. It fails, and the directory stays incomplete, if
// any earlier call failed. Nothing is flushed to the disk: after a power failure [Verify] tells.
func (w *Writer) Finish(inv *inventory.InventoryEntry) error {
	w.mu.Lock()
	err, finished, closed := w.err, w.finished, w.closed
	w.mu.Unlock()
	switch {
	case err != nil:
		return fmt.Errorf("checkpoint can't be completed: %w", err)
	case closed || finished:
		return fmt.Errorf("finish %s: %w", w.path, fs.ErrClosed)
	}
	if err := w.sumRaws(); err != nil {
		return err
	}
	k, err := imageKind(inventoryName)
	if err != nil {
		return w.fail(inventoryName, err)
	}
	data, err := appendEntry(k.header(), inv)
	if err != nil {
		return w.fail(inventoryName, err)
	}
	if err := w.finishAncestors(data); err != nil {
		return err
	}
	if err := w.sumOthers(); err != nil {
		return err
	}
	w.record(sumBytes(inventoryName, data))
	if err := w.writeSums(); err != nil {
		return err
	}
	if err := w.replace(inventoryName, inventoryTemp, data); err != nil {
		return err
	}
	w.mu.Lock()
	w.finished = true
	w.mu.Unlock()
	return nil
}

func (w *Writer) sumRaws() error {
	w.mu.Lock()
	raws := w.raws
	w.raws = map[string]*rawFile{}
	w.mu.Unlock()
	for _, r := range raws {
		r.settle()
		s, err := r.finish()
		if err != nil {
			_ = w.fail(r.name, fmt.Errorf("checksums: %w", err))
			continue
		}
		w.record(s)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range w.written {
		if _, ok := w.sums[name]; !ok && w.err == nil {
			w.err = fmt.Errorf("write %s: it was not closed", filepath.Join(w.path, name))
		}
	}
	return w.err
}

// sumOthers records what else is in the directory: where the link to the previous pre-dump points, and
// the names of files that are none of ours, such as the log.
func (w *Writer) sumOthers() error {
	fd, err := openat(w.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return w.fail("", err)
	}
	d := os.NewFile(uintptr(fd), w.path)
	names, err := d.Readdirnames(-1)
	_ = d.Close()
	if err != nil {
		return w.fail("", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range names {
		if _, ok := w.sums[name]; ok {
			continue
		}
		f := fileSum{Name: name, Skip: true}
		if name == parentName {
			if target, err := readlinkat(w.fd(), name); err == nil {
				f = fileSum{Name: name, Link: true, Target: target}
			}
		}
		w.sums[name] = f
	}
	return nil
}

func readlinkat(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

func (w *Writer) writeSums() error {
	w.mu.Lock()
	data := w.sums.encode()
	w.mu.Unlock()
	return w.replace(SumsName, sumsTemp, data)
}

// replace writes data to temp, which then takes the place of name in one step.
func (w *Writer) replace(name, temp string, data []byte) error {
	fd, err := openat(w.fd(), temp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW, filePerm)
	if err != nil {
		return w.fail(temp, err)
	}
	w.mu.Lock()
	w.written = append(w.written, temp, name)
	w.mu.Unlock()
	f := os.NewFile(uintptr(fd), filepath.Join(w.path, temp))
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = unix.Renameat(w.fd(), temp, w.fd(), name)
	}
	if err != nil {
		return w.fail(name, err)
	}
	return nil
}

// Abort removes everything that this Writer wrote, a finished checkpoint included, and closes it.
// After Close it does nothing.
func (w *Writer) Abort() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	var errs []error
	// Newest first: inventory.img, which makes a directory complete, goes before the rest.
	for i := len(w.written) - 1; i >= 0; i-- {
		err := unix.Unlinkat(w.fd(), w.written[i], 0)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("remove %s: %w", filepath.Join(w.path, w.written[i]), err))
		}
	}
	errs = append(errs, w.removeAncestors(), w.release())
	return errors.Join(errs...)
}

// Close gives the directory back. A checkpoint that is not finished is removed as by Abort, so
// that `defer w.Close()` is right on every path.
func (w *Writer) Close() error {
	w.mu.Lock()
	finished := w.finished
	w.mu.Unlock()
	if !finished {
		return w.Abort()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.release()
}

// release needs the lock held.
func (w *Writer) release() error {
	if w.closed {
		return nil
	}
	w.closed = true
	for _, r := range w.raws {
		r.close()
	}
	w.raws = nil
	for _, f := range w.streams {
		_ = f.Close() // of a dump that failed: what is in it does not matter
	}
	w.streams = nil
	w.closeAncestors()
	return w.dir.Close()
}
