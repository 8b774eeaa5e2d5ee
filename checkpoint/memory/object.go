// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// CopyObject writes what a shared memory object (shared anonymous memory, a memfd, a SysV segment) holds in its first
// limit bytes to the end of out, and calls fn with each range of pages, as offsets into the object. Holes are left out.
func CopyObject(obj *os.File, limit int64, out *os.File, fn func(start, end uint64) error) error {
	limit = (limit + int64(PageSize) - 1) &^ int64(PageSize-1)
	buf := make([]byte, min(copySize, limit))
	for at := int64(0); at < limit; {
		start, err := obj.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // nothing but a hole up to the end
		}
		if err != nil {
			return fmt.Errorf("%s: looking for data from %d on: %w", obj.Name(), at, err)
		}
		end, err := obj.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return fmt.Errorf("%s: looking for a hole from %d on: %w", obj.Name(), start, err)
		}
		start &^= int64(PageSize - 1)
		end = min((end+int64(PageSize)-1)&^int64(PageSize-1), limit)
		if start >= end {
			return nil
		}
		for pos := start; pos < end; {
			b := buf[:min(int64(len(buf)), end-pos)]
			n, err := obj.ReadAt(b, pos)
			if err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("%s: reading at %d: %w", obj.Name(), pos, err)
			}
			clear(b[n:]) // behind the end of the object, in its last page
			if _, err := out.Write(b); err != nil {
				return err
			}
			pos += int64(len(b))
		}
		if err := fn(uint64(start), uint64(end)); err != nil {
			return err
		}
		at = end
	}
	return nil
}
