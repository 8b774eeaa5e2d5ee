// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// The build ID of an ELF file (elf(5), .note.gnu.build-id): programs and libraries that the tree has mapped must be the same
// ones when their maps are made again.

const (
	elfNote      = 4 // PT_NOTE
	gnuBuildID   = 3 // NT_GNU_BUILD_ID
	mostHeaders  = 128
	longestNotes = 64 << 10
	longestID    = 64
	behindNotes  = 256 // bytes
)

// buildID reads the build ID from the program headers of a 64-bit ELF file; nil if it has none or is no such file. fd must be
// open for reading.
//
//	ELF header                           program header, 56 bytes         note
//	+0  7f 45 4c 46, class 2, data 1     +0  u32 type                     +0 u32 length of the name
//	+32 u64 offset of program headers    +8  u64 offset                   +4 u32 length of the contents
//	+54 u16 size of one                  +32 u64 size in the file         +8 u32 type
//	+56 u16 how many                                                      +12 name, contents, each padded to 4
func buildID(fd int) ([]byte, error) {
	le := binary.LittleEndian
	var head [64]byte
	if ok, err := readAt(fd, head[:], 0); !ok {
		return nil, err
	}
	if !bytes.Equal(head[:6], []byte("\x7fELF\x02\x01")) {
		return nil, nil
	}
	at, size, n := le.Uint64(head[32:]), int(le.Uint16(head[54:])), int(le.Uint16(head[56:]))
	if size < 56 || size > 256 || n > mostHeaders || at > math.MaxInt64-1<<20 {
		return nil, nil
	}
	headers := make([]byte, n*size)
	if ok, err := readAt(fd, headers, int64(at)); !ok {
		return nil, err
	}
	for ; len(headers) > 0; headers = headers[size:] {
		off, length := le.Uint64(headers[8:]), le.Uint64(headers[32:])
		if le.Uint32(headers) != elfNote || length > longestNotes || off > math.MaxInt64-longestNotes {
			continue
		}
		// Go's linker puts the note with the build ID behind that segment, and CRIU finds it there.
		notes := make([]byte, length+behindNotes)
		n, err := readAtMost(fd, notes, int64(off))
		if err != nil {
			return nil, err
		}
		notes = notes[:n]
		if id := noteBuildID(notes); id != nil {
			return id, nil
		}
	}
	return nil, nil
}

func noteBuildID(b []byte) []byte {
	le := binary.LittleEndian
	for len(b) >= 12 {
		name, size, typ := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		b = b[12:]
		padded := (name+3)&^3 + (size+3)&^3
		contents := (name + 3) &^ 3
		if contents+size > uint64(len(b)) {
			return nil
		}
		if typ == gnuBuildID && string(b[:name]) == "GNU\x00" && size > 0 && size <= longestID {
			return b[contents : contents+size]
		}
		b = b[min(padded, uint64(len(b))):]
	}
	return nil
}

// readAt fills b; ok is false if the file is too short.
func readAt(fd int, b []byte, off int64) (ok bool, err error) {
	n, err := readAtMost(fd, b, off)
	return n == len(b), err
}

// readAtMost reads until b is full or the file ends.
func readAtMost(fd int, b []byte, off int64) (n int, err error) {
	for n < len(b) {
		m, err := unix.Pread(fd, b[n:], off+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return n, fmt.Errorf("read: %w", err)
		case m == 0:
			return n, nil
		default:
			n += m
		}
	}
	return n, nil
}

// imageBuildID is how images have it: words of 32 bits in little-endian order, the last padded with zeros.
func imageBuildID(id []byte) []uint32 {
	var words []uint32
	for len(id) > 0 {
		var w [4]byte
		id = id[copy(w[:], id):]
		words = append(words, binary.LittleEndian.Uint32(w[:]))
	}
	return words
}
