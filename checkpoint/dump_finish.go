// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/stats"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/image"
	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/memory"
	"github.com/trapline/trapline/checkpoint/stage"
)

// dumpStats are counts for stats-dump, in pages.
type dumpStats struct {
	pagesScanned, pagesWritten, pagesParent uint64
	sharedScanned, sharedWritten            uint64
}

// finish completes the images and lets the tree go, or ends it. The tree is ended only when its images are complete.
func (d *dumper) finish() error {
	// A tree that runs on need not wait for the checksums, unless somebody wants to see it stopped.
	early := d.opts.LeaveRunning && !d.opts.LeaveStopped && d.opts.Hook == nil
	if early {
		if err := d.letGo(); err != nil {
			return err
		}
	}
	if err := d.w.Finish(d.inventory()); err != nil {
		return err
	}
	if err := d.hook(ActionPostDump, d.root.pid); err != nil {
		return err
	}
	if !early {
		if err := d.letGo(); err != nil {
			return err
		}
	}
	d.result.Frozen = d.tl.Frozen()
	d.result.Pages = int64(d.stats.pagesWritten + d.stats.sharedWritten)
	d.result.Bytes = d.imageBytes()
	return nil
}

// letGo ends the dump's hold on the tree as the options say.
func (d *dumper) letGo() error {
	defer d.tl.Thaw()
	switch {
	case d.opts.LeaveStopped:
		return d.leaveStopped()
	case d.opts.LeaveRunning:
		return d.thaw()
	}
	return d.kill()
}

// leaveStopped detaches every process with a SIGSTOP on its way.
func (d *dumper) leaveStopped() error {
	var errs []error
	for _, t := range d.tasks {
		if t.dead() {
			continue
		}
		// One that was stopped before stops again by itself.
		if t.state != image.TaskStopped {
			if err := unix.PidfdSendSignal(t.pidfd, unix.SIGSTOP, nil, 0); err != nil {
				errs = append(errs, t.errorf(err))
			}
		}
		if err := t.release(0); err != nil {
			errs = append(errs, t.errorf(err))
		}
	}
	return errors.Join(errs...)
}

// kill ends every process of the tree and waits until none of them runs any more. Once the first is dead the images are all that is left
// of the tree: they stay, whatever happens to the rest.
func (d *dumper) kill() error {
	var errs []error
	for _, t := range d.tasks {
		if t.dead() {
			continue
		}
		switch err := unix.PidfdSendSignal(t.pidfd, unix.SIGKILL, nil, 0); {
		case err == nil:
			d.killed = true
		case !errors.Is(err, unix.ESRCH):
			errs = append(errs, t.errorf(fmt.Errorf("kill: %w", err)))
			if !d.killed {
				return errs[0]
			}
			continue
		}
		t.killed = true
	}
	for _, t := range d.tasks {
		if !t.killed {
			continue
		}
		// The leader reports last.
		for i := len(t.threads) - 1; i >= 0; i-- {
			if err := awaitExit(t.threads[i]); err != nil {
				errs = append(errs, t.errorf(err))
			}
		}
	}
	return errors.Join(errs...)
}

func awaitExit(th *targetThread) error {
	for {
		s, err := th.tracee.Wait()
		if errors.Is(err, inject.ErrGone) || err == nil && s.Kind == inject.StopExited {
			th.tracee = nil
			return nil
		}
		if err != nil {
			return fmt.Errorf("thread %d: waiting for its end: %w", th.tid, err)
		}
	}
}

// inventory is the last image: it says that all others are there.
func (d *dumper) inventory() *inventory.InventoryEntry {
	const imagesV2 = 2 // CRTOOLS_IMAGES_V1_1
	own := objectIDs{vm: 1, files: 1, fs: 1, sighand: 1}
	e := &inventory.InventoryEntry{
		ImgVersion: proto.Uint32(imagesV2), FdinfoPerId: proto.Bool(true), RootIds: own.entry(), NsPerId: proto.Bool(true),
		Lsmtype: inventory.Lsmtype_NO_LSM.Enum(), NetworkLockMethod: proto.Uint32(0), PluginsEntry: &inventory.PluginsEntry{},
		DumpCriuRunId: proto.String(runID()),
	}
	if d.opts.TCPClose {
		e.TcpClose = proto.Bool(true)
	}
	return e
}

// runID is a random UUID, version 4.
func runID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// writeStats writes stats-dump and the stages, into the work directory if one is given. The images are complete and the
// tree is gone by now, so that a failure of it is no failure of the dump.
func (d *dumper) writeStats() {
	r := d.tl.Report()
	s := d.stats
	e := &stats.StatsEntry{Dump: &stats.DumpStatsEntry{
		FreezingTime: micros(r.Of(stage.Freeze).Dur), FrozenTime: micros(d.result.Frozen), MemdumpTime: micros(r.Of(stage.Pages).Dur), MemwriteTime: micros(r.Of(stage.Pages).Dur),
		PagesScanned: &s.pagesScanned, PagesSkippedParent: &s.pagesParent, PagesWritten: &s.pagesWritten,
		IrmapResolve: proto.Uint32(0), PagesLazy: proto.Uint64(0),
		ShpagesScanned: &s.sharedScanned, ShpagesWritten: &s.sharedWritten, ShpagesSkippedParent: proto.Uint64(0),
	}}
	var err error
	if d.opts.WorkDir == "" || sameDir(d.opts.WorkDir, d.opts.ImagesDir) {
		err = d.w.Stats(e, r)
	} else {
		err = image.WriteStats(d.opts.WorkDir, e, r)
	}
	if err != nil {
		d.log.Warn("the statistics of the dump are not written", "err", err)
	}
}

// micros is a duration as statistics have it: in µs.
func micros(t time.Duration) *uint32 {
	return proto.Uint32(uint32(min(max(t.Microseconds(), 0), math.MaxUint32)))
}

func sameDir(a, b string) bool {
	sa, err := os.Stat(a)
	if err != nil {
		return false
	}
	sb, err := os.Stat(b)
	return err == nil && os.SameFile(sa, sb)
}

// imageBytes is the size of all image files.
func (d *dumper) imageBytes() int64 {
	var n int64
	list, err := os.ReadDir(d.opts.ImagesDir)
	if err != nil {
		return int64(d.stats.pagesWritten+d.stats.sharedWritten) * int64(memory.PageSize)
	}
	for _, e := range list {
		if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
			n += fi.Size()
		}
	}
	return n
}
