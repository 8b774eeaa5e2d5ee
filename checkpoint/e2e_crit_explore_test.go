// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// compareTree compares "crit x DIR ps".
func compareTree(t *testing.T, c crit.Critter, tree map[uint32]*procTask) {
	t.Helper()
	root, err := c.ExplorePs()
	if err != nil || root == nil {
		t.Fatalf("crit x ps: %v, root %v", err, root)
	}
	seen := map[uint32]bool{}
	var walk func(ps *crit.PsTree, parent uint32)
	walk = func(ps *crit.PsTree, parent uint32) {
		seen[ps.PID] = true
		got := fmt.Sprintf("ppid %d pgid %d sid %d comm %q", parent, ps.PgID, ps.SID, ps.Comm)
		p := tree[ps.PID]
		if p == nil {
			t.Errorf("crit x ps: process %d (%s) is not in the tree", ps.PID, got)
			return
		}
		if want := fmt.Sprintf("ppid %d pgid %d sid %d comm %q", p.ppid, p.pgid, p.sid, p.comm); got != want {
			t.Errorf("crit x ps: process %d: expected %s, seen %s", ps.PID, want, got)
		}
		for _, child := range ps.Children {
			walk(child, ps.PID)
		}
	}
	walk(root, 0)
	for pid := range tree {
		if !seen[pid] {
			t.Errorf("crit x ps: process %d is missing", pid)
		}
	}
}

// compareFds compares "crit x DIR fds".
func compareFds(t *testing.T, c crit.Critter, tree map[uint32]*procTask) {
	t.Helper()
	list, err := c.ExploreFds()
	if err != nil {
		t.Fatalf("crit x fds: %v", err)
	}
	seen := map[uint32]bool{}
	for _, e := range list {
		p := tree[e.PId]
		if p == nil {
			t.Errorf("crit x fds: process %d is not in the tree", e.PId)
			continue
		}
		seen[e.PId] = true
		want := maps.Clone(p.fds)
		for _, f := range e.Files {
			link, ok := want[f.Fd]
			if !ok {
				t.Errorf("crit x fds: process %d: descriptor %s (%s %s) is not there, or twice in the image", e.PId, f.Fd, f.Type, f.Path)
				continue
			}
			delete(want, f.Fd)
			if !sameFile(f, link) {
				t.Errorf("crit x fds: process %d: descriptor %s: expected %s, seen %s %s", e.PId, f.Fd, link, f.Type, f.Path)
			}
		}
		for fd, link := range want {
			t.Errorf("crit x fds: process %d: descriptor %s (%s) is missing", e.PId, fd, link)
		}
	}
	for pid, p := range tree {
		if !p.zombie && !seen[pid] {
			t.Errorf("crit x fds: process %d is missing", pid)
		}
	}
}

// linkTypes says which of CRIU's types a descriptor has whose link in /proc/PID/fd begins so.
var linkTypes = []struct {
	link  string
	types []string
}{
	{"socket:[", []string{"UNIXSK", "INETSK", "NETLINKSK", "PACKETSK"}},
	{"pipe:[", []string{"PIPE"}},
	{"anon_inode:[eventfd", []string{"EVENTFD"}},
	{"anon_inode:[eventpoll]", []string{"EVENTPOLL"}},
	{"anon_inode:[timerfd]", []string{"TIMERFD"}},
	{"anon_inode:[signalfd]", []string{"SIGNALFD"}},
	{"anon_inode:inotify", []string{"INOTIFY"}},
	{"/memfd:", []string{"MEMFD"}},
	{"/", []string{"REG", "FIFO", ""}}, // "" for cwd and root
}

// sameFile compares what crit says of a descriptor with its link, as far as it says anything: of most kinds only an id.
func sameFile(f *crit.File, link string) bool {
	for _, l := range linkTypes {
		if !strings.HasPrefix(link, l.link) {
			continue
		}
		if !slices.Contains(l.types, f.Type) {
			return false
		}
		_, inode, _ := strings.Cut(strings.TrimSuffix(link, "]"), "[")
		switch f.Type {
		case "PIPE":
			return f.Path == "pipe["+inode+"]"
		case "UNIXSK":
			return strings.HasPrefix(f.Path, "unix["+inode+" (")
		case "REG", "":
			return f.Path == strings.TrimSuffix(link, " (deleted)")
		}
		return true
	}
	return false
}

// compareMems compares "crit x DIR mems".
func compareMems(t *testing.T, c crit.Critter, tree map[uint32]*procTask) {
	t.Helper()
	list, err := c.ExploreMems()
	if err != nil {
		t.Fatalf("crit x mems: %v", err)
	}
	seen := map[uint32]bool{}
	for _, e := range list {
		p := tree[e.PId]
		if p == nil {
			t.Errorf("crit x mems: process %d is not in the tree", e.PId)
			continue
		}
		seen[e.PId] = true
		if exe := strings.TrimSuffix(p.exe, " (deleted)"); e.Exe != exe {
			t.Errorf("crit x mems: process %d: expected the program %s, seen %s", e.PId, exe, e.Exe)
		}
		var got, want []string
		for _, m := range e.Mems {
			got = append(got, fmt.Sprintf("%s-%s %s", trimHex(m.Start), trimHex(m.End), m.Protection))
		}
		for _, m := range p.mems {
			f := strings.Fields(m)
			start, end, _ := strings.Cut(f[0], "-")
			want = append(want, fmt.Sprintf("%s-%s %s", trimHex(start), trimHex(end), f[1][:3]))
		}
		for _, m := range want {
			if !slices.Contains(got, m) {
				t.Errorf("crit x mems: process %d: the map %s is missing", e.PId, m)
			}
		}
		for _, m := range got {
			if !slices.Contains(want, m) {
				t.Errorf("crit x mems: process %d: there is no map %s", e.PId, m)
			}
		}
		if len(got) == len(want) {
			compareResources(t, e, p)
		}
	}
	for pid, p := range tree {
		if !p.zombie && !seen[pid] {
			t.Errorf("crit x mems: process %d is missing", pid)
		}
	}
}

func trimHex(s string) string { return strings.TrimLeft(s, "0") }

// compareResources compares what each map is of. crit names a file only if the map does not begin where the file does.
func compareResources(t *testing.T, e *crit.MemMap, p *procTask) {
	t.Helper()
	for i, m := range e.Mems {
		f := strings.SplitN(p.mems[i], " ", 4)
		path := strings.TrimSuffix(f[3], " (deleted)")
		offset := trimHex(f[2])
		want := ""
		switch {
		case path == "[vdso]" || path == "[vsyscall]":
			want = path
		case path == "[stack]":
			want = "[stack" // "[stack?]" where only its flag tells, as in CRIU's images
		case offset != "" && strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "/memfd:") && path != "/dev/zero" && !strings.HasPrefix(path, "/SYSV"):
			want = fmt.Sprintf("%s + 0x%s", path, offset)
		default:
			continue
		}
		if !strings.HasPrefix(m.Resource, want) {
			t.Errorf("crit x mems: process %d: map %s: expected %s, seen %q", e.PId, f[0], want, m.Resource)
		}
	}
}

// compareRss compares "crit x DIR rss". The pages of a process in the images are those that are its own, and the vDSO's.
func compareRss(t *testing.T, c crit.Critter, tree map[uint32]*procTask) {
	t.Helper()
	if why := notHere["crit x rss"]; why != "" {
		t.Logf("crit x rss is not for this guest: %s", why)
		return
	}
	list, err := c.ExploreRss()
	if err != nil {
		t.Fatalf("crit x rss: %v", err)
	}
	seen := map[uint32]bool{}
	for _, e := range list {
		p := tree[e.PId]
		if p == nil {
			t.Errorf("crit x rss: process %d is not in the tree", e.PId)
			continue
		}
		seen[e.PId] = true
		var pages int64
		for _, r := range e.Rsses {
			pages += r.PhyPages
			if len(r.Vmas) == 0 {
				t.Errorf("crit x rss: process %d: %d pages at %s are in no map", e.PId, r.PhyPages, r.PhyAddr)
			}
		}
		if most := p.anonymous + p.vdso; pages < p.anonymous || pages > most {
			t.Errorf("crit x rss: process %d: expected %d to %d pages, seen %d", e.PId, p.anonymous, most, pages)
		}
	}
	for pid, p := range tree {
		if !p.zombie && !seen[pid] {
			t.Errorf("crit x rss: process %d is missing", pid)
		}
	}
}

// unknownFields returns the name of a message in m, itself included, that has fields which its type does not know.
func unknownFields(m protoreflect.Message) (name string) {
	if len(m.GetUnknown()) > 0 {
		return string(m.Descriptor().Name())
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind || f.IsMap():
		case f.IsList():
			for i := 0; i < v.List().Len() && name == ""; i++ {
				name = unknownFields(v.List().Get(i).Message())
			}
		default:
			name = unknownFields(v.Message())
		}
		return name == ""
	})
	return name
}
