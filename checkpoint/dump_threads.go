// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"strconv"

	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/stage"
)

// threads asks the other threads of each process what only they can tell, and writes core-TID.img of each.
func (d *dumper) threads() error {
	return d.each(stage.Threads, func(t *target, s stage.Span) error {
		before := t.session.Calls
		defer func() { s.Add(stage.Counts{Calls: t.session.Calls - before}) }()
		for _, th := range t.threads[1:] {
			if err := askOne(t.session, th); err != nil {
				return fmt.Errorf("thread %d: %w", th.tid, err)
			}
			e, err := threadCore(t, th)
			if err != nil {
				return err
			}
			if err := d.w.Put("core-"+strconv.Itoa(th.vtid)+".img", e); err != nil {
				return err
			}
		}
		return nil
	})
}

// askOne asks one thread; its answers lie at the start of the scratch area, which no batch uses meanwhile.
func askOne(s *inject.Session, th *targetThread) error {
	qs := threadQuestions(th)
	calls := make([]inject.RemoteCall, len(qs))
	size := 0
	for i := range qs {
		calls[i] = inject.RemoteCall{Nr: qs[i].nr, Args: qs[i].args}
		if qs[i].size > 0 {
			calls[i].Args[qs[i].mem] = s.Area + uint64(size)
			size += (qs[i].size + 7) &^ 7
		}
	}
	if err := s.CallThread(th.tracee, calls); err != nil {
		return err
	}
	mem := make([]byte, size)
	if err := s.ReadMem(s.Area, mem); err != nil {
		return err
	}
	for i := range qs {
		if calls[i].Err != nil {
			return fmt.Errorf("%s: %w", qs[i].what, calls[i].Err)
		}
		var m []byte
		if n := qs[i].size; n > 0 {
			m, mem = mem[:n], mem[(n+7)&^7:]
		}
		qs[i].take(calls[i].Result, m)
	}
	return nil
}
