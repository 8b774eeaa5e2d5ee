// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	pipe_data "github.com/checkpoint-restore/go-criu/v8/crit/images/pipe-data"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/stats"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// TestMisuse checks that whatever goes wrong keeps a directory from becoming complete.
func TestMisuse(t *testing.T) {
	pipeData := &pipe_data.PipeDataEntry{PipeId: proto.Uint32(1), Bytes: proto.Uint32(4)}
	for _, c := range []struct {
		name string
		do   func(w *Writer) error // must fail, here or in Finish
	}{
		{"name with a slash", func(w *Writer) error { return w.Put("../core-1.img") }},
		{"unknown image", func(w *Writer) error { return w.Put("nothing.img") }},
		{"raw image with entries", func(w *Writer) error { return w.Put("pages-1.img") }},
		{"entries in a raw image", func(w *Writer) error { _, err := w.Raw("core-1.img"); return err }},
		{"missing required field", func(w *Writer) error { return w.Put("pstree.img", &pstree.PstreeEntry{}) }},
		{"twice", func(w *Writer) error { return errors.Join(w.Put("pstree.img"), w.Put("pstree.img")) }},
		{"extra under CRIU's name", func(w *Writer) error { return w.Extra("core-1.img", 1) }},
		{"extra that is no JSON", func(w *Writer) error { return w.Extra("trapline-1.json", func() {}) }},
		{"stream that is not closed", func(w *Writer) error { _, err := w.Append("pipes-data.img"); return err }},
		{"payload too short", func(w *Writer) error {
			s, err := w.Append("pipes-data.img")
			return errors.Join(err, s.Write(pipeData), s.Payload([]byte("abc")), s.Close())
		}},
		{"payload too long", func(w *Writer) error {
			s, err := w.Append("pipes-data.img")
			return errors.Join(err, s.Write(pipeData), s.Payload([]byte("abcde")), s.Close())
		}},
		{"entry before payload", func(w *Writer) error {
			s, err := w.Append("pipes-data.img")
			return errors.Join(err, s.Write(pipeData), s.Write(pipeData), s.Close())
		}},
		{"payload source too short", func(w *Writer) error {
			s, err := w.Append("pipes-data.img")
			return errors.Join(err, s.Write(pipeData), s.PayloadFrom(strings.NewReader("abc"), 4), s.Close())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			before := openFDs(t)
			w, err := Create(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			err = c.do(w)
			if ferr := w.Finish(testInventory()); ferr == nil {
				t.Errorf("finished in spite of %v", err)
			}
			if _, err := Open(dir); !errors.Is(err, ErrIncomplete) {
				t.Errorf("open: %v, want ErrIncomplete", err)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			if names, _ := os.ReadDir(dir); len(names) != 0 {
				t.Errorf("left behind: %v", names)
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d descriptors open, before %d", after, before)
			}
		})
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func TestCreateFails(t *testing.T) {
	if _, err := Create(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(file); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
	dir := t.TempDir()
	mountTmpfs(t, dir, "ro")
	if _, err := Create(dir); !errors.Is(err, unix.EROFS) {
		t.Errorf("read only: %v", err)
	}
}

// mountTmpfs needs root, as the tests of the engine do.
func mountTmpfs(t *testing.T, dir, options string) {
	t.Helper()
	flags := uintptr(0)
	if options == "ro" {
		flags, options = unix.MS_RDONLY, ""
	}
	if err := unix.Mount("none", dir, "tmpfs", flags, options); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	mountTmpfs(t, dir, "size=64k")
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s, err := w.Append("pipes-data.img")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		s.Write(&pipe_data.PipeDataEntry{PipeId: proto.Uint32(1), Bytes: proto.Uint32(1 << 20)}),
		s.Payload(make([]byte, 1<<20)),
		s.Close())
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), filepath.Join(dir, "pipes-data.img")) {
		t.Errorf("%v", err)
	}
	if err := w.Finish(testInventory()); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("finish: %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

// TestConcurrent writes from several goroutines, as the engine does for several processes.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var wg sync.WaitGroup
	for i := range uint32(8) {
		wg.Go(func() {
			name := PagesName(i)
			f, err := w.Raw(name)
			if err != nil {
				t.Error(err)
				return
			}
			err = w.SumAhead(name)
			for range 3*i + 1 {
				_, werr := f.Write(bytes.Repeat([]byte{byte(i)}, BlockSize/2))
				err = errors.Join(err, werr)
			}
			err = errors.Join(err, f.Close(), w.Put(PagemapName(i, false),
				&pagemap.PagemapHead{PagesId: proto.Uint32(i)},
				&pagemap.PagemapEntry{Vaddr: proto.Uint64(0), CompatNrPages: proto.Uint32((3*i + 1) * BlockSize / 2 / PageSize), Flags: proto.Uint32(PagePresent)}))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := w.Finish(testInventory()); err != nil {
		t.Fatal(err)
	}
	if rep := verify(t, dir); !rep.OK() || !rep.Summed {
		t.Errorf("%+v", rep)
	}
}

// TestLateStats puts stats-dump after inventory.img: it holds times that are known only then.
func TestLateStats(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Finish(testInventory()); err != nil {
		t.Fatal(err)
	}
	if err := w.Put("core-1.img"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("another image after Finish: %v", err)
	}
	entry := &stats.StatsEntry{Dump: &stats.DumpStatsEntry{
		FreezingTime: proto.Uint32(1), FrozenTime: proto.Uint32(2), MemdumpTime: proto.Uint32(3), MemwriteTime: proto.Uint32(4),
		PagesScanned: proto.Uint64(5), PagesSkippedParent: proto.Uint64(6), PagesWritten: proto.Uint64(7), PagesLazy: proto.Uint64(0),
	}}
	if err := w.Stats(entry, []int{1}); err != nil {
		t.Fatal(err)
	}
	rep := verify(t, dir)
	if !rep.OK() || rep.Files != 4 {
		t.Errorf("%+v", rep)
	}
	// What restores leave is no damage.
	for range 2 {
		restored := &stats.StatsEntry{Restore: &stats.RestoreStatsEntry{
			PagesCompared: proto.Uint64(0), PagesSkippedCow: proto.Uint64(0), ForkingTime: proto.Uint32(1), RestoreTime: proto.Uint32(2),
		}}
		if err := WriteStats(dir, restored, []int{2}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "restore.log"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if rep := verify(t, dir); !rep.OK() || rep.Files != 7 {
		t.Errorf("after a restore: %+v", rep)
	}
	for _, name := range []string{StatsRestore, StagesRestore, "restore.log"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{StatsDump, StagesDump} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, name), 3); err != nil {
			t.Fatal(err)
		}
		if verify(t, dir).OK() {
			t.Errorf("damage of %s not found", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Nor is what a dump leaves that is killed while it writes them.
	for _, name := range []string{StatsDump + tempSuffix, StagesDump + tempSuffix, sumsTemp} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if rep := verify(t, dir); !rep.OK() {
		t.Errorf("after a kill: %+v", rep)
	}
	// Even a finished one goes with Abort.
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

// chain writes a dump over two pre-dumps: dir/0 (all), dir/1 (a page changed), dir/2 (another one).
func chain(t *testing.T, dir string) (top string) {
	t.Helper()
	run := func(page, n, flags uint32) *pagemap.PagemapEntry {
		return &pagemap.PagemapEntry{
			Vaddr: proto.Uint64(uint64(page) * PageSize), CompatNrPages: proto.Uint32(n), Flags: proto.Uint32(flags), InParent: proto.Bool(flags == PageParent),
		}
	}
	for i, entries := range [][]*pagemap.PagemapEntry{
		{run(0, 10, PagePresent)},
		{run(0, 3, PageParent), run(3, 1, PagePresent), run(4, 6, PageParent)},
		{run(1, 8, PageParent), run(9, 1, PagePresent)},
	} {
		top = filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(top, 0o700); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := os.Symlink(fmt.Sprintf("../%d", i-1), filepath.Join(top, "parent")); err != nil {
				t.Fatal(err)
			}
		}
		w, err := Create(top)
		if err != nil {
			t.Fatal(err)
		}
		msgs := []proto.Message{&pagemap.PagemapHead{PagesId: proto.Uint32(1)}}
		n := uint32(0)
		for _, e := range entries {
			msgs = append(msgs, e)
			if e.GetFlags()&PagePresent != 0 {
				n += e.GetCompatNrPages()
			}
		}
		f, err := w.Raw("pages-1.img")
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(bytes.Repeat([]byte{byte('0' + i)}, int(n)*PageSize))
		if err := errors.Join(err, f.Close(), w.Put("pagemap-7.img", msgs...), w.Finish(testInventory()), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return top
}

func TestParents(t *testing.T) {
	dir := t.TempDir()
	top := chain(t, dir)
	r, err := Open(top)
	if err != nil {
		t.Fatal(err)
	}
	pm, err := r.Pagemap(7, false)
	if err != nil {
		t.Fatal(err)
	}
	checkPagemap(t, r, pm)
	var got []string
	for i := range pm.Entries {
		e := &pm.Entries[i]
		f, err := r.Pages(e)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, e.Offset); err != nil {
			t.Error(err)
		}
		_ = f.Close()
		got = append(got, fmt.Sprintf("%d+%d level %d at %d: %s", e.Start/PageSize, e.Pages, e.Level, e.Offset/PageSize, b))
	}
	want := []string{"1+2 level 2 at 1: 0", "3+1 level 1 at 0: 1", "4+5 level 2 at 4: 0", "9+1 level 0 at 0: 2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	rep := verify(t, top)
	if !rep.OK() || rep.Parent == nil || rep.Parent.Parent == nil || rep.Parent.Parent.Parent != nil {
		t.Errorf("%+v", rep)
	}

	// Damage at the bottom shows at the top, whatever it is.
	bottom := filepath.Join(dir, "0", "inventory.img")
	if err := os.Remove(bottom); err != nil {
		t.Fatal(err)
	}
	if rep := verify(t, top); rep.OK() || rep.Parent.Parent.OK() || rep.Parent.Parent.Complete {
		t.Errorf("incomplete parent: %+v", rep)
	}
	r, err = Open(top)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Pagemap(7, false); !errors.Is(err, ErrIncomplete) {
		t.Errorf("incomplete parent: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestParentLinks(t *testing.T) {
	for _, c := range []struct{ name, target string }{
		{"circle", "../2"},
		{"itself", "."},
		{"nowhere", "../9"},
		{"no directory", "pages-1.img"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			top := chain(t, dir)
			link := filepath.Join(dir, "1", "parent")
			if err := errors.Join(os.Remove(link), os.Symlink(c.target, link), os.Remove(filepath.Join(dir, "1", SumsName))); err != nil {
				t.Fatal(err)
			}
			r, err := Open(top)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := r.Pagemap(7, false); err == nil {
				t.Error("pagemap read")
			}
			if rep := verify(t, top); rep.OK() {
				t.Errorf("%+v", rep)
			}
		})
	}
	// A changed link is found by the checksums.
	dir := t.TempDir()
	top := chain(t, dir)
	link := filepath.Join(top, "parent")
	if err := errors.Join(os.Remove(link), os.Symlink("../0", link)); err != nil {
		t.Fatal(err)
	}
	if rep := verify(t, top); len(rep.Problems) != 1 || rep.Problems[0].File != "parent" {
		t.Errorf("%+v", rep)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"core-12.img": "core 12", "pagemap-shmem-7.img": "pagemap-shmem 7", "ghost-file-1f.img": "ghost-file 31", "pages-1.img": "pages 1",
		"tmpfs-dev-3.tar.gz.img": "tmpfs-dev 3", "stats-dump": "stats-dump 0", "binfmt-misc.img": "binfmt-misc 0", "binfmt-misc-2.img": "binfmt-misc 2",
		"netns-ct-9.img": "netns-ct 9", "core.img": "", "core-.img": "", "core-012.img": "", "core-+1.img": "", "core--1.img": "", "pstree-1.img": "",
		"ghost-file-1F.img": "", "core-99999999999999999999.img": "", "": "", ".img": "", "stats-dump.img": "", "a-b-1.img": "",
	} {
		got := ""
		if k, id, ok := KindOf(name); ok {
			got = fmt.Sprintf("%s %d", k.Name, id)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	for i := range Kinds {
		k := &Kinds[i]
		if _, ok := magics().ByName[k.Magic]; k.Header != HeaderNone && !ok {
			t.Errorf("%s: no magic %s", k.Name, k.Magic)
		}
		if (k.Header == HeaderNone) != (k.New == nil) {
			t.Errorf("%s: header and message disagree", k.Name)
		}
	}
}
