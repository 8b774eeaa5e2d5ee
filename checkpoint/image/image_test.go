// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	pipe_data "github.com/checkpoint-restore/go-criu/v8/crit/images/pipe-data"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"google.golang.org/protobuf/proto"
)

func testInventory() *inventory.InventoryEntry {
	return &inventory.InventoryEntry{ImgVersion: proto.Uint32(imageVersion)}
}

type testExtra struct {
	Names []string `json:"names"`
}

// writeSmall writes a small checkpoint that has one of everything.
func writeSmall(t testing.TB, dir string) {
	t.Helper()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(w.Put("pstree.img", &pstree.PstreeEntry{
		Pid: proto.Uint32(12), Ppid: proto.Uint32(0), Pgid: proto.Uint32(12), Sid: proto.Uint32(12), Threads: []uint32{12},
	}))
	check(w.Put("core-12.img", &criu_core.CoreEntry{
		Mtype: criu_core.CoreEntry_X86_64.Enum(),
		Tc: &criu_core.TaskCoreEntry{
			TaskState: proto.Uint32(TaskZombie), ExitCode: proto.Uint32(3), Personality: proto.Uint32(0),
			Flags: proto.Uint32(0), BlkSigset: proto.Uint64(0), Comm: proto.String("small"),
		},
	}))
	check(w.Put("ids-12.img", &criu_core.TaskKobjIdsEntry{
		VmId: proto.Uint32(1), FilesId: proto.Uint32(1), FsId: proto.Uint32(1), SighandId: proto.Uint32(1),
	}))
	check(w.Put("pagemap-12.img", &pagemap.PagemapHead{PagesId: proto.Uint32(1)},
		&pagemap.PagemapEntry{Vaddr: proto.Uint64(0x10000), CompatNrPages: proto.Uint32(1), Flags: proto.Uint32(PagePresent)},
		&pagemap.PagemapEntry{Vaddr: proto.Uint64(0x20000), CompatNrPages: proto.Uint32(2), Flags: proto.Uint32(PagePresent | PageLazy)}))
	f, err := w.Raw("pages-1.img")
	check(err)
	check(w.SumAhead("pages-1.img"))
	_, err = f.Write(bytes.Repeat([]byte("page"), 3*PageSize/4))
	check(err)
	check(f.Close())
	s, err := w.Append("pipes-data.img")
	check(err)
	check(s.Write(&pipe_data.PipeDataEntry{PipeId: proto.Uint32(7), Bytes: proto.Uint32(5)}))
	check(s.Payload([]byte("hello")))
	check(s.Write(&pipe_data.PipeDataEntry{PipeId: proto.Uint32(8), Bytes: proto.Uint32(6)}))
	check(s.PayloadFrom(bytes.NewReader([]byte("world!")), 6))
	check(s.Close())
	check(w.Extra("trapline-12.json", testExtra{Names: []string{"a", "b"}}))
	check(w.Finish(testInventory()))
	check(w.Put("stats-dump"))
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	writeSmall(t, dir)
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !r.Summed() {
		t.Error("no checksums")
	}
	var ps pstree.PstreeEntry
	if err := r.One("pstree.img", &ps); err != nil || ps.GetPid() != 12 || len(ps.GetThreads()) != 1 {
		t.Errorf("pstree: %v, %v", &ps, err)
	}
	var got []string
	err = r.Each("pipes-data.img", nil, func(m proto.Message, payload io.Reader) error {
		b, err := io.ReadAll(payload)
		got = append(got, string(b))
		return err
	})
	if err != nil || len(got) != 2 || got[0] != "hello" || got[1] != "world!" {
		t.Errorf("pipes-data: %q, %v", got, err)
	}
	// Payload that nobody reads is skipped.
	n := 0
	err = r.Each("pipes-data.img", nil, func(proto.Message, io.Reader) error { n++; return nil })
	if err != nil || n != 2 {
		t.Errorf("pipes-data: %d entries, %v", n, err)
	}
	pm, err := r.Pagemap(12, false)
	if err != nil || len(pm.Entries) != 2 || pm.Entries[1].Offset != PageSize || pm.Entries[1].Pages != 2 || pm.Bytes != 3*PageSize {
		t.Errorf("pagemap: %+v, %v", pm, err)
	}
	var x testExtra
	if err := r.Extra("trapline-12.json", &x); err != nil || len(x.Names) != 2 {
		t.Errorf("extra: %v, %v", x, err)
	}
	if err := r.One("pidns-1.img", &ps); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing image: %v", err)
	}
	if r.Has("pidns-1.img") || !r.Has("pages-1.img") {
		t.Error("Has")
	}
}

func TestIncomplete(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Put("pstree.img"); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir); !errors.Is(err, ErrBusy) {
		t.Errorf("second writer: %v, want ErrBusy", err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrIncomplete) {
		t.Errorf("open: %v, want ErrIncomplete", err)
	}
	// As after a kill: the files stay, the lock goes.
	if err := w.dir.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err = Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(names) != 1 || filepath.Base(names[0]) != "notes.txt" {
		t.Errorf("after Create: %q, want notes.txt only", names)
	}
	if err := w.Put("pstree.img"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "pstree.img")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close without Finish: %v", err)
	}
	writeSmall(t, dir)
	if _, err := Create(dir); !errors.Is(err, ErrExists) {
		t.Errorf("create over a complete one: %v, want ErrExists", err)
	}
}
