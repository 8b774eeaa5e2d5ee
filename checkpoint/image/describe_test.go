// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// TestDescribeCRIU checks what is said about the dump of testdata/tiny.c, which CRIU made.
func TestDescribeCRIU(t *testing.T) {
	s, err := Describe("testdata/criu-4.1.1")
	if err != nil {
		t.Fatal(err)
	}
	if s.Summed || len(s.Processes) != 3 || s.Stats == nil || s.Stats.PagesWritten != 8 {
		t.Fatalf("%+v", s)
	}
	root, child, dead := s.Processes[0], s.Processes[1], s.Processes[2]
	if root.Depth != 0 || child.Depth != 1 || dead.Depth != 2 || child.PPID != root.PID || dead.PPID != child.PID {
		t.Errorf("tree: %+v", s.Processes)
	}
	if root.Comm != "tiny" || root.State != "alive" || root.Exe != "/tmp/tiny/tiny" || root.CWD != "/" || len(root.Threads) != 1 {
		t.Errorf("root: %+v", root)
	}
	if dead.State != "dead" || dead.ExitCode != 3<<8 || dead.Memory != nil || len(dead.Threads) != 1 || dead.Threads[0].TID != dead.PID {
		t.Errorf("dead: %+v", dead)
	}
	m := root.Memory
	if m == nil || m.VMAs != 8 || m.Dumped != 4*PageSize || m.Shared != 3*PageSize {
		t.Errorf("memory: %+v", m)
	}
	var sum int64
	for _, k := range m.Kinds {
		sum += k.Dumped
	}
	if sum != m.Dumped+m.Parent {
		t.Errorf("kinds add up to %d, not %d: %+v", sum, m.Dumped, m.Kinds)
	}
	if len(s.Shared) != 2 || s.Shared[0].Name != "anonymous" || s.Shared[0].Dumped != 2*PageSize || s.Shared[0].Users != 2 ||
		s.Shared[1].Name != "memfd:tiny" || s.Shared[1].Size != 5 {
		t.Errorf("shared memory: %+v", s.Shared)
	}
	want := []struct{ kind, what string }{
		{"reg", "/dev/null"},
		{"reg", "/dev/null"},
		{"reg", "/dev/null"},
		{"pipe", "pipe:[673684], 10 bytes in it"},
		{"pipe", "pipe:[673684], 10 bytes in it"},
		{"unixsk", "stream:[673685] ↔ [673686] established"},
		{"unixsk", "stream:[673686] ↔ [673685] established"},
		{"reg", "/tmp/trapline-ghost"},
		{"eventfd", "count 3"},
		{"eventpoll", "watches fd 8"},
		{"reg", "/dev/null"},
		{"memfd", "tiny"},
	}
	if len(root.Files) != len(want) {
		t.Fatalf("files: %+v", root.Files)
	}
	for i, w := range want {
		if f := root.Files[i]; f.FD != uint32(i) || f.Kind != w.kind || f.What != w.what {
			t.Errorf("fd %d: %+v, want %v", i, f, w)
		}
	}
	if root.Files[1].ID != root.Files[2].ID || root.Files[7].Flags != "rw" || root.Files[7].Pos != 10 {
		t.Errorf("files: %+v", root.Files)
	}
	var n int64
	for _, g := range s.Images {
		n += g.Bytes
	}
	if n != s.Bytes {
		t.Errorf("images add up to %d, not %d", n, s.Bytes)
	}
}

// TestReadCRIU decodes each image that CRIU wrote and writes it again: to the same bytes.
func TestReadCRIU(t *testing.T) {
	const from = "testdata/criu-4.1.1"
	r, err := Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dir := t.TempDir()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	images := 0
	for _, name := range r.Names() {
		k, _, ok := KindOf(name)
		if !ok {
			t.Errorf("%s: unknown image", name)
			continue
		}
		if k.New == nil {
			continue
		}
		images++
		s, err := w.Append(name)
		if err != nil {
			t.Fatal(err)
		}
		err = r.Each(name, nil, func(m proto.Message, payload io.Reader) error {
			if err := s.Write(m); err != nil {
				return err
			}
			b, err := io.ReadAll(payload)
			if err != nil {
				return err
			}
			return s.Payload(b)
		})
		if err == nil {
			err = s.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: CRIU wrote\n%s\nwe wrote\n%s", name, hex.Dump(want), hex.Dump(got))
		}
	}
	if images < 25 {
		t.Errorf("only %d images", images)
	}
	for _, pid := range []uint32{4103, 4105} {
		pm, err := r.Pagemap(pid, false)
		if err != nil {
			t.Error(err)
			continue
		}
		checkPagemap(t, r, pm)
	}
	if rep := verify(t, from); !rep.OK() || !rep.Complete || rep.Summed {
		t.Errorf("%+v", rep)
	}
}

// TestWithoutSums damages the images that CRIU wrote in ways that show even so.
func TestWithoutSums(t *testing.T) {
	for _, c := range []struct {
		name, file string
		damage     func(path string) error
	}{
		{"truncated image", "files.img", func(p string) error { return os.Truncate(p, 100) }},
		{"truncated pages", "pages-3.img", func(p string) error { return os.Truncate(p, PageSize) }},
		{"longer pages", "pages-3.img", func(p string) error { return os.Truncate(p, 10*PageSize) }},
		{"missing core", "core-4105.img", os.Remove},
		{"missing core of a dead task", "core-4106.img", os.Remove},
		{"missing descriptors", "fdinfo-3.img", os.Remove},
		{"missing pages", "pages-3.img", os.Remove},
		{"missing tree", "pstree.img", os.Remove},
		{"missing inventory", "inventory.img", os.Remove},
		{"wrong magic", "mm-4103.img", func(p string) error { return os.WriteFile(p, []byte("12345678"), 0o600) }},
		{"empty image", "pstree.img", func(p string) error { return os.Truncate(p, 0) }},
		{"fifo in its place", "pages-1.img", func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o600)) }},
		{"directory in its place", "seccomp.img", func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS("testdata/criu-4.1.1")); err != nil {
				t.Fatal(err)
			}
			if err := c.damage(filepath.Join(dir, c.file)); err != nil {
				t.Fatal(err)
			}
			rep := verify(t, dir)
			found := false
			for _, p := range rep.Problems {
				found = found || p.File == c.file
			}
			if !found {
				t.Errorf("%s: not found: %v", c.file, rep.Problems)
			}
		})
	}
}
