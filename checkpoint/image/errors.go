// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
)

var (
	// ErrIncomplete: the directory holds no inventory.img, so the dump that wrote it never finished.
	ErrIncomplete = errors.New("image directory is incomplete")
	// ErrCorrupt: a file's contents can't be what a dump wrote. The error that wraps it is a
	// [*CorruptError] and names file and offset.
	ErrCorrupt = errors.New("image is corrupt")
	// ErrExists: the directory already holds a complete checkpoint.
	ErrExists = errors.New("directory already holds a complete checkpoint")
	// ErrBusy: another Writer holds the directory.
	ErrBusy = errors.New("another dump is writing to this directory")
	// ErrVersion: the images are of a version that this package does not read.
	ErrVersion = errors.New("image version is not supported")
)

// CorruptError says where an image is damaged. It wraps [ErrCorrupt].
type CorruptError struct {
	File   string // name within the directory
	Offset int64  // byte offset in the file at which reading failed, -1 if the file as a whole is meant
	Reason string
}

func (e *CorruptError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s: %v: %s", e.File, ErrCorrupt, e.Reason)
	}
	return fmt.Sprintf("%s: offset %d: %v: %s", e.File, e.Offset, ErrCorrupt, e.Reason)
}

// Unwrap makes errors.Is(err, ErrCorrupt) hold.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

func corrupt(file string, off int64, format string, args ...any) error {
	return &CorruptError{File: file, Offset: off, Reason: fmt.Sprintf(format, args...)}
}
