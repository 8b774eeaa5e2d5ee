// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pipe"
	pipe_data "github.com/checkpoint-restore/go-criu/v8/crit/images/pipe-data"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Pipes: each end an entry, tied together by the pipe's inode number, and what is in them in pipes-data.img. A pipe of
// which an end is outside of the tree comes back with that end closed, unless it is handed in.

func init() {
	register(&kind{
		typ:   fdinfo.FdTypes_PIPE,
		match: func(o *object) bool { return o.format() == unix.S_IFIFO && strings.HasPrefix(o.link, "pipe:[") },
		dump:  dumpPipe,
		flush: func(c *Collector) error { return flushPipes(c, "pipes-data.img", state[pipes](c.states).order) },
		settle: func(c *Collector) error {
			state[pipes](c.states).held.warn(c, "the other end of a pipe is outside of the tree: it comes back closed, unless --inherit-fd gives the pipe")
			return nil
		},
		check: func(_ *Set, e *fdinfo.FileEntry) error {
			if e.GetPipe() == nil {
				return errors.New("no pipe entry")
			}
			return nil
		},
		open: openPipe,
		common: func(_ *Set, e *fdinfo.FileEntry) (uint32, *fown.FownEntry) {
			return e.GetPipe().GetFlags(), e.GetPipe().GetFown()
		},
	})
}

// pipes are those met so far that can be read, each with one descriptor.
type pipes struct {
	seen  map[uint32]bool
	order []readable
	held  heldEnds
}

// readable is a pipe or FIFO whose contents are to be written.
type readable struct {
	id    uint32 // inode number
	local int
	name  string
}

func dumpPipe(c *Collector, o *object) (*fdinfo.FileEntry, error) {
	own, err := ownerOf(o)
	if err != nil {
		return nil, err
	}
	p := state[pipes](c.states)
	if p.seen == nil {
		p.seen = map[uint32]bool{}
	}
	id := uint32(o.st.Ino)
	if o.flags()&unix.O_ACCMODE != unix.O_WRONLY && !p.seen[id] {
		p.seen[id] = true
		p.order = append(p.order, readable{id, o.hold(), o.task.String() + ": " + o.where})
	}
	p.held.add(o)
	return &fdinfo.FileEntry{
		Type: fdinfo.FdTypes_PIPE.Enum(), Id: proto.Uint32(o.id),
		Pipe: &pipe.PipeEntry{Id: proto.Uint32(o.id), PipeId: proto.Uint32(id), Flags: proto.Uint32(o.flags()), Fown: own},
	}, nil
}

// flushPipes writes what is in pipes.
func flushPipes(c *Collector, name string, list []readable) (err error) {
	if len(list) == 0 {
		return nil
	}
	out, err := c.w.Append(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	for _, p := range list {
		size, err := unix.FcntlInt(uintptr(p.local), unix.F_GETPIPE_SZ, 0)
		if err != nil {
			return fmt.Errorf("%s: F_GETPIPE_SZ: %w", p.name, err)
		}
		contents, err := peekPipe(p, size)
		if err != nil {
			return fmt.Errorf("%s: contents of the pipe: %w", p.name, err)
		}
		for _, data := range contents {
			e := &pipe_data.PipeDataEntry{
				PipeId: proto.Uint32(p.id), Bytes: proto.Uint32(uint32(len(data))), Size: proto.Uint32(uint32(size)),
			}
			if err := out.Write(e); err != nil {
				return err
			}
			if err := out.Payload(data); err != nil {
				return err
			}
		}
	}
	return nil
}

// peekPipe copies what is in a pipe and leaves it there: tee(2) into one of our own, which is then read. The contents are
// one piece, or one for each packet (O_DIRECT, pipe(2)), since a read ends with a packet; an empty pipe has one empty piece.
func peekPipe(p readable, size int) ([][]byte, error) {
	n, err := unix.IoctlGetInt(p.local, unix.TIOCINQ)
	if err != nil {
		return nil, fmt.Errorf("FIONREAD: %w", err)
	}
	if n == 0 {
		return [][]byte{nil}, nil
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	// As many slots as the other: each may hold a single byte.
	if _, err := unix.FcntlInt(uintptr(ends[1]), unix.F_SETPIPE_SZ, size); err != nil {
		return nil, fmt.Errorf("F_SETPIPE_SZ to %d: %w", size, err)
	}
	m, err := unix.Tee(p.local, ends[1], n, unix.SPLICE_F_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("tee: %w", err)
	}
	if int(m) != n {
		return nil, fmt.Errorf("tee gave %d of %d bytes: %w", m, n, io.ErrUnexpectedEOF)
	}
	var pieces [][]byte
	buf := make([]byte, n)
	for n > 0 {
		m, err := unix.Read(ends[0], buf[:n])
		if err != nil {
			return nil, err
		}
		if m == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		pieces = append(pieces, buf[:m:m])
		buf, n = buf[m:], n-m
	}
	return pieces, nil
}

// madePipes are the pipes of a restore.
type madePipes struct {
	loaded bool
	ends   map[uint32]*pipeEnds
}

// pipeEnds are both ends of a pipe. The first entry of an end gets what pipe2 made; further ones are opened anew.
type pipeEnds struct {
	fd   [2]int
	used [2]bool
}

func openPipe(s *Set, e *fdinfo.FileEntry) (int, error) {
	p := e.GetPipe()
	m := state[madePipes](s.states)
	if !m.loaded {
		m.loaded, m.ends = true, map[uint32]*pipeEnds{}
		if err := s.fillPipes(m); err != nil {
			return -1, err
		}
	}
	ends, err := s.pipe(m, p.GetPipeId())
	if err != nil {
		return -1, err
	}
	end := 0
	if p.GetFlags()&unix.O_ACCMODE == unix.O_WRONLY {
		end = 1
	}
	var fd int
	if p.GetFlags()&(unix.O_RDWR|largeFile) == 0 && !ends.used[end] {
		ends.used[end] = true
		fd, err = unix.FcntlInt(uintptr(ends.fd[end]), unix.F_DUPFD_CLOEXEC, 0)
	} else {
		// Packet mode can be set, but not opened with.
		fd, err = reopen(ends.fd[end], int(p.GetFlags())&unix.O_ACCMODE|unix.O_NONBLOCK)
	}
	if err != nil {
		return -1, fmt.Errorf("pipe %d: %w", p.GetPipeId(), err)
	}
	return fd, nil
}

// largeFile is the kernel's O_LARGEFILE, which package unix has as 0 where programs need not say it.
const largeFile = 0o100000

// pipe finds or makes a pipe.
func (s *Set) pipe(m *madePipes, id uint32) (*pipeEnds, error) {
	if ends := m.ends[id]; ends != nil {
		return ends, nil
	}
	ends := new(pipeEnds)
	if err := unix.Pipe2(ends.fd[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("pipe %d: %w", id, err)
	}
	m.ends[id] = ends
	s.spare = append(s.spare, ends.fd[0], ends.fd[1])
	return ends, nil
}

// fillPipes makes the pipes that have an entry in pipes-data.img and puts the data in.
func (s *Set) fillPipes(m *madePipes) error {
	const name = "pipes-data.img"
	// Several pieces are packets.
	pieces := map[uint32]int{}
	err := optional(s.r.Each(name, nil, func(msg proto.Message, _ io.Reader) error {
		pieces[msg.(*pipe_data.PipeDataEntry).GetPipeId()]++
		return nil
	}))
	if err != nil {
		return err
	}
	sized := map[uint32]bool{}
	return optional(s.r.Each(name, nil, func(msg proto.Message, payload io.Reader) error {
		d := msg.(*pipe_data.PipeDataEntry)
		id := d.GetPipeId()
		ends, err := s.pipe(m, id)
		if err != nil {
			return err
		}
		if pieces[id] > 1 && !sized[id] {
			if _, err := unix.FcntlInt(uintptr(ends.fd[1]), unix.F_SETFL, unix.O_NONBLOCK|unix.O_DIRECT); err != nil {
				return fmt.Errorf("pipe %d: packet mode: %w", id, err)
			}
		}
		if err := fillPipe(ends.fd[1], d, payload, !sized[id]); err != nil {
			return fmt.Errorf("pipe %d: %w", id, err)
		}
		sized[id] = true
		return nil
	}))
}

// fillPipe sets the size of a pipe and writes an entry's data into it. The descriptor must not block.
func fillPipe(fd int, d *pipe_data.PipeDataEntry, payload io.Reader, size bool) error {
	if n := d.GetSize(); size && n != 0 {
		now, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
		if err != nil {
			return fmt.Errorf("F_GETPIPE_SZ: %w", err)
		}
		if now != int(n) {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, int(n)); err != nil {
				return fmt.Errorf("F_SETPIPE_SZ to %d: %w", n, err)
			}
		}
	}
	// A pipe takes no more than its size, so a buffer of the announced length is not to be trusted, but one of 64 KiB is
	// enough: what does not fit gives EAGAIN.
	buf := make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(payload, buf)
		if n > 0 {
			m, werr := unix.Write(fd, buf[:n])
			if werr != nil {
				return fmt.Errorf("put %d bytes back: %w", d.GetBytes(), werr)
			}
			if m != n {
				return fmt.Errorf("put %d bytes back: %w", d.GetBytes(), io.ErrShortWrite)
			}
		}
		switch {
		case err == io.EOF, err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return err
		}
	}
}
