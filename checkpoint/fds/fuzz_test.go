// SPDX-License-Identifier: Apache-2.0

package fds

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/eventpoll"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/memfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pipe"
	"github.com/trapline/trapline/checkpoint/image"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// FuzzLoad reads a files.img and a table of any contents, and asks for everything that needs no file system.
func FuzzLoad(f *testing.F) {
	seed := func(e *fdinfo.FileEntry, table ...*fdinfo.FdinfoEntry) {
		files, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		var fds []byte
		if len(table) > 0 {
			if fds, err = proto.Marshal(table[0]); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(files, fds)
	}
	fd := func(typ fdinfo.FdTypes) *fdinfo.FdinfoEntry {
		return &fdinfo.FdinfoEntry{Id: proto.Uint32(1), Flags: proto.Uint32(0), Type: typ.Enum(), Fd: proto.Uint32(5)}
	}
	seed(&fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Id: proto.Uint32(1)}, fd(fdinfo.FdTypes_REG))
	seed(&fdinfo.FileEntry{Type: fdinfo.FdTypes_PIPE.Enum(), Id: proto.Uint32(1), Pipe: &pipe.PipeEntry{
		Id: proto.Uint32(1), PipeId: proto.Uint32(7), Flags: proto.Uint32(1), Fown: noOwner(),
	}}, fd(fdinfo.FdTypes_PIPE))
	seed(&fdinfo.FileEntry{Type: fdinfo.FdTypes_EVENTPOLL.Enum(), Id: proto.Uint32(1), Epfd: &eventpoll.EventpollFileEntry{
		Id: proto.Uint32(1), Flags: proto.Uint32(2), Fown: noOwner(), Tfd: []*eventpoll.EventpollTfdEntry{{
			Id: proto.Uint32(0), Tfd: proto.Uint32(5), Events: proto.Uint32(1), Data: proto.Uint64(1),
		}},
	}}, fd(fdinfo.FdTypes_EVENTPOLL))
	seed(&fdinfo.FileEntry{Type: fdinfo.FdTypes_MEMFD.Enum(), Id: proto.Uint32(1), Memfd: &memfd.MemfdFileEntry{
		Id: proto.Uint32(1), Flags: proto.Uint32(2), Pos: proto.Uint64(0), Fown: noOwner(), InodeId: proto.Uint32(9),
	}})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file, entry []byte) {
		var e fdinfo.FileEntry
		var d fdinfo.FdinfoEntry
		if proto.Unmarshal(file, &e) != nil {
			return
		}
		if proto.Unmarshal(entry, &d) != nil {
			d = fdinfo.FdinfoEntry{Id: proto.Uint32(1), Flags: proto.Uint32(0), Type: e.GetType().Enum(), Fd: proto.Uint32(5)}
		}
		at, err := os.MkdirTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(at)
		w, err := image.Create(at)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if w.Put("files.img", &e) != nil || w.Put("fdinfo-2.img", &d) != nil {
			return
		}
		if err := w.Finish(&inventory.InventoryEntry{ImgVersion: proto.Uint32(2)}); err != nil {
			t.Fatal(err)
		}
		r, err := image.Open(at)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		// An empty root: what an image names is looked for there only.
		root := filepath.Join(at, "root")
		if err := os.Mkdir(root, 0o700); err != nil {
			t.Fatal(err)
		}
		s, err := Load(r, &RestoreOptions{Root: root, TCPClose: true, FileLocks: true})
		if err != nil {
			return
		}
		defer s.Abort()
		table, err := s.Table(2)
		if err != nil {
			return
		}
		for _, e := range table {
			// Sockets would take ports and names of this machine.
			if f := s.files[e.ID]; f.GetIsk() == nil && f.GetUsk() == nil {
				_, _ = s.Open(e.ID)
				_, _ = s.OpenMapped(e.ID, unix.O_RDONLY)
			}
		}
		_, _ = s.Remotes([]Process{{Pid: 1, Table: table}})
		_ = s.Seal()
	})
}

func FuzzLock(f *testing.F) {
	for _, s := range []string{
		"1: POSIX  ADVISORY  WRITE 812 fe:00:1234 2 6", "1: FLOCK  ADVISORY  READ 812 fe:00:1234 0 EOF", "1: -> POSIX  ADVISORY  WRITE 812 fe:00:1234 2 6",
		"1: LEASE  ACTIVE    UNLCK 1 00:01:2 0 EOF", "2: OFDLCK ADVISORY  WRITE -1 fe:00:12 20 20", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		e, _, err := parseLock(line)
		if (e == nil) != (err != nil) && err == nil {
			t.Errorf("no lock and no error for %q", line)
		}
	})
}

func FuzzUnixDiag(f *testing.F) {
	m := make([]byte, 16+16+8)
	m[0], m[4] = byte(len(m)), sockDiagByFamily
	m[32], m[34] = 8, unixDiagPeer
	f.Add(m)
	f.Add(m[:20])
	f.Fuzz(func(_ *testing.T, b []byte) {
		if len(b) >= unix.SizeofNlMsghdr {
			_, _ = parseUnixDiag(b)
		}
	})
}

func FuzzBuildID(f *testing.F) {
	self, err := os.ReadFile("/bin/true")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.Fatal(err)
	}
	f.Add(self[:min(len(self), 4096)])
	f.Fuzz(func(t *testing.T, b []byte) {
		fd, err := unix.MemfdCreate("elf", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if _, err := unix.Write(fd, b); err != nil {
			t.Fatal(err)
		}
		id, err := buildID(fd)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, id) {
			t.Errorf("build ID %x is not in the file", id)
		}
	})
}
