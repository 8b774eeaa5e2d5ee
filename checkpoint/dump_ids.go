// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"slices"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"google.golang.org/protobuf/proto"
)

// Ids of the namespaces in images. All tasks of a dump are in the engine's own namespaces, and the inventory says so by
// the same ids, so any numbers do; these are CRIU's.
const (
	pidNS    = 1
	netNS    = 2
	ipcNS    = 3
	utsNS    = 4
	timeNS   = 5
	mntNS    = 6
	userNS   = 7
	cgroupNS = 8
)

// objectIDs number the kernel objects that tasks can share (CLONE_VM, CLONE_FILES, CLONE_FS, CLONE_SIGHAND). 1 is the
// engine's own in the inventory.
type objectIDs struct {
	vm, files, fs, sighand uint32
	filesOwner             *target // the task with the same descriptors whose table is written
}

// sharers finds who has the same object of one kind among the tasks seen so far. kcmp orders objects, so a sorted list will do.
type sharers struct {
	kind   uintptr
	sorted []*target
}

// first returns the task that was the first with the object of t: t itself if it is new.
func (s *sharers) first(t *target) (*target, error) {
	var failed error
	i, found := slices.BinarySearchFunc(s.sorted, t, func(o, t *target) int {
		order, err := kcmp(o.pid, t.pid, s.kind)
		if err != nil {
			failed = fmt.Errorf("kcmp with pid %d: %w", o.pid, err)
		}
		switch order {
		case 0:
			return 0
		case 1:
			return -1
		}
		return 1
	})
	switch {
	case failed != nil:
		return nil, failed
	case found:
		return s.sorted[i], nil
	}
	s.sorted = slices.Insert(s.sorted, i, t)
	return t, nil
}

// collectIDs finds out which tasks share what.
func (d *dumper) collectIDs() error {
	vm, files, fs, sighand := sharers{kind: kcmpVM}, sharers{kind: kcmpFiles}, sharers{kind: kcmpFS}, sharers{kind: kcmpSighand}
	next := uint32(2)
	for _, t := range d.tasks {
		if t.dead() {
			continue
		}
		t.ids = objectIDs{vm: next, fs: next, sighand: next}
		next++
		for _, share := range []struct {
			of   *sharers
			with func(o *target) error
		}{
			{&vm, func(o *target) error {
				return refuse("shares its memory with pid %d (vfork, or clone with CLONE_VM but not CLONE_THREAD); dump when the vfork is over, or let the program use threads", o.pid)
			}},
			{&sighand, func(o *target) error {
				return refuse("shares its signal actions with pid %d (clone with CLONE_SIGHAND); let the program use threads, or processes of their own", o.pid)
			}},
			{&files, func(o *target) error { t.ids.filesOwner = o; return nil }},
			{&fs, func(o *target) error { t.ids.fs = o.ids.fs; return nil }},
		} {
			o, err := share.of.first(t)
			if err == nil && o != t {
				err = share.with(o)
			}
			if err != nil {
				return t.errorf(err)
			}
		}
	}
	return nil
}

// entry is the contents of ids-PID.img.
func (o objectIDs) entry() *criu_core.TaskKobjIdsEntry {
	return &criu_core.TaskKobjIdsEntry{
		VmId: proto.Uint32(o.vm), FilesId: proto.Uint32(o.files), FsId: proto.Uint32(o.fs), SighandId: proto.Uint32(o.sighand),
		PidNsId: proto.Uint32(pidNS), NetNsId: proto.Uint32(netNS), IpcNsId: proto.Uint32(ipcNS), UtsNsId: proto.Uint32(utsNS),
		MntNsId: proto.Uint32(mntNS), UserNsId: proto.Uint32(userNS), CgroupNsId: proto.Uint32(cgroupNS), TimeNsId: proto.Uint32(timeNS),
	}
}
