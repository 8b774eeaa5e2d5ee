// SPDX-License-Identifier: Apache-2.0

//go:build linux && amd64

package checkpoint

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	core_x86 "github.com/checkpoint-restore/go-criu/v8/crit/images/core-x86"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	criufs "github.com/checkpoint-restore/go-criu/v8/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/seccomp"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/stage"
)

// fuzzed are the images of one process that FuzzRestore changes, in the order of its arguments.
var fuzzed = []string{"pstree.img", "core-7.img", "mm-7.img", "pagemap-7.img", "fs-7.img", "ids-7.img", "files.img", "fdinfo-2.img", "seccomp.img", extraName(7)}

// fuzzSeed writes the images of a process with two maps, a page and a descriptor.
func fuzzSeed(f *testing.F) [][]byte {
	f.Helper()
	dir := f.TempDir()
	w, err := image.Create(dir)
	if err != nil {
		f.Fatal(err)
	}
	defer w.Close()
	check := func(err error) {
		f.Helper()
		if err != nil {
			f.Fatal(err)
		}
	}
	pages, err := w.Raw("pages-1.img")
	check(err)
	_, err = pages.Write(make([]byte, image.PageSize))
	check(err)
	check(pages.Close())
	core, maps := &criu_core.CoreEntry{}, &mm.MmEntry{Vmas: []*vma.VmaEntry{
		{Start: proto.Uint64(0x10000), End: proto.Uint64(0x12000), Prot: proto.Uint32(3), Flags: proto.Uint32(0x22), Status: proto.Uint32(0x201)},
		{Start: proto.Uint64(0x12000), End: proto.Uint64(0x13000), Prot: proto.Uint32(1), Flags: proto.Uint32(0x22), Status: proto.Uint32(0x201)},
	}}
	core.Mtype = criu_core.CoreEntry_X86_64.Enum()
	core.Tc = &criu_core.TaskCoreEntry{TaskState: proto.Uint32(image.TaskAlive), Comm: proto.String("seed")}
	core.ThreadCore = &criu_core.ThreadCoreEntry{}
	tree := &pstree.PstreeEntry{Pid: proto.Uint32(7), Ppid: proto.Uint32(0), Pgid: proto.Uint32(7), Sid: proto.Uint32(7), Threads: []uint32{7}}
	core.ThreadInfo = &core_x86.ThreadInfoX86{}
	fillRequired(core.ThreadInfo.ProtoReflect())
	put := func(name string, ms ...proto.Message) {
		f.Helper()
		for _, m := range ms {
			fillRequired(m.ProtoReflect())
		}
		check(w.Put(name, ms...))
	}
	put("pstree.img", tree)
	put("core-7.img", core)
	put("mm-7.img", maps)
	put("pagemap-7.img", &pagemap.PagemapHead{PagesId: proto.Uint32(1)},
		&pagemap.PagemapEntry{Vaddr: proto.Uint64(0x10000), CompatNrPages: proto.Uint32(1), Flags: proto.Uint32(image.PagePresent)})
	put("fs-7.img", &criufs.FsEntry{CwdId: proto.Uint32(1), RootId: proto.Uint32(1)})
	put("ids-7.img", &criu_core.TaskKobjIdsEntry{VmId: proto.Uint32(1), FilesId: proto.Uint32(2), FsId: proto.Uint32(1), SighandId: proto.Uint32(1)})
	put("files.img", &fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Id: proto.Uint32(1), Reg: &regfile.RegFileEntry{Id: proto.Uint32(1), Name: proto.String("/dev/null")}})
	put("fdinfo-2.img", &fdinfo.FdinfoEntry{Id: proto.Uint32(1), Flags: proto.Uint32(0), Type: fdinfo.FdTypes_REG.Enum(), Fd: proto.Uint32(0)})
	put("seccomp.img", &seccomp.SeccompEntry{})
	check(w.Extra(extraName(7), &Extra{Names: []ExtraName{{ExtraRange{0x10000, 0x12000}, "seed"}}}))
	var seed [][]byte
	for _, name := range fuzzed {
		b, err := os.ReadFile(filepath.Join(dir, name))
		check(err)
		seed = append(seed, b)
	}
	return seed
}

// fillRequired sets what a message must have, to zero.
func fillRequired(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case fd.IsList() && fd.Kind() == protoreflect.MessageKind && m.Has(fd):
			for l, k := m.Mutable(fd).List(), 0; k < l.Len(); k++ {
				fillRequired(l.Get(k).Message())
			}
		case fd.IsList():
		case fd.Kind() == protoreflect.MessageKind && (fd.Cardinality() == protoreflect.Required || m.Has(fd)):
			fillRequired(m.Mutable(fd).Message())
		case fd.Cardinality() == protoreflect.Required && !m.Has(fd):
			m.Set(fd, fd.Default())
		}
	}
}

// FuzzRestore does with images what a restore does before the first process of the tree is born: whatever they hold, that ends, in an error
// or in a plan.
func FuzzRestore(f *testing.F) {
	s := fuzzSeed(f)
	if err := planRestore(f, s); err != nil {
		f.Fatalf("the seed, from which all others are made: %v", err)
	}
	f.Add(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9])
	f.Fuzz(func(t *testing.T, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9 []byte) {
		_ = planRestore(t, [][]byte{b0, b1, b2, b3, b4, b5, b6, b7, b8, b9})
	})
}

func planRestore(t testing.TB, images [][]byte) error {
	dir := t.TempDir()
	w, err := image.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := w.Raw("pages-1.img")
	if err == nil {
		_, err = pages.Write(make([]byte, 4*image.PageSize))
		pages.Close()
	}
	if err == nil {
		err = w.Finish(&inventory.InventoryEntry{ImgVersion: proto.Uint32(2)})
	}
	w.Close()
	if err == nil {
		err = os.Remove(filepath.Join(dir, image.SumsName)) // or every change would be one too many
	}
	for i, b := range images {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, fuzzed[i]), b, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &restorer{
		ctx: t.Context(), opts: &RestoreOptions{ImagesDir: dir, ShellJob: true}, log: slog.New(slog.DiscardHandler), tl: stage.New(stage.Restore),
		byPid: map[int]*task{},
	}
	defer func() { _ = r.close(nil) }()
	if err := r.load(); err != nil {
		return err
	}
	plan := make([]*planned, len(r.tasks))
	for i, t := range r.tasks {
		plan[i] = &t.planned
	}
	if _, err := planBirths(plan); err != nil {
		return err
	}
	if _, err := r.planAhead(); err != nil {
		return err
	}
	for _, t := range r.tasks {
		if t.dead {
			continue
		}
		for _, v := range t.mm.Vmas {
			_ = t.mapping(v)
		}
		if t.pagemap != nil {
			_ = t.reads()
		}
	}
	return nil
}
