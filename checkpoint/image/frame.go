// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"
)

// maxMessage bounds one message, and one file that is read as a whole. The largest message in use
// is mm-PID.img, some 50 bytes a VMA, and a process has 65,530 of them by default.
const maxMessage = 128 << 20

// blockReader reads a file in blocks and checks each, if it has checksums for them, before it hands
// out a byte of it.
type blockReader struct {
	name string
	f    io.ReaderAt
	size int64
	off  int64    // of the next block
	want []uint32 // a checksum per block; nil: unchecked
	buf  []byte
	rest []byte // of buf, not handed out yet
}

func newBlockReader(name string, f io.ReaderAt, size int64) *blockReader {
	return &blockReader{name: name, f: f, size: size}
}

func (b *blockReader) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		if b.off >= b.size {
			return 0, io.EOF
		}
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *blockReader) fill() error {
	if b.buf == nil {
		b.buf = make([]byte, min(BlockSize, b.size))
	}
	buf := b.buf[:min(BlockSize, b.size-b.off)]
	if n, err := b.f.ReadAt(buf, b.off); n < len(buf) {
		if err == nil || errors.Is(err, io.EOF) {
			return corrupt(b.name, b.off+int64(n), "shorter than it was when it was opened")
		}
		return fmt.Errorf("%s: %w", b.name, err)
	}
	if b.want != nil {
		if got, want := crc32.Checksum(buf, castagnoli()), b.want[b.off/BlockSize]; got != want {
			return corrupt(b.name, b.off, "checksum of this block is %08x, %s says %08x", got, SumsName, want)
		}
	}
	b.off += int64(len(buf))
	b.rest = buf
	return nil
}

// imageReader walks through header and entries of one image.
type imageReader struct {
	name string
	in   *blockReader
	size int64
	off  int64 // of the next byte
	buf  []byte
}

// read fills p.
func (r *imageReader) read(p []byte, what string) error {
	if int64(len(p)) > r.size-r.off {
		return corrupt(r.name, r.off, "file ends in the %s", what)
	}
	n, err := io.ReadFull(r.in, p)
	r.off += int64(n)
	return err
}

// each calls fn for every entry of an image of kind k.
func (r *imageReader) each(k *Kind, newMsg func(int) proto.Message, fn func(proto.Message, io.Reader) error) error {
	want := k.header()
	got := make([]byte, len(want))
	if err := r.read(got, "header"); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return corrupt(r.name, 0, "header is % x, want % x (%s)", got, want, k.Magic)
	}
	for i := 0; r.off < r.size; i++ {
		m := newMsg(i)
		if m == nil {
			return corrupt(r.name, r.off, "unexpected entry")
		}
		if err := r.message(m); err != nil {
			return err
		}
		n := Payload(m)
		if n == PayloadRest {
			n = r.size - r.off
		}
		if n > r.size-r.off {
			return corrupt(r.name, r.off, "entry announces %d bytes of contents, the file has %d left", n, r.size-r.off)
		}
		payload := &io.LimitedReader{R: r.in, N: n}
		if err := fn(m, payload); err != nil {
			return err
		}
		if payload.N > 0 {
			if _, err := io.Copy(io.Discard, payload); err != nil {
				return err
			}
		}
		r.off += n
	}
	return nil
}

// message reads one length and message.
func (r *imageReader) message(m proto.Message) error {
	var head [4]byte
	at := r.off
	if err := r.read(head[:], "length of an entry"); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n > r.size-r.off {
		return corrupt(r.name, at, "entry of %d bytes, the file has %d left", n, r.size-r.off)
	}
	if n > maxMessage {
		return corrupt(r.name, at, "entry of %d bytes is too large", n)
	}
	if int64(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	b := r.buf[:n]
	if err := r.read(b, "entry"); err != nil {
		return err
	}
	// Unmarshal copies what it keeps, so buf can be used again.
	if err := proto.Unmarshal(b, m); err != nil {
		return corrupt(r.name, at, "no message of type %s: %s", m.ProtoReflect().Descriptor().Name(), plainProto(err))
	}
	return nil
}

// plainProto is the text of an error of package proto without its prefix, which ends, at random, in one of two spaces.
func plainProto(err error) string {
	return strings.TrimLeft(strings.TrimPrefix(err.Error(), "proto:"), " \u00a0")
}
