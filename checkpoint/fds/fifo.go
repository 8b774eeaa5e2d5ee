// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fifo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	pipe_data "github.com/checkpoint-restore/go-criu/v8/crit/images/pipe-data"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// FIFOs: a file entry for the path and a FIFO entry that refers to it; contents in fifo-data.img.

func init() {
	register(&kind{
		typ: fdinfo.FdTypes_FIFO,
		match: func(o *object) bool {
			return o.format() == unix.S_IFIFO && strings.HasPrefix(o.link, "/") && o.info.Flags&unix.O_PATH == 0
		},
		dump:  dumpFifo,
		flush: func(c *Collector) error { return flushPipes(c, "fifo-data.img", state[fifos](c.states).order) },
		settle: func(c *Collector) error {
			state[fifos](c.states).held.warn(c, "the other end of a FIFO is outside of the tree: who holds it sees this one close, and open again with a restore")
			return nil
		},
		check: func(s *Set, e *fdinfo.FileEntry) error {
			if e.GetFifo() == nil {
				return errors.New("no fifo entry")
			}
			_, err := s.regularFile(e.GetFifo().GetRegfId())
			return err
		},
		// Flags and owner are in the file's entry.
		open: openFifo,
		common: func(s *Set, e *fdinfo.FileEntry) (uint32, *fown.FownEntry) {
			reg := s.files[e.GetFifo().GetRegfId()].GetReg()
			return reg.GetFlags(), reg.GetFown()
		},
	})
}

// fifos are like pipes, but those of several file systems may have the same inode number.
type fifos struct {
	seen  map[inode]bool
	order []readable
	held  heldEnds
}

func dumpFifo(c *Collector, o *object) (*fdinfo.FileEntry, error) {
	reg := c.nextID()
	name, err := c.place(o, reg)
	if err != nil {
		return nil, err
	}
	e, err := regEntry(o, reg, name)
	if err != nil {
		return nil, err
	}
	c.entries = append(c.entries, e)
	f := state[fifos](c.states)
	if f.seen == nil {
		f.seen = map[inode]bool{}
	}
	key := inode{o.st.Dev, o.st.Ino}
	if o.flags()&unix.O_ACCMODE != unix.O_WRONLY && !f.seen[key] {
		f.seen[key] = true
		f.order = append(f.order, readable{uint32(o.st.Ino), o.hold(), o.task.String() + ": " + o.where})
	}
	f.held.add(o)
	return &fdinfo.FileEntry{
		Type: fdinfo.FdTypes_FIFO.Enum(), Id: proto.Uint32(o.id),
		Fifo: &fifo.FifoEntry{Id: proto.Uint32(o.id), PipeId: proto.Uint32(uint32(o.st.Ino)), RegfId: proto.Uint32(reg)},
	}, nil
}

// openFIFOs holds each FIFO of a restore open for both directions, so that opening an end of it does not block.
type openFIFOs struct{ anchors map[uint32]int }

func openFifo(s *Set, e *fdinfo.FileEntry) (int, error) {
	f := e.GetFifo()
	reg, err := s.regularFile(f.GetRegfId())
	if err != nil {
		return -1, err
	}
	anchor, err := s.fifo(f.GetPipeId(), func() (int, error) {
		return s.openRegular(reg, unix.O_RDWR|unix.O_NONBLOCK)
	})
	if err != nil {
		return -1, err
	}
	fd, err := reopen(anchor, int(reg.GetFlags())&unix.O_ACCMODE|unix.O_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("FIFO %s: %w", reg.GetName(), err)
	}
	return fd, nil
}

// fifo returns the anchor of a FIFO. When it is made what the images hold of its contents is put in.
func (s *Set) fifo(id uint32, open func() (int, error)) (int, error) {
	m := state[openFIFOs](s.states)
	if m.anchors == nil {
		m.anchors = map[uint32]int{}
	}
	if fd, ok := m.anchors[id]; ok {
		return fd, nil
	}
	fd, err := open()
	if err != nil {
		return -1, err
	}
	m.anchors[id] = fd
	s.spare = append(s.spare, fd)
	return fd, optional(s.r.Each("fifo-data.img", nil, func(msg proto.Message, payload io.Reader) error {
		d := msg.(*pipe_data.PipeDataEntry)
		if d.GetPipeId() != id {
			return nil
		}
		if err := fillPipe(fd, d, payload, true); err != nil {
			return fmt.Errorf("FIFO %d: %w", id, err)
		}
		return nil
	}))
}
