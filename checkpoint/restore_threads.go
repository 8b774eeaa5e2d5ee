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

func (r *restorer) cloneThreads(t *task) error {
	rest := t.threads[1:]
	for len(rest) > 0 {
		b := t.s.NewBatch()
		t.s.Born = nil
		n := 0
		for ; n < len(rest) && b.Room() > 4096; n++ {
			th := rest[n]
			clone3(b, threadFlags, 0, clearTid(th.core), th.tid)
		}
		if err := t.s.Run(b); err != nil {
			return err
		}
		for i, th := range rest[:n] {
			if _, err := b.Result(i); err != nil {
				return pidError(th.tid, err)
			}
		}
		byTid := map[int]*inject.Tracee{}
		for _, tr := range t.s.Born {
			byTid[tr.Tid] = tr
		}
		t.s.Born = nil
		for _, th := range rest[:n] {
			if th.t = byTid[th.tid]; th.t == nil {
				return fmt.Errorf("thread %d was created, but did not stop", th.tid)
			}
			th.s = t.s.Thread(th.t, th.tid)
		}
		rest = rest[n:]
	}
	return nil
}
