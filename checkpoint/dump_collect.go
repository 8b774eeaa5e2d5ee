// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/fds"
	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/memory"
	"github.com/trapline/trapline/checkpoint/procfs"
	"github.com/trapline/trapline/checkpoint/stage"
)

// collect reads everything that can be read from outside, and refuses what can't be carried: until here nothing in the
// tree has been changed.
func (d *dumper) collect() error {
	if err := d.collectTasks(); err != nil {
		return err
	}
	if err := d.collectIDs(); err != nil {
		return err
	}
	d.openFiles()
	if err := d.each(stage.Collect, func(t *target, _ stage.Span) error { return d.collectFiles(t) }); err != nil {
		return err
	}
	// What only shows when all tables are known, such as a peer outside of the tree.
	return fdsError(d.fds.Settle())
}

// collectTasks reads what concerns one process at a time. Most of that is in /proc, which any OS thread may read, also for several
// processes at once; the rest is ptrace, which only this one may do.
func (d *dumper) collectTasks() error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	var live []*target
	var spans []stage.Span
	for _, t := range d.tasks {
		if !t.dead() {
			live, spans = append(live, t), append(spans, d.tl.Begin(stage.Collect, t.pid))
		}
	}
	defer func() {
		for _, s := range spans {
			s.End()
		}
	}()
	asked := make(chan error, 1)
	go func() {
		for _, t := range live {
			for _, read := range []func(*target) error{d.collectProcess, (*target).readThreads, d.collectMaps} {
				g.Go(func() error {
					if err := read(t); err != nil {
						return t.errorf(err)
					}
					return nil
				})
			}
		}
		asked <- g.Wait()
	}()
	var first error
	for _, t := range live {
		if err := d.askThreads(t); err != nil {
			first = t.errorf(err)
			break
		}
	}
	if err := errors.Join(<-asked, first); err != nil {
		return err
	}
	for i, t := range live {
		for _, step := range []func(*target) error{(*target).tidyVDSO, d.refuseTask, d.refuseMaps} {
			if err := step(t); err != nil {
				return t.errorf(err)
			}
		}
		d.log.Debug("process", "pid", t.pid, "comm", t.stat.Comm, "ppid", t.stat.PPid, "session", t.stat.Session, "group", t.stat.Pgrp,
			"threads", len(t.threads), "maps", len(t.vmas), "memory", memory.Estimate(t.vmas))
		spans[i].End()
	}
	return nil
}

// collectProcess reads what belongs to the process as a whole.
func (d *dumper) collectProcess(t *target) error {
	var err error
	if err = t.proc.ReadStatus(&t.status); err != nil {
		return err
	}
	t.vpid = last(t.status.NSpid, t.pid)
	if t.ns, err = t.proc.NS(); err != nil {
		return err
	}
	if t.limits, err = t.proc.Limits(); err != nil {
		return err
	}
	if t.personality, err = t.proc.Personality(); err != nil {
		return err
	}
	if t.oomScoreAdj, err = t.proc.OOMScoreAdj(); err != nil {
		return err
	}
	switch t.loginUID, err = t.proc.LoginUID(); {
	case err == nil:
		t.hasLoginUID = true
	case !errors.Is(err, procfs.ErrNotSupported):
		return err
	}
	if t.auxv, err = t.proc.Auxv(); err != nil {
		return err
	}
	timers, err := t.proc.Timers()
	if err != nil {
		return err
	}
	for _, tm := range timers {
		t.posixTimers = append(t.posixTimers, posixTimer{Timer: tm})
	}
	// The number could have been given to another process only if ours were gone.
	if !t.proc.Alive() {
		return procfs.ErrGone
	}
	return nil
}

// collectMaps reads the mappings and the vDSO.
func (d *dumper) collectMaps(t *target) error {
	var err error
	if t.mem, err = os.OpenFile("/proc/"+strconv.Itoa(t.pid)+"/mem", os.O_RDWR, 0); err != nil {
		return err
	}
	if t.vmas, err = t.proc.Smaps(nil); err != nil {
		return err
	}
	for i := range t.vmas {
		v := &t.vmas[i]
		if v.Kind != procfs.KindVDSO {
			continue
		}
		const limit = 1 << 20
		if v.Len() > limit {
			return fmt.Errorf("a vDSO of %d bytes", v.Len())
		}
		t.vdsoMap, t.vdso = v, make([]byte, v.Len())
		if _, err := t.mem.ReadAt(t.vdso, int64(v.Start)); err != nil {
			return fmt.Errorf("reading the vDSO: %w", err)
		}
	}
	return nil
}

// tidyVDSO takes what an engine that died has left in the vDSO's tail out of the copy for the image. A thread that is
// still in it, on its way back, must not lose it.
func (t *target) tidyVDSO() error {
	at := inject.Leftover(t.vdso)
	if at < 0 {
		return nil
	}
	start := t.vdsoMap.Start
	for _, th := range t.threads {
		if pc := regsPC(&th.regs); pc >= start+uint64(at) && pc < start+uint64(len(t.vdso)) {
			return fmt.Errorf("thread %d is still leaving the remote calls of an engine that was killed; try again", th.tid)
		}
	}
	return inject.Tidy(t.vdso, at)
}

// openFiles starts the collection of descriptors.
func (d *dumper) openFiles() {
	d.fds = fds.NewCollector(d.w, &fds.Options{
		TCPClose: d.opts.TCPClose, FileLocks: d.opts.FileLocks, LinkRemap: d.opts.LinkRemap, ExtUnixSk: d.opts.ExtUnixSk,
		SkipFlight: d.opts.SkipInFlight, GhostLimit: d.opts.GhostLimit, External: d.opts.External,
		SizeOnly: d.opts.FileValidation == fileSize,
		NetNSID:  netNS, PagesID: d.nextPagesID, Log: d.log,
	})
}

// collectFiles reads descriptors, and the files behind maps and links.
func (d *dumper) collectFiles(t *target) error {
	t.fdTask = &fds.Task{Pid: t.pid, VPid: t.vpid, Comm: t.stat.Comm, Proc: t.proc, Pidfd: t.pidfd}
	if t.ids.filesOwner == nil {
		id, err := d.fds.Collect(t.fdTask)
		if err != nil {
			return fdsError(err)
		}
		t.ids.files = id
	} else {
		t.ids.files = t.ids.filesOwner.ids.files
	}
	for _, l := range []struct {
		name string
		id   *uint32
	}{{"exe", &t.exeID}, {"cwd", &t.cwdID}, {"root", &t.rootID}} {
		id, err := d.fds.Link(t.fdTask, l.name)
		if err != nil {
			return fdsError(err)
		}
		*l.id = id
	}
	t.vmaIDs = make([]uint64, len(t.vmas))
	for i := range t.vmas {
		v := &t.vmas[i]
		switch v.Kind {
		case procfs.KindFile, procfs.KindMemfd, procfs.KindAnonShmem, procfs.KindAnonShmemNamed:
			// Neighbours of one file, the usual case, need no second question.
			if i > 0 && t.vmas[i-1].Kind == v.Kind && t.vmas[i-1].Inode == v.Inode && t.vmas[i-1].Dev == v.Dev && t.vmas[i-1].Path == v.Path {
				t.vmaIDs[i] = t.vmaIDs[i-1]
				continue
			}
			id, err := d.fds.Mapped(t.fdTask, v)
			if err != nil {
				return fdsError(missingCapability(err))
			}
			t.vmaIDs[i] = uint64(id)
		case procfs.KindSysV:
			t.vmaIDs[i] = v.Inode
			d.shared.add(t, v)
		}
	}
	return nil
}

// fdsError makes a refusal of package fds one of this package.
func fdsError(err error) error {
	if errors.Is(err, fds.ErrUnsupported) {
		return &refusal{err}
	}
	return err
}

// last is the last element: an id in the innermost namespace.
func last(ids []int, otherwise int) int {
	if len(ids) == 0 {
		return otherwise
	}
	return ids[len(ids)-1]
}

// getRobustList is get_robust_list(2).
func getRobustList(tid int) (head, size uint64, err error) {
	_, _, errno := unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, uintptr(tid), uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, 0, fmt.Errorf("get_robust_list: %w", errno)
	}
	return head, size, nil
}
