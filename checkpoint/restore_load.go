// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	criufs "github.com/checkpoint-restore/go-criu/v8/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/seccomp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/cpu"
	"github.com/trapline/trapline/checkpoint/fds"
	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/inject"
)

// task is a process that is being restored.
type task struct {
	planned
	core    *criu_core.CoreEntry // of the leader
	ids     *criu_core.TaskKobjIdsEntry
	mm      *mm.MmEntry
	fs      *criufs.FsEntry
	extra   *Extra // nil if the images are not ours
	seccomp []*seccomp.SeccompFilter
	threads []*thread // [0] is the leader
	dead    bool      // a zombie: it is to end
	ended   bool      // it has
	stopped bool

	pagemap *image.Pagemap // nil: no pages

	s           *inject.Session
	files       *fds.Table // as it was read
	table       []fds.Entry
	sharesTable bool                // with another process (CLONE_FILES)
	numbers     *numbers            // shared by the processes that share a table (CLONE_FILES)
	lent        map[fileKey]int     // what its maps are of: descriptors in the task while it is being mapped
	cradle      *cradle             // what it was born with
	kernelMaps  []inject.NamedRange // the vDSO and its data, where they are now
	kept        []kept              // what of that it keeps: memory shared copy-on-write with its parent
	mapped      bool                // its maps are there
	filled      bool                // and its pages
	released    bool
}

// thread is one thread of a process that is being restored.
type thread struct {
	tid  int
	core *criu_core.CoreEntry
	t    *inject.Tracee
	s    *inject.Session
	fp   []byte // NT_X86_XSTATE or its like
	more []byte // registers in a set of their own, for the architectures that have such
}

func (t *task) close() {
	if t.s != nil {
		t.s.Close()
	}
}

func (t *task) comm() string { return t.core.GetTc().GetComm() }

// String names the task in messages.
func (t *task) String() string { return fmt.Sprintf("pid %d (%s)", t.pid, t.comm()) }

// prepare loads the images and, meanwhile, starts the first process, in which nothing of them is yet.
func (r *restorer) prepare() error {
	loaded := make(chan error, 1)
	go func() { loaded <- r.load() }()
	var err error
	r.nursery, err = inject.StartNursery()
	cpu.Current() // checkMachine will ask for it, and this CPU has nothing else to do
	if lerr := <-loaded; lerr != nil {
		return lerr
	}
	return err
}

func (r *restorer) load() error {
	if err := r.refuseOptions(); err != nil {
		return err
	}
	var err error
	if r.images, err = image.Open(r.opts.ImagesDir); err != nil {
		return err
	}
	if err := r.images.CheckLengths(); err != nil {
		return err
	}
	if err := r.hook(ActionPreRestore, 0); err != nil {
		return err
	}
	tids := map[uint32]bool{}
	if err := r.images.Each("pstree.img", func() proto.Message { return &pstree.PstreeEntry{} }, func(m proto.Message, _ io.Reader) error {
		e := m.(*pstree.PstreeEntry)
		t := &task{planned: planned{
			pid: int(e.GetPid()), ppid: int(e.GetPpid()), pgid: int(e.GetPgid()), sid: int(e.GetSid()),
		}}
		if t.pid <= 0 || r.byPid[t.pid] != nil {
			return fmt.Errorf("pstree.img: pid %d: %w", t.pid, ErrImage)
		}
		for _, tid := range e.GetThreads() {
			if tids[tid] {
				return fmt.Errorf("pstree.img: thread %d is there twice: %w", tid, ErrImage)
			}
			tids[tid] = true
			t.threads = append(t.threads, &thread{tid: int(tid)})
		}
		r.tasks = append(r.tasks, t)
		r.byPid[t.pid] = t
		return nil
	}); err != nil {
		return err
	}
	if len(r.tasks) == 0 {
		return fmt.Errorf("pstree.img is empty: %w", ErrImage)
	}
	r.tasks[0].root = true
	var g errgroup.Group
	g.SetLimit(1 + runtime.GOMAXPROCS(0))
	g.Go(func() (err error) {
		r.files, err = fds.Load(r.images, r.fileOptions())
		return err
	})
	for _, t := range r.tasks {
		g.Go(func() error { return r.loadTask(t) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, t := range r.tasks {
		if t.dead {
			r.log.Debug("process", "pid", t.pid, "comm", t.comm(), "ppid", t.ppid, "session", t.sid, "group", t.pgid, "exit status", t.core.Tc.GetExitCode())
			continue
		}
		if err := r.files.AddTable(t.files); err != nil {
			return err
		}
		r.log.Debug("process", "pid", t.pid, "comm", t.comm(), "ppid", t.ppid, "session", t.sid, "group", t.pgid,
			"threads", len(t.threads), "maps", len(t.mm.Vmas), "descriptors", t.files.Len())
	}
	if err := r.loadSeccomp(); err != nil {
		return err
	}
	if err := r.checkMachine(); err != nil {
		return err
	}
	if root := r.tasks[0]; root.sid != root.pid && !r.opts.ShellJob {
		return refuse("%v did not lead its session (%d did), which is not in the images; restore with --shell-job: it gets session and process group of who restores it",
			root, root.sid)
	}
	r.markInherited()
	r.markSharers()
	return nil
}

// refuseOptions answers to what a later version will do.
func (r *restorer) refuseOptions() error {
	switch {
	case r.opts.Sibling:
		return refuse("--restore-sibling is not there yet; restore with --restore-detached, or let the engine's child be the tree's root")
	case r.opts.TCPEstablished && !r.opts.TCPClose:
		return refuse("--tcp-established: carrying TCP connections over is not there yet; dump and restore with --tcp-close")
	}
	if err := checkWorkDir(r.opts.WorkDir); err != nil {
		return err
	}
	if _, err := cpuNeed(r.opts.CPUCap); err != nil {
		return err
	}
	return refuseExternal(r.opts.External)
}

func (r *restorer) loadTask(t *task) (err error) {
	t.core = &criu_core.CoreEntry{}
	if err := r.images.One(fmt.Sprintf("core-%d.img", t.pid), t.core); err != nil {
		return err
	}
	if t.core.Tc == nil {
		return fmt.Errorf("core-%d.img has no task: %w", t.pid, ErrImage)
	}
	switch t.core.Tc.GetTaskState() {
	case image.TaskDead, image.TaskZombie:
		t.dead = true
		return nil
	case image.TaskStopped:
		t.stopped = true
	case image.TaskAlive:
	default:
		return fmt.Errorf("%v: unknown state %d: %w", t, t.core.Tc.GetTaskState(), ErrImage)
	}
	if t.core.GetMtype() != coreMarch {
		return refuse("%v: its registers are those of %v; restore it on such a machine", t, t.core.GetMtype())
	}
	if len(t.threads) == 0 || t.threads[0].tid != t.pid {
		return fmt.Errorf("%v: the first of its threads is not its leader: %w", t, ErrImage)
	}
	t.threads[0].core = t.core
	for _, th := range t.threads[1:] {
		th.core = &criu_core.CoreEntry{}
		if err := r.images.One(fmt.Sprintf("core-%d.img", th.tid), th.core); err != nil {
			return err
		}
	}
	x := &Extra{}
	switch err := r.images.Extra(extraName(t.pid), x); {
	case err == nil:
		t.extra = x
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, th := range t.threads {
		if err := loadRegisters(t, th); err != nil {
			return fmt.Errorf("%v: thread %d: %w", t, th.tid, err)
		}
		if th.core.ThreadCore == nil {
			return fmt.Errorf("%v: thread %d: core-%d.img has no thread state: %w", t, th.tid, th.tid, ErrImage)
		}
	}
	t.ids = t.core.Ids
	if t.ids == nil {
		t.ids = &criu_core.TaskKobjIdsEntry{}
		if err := r.images.One(fmt.Sprintf("ids-%d.img", t.pid), t.ids); err != nil {
			return err
		}
	}
	t.mm = &mm.MmEntry{}
	if err := r.images.One(fmt.Sprintf("mm-%d.img", t.pid), t.mm); err != nil {
		return err
	}
	if t.files, err = fds.ReadTable(r.images, t.ids.GetFilesId()); err != nil {
		return err
	}
	if err := t.checkMaps(); err != nil {
		return err
	}
	if err := r.loadPagemap(t); err != nil {
		return err
	}
	t.fs = &criufs.FsEntry{}
	if err := r.images.One(fmt.Sprintf("fs-%d.img", t.pid), t.fs); err != nil {
		return err
	}
	return nil
}

// checkMaps makes sure that the maps are in order and below the end of user space.
func (t *task) checkMaps() error {
	var last uint64
	for _, v := range t.mm.Vmas {
		if v.GetStart() < last || v.GetEnd() <= v.GetStart() || v.GetStart()%image.PageSize != 0 || v.GetEnd()%image.PageSize != 0 {
			return fmt.Errorf("%v: map %#x-%#x: %w", t, v.GetStart(), v.GetEnd(), ErrImage)
		}
		if v.GetEnd() > maxAddress && v.GetStatus()&image.VMAVsyscall == 0 {
			return fmt.Errorf("%v: map %#x-%#x is beyond any user's address space: %w", t, v.GetStart(), v.GetEnd(), ErrImage)
		}
		last = v.GetEnd()
	}
	return nil
}

// maxAddress is the end of user space with five levels of page tables.
const maxAddress = 1 << 56

func (r *restorer) loadSeccomp() error {
	var all seccomp.SeccompEntry
	err := r.images.One("seccomp.img", &all)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, t := range r.tasks {
		t.seccomp = all.SeccompFilters
	}
	return nil
}

func (r *restorer) fileOptions() *fds.RestoreOptions {
	o := &fds.RestoreOptions{
		Root: r.opts.Root, TCPClose: r.opts.TCPClose, FileLocks: r.opts.FileLocks, SkipRWXCheck: r.opts.SkipFileRWXCheck,
		SizeOnly: r.opts.FileValidation == fileSize, Log: r.log,
	}
	for _, i := range r.opts.InheritFD {
		if o.Inherit == nil {
			o.Inherit = map[string]int{}
		}
		o.Inherit[i.Resource] = i.FD
	}
	return o
}

// markInherited finds who takes session and group from the engine (--shell-job): those of a root that did not lead its
// session.
func (r *restorer) markInherited() {
	root := r.tasks[0]
	if root.sid == root.pid {
		return
	}
	for _, t := range r.tasks {
		t.inheritSid = t.sid == root.sid
		t.inheritPgid = t.pgid == root.pgid && root.pgid != root.pid
	}
}

// markSharers finds the processes that share a table of descriptors.
func (r *restorer) markSharers() {
	first := map[uint32]*task{}
	for _, t := range r.tasks {
		id := t.ids.GetFilesId()
		if t.dead || id == 0 {
			continue
		}
		if o := first[id]; o != nil {
			o.sharesTable, t.sharesTable = true, true
		} else {
			first[id] = t
		}
	}
}
