// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	"google.golang.org/protobuf/proto"
)

// putPages writes a pagemap of whole runs, and the pages that it has itself.
func putPages(t *testing.T, w *Writer, pid, id uint32, contents []byte, runs ...*pagemap.PagemapEntry) {
	t.Helper()
	f, err := w.Raw(PagesName(id))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(contents); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	msgs := []proto.Message{&pagemap.PagemapHead{PagesId: proto.Uint32(id)}}
	for _, r := range runs {
		msgs = append(msgs, r)
	}
	if err := w.Put(PagemapName(pid, false), msgs...); err != nil {
		t.Fatal(err)
	}
}

func testRun(addr uint64, pages, flags uint32) *pagemap.PagemapEntry {
	return &pagemap.PagemapEntry{Vaddr: proto.Uint64(addr), CompatNrPages: proto.Uint32(pages), Flags: proto.Uint32(flags)}
}

// TestAncestors has a child with a page of its parent and one of its grandparent.
func TestAncestors(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	page := func(b byte) []byte { return bytes.Repeat([]byte{b}, PageSize) }
	putPages(t, w, 1, 1, append(page(1), page(2)...), testRun(0x10000, 2, PagePresent))
	putPages(t, w, 2, 2, page(3), testRun(0x10000, 1, PageParent), testRun(0x11000, 1, PagePresent))
	putPages(t, w, 3, 3, page(4), testRun(0x10000, 2, PageParent), testRun(0x12000, 1, PagePresent))
	for _, a := range [][4]int{{1, 2, 1, 1}, {1, 3, 2, 2}, {2, 3, 1, 1}} {
		if err := w.Ancestor(a[0], uint32(a[1]), uint32(a[2]), uint32(a[3])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(&inventory.InventoryEntry{ImgVersion: proto.Uint32(imageVersion)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	pm, err := r.Pagemap(3, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for i := range pm.Entries {
		e := &pm.Entries[i]
		f, err := r.Pages(e)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, e.Pages*PageSize)
		if _, err := f.ReadAt(b, e.Offset); err != nil {
			t.Fatal(err)
		}
		got = append(got, b...)
		f.Close()
	}
	if want := append(append(page(1), page(3)...), page(4)...); !bytes.Equal(got, want) {
		t.Errorf("%d entries, %d bytes; want a page of the grandparent, one of the parent, one of its own", len(pm.Entries), len(got))
	}
	rep, err := Verify(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for p := rep; p != nil; p = p.Parent {
		for _, problem := range p.Problems {
			// The tree is not a whole checkpoint: only what concerns pages matters here.
			if problem.File == "parent" || filepath.Ext(problem.File) == "" {
				t.Errorf("verify: %v", problem)
			}
		}
		if !p.Summed {
			t.Error("a directory without sums")
		}
	}
}

func TestAncestorsAborted(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	putPages(t, w, 1, 1, make([]byte, PageSize), testRun(0x10000, 1, PagePresent))
	if err := w.Ancestor(2, 2, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("an aborted dump left %v", left)
	}
}
