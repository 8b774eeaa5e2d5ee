// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"google.golang.org/protobuf/proto"
)

// appendEntry appends a message with its length to b.
func appendEntry(b []byte, m proto.Message) ([]byte, error) {
	at := len(b)
	b, err := proto.MarshalOptions{}.MarshalAppend(le32(b, 0), m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	n := len(b) - at - 4
	if n > math.MaxUint32 {
		return nil, fmt.Errorf("%s: message of %d bytes is too long for an image", m.ProtoReflect().Descriptor().Name(), n)
	}
	le32(b[:at], uint32(n))
	return b, nil
}

// Stream writes an image of many entries, each at once. It is for one goroutine; several streams
// of a Writer may be in use at the same time. Close it before Finish.
type Stream struct {
	w    *Writer
	name string
	f    *os.File
	out  *bufio.Writer // into the file and the checksums
	sum  blockSummer
	buf  []byte // of one entry
	owed int64  // payload that the last entry announced and that is not written yet
	err  error
}

// Append starts an image of the kind that its name tells.
func (w *Writer) Append(name string) (*Stream, error) {
	k, err := imageKind(name)
	if err != nil {
		return nil, w.fail(name, err)
	}
	f, err := w.create(name)
	if err != nil {
		return nil, w.fail(name, err)
	}
	s := &Stream{w: w, name: name, f: f}
	s.out = bufio.NewWriterSize(io.MultiWriter(f, &s.sum), 64<<10)
	_, s.err = s.out.Write(k.header())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams[s] = f
	return s, nil
}

// Write adds one entry. What [Payload] says follows it must be given to Payload or PayloadFrom
// before the next entry.
func (s *Stream) Write(m proto.Message) error {
	switch {
	case s.owed > 0:
		return s.fail(fmt.Errorf("%d bytes of payload are missing before the next entry", s.owed))
	case s.owed == PayloadRest:
		return s.fail(errors.New("nothing can follow an entry whose payload is the rest of the file"))
	}
	b, err := appendEntry(s.buf[:0], m)
	if err != nil {
		return s.fail(err)
	}
	s.buf = b
	if _, err := s.out.Write(b); err != nil {
		return s.fail(err)
	}
	s.owed = Payload(m)
	return nil
}

// Payload adds raw bytes to the entry written last.
func (s *Stream) Payload(p []byte) error {
	if err := s.owe(int64(len(p))); err != nil {
		return err
	}
	if _, err := s.out.Write(p); err != nil {
		return s.fail(err)
	}
	return nil
}

// PayloadFrom adds exactly n raw bytes from r to the entry written last.
func (s *Stream) PayloadFrom(r io.Reader, n int64) error {
	if err := s.owe(n); err != nil {
		return err
	}
	if _, err := io.CopyN(s.out, r, n); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("payload is shorter than %d bytes: %w", n, io.ErrUnexpectedEOF)
		}
		return s.fail(err)
	}
	return nil
}

// owe accounts for n bytes of payload.
func (s *Stream) owe(n int64) error {
	if s.owed == PayloadRest {
		return nil
	}
	if n < 0 || n > s.owed {
		return s.fail(fmt.Errorf("%d bytes of payload where the entry has %d", n, s.owed))
	}
	s.owed -= n
	return nil
}

func (s *Stream) fail(err error) error {
	err = s.w.fail(s.name, err)
	if s.err == nil {
		s.err = err
	}
	return err
}

// Close completes the image. It fails if anything before failed, and if payload is missing.
func (s *Stream) Close() error {
	if s.f == nil {
		return fmt.Errorf("%s: %w", s.name, fs.ErrClosed)
	}
	if s.err == nil && s.owed > 0 {
		_ = s.fail(fmt.Errorf("%d bytes of payload are missing at the end", s.owed))
	}
	if s.err == nil {
		if err := s.out.Flush(); err != nil {
			_ = s.fail(err)
		}
	}
	if err := s.f.Close(); err != nil && s.err == nil {
		_ = s.fail(err)
	}
	s.f = nil
	s.w.mu.Lock()
	delete(s.w.streams, s)
	s.w.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.w.record(s.sum.done(s.name))
	return nil
}
