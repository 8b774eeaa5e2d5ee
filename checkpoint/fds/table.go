// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/image"
)

// Entry is one descriptor of a table.
type Entry struct {
	FD          int    // number in the process
	ID          uint32 // of the open file, for [Set.Open]
	CloseOnExec bool
}

// Table is what an fdinfo-ID.img holds.
type Table struct {
	id      uint32
	entries []Entry
	types   []fdinfo.FdTypes // of the files, as fdinfo-ID.img says
}

// Len is the number of descriptors.
func (t *Table) Len() int { return len(t.entries) }

func tableName(id uint32) string { return "fdinfo-" + strconv.FormatUint(uint64(id), 10) + ".img" }

// ReadTable reads a table, for [Set.AddTable]. One without an image is empty.
func ReadTable(r *image.Reader, id uint32) (*Table, error) {
	t := &Table{id: id}
	name := tableName(id)
	err := optional(r.Each(name, nil, func(m proto.Message, _ io.Reader) error {
		e := m.(*fdinfo.FdinfoEntry)
		if e.GetFd() >= 1<<30 {
			return fmt.Errorf("%s: fd %d is out of range: %w", name, e.GetFd(), image.ErrCorrupt)
		}
		t.entries = append(t.entries, Entry{FD: int(e.GetFd()), ID: e.GetId(), CloseOnExec: e.GetFlags()&unix.FD_CLOEXEC != 0})
		t.types = append(t.types, e.GetType())
		return nil
	}))
	return t, err
}

// AddTable checks a table against the files.
func (s *Set) AddTable(t *Table) error {
	name := tableName(t.id)
	for i, e := range t.entries {
		if f := s.files[e.ID]; f == nil || f.GetType() != t.types[i] {
			return fmt.Errorf("%s: fd %d refers to file %d of kind %s, which is not in files.img: %w", name, e.FD, e.ID, t.types[i], image.ErrCorrupt)
		}
	}
	slices.SortFunc(t.entries, func(a, b Entry) int { return a.FD - b.FD })
	for i := 1; i < len(t.entries); i++ {
		if t.entries[i].FD == t.entries[i-1].FD {
			return fmt.Errorf("%s: fd %d is there twice: %w", name, t.entries[i].FD, image.ErrCorrupt)
		}
	}
	s.tables[t.id] = t.entries
	return nil
}

// Table returns the descriptors of table id in ascending order.
func (s *Set) Table(id uint32) ([]Entry, error) {
	if t, ok := s.tables[id]; ok {
		return t, nil
	}
	t, err := ReadTable(s.r, id)
	if err == nil {
		err = s.AddTable(t)
	}
	if err != nil {
		return nil, err
	}
	return t.entries, nil
}
