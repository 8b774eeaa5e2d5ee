// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	ipc_shm "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-shm"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/trapline/trapline/checkpoint/image"
)

// sysvSegment is the segment id of the images: it, if it still exists in this IPC namespace, where like a file it
// belongs to nobody; otherwise one made again, with its id, key, owner and contents.
func (r *restorer) sysvSegment(id uint32) (int, error) {
	if got, ok := r.shared.sysv[id]; ok {
		return got, nil
	}
	var want *ipc_shm.IpcShmEntry
	var payload []byte
	for _, name := range r.images.Names() {
		if !strings.HasPrefix(name, "ipcns-shm-") {
			continue
		}
		if err := r.images.Each(name, func() proto.Message { return &ipc_shm.IpcShmEntry{} }, func(m proto.Message, p io.Reader) error {
			e := m.(*ipc_shm.IpcShmEntry)
			if e.GetDesc().GetId() != id {
				return nil
			}
			want = e
			if p == nil || e.GetInPagemaps() {
				return nil
			}
			var err error
			payload, err = io.ReadAll(p)
			return err
		}); err != nil {
			return 0, err
		}
	}
	if want == nil {
		return 0, fmt.Errorf("it is not in the images: %w", ErrImage)
	}
	var have unix.SysvShmDesc
	_, err := unix.SysvShmCtl(int(id), unix.IPC_STAT, &have)
	switch {
	case err == nil && uint64(have.Segsz) == want.GetSize() && uint32(have.Perm.Key) == want.GetDesc().GetKey():
		r.keepSegment(id)
		return int(id), nil
	case err == nil:
		return 0, fmt.Errorf("another segment has its id: remove that (ipcrm -m %d), or restore in an IPC namespace of its own", id)
	}
	if err := os.WriteFile("/proc/sys/kernel/shm_next_id", []byte(strconv.Itoa(int(id))), 0); err != nil {
		return 0, fmt.Errorf("asking for its id: %w", err)
	}
	d := want.GetDesc()
	got, err := unix.SysvShmGet(int(int32(d.GetKey())), int(want.GetSize()), unix.IPC_CREAT|unix.IPC_EXCL|int(d.GetMode()&0o777))
	if err != nil {
		return 0, fmt.Errorf("creating it with key %#x and %d bytes: %w", d.GetKey(), want.GetSize(), err)
	}
	undo := func(err error) (int, error) {
		_, _ = unix.SysvShmCtl(got, unix.IPC_RMID, nil)
		return 0, err
	}
	if got != int(id) {
		return undo(fmt.Errorf("it became %d: is another one being created at the same time?", got))
	}
	if err := r.fillSegment(got, want, payload); err != nil {
		return undo(err)
	}
	if err := setSegmentOwner(got, want); err != nil {
		return undo(err)
	}
	r.shared.created = append(r.shared.created, segment{id: got, destroy: d.GetMode()&shmDest != 0})
	r.keepSegment(id)
	return got, nil
}

// shmDest is SHM_DEST in a segment's mode: it goes with its last attachment.
const shmDest = 0o1000

type segment struct {
	id      int
	destroy bool
}

func (r *restorer) keepSegment(id uint32) {
	if r.shared.sysv == nil {
		r.shared.sysv = map[uint32]int{}
	}
	r.shared.sysv[id] = int(id)
}

func setSegmentOwner(id int, e *ipc_shm.IpcShmEntry) error {
	var d unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &d); err != nil {
		return fmt.Errorf("reading its owner: %w", err)
	}
	d.Perm.Uid, d.Perm.Gid, d.Perm.Mode = e.GetDesc().GetUid(), e.GetDesc().GetGid(), e.GetDesc().GetMode()&0o777
	if _, err := unix.SysvShmCtl(id, unix.IPC_SET, &d); err != nil {
		return fmt.Errorf("setting its owner: %w", err)
	}
	return nil
}

func (r *restorer) fillSegment(id int, e *ipc_shm.IpcShmEntry, payload []byte) error {
	mem, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return fmt.Errorf("attaching it: %w", err)
	}
	defer unix.SysvShmDetach(mem)
	copy(mem, payload)
	pm, err := r.images.Pagemap(uint32(id), true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range pm.Entries {
		p := &pm.Entries[i]
		if p.Offset == image.NoData {
			continue
		}
		if p.Start >= uint64(len(mem)) {
			return fmt.Errorf("pages at %#x of %d bytes: %w", p.Start, e.GetSize(), ErrImage)
		}
		f, err := r.images.Pages(p)
		if err != nil {
			return err
		}
		_, err = f.ReadAt(mem[p.Start:min(p.End(), uint64(len(mem)))], p.Offset)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
