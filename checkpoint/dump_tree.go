// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"strconv"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/seccomp"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timens"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// tree writes what belongs to the tree as a whole: pstree.img, ids of shared objects, shared memory, seccomp filters,
// clocks, and our own files.
func (d *dumper) tree() error {
	var list []proto.Message
	for _, t := range d.tasks {
		list = append(list, d.treeEntry(t))
		if t.dead() {
			continue
		}
		if err := d.linkAncestors(t); err != nil {
			return err
		}
		if err := d.w.Put("ids-"+strconv.Itoa(t.vpid)+".img", t.ids.entry()); err != nil {
			return err
		}
		if err := d.w.Extra(extraName(t.vpid), newExtra(t, d.recordCPU())); err != nil {
			return err
		}
	}
	if err := d.w.Put("pstree.img", list...); err != nil {
		return err
	}
	if err := d.w.Put("seccomp.img", &seccomp.SeccompEntry{SeccompFilters: d.filters.filters}); err != nil {
		return err
	}
	if err := d.dumpClocks(); err != nil {
		return err
	}
	return d.dumpShared(d.span)
}

func (d *dumper) treeEntry(t *target) *pstree.PstreeEntry {
	e := &pstree.PstreeEntry{
		Pid: proto.Uint32(uint32(t.vpid)), Ppid: proto.Uint32(0),
		Pgid: proto.Uint32(uint32(d.vid(t.stat.Pgrp, t.status.NSpgid))), Sid: proto.Uint32(uint32(d.vid(t.stat.Session, t.status.NSsid))),
	}
	if t.parent != nil {
		e.Ppid = proto.Uint32(uint32(t.parent.vpid))
	}
	for _, th := range t.threads {
		e.Threads = append(e.Threads, uint32(th.vtid))
	}
	if len(t.threads) == 0 {
		e.Threads = []uint32{uint32(t.vpid)}
	}
	return e
}

// vid is a group or session id as the tree sees it. A zombie has no list of ids any more; all tasks being in the engine's
// PID namespace, the number is the same.
func (d *dumper) vid(id int, ns []int) int { return last(ns, id) }

// dumpClocks writes the clocks' values, by which a restore elsewhere could shift those of a time namespace.
func (d *dumper) dumpClocks() error {
	var mono, boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono); err != nil {
		return err
	}
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return err
	}
	ts := func(t unix.Timespec) *timens.Timespec {
		return &timens.Timespec{TvSec: proto.Uint64(uint64(t.Sec)), TvNsec: proto.Uint64(uint64(t.Nsec))}
	}
	return d.w.Put("timens-0.img", &timens.TimensEntry{Monotonic: ts(mono), Boottime: ts(boot)})
}
