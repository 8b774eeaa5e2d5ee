// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"

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

// collectIDs finds out which tasks share what.
func (d *dumper) collectIDs() error {
	var live []*target
	next := uint32(2)
	for _, t := range d.tasks {
		if t.dead() {
			continue
		}
		t.ids = objectIDs{vm: next, fs: next, sighand: next}
		next++
		for _, o := range live {
			// Sharing without CLONE_THREAD is rare, so all against all costs little; a common ancestor within the
			// tree is what it takes.
			same, err := kcmp(o.pid, t.pid, kcmpVM)
			if err != nil {
				return t.errorf(fmt.Errorf("kcmp with pid %d: %w", o.pid, err))
			}
			if same == 0 {
				return t.errorf(fmt.Errorf("shares its memory with pid %d (vfork, or clone with CLONE_VM but not CLONE_THREAD), which can't be carried: %w", o.pid, ErrNotSupported))
			}
			if same, err = kcmp(o.pid, t.pid, kcmpFiles); err == nil && same == 0 && t.ids.filesOwner == nil {
				t.ids.filesOwner = o
				if o.ids.filesOwner != nil {
					t.ids.filesOwner = o.ids.filesOwner
				}
			}
			if same, err = kcmp(o.pid, t.pid, kcmpFS); err == nil && same == 0 {
				t.ids.fs = o.ids.fs
			}
			if same, err = kcmp(o.pid, t.pid, kcmpSighand); err == nil && same == 0 {
				return t.errorf(fmt.Errorf("shares its signal actions with pid %d (clone with CLONE_SIGHAND), which can't be carried: %w", o.pid, ErrNotSupported))
			}
		}
		live = append(live, t)
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
