// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// kindsOf parses the line of target "kinds": addresses, and whether this kernel has guard pages and names.
func kindsOf(t *testing.T, line string) (at []uint64, guard, names bool) {
	t.Helper()
	fields := strings.Fields(line)
	for _, f := range fields[:len(fields)-1] {
		var a uint64
		if _, err := fmt.Sscan(f, &a); err != nil {
			t.Fatal(err)
		}
		at = append(at, a)
	}
	has := fields[len(fields)-1]
	return at, strings.Contains(has, "guard"), strings.Contains(has, "names")
}

func find(vmas []VMA, addr uint64) *VMA {
	for i := range vmas {
		if vmas[i].Start <= addr && addr < vmas[i].End {
			return &vmas[i]
		}
	}
	return &VMA{}
}

func TestKinds(t *testing.T) {
	p, line := target(t, "kinds", 0)
	at, _, names := kindsOf(t, line)
	vmas, err := p.Smaps(nil)
	if err != nil {
		t.Fatal(err)
	}
	shmem, err := ShmemDev()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		kind  Kind
		flags VMFlags
		check func(v *VMA) bool
	}{
		{KindAnonNamed, VMRead | VMWrite, func(v *VMA) bool { return v.Name == "my heap" && v.Private() }},
		{KindAnonShmem, VMShared, func(v *VMA) bool { return v.Shared && v.Inode != 0 && v.Dev == shmem }},
		{KindMemfd, VMShared, func(v *VMA) bool { return v.Name == "a memfd" && v.Offset == 4096 && v.Dev == shmem }},
		{KindSysV, VMShared, func(v *VMA) bool { return v.Path == "/SYSV00000000" && v.Len() == 1<<16 && v.Dev == shmem }},
		{KindFile, VMMayWrite, func(v *VMA) bool {
			return v.Deleted && strings.Contains(v.Path, "a file\nwith a newline") && v.Offset == 8192 && v.Prot == unix.PROT_READ
		}},
		{KindAnon, VMGrowsDown, nil},
		{KindAnon, VMLocked, func(v *VMA) bool { return v.Locked == v.Len() && v.Rss == v.Len() }},
		{KindAnon, VMDontCopy, nil},
		{KindAnon, VMWipeOnFork, nil},
		{KindAnon, VMDontDump, nil},
		{KindAnon, VMNoHugePage, nil},
		{KindAnon, VMMayRead | VMNoReserve, func(v *VMA) bool { return v.Prot == 0 && v.Flags&VMRead == 0 }},
	} {
		v := find(vmas, at[i])
		if want.kind == KindAnonNamed && !names {
			want.kind, want.check = KindAnon, nil
		}
		if v.Kind != want.kind || v.Flags&want.flags != want.flags || want.check != nil && !want.check(v) {
			t.Errorf("mapping %d: %+v (%s), want %s with %s", i, v, v.Flags, want.kind, want.flags)
		}
		if v.PageSize != pageSize {
			t.Errorf("mapping %d: pages of %d bytes", i, v.PageSize)
		}
		link, err := p.MapLink(v.Start, v.End)
		if hasFile := want.kind.HasFile(); (err == nil) != hasFile {
			t.Errorf("mapping %d (%s): link %q, %v", i, v.Kind, link, err)
		} else if hasFile {
			if path, deleted := CutDeleted(link); path != v.Path || deleted != v.Deleted {
				t.Errorf("mapping %d: link %q, path %q", i, link, v.Path)
			}
			fd, err := p.MapFile(v.Start, v.End, unix.O_RDONLY)
			if err != nil {
				t.Errorf("mapping %d: %v", i, err)
				continue
			}
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil || st.Ino != v.Inode {
				t.Errorf("mapping %d: inode %d, %v, want %d", i, st.Ino, err, v.Inode)
			}
			_ = unix.Close(fd)
		}
	}
	var kinds []Kind
	for _, v := range vmas {
		kinds = append(kinds, v.Kind)
		if v.Flags&VMOther != 0 {
			t.Errorf("unknown flags in %+v", v)
		}
	}
	for _, kind := range []Kind{KindStack, KindVDSO, KindVVar} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("no %s in %v", kind, kinds)
		}
	}

	// maps says the same, without flags and sizes.
	bare, err := p.Maps(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range vmas {
		v := &vmas[i]
		*v = VMA{
			Start: v.Start, End: v.End, Offset: v.Offset, Inode: v.Inode, Dev: v.Dev, Prot: v.Prot, Kind: v.Kind,
			Shared: v.Shared, Deleted: v.Deleted, Path: v.Path, Name: v.Name,
		}
	}
	if !reflect.DeepEqual(bare, vmas) {
		t.Errorf("maps and smaps differ:\n%+v\n%+v", bare, vmas)
	}
}

func TestMapQuery(t *testing.T) {
	p, _ := target(t, "kinds", 0)
	vmas, err := p.Maps(nil)
	if err != nil {
		t.Fatal(err)
	}
	q, err := p.MapQuery()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var next uint64
	for _, v := range vmas {
		if v.Kind == KindVSyscall {
			continue // no mapping of the process
		}
		got, ok, err := q.Next(next)
		if err != nil {
			t.Fatal(err)
		}
		got.Kind, got.Path, got.Name, got.Deleted, got.PageSize = v.Kind, v.Path, v.Name, v.Deleted, 0
		if v.Inode == 0 {
			got.Offset, v.Offset = 0, 0
		}
		if !ok || got != v {
			t.Errorf("next to %#x: %+v, %v, want %+v", next, got, ok, v)
		}
		next = v.End
	}
	if v, ok, err := q.Next(next); ok || err != nil {
		t.Errorf("after the last: %+v, %v", v, err)
	}
}

func TestMapsMany(t *testing.T) {
	p, _ := target(t, "maps", 3000)
	for name, read := range map[string]func([]VMA) ([]VMA, error){"maps": p.Maps, "smaps": p.Smaps} {
		vmas, err := read(make([]VMA, 1, 10))
		if err != nil || len(vmas) < 3000 || vmas[0].End != 0 {
			t.Errorf("%s: %d mappings, %v", name, len(vmas), err)
			continue
		}
		for i := 2; i < len(vmas); i++ {
			if vmas[i].Start < vmas[i-1].End || vmas[i].Len()%pageSize != 0 {
				t.Errorf("%s: %+v after %+v", name, vmas[i], vmas[i-1])
			}
		}
	}
}

func TestPagemap(t *testing.T) {
	p, line := target(t, "kinds", 0)
	at, guard, _ := kindsOf(t, line)
	start := at[len(at)-1]
	pm, err := p.Pagemap()
	if err != nil {
		t.Fatal(err)
	}
	defer pm.Close()

	all := PageQuery{Return: ^PageCategory(0) &^ (PageSoftDirty | PageWritten | PageWPAllowed)}
	regions := func(entries bool, q PageQuery) []PageRegion {
		t.Helper()
		pm.entries = entries
		r, err := pm.Regions(nil, start, start+5*pageSize, q)
		if err != nil {
			t.Fatal(err)
		}
		for i := range r {
			r[i].Start, r[i].End = (r[i].Start-start)/pageSize, (r[i].End-start)/pageSize
		}
		return r
	}
	wantGuard := PageSwapped
	switch {
	case !guard:
		wantGuard = 0
	case scanFullHere(t):
		wantGuard = PageSwapped | PageGuard
	}
	want := []PageRegion{{0, 1, PagePresent}, {1, 2, PagePresent | PageFile | PageZero}, {2, 3, 0}, {3, 4, wantGuard}, {4, 5, PagePresent}}
	for _, entries := range []bool{false, true} {
		got := regions(entries, all)
		// Whether the page of zeros counts as a file's has differed between versions.
		for i := range got {
			if got[i].Categories&PageZero != 0 {
				got[i].Categories |= PageFile
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("entries %v: %v, want %v", entries, got, want)
		}
		// What a dump asks: everything with contents of its own.
		dump := regions(entries, PageQuery{
			Inverted: PageZero | PageFile | PageGuard, All: PageZero | PageFile | PageGuard, Any: PagePresent | PageSwapped, Return: PagePresent,
		})
		if scanFullHere(t) && !reflect.DeepEqual(dump, []PageRegion{{0, 1, PagePresent}, {4, 5, PagePresent}}) {
			t.Errorf("entries %v: to be dumped %v", entries, dump)
		}
		if guards := regions(entries, PageQuery{All: PageGuard, Return: PageGuard}); scanFullHere(t) && guard != (len(guards) == 1) {
			t.Errorf("entries %v: guard pages %v", entries, guards)
		}
	}

	// A kernel that knows the scan but no guard pages.
	state := scanState.Load()
	scanState.Store(scanNoGuard)
	if guards := regions(false, PageQuery{All: PageGuard}); len(guards) != 0 {
		t.Errorf("guard pages on an older kernel: %v", guards)
	}
	if guards := regions(false, PageQuery{Any: PageGuard}); len(guards) != 0 {
		t.Errorf("guard pages on an older kernel: %v", guards)
	}
	if got := regions(false, PageQuery{Inverted: PageGuard, All: PageGuard | PagePresent, Return: PagePresent}); len(got) != 2 {
		t.Errorf("present and no guard page on an older kernel: %v", got)
	}
	scanState.Store(state)

	var e [5]PageEntry
	if n, err := pm.Entries(e[:], start); err != nil || n != 5 || e[0].PFN() == 0 || e[0].PFN() == e[4].PFN() || e[2].PFN() != 0 || !e[0].Exclusive() {
		t.Errorf("entries %x, %d, %v", e, n, err)
	}
	if zero, err := zeroPFN(); err != nil || e[1].PFN() != zero {
		t.Errorf("frame of zeros %#x, %v, the page that was only read has %#x", zero, err, e[1].PFN())
	}
	if err := pm.Scan(start+1, start+2, all, nil); err == nil {
		t.Error("a scan from the middle of a page")
	}
}

// scanFullHere says whether this kernel reports guard pages.
func scanFullHere(t *testing.T) bool {
	t.Helper()
	p, err := Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	pm, err := p.Pagemap()
	if err != nil {
		t.Fatal(err)
	}
	defer pm.Close()
	if err := pm.Scan(0, pageSize, PageQuery{Return: PageGuard}, func([]PageRegion) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return scanState.Load() == scanFull
}

// TestScanMany has more regions than fit into one call, with both ways to find them.
func TestScanMany(t *testing.T) {
	p, _ := target(t, "maps", 2)
	pm, err := p.Pagemap()
	if err != nil {
		t.Fatal(err)
	}
	defer pm.Close()
	vmas, err := p.Maps(nil)
	if err != nil {
		t.Fatal(err)
	}
	pm.regions = make([]PageRegion, 3)
	for _, v := range vmas {
		if v.Kind == KindVSyscall || v.Len() > 1<<30 {
			continue
		}
		q := PageQuery{Inverted: PageZero, All: PageZero, Any: PagePresent | PageSwapped, Return: PagePresent | PageFile}
		pm.entries = false
		scanned, err1 := pm.Regions(nil, v.Start, v.End, q)
		pm.entries = true
		read, err2 := pm.Regions(nil, v.Start, v.End, q)
		if err1 != nil || err2 != nil || !reflect.DeepEqual(scanned, read) {
			t.Errorf("%+v: scan %v, %v; entries %v, %v", v, scanned, err1, read, err2)
		}
	}
}

// TestSmapsBlocks reads the same text by blocks and line by line.
func TestSmapsBlocks(t *testing.T) {
	p, _ := target(t, "kinds", 0)
	text, err := p.bytes("smaps")
	if err != nil {
		t.Fatal(err)
	}
	// A size above eight digits moves what follows it, in these blocks only.
	wide := strings.Replace(string(text), "\nSize:     ", "\nSize:     1234567", 3)
	for _, text := range []string{string(text), wide, smapsText} {
		blocks, err := parseMapsText([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var lines mapsParser
		for line := range strings.Lines(text) {
			if err := lines.line([]byte(strings.TrimSuffix(line, "\n"))); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(blocks, lines.vmas) {
			t.Errorf("blocks\n%+v, lines\n%+v", blocks, lines.vmas)
		}
	}
}
