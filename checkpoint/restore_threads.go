// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/stage"
)

const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD |
	unix.CLONE_SYSVSEM | unix.CLONE_CHILD_CLEARTID

// threads creates the threads of every process, each with its id and the address that is cleared when it ends.
func (r *restorer) threads() error {
	return r.each(stage.Threads, func(t *task) error {
		leader := t.threads[0]
		leader.t, leader.s = t.s.T, t.s
		if err := xcompPermissions(t); err != nil {
			return err
		}
		if err := r.cloneThreads(t); err != nil {
			return err
		}
		for _, th := range t.threads {
			if err := wholeState(t, th); err != nil {
				return fmt.Errorf("thread %d: %w", th.tid, err)
			}
		}
		r.result.Threads += len(t.threads)
		return nil
	})
}

// threadRoom is the least part of the scratch area in which a thread restores its state, in bytes.
const threadRoom = 8 << 10

// stateRoom is what restoring the state of a thread takes of the scratch area: entries, of which capabilities can be most, and groups.
func stateRoom(th *thread) int {
	const entries = 64 + 2*64
	return entries*inject.EntrySize + 4*len(th.core.ThreadCore.GetCreds().GetGroups()) + 1024
}

// threadsAtOnce is how many threads have room beside each other. Seccomp filters may need all of it.
func (t *task) threadsAtOnce() int {
	if len(t.seccomp) > 0 {
		return 1
	}
	room := threadRoom
	for _, th := range t.threads {
		room = max(room, stateRoom(th))
	}
	return max(1, int(t.s.AreaSize)/room)
}

func (r *restorer) cloneThreads(t *task) error {
	rest := t.threads[1:]
	at := t.threadsAtOnce()
	made := 0
	for len(rest) > 0 {
		b := t.s.NewBatch()
		n := 0
		for ; n < len(rest) && b.Room() > callRoom; n++ {
			th := rest[n]
			clone3(b, threadFlags, 0, clearTid(th.core), th.tid)
		}
		if err := t.s.Run(b); err != nil {
			return err
		}
		for i, th := range rest[:n] {
			tid, err := b.Result(i)
			if err != nil {
				return pidError(th.tid, err)
			}
			r.born = append(r.born, int(tid))
			if th.s, err = t.s.Thread(int(tid), made%at, t.s.AreaSize/uint64(at)&^63); err != nil {
				return fmt.Errorf("thread %d: %w", th.tid, err)
			}
			th.t = th.s.T
			made++
		}
		rest = rest[n:]
	}
	return nil
}
