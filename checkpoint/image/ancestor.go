// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Pages that a process has shared with its parent since fork, copy-on-write, are in the images once: the pagemap of the
// child leaves them to the parent directory, as that of an incremental dump leaves unchanged pages to the dump before.
// That directory is a part of this one,
//
//	parent -> cow-1
//	cow-1/pagemap-CHILD.img     the same file as pagemap-PARENT.img
//	cow-1/pages-N.img           that of the parent's pages
//	cow-1/inventory.img, trapline-sums
//	cow-1/parent -> ../cow-2    for what the parent in turn shares with its own
//
// so that every reader of incremental dumps finds the pages, CRIU too.
const ancestorPrefix = "cow-"

// ancestors is one such directory.
type ancestors struct {
	fd    int
	files map[string]string // name in it → name in the images directory
}

// Ancestor says that the pages which the pagemap of process pid leaves to its parent are those that process of has at the same
// addresses. Both pagemaps must have been closed, pagesID being the id of the ancestor's. generation counts from
// 1, the directory of the first; each process needs one call for every generation that its pages come from.
func (w *Writer) Ancestor(generation int, pid, of, pagesID uint32) error {
	a, err := w.ancestors(generation)
	if err != nil {
		return w.fail(ancestorPrefix+strconv.Itoa(generation), err)
	}
	for to, from := range map[string]string{
		PagemapName(pid, false): PagemapName(of, false),
		PagesName(pagesID):      PagesName(pagesID),
	} {
		if a.files[to] == from {
			continue
		}
		if err := unix.Linkat(w.fd(), from, a.fd, to, 0); err != nil {
			return w.fail(filepath.Join(ancestorPrefix+strconv.Itoa(generation), to), fmt.Errorf("link to %s: %w", from, err))
		}
		a.files[to] = from
	}
	return nil
}

// ancestors makes the directories up to a generation.
func (w *Writer) ancestors(generation int) (*ancestors, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.cow) < generation {
		n := len(w.cow) + 1
		name := ancestorPrefix + strconv.Itoa(n)
		if err := unix.Mkdirat(w.fd(), name, 0o700); err != nil {
			return nil, err
		}
		fd, err := openat(w.fd(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return nil, err
		}
		w.cow = append(w.cow, &ancestors{fd: fd, files: map[string]string{}})
		at, target := w.fd(), name
		if n > 1 {
			at, target = w.cow[n-2].fd, "../"+name
		}
		if err := unix.Symlinkat(target, at, parentName); err != nil {
			return nil, fmt.Errorf("link %s: %w", parentName, err)
		}
	}
	return w.cow[generation-1], nil
}

// finishAncestors writes the sums and the inventory of each generation; inventory is that of the whole.
func (w *Writer) finishAncestors(inventory []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, a := range w.cow {
		s := sums{inventoryName: sumBytes(inventoryName, inventory)}
		for to, from := range a.files {
			f := w.sums[from]
			f.Name = to
			s[to] = f
		}
		if i+1 < len(w.cow) {
			s[parentName] = fileSum{Name: parentName, Link: true, Target: "../" + ancestorPrefix + strconv.Itoa(i+2)}
		}
		for name, data := range map[string][]byte{SumsName: s.encode(), inventoryName: inventory} {
			if err := writeAt(a.fd, name, data); err != nil {
				return fmt.Errorf("write %s: %w", filepath.Join(w.path, ancestorPrefix+strconv.Itoa(i+1), name), err)
			}
		}
	}
	return nil
}

// writeAt makes a new file with contents.
func writeAt(dir int, name string, data []byte) error {
	fd, err := openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, filePerm)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// closeAncestors gives the directories' descriptors back.
func (w *Writer) closeAncestors() {
	for _, a := range w.cow {
		_ = unix.Close(a.fd)
	}
	w.cow = nil
}

// removeAncestors removes the directories of ancestors and the link to the first, of this dump or of one that never
// finished. What is not ours stays.
func (w *Writer) removeAncestors() error {
	target, err := readlinkat(w.fd(), parentName)
	if err != nil || target != ancestorPrefix+"1" {
		return nil
	}
	for n := 1; ; n++ {
		name := ancestorPrefix + strconv.Itoa(n)
		fd, err := openat(w.fd(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			break
		}
		d := os.NewFile(uintptr(fd), name)
		names, _ := d.Readdirnames(-1)
		for _, f := range names {
			if f == parentName || f == inventoryName || isImageName(f) {
				_ = unix.Unlinkat(fd, f, 0)
			}
		}
		_ = d.Close()
		if err := unix.Unlinkat(w.fd(), name, unix.AT_REMOVEDIR); err != nil {
			return fmt.Errorf("remove %s: %w", filepath.Join(w.path, name), err)
		}
	}
	if err := unix.Unlinkat(w.fd(), parentName, 0); err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Join(w.path, parentName), err)
	}
	return nil
}
