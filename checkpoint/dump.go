// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/trapline/trapline/checkpoint/fds"
	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/procfs"
	"github.com/trapline/trapline/checkpoint/stage"
)

// Dump writes the process tree of pid (the process and all its descendants) into opts.ImagesDir, in CRIU's image
// format, and then kills the tree, or leaves it running or stopped as opts says.
//
// On error the tree runs on as if nothing had happened and the images directory holds no complete checkpoint. That is
// so too when the engine dies at any moment (package inject). What can't be carried is an error that wraps
// [ErrNotSupported] and names process, object and remedy; it comes before anything in the tree is changed.
//
// Dump needs the rights of a tracer over every task of the tree: root as a rule. It may be called from any goroutine;
// ctx stops it between stages. No other goroutine of the program may wait for a task of the tree (a child of the program's own, by
// exec.Cmd.Wait for example) while Dump is at work: it would take the reports that are for the tracer.
func Dump(ctx context.Context, pid int, opts *DumpOptions) (res *DumpResult, err error) {
	// ptrace ties tracees to one OS thread. It is not given back to the scheduler, since what the target's death
	// signals would reach is not for another goroutine.
	type result struct {
		res *DumpResult
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: what the thread should still trace after an error is let go when it ends
		r, err := dump(ctx, pid, opts)
		done <- result{r, err}
	}()
	r := <-done
	return r.res, r.err
}

// dump is Dump on a locked OS thread: the stages in their order.
func dump(ctx context.Context, pid int, opts *DumpOptions) (_ *DumpResult, err error) {
	Warm()
	d, err := newDumper(ctx, pid, opts)
	if err != nil {
		return nil, fmt.Errorf("dump: %w", err)
	}
	defer func() { err = d.close(err) }()
	<-warmed
	for _, s := range []struct {
		name stage.Name
		run  func() error
	}{
		{stage.Freeze, d.freeze},   // dump_freeze.go
		{stage.Collect, d.collect}, // dump_collect.go, dump_refuse.go
		{stage.Infect, d.infect},   // dump_infect.go
		{stage.Misc, d.misc},       // dump_misc.go
		{stage.Files, d.files},     // dump_files.go
		{stage.Pages, d.pages},     // dump_pages.go
		{stage.Core, d.core},       // dump_core.go
		{stage.Threads, d.threads}, // dump_threads.go
		{stage.Cure, d.cure},       // dump_cure.go
		{stage.MM, d.mm},           // dump_mm.go
		{stage.FS, d.fs},           // dump_fs.go
		{stage.Tree, d.tree},       // dump_tree.go
		{stage.Finish, d.finish},   // dump_finish.go
	} {
		if err := d.stage(s.name, s.run); err != nil {
			return nil, fmt.Errorf("dump: %w", err)
		}
	}
	d.writeStats()
	return &d.result, nil
}

// dumper is one dump at work.
type dumper struct {
	ctx  context.Context
	opts *DumpOptions
	log  *slog.Logger
	tl   *stage.Timeline
	w    *image.Writer
	span stage.Span // of the stage that runs, for the whole tree

	root  *target
	tasks []*target       // in the order of the tree: parents before children
	byPID map[int]*target // the same, by pid

	deadline time.Time // of the freeze
	shared   sharedDump
	fds      *fds.Collector
	filters  seccompDump
	pagesID  uint32

	ownNS     map[string]procfs.NSID // the engine's
	ownCgroup memCgroup
	fpuBuf    []byte
	memTotal  uint64 // estimated bytes of memory to write
	memDone   uint64
	killed    bool       // the images are complete, and part of the tree is gone
	pagesMu   sync.Mutex // guards memDone and the stats of pages

	stats  dumpStats
	result DumpResult
}

func newDumper(ctx context.Context, pid int, opts *DumpOptions) (*dumper, error) {
	if opts == nil || opts.ImagesDir == "" {
		return nil, errors.New("no images directory given")
	}
	d := &dumper{ctx: ctx, opts: opts, log: opts.Log, tl: opts.Timeline, byPID: map[int]*target{}}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.tl == nil {
		// stats-dump and the result need the times in any case.
		d.tl = stage.New(stage.Dump)
	}
	if err := d.refuseOptions(); err != nil {
		return nil, err
	}
	if err := d.precheck(pid); err != nil {
		return nil, err
	}
	var err error
	create := image.Create
	if opts.Overwrite {
		create = image.CreateAnew
	}
	if d.w, err = create(opts.ImagesDir); err != nil {
		d.root.close()
		return nil, err
	}
	if err := d.hook(ActionPreDump, pid); err != nil {
		d.root.close()
		return nil, errors.Join(err, d.w.Abort())
	}
	return d, nil
}

// stage runs one stage for the whole tree. Stages that work on one process at a time open spans of their own within
// that of the tree; what such a span counts the tree's does not.
func (d *dumper) stage(name stage.Name, run func() error) error {
	if err := context.Cause(d.ctx); err != nil {
		return fmt.Errorf("stopped before stage %s: %w", name, err)
	}
	d.log.Debug("stage", "name", name)
	d.span = d.tl.Begin(name, 0)
	defer d.span.End()
	return run()
}

// each runs fn for every task that is alive, as a span of the stage.
func (d *dumper) each(name stage.Name, fn func(t *target, s stage.Span) error) error {
	for _, t := range d.tasks {
		if t.dead() {
			continue
		}
		s := d.tl.Begin(name, t.pid)
		err := fn(t, s)
		s.End()
		if err != nil {
			return t.errorf(err)
		}
	}
	return nil
}

func (d *dumper) hook(at Action, root int) error {
	if d.opts.Hook == nil {
		return nil
	}
	if err := d.opts.Hook(d.ctx, at, root); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// close undoes what is left to undo: after an error everything.
func (d *dumper) close(err error) error {
	err = errors.Join(err, d.thaw())
	for _, t := range d.tasks {
		t.close()
	}
	if d.fds != nil {
		d.fds.Close()
	}
	if err != nil && !d.killed {
		return errors.Join(err, d.w.Abort())
	}
	return errors.Join(err, d.w.Close())
}
