// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	fs_img "github.com/checkpoint-restore/go-criu/v8/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/memfd"
	pipe_data "github.com/checkpoint-restore/go-criu/v8/crit/images/pipe-data"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/stats"
	"google.golang.org/protobuf/proto"
)

// Summary is what is in a directory of images, for people to look at. Sizes are in bytes, times in
// microseconds (as CRIU's statistics have them).
type Summary struct {
	Dir       string       `json:"dir"`
	Summed    bool         `json:"summed"`
	Parent    string       `json:"parent,omitempty"` // target of the `parent` link
	Processes []Process    `json:"processes"`        // parents before children, as the tree is walked
	Shared    []Segment    `json:"shared_memory"`
	Images    []ImageGroup `json:"images"`
	Bytes     int64        `json:"bytes"`
	Stats     *DumpStats   `json:"stats,omitempty"`
}

// DumpStats is of stats-dump.
type DumpStats struct {
	Freezing     uint32 `json:"freezing_us"`
	Frozen       uint32 `json:"frozen_us"`
	Memdump      uint32 `json:"memdump_us"`
	Memwrite     uint32 `json:"memwrite_us"`
	PagesScanned uint64 `json:"pages_scanned"`
	PagesWritten uint64 `json:"pages_written"`
}

// Process is one process of the tree.
type Process struct {
	PID      uint32   `json:"pid"`
	PPID     uint32   `json:"ppid"`
	PGID     uint32   `json:"pgid"`
	SID      uint32   `json:"sid"`
	Depth    int      `json:"depth"` // 0 for the root
	Comm     string   `json:"comm"`
	State    string   `json:"state"`               // alive, stopped, dead, zombie
	ExitCode uint32   `json:"exit_code,omitempty"` // of a dead one, as wait(2) gives it
	Threads  []Thread `json:"threads"`
	Exe      string   `json:"exe,omitempty"`
	CWD      string   `json:"cwd,omitempty"`
	Root     string   `json:"root,omitempty"`
	Memory   *Memory  `json:"memory,omitempty"`
	FilesID  uint32   `json:"files_id"` // processes that share one share all descriptors
	Files    []File   `json:"files"`
}

// Thread is one thread of a process, the leader among them.
type Thread struct {
	TID  uint32 `json:"tid"`
	Comm string `json:"comm"`
}

// ImageGroup sums up the files of one kind.
type ImageGroup struct {
	Kind  string `json:"kind"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
	Owner string `json:"owner"` // CRIU's format, ours, or other
}

// maxDepth bounds the indentation of a tree; process trees are not that deep.
const maxDepth = 4096

// describer holds the tables that the descriptions of processes look things up in.
type describer struct {
	r      *Reader
	files  map[uint32]*fdinfo.FileEntry
	memfds map[uint64]*memfd.MemfdInodeEntry // by inode id
	pipes  map[uint32]uint32                 // pipe id to bytes in it
	shared map[uint64]*Segment
	tables map[uint32][]File // by FilesID
	err    error             // the first of a shared memory segment
}

// Describe reads a complete directory of images and sums up what is in it. It works on what CRIU
// wrote as well. It fails where [Open] fails, and with [ErrCorrupt] for an image that can't be
// decoded.
func Describe(dir string) (*Summary, error) {
	r, err := Open(dir)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s := &Summary{Dir: dir, Summed: r.Summed(), Processes: []Process{}, Shared: []Segment{}}
	if target, err := readlinkat(int(r.dir.Fd()), parentName); err == nil {
		s.Parent = target
	}
	if err := s.sizes(r); err != nil {
		return nil, err
	}
	d := &describer{
		r: r, files: map[uint32]*fdinfo.FileEntry{}, memfds: map[uint64]*memfd.MemfdInodeEntry{}, pipes: map[uint32]uint32{},
		shared: map[uint64]*Segment{}, tables: map[uint32][]File{},
	}
	if err := d.loadTables(); err != nil {
		return nil, err
	}
	if err := d.processes(s); err != nil {
		return nil, err
	}
	if err := d.stats(s); err != nil {
		return nil, err
	}
	if d.err != nil {
		return nil, d.err
	}
	return s, nil
}

// sizes sums up the files of the directory by kind.
func (s *Summary) sizes(r *Reader) error {
	names, err := r.list()
	if err != nil {
		return err
	}
	groups := map[string]*ImageGroup{}
	for _, name := range names {
		size, err := r.Size(name)
		if err != nil {
			continue // no regular file
		}
		kind, owner := name, "other"
		if k, _, ok := KindOf(name); ok {
			kind, owner = k.Name, "CRIU"
		} else if isImageName(name) {
			owner = "Trapline"
			if name != SumsName {
				kind = ownPrefix + "*.json"
			}
		}
		g := groups[kind]
		if g == nil {
			g = &ImageGroup{Kind: kind, Owner: owner}
			groups[kind] = g
		}
		g.Files++
		g.Bytes += size
		s.Bytes += size
	}
	for _, g := range groups {
		s.Images = append(s.Images, *g)
	}
	slices.SortFunc(s.Images, func(a, b ImageGroup) int {
		if a.Bytes != b.Bytes {
			if a.Bytes > b.Bytes {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Kind, b.Kind)
	})
	return nil
}

// optional calls f and forgives it a missing image.
func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *describer) loadTables() error {
	if err := optional(d.r.Each("files.img", nil, func(m proto.Message, _ io.Reader) error {
		f := m.(*fdinfo.FileEntry)
		d.files[f.GetId()] = f
		return nil
	})); err != nil {
		return err
	}
	if err := optional(d.r.Each("memfd.img", nil, func(m proto.Message, _ io.Reader) error {
		i := m.(*memfd.MemfdInodeEntry)
		d.memfds[i.GetInodeId()] = i
		seg := d.segment(uint64(i.GetShmid()))
		seg.Size = clampLen(i.GetSize())
		if seg.Name = "memfd:" + i.GetName(); i.GetName() == devZero {
			seg.Name = "anonymous"
		}
		return nil
	})); err != nil {
		return err
	}
	for _, name := range []string{"pipes-data.img", "fifo-data.img"} {
		if err := optional(d.r.Each(name, nil, func(m proto.Message, _ io.Reader) error {
			p := m.(*pipe_data.PipeDataEntry)
			d.pipes[p.GetPipeId()] = p.GetBytes()
			return nil
		})); err != nil {
			return err
		}
	}
	return nil
}

// processes describes the tree in the order of a walk.
func (d *describer) processes(s *Summary) error {
	var all []*pstree.PstreeEntry
	if err := optional(d.r.Each("pstree.img", nil, func(m proto.Message, _ io.Reader) error {
		all = append(all, m.(*pstree.PstreeEntry))
		return nil
	})); err != nil {
		return err
	}
	children := map[uint32][]*pstree.PstreeEntry{}
	pids := map[uint32]bool{}
	for _, p := range all {
		if pids[p.GetPid()] {
			return fmt.Errorf("images directory %s: %w", d.r.path, corrupt("pstree.img", -1, "process %d is there twice", p.GetPid()))
		}
		pids[p.GetPid()] = true
		children[p.GetPpid()] = append(children[p.GetPpid()], p)
	}
	seen := 0
	var walk func(p *pstree.PstreeEntry, depth int) error
	walk = func(p *pstree.PstreeEntry, depth int) error {
		if depth > maxDepth {
			return fmt.Errorf("images directory %s: %w", d.r.path, corrupt("pstree.img", -1, "tree is deeper than %d", maxDepth))
		}
		seen++
		proc, err := d.process(p)
		if err != nil {
			return err
		}
		proc.Depth = depth
		s.Processes = append(s.Processes, *proc)
		for _, c := range children[p.GetPid()] {
			if err := walk(c, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range all {
		if !pids[p.GetPpid()] {
			if err := walk(p, 0); err != nil {
				return err
			}
		}
	}
	if seen != len(all) {
		return fmt.Errorf("images directory %s: %w", d.r.path, corrupt("pstree.img", -1, "%d processes are each other's ancestors", len(all)-seen))
	}
	for _, seg := range d.shared {
		s.Shared = append(s.Shared, *seg)
	}
	slices.SortFunc(s.Shared, func(a, b Segment) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return nil
}

var stateNames = map[uint32]string{TaskAlive: "alive", TaskDead: "dead", TaskStopped: "stopped", TaskZombie: "zombie"}

func (d *describer) process(p *pstree.PstreeEntry) (*Process, error) {
	pid := p.GetPid()
	out := &Process{PID: pid, PPID: p.GetPpid(), PGID: p.GetPgid(), SID: p.GetSid(), Threads: []Thread{}, Files: []File{}}
	var core criu_core.CoreEntry
	if err := optional(d.r.One(fmt.Sprintf("core-%d.img", pid), &core)); err != nil {
		return nil, err
	}
	tc := core.GetTc()
	out.Comm, out.ExitCode = tc.GetComm(), tc.GetExitCode()
	if out.State = stateNames[tc.GetTaskState()]; out.State == "" {
		out.State = fmt.Sprintf("state %d", tc.GetTaskState())
	}
	if st := tc.GetTaskState(); st != TaskAlive && st != TaskStopped {
		// CRIU 4.1 leaves the number of a dead task's only thread uninitialised.
		out.Threads = append(out.Threads, Thread{TID: pid, Comm: out.Comm})
		return out, nil
	}
	for _, tid := range p.GetThreads() {
		t := Thread{TID: tid, Comm: out.Comm}
		var core criu_core.CoreEntry
		if tid != pid {
			if err := optional(d.r.One(fmt.Sprintf("core-%d.img", tid), &core)); err != nil {
				return nil, err
			}
			t.Comm = core.GetThreadCore().GetComm()
		}
		out.Threads = append(out.Threads, t)
	}
	var where fs_img.FsEntry
	if err := optional(d.r.One(fmt.Sprintf("fs-%d.img", pid), &where)); err != nil {
		return nil, err
	}
	out.CWD, out.Root = d.path(where.GetCwdId()), d.path(where.GetRootId())
	if err := d.memory(out); err != nil {
		return nil, err
	}
	return out, d.descriptors(out)
}

// path is the name of a regular file, "" if it is none.
func (d *describer) path(id uint32) string { return d.files[id].GetReg().GetName() }

func (d *describer) stats(s *Summary) error {
	var e stats.StatsEntry
	if err := optional(d.r.One("stats-dump", &e)); err != nil {
		return err
	}
	if st := e.GetDump(); st != nil {
		s.Stats = &DumpStats{
			Freezing: st.GetFreezingTime(), Frozen: st.GetFrozenTime(), Memdump: st.GetMemdumpTime(), Memwrite: st.GetMemwriteTime(),
			PagesScanned: st.GetPagesScanned(), PagesWritten: st.GetPagesWritten(),
		}
	}
	return nil
}
