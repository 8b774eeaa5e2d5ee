// SPDX-License-Identifier: Apache-2.0

package inject

import "fmt"

// AskThread asks another stopped thread of the process, whose id as the process sees it is vtid, and gives it its
// context back. It stays stopped.
func (s *Session) AskThread(t *Tracee, vtid int, _ *Regs, _ uint64) (a ThreadAnswers, err error) {
	err = s.hosted(t, vtid, func(host *Session) error {
		b := host.NewBatch()
		buf := b.Space(askSize)
		calls := questions(buf)
		for _, c := range calls {
			b.Call(c.Nr, c.Args[:]...)
		}
		if err := host.Run(b); err != nil {
			return err
		}
		for i := range calls {
			calls[i].Result, calls[i].Err = b.Result(i)
		}
		a, err = host.answers(t, calls, buf)
		return err
	})
	return a, err
}

// CallThread makes calls in another stopped thread of the process and gives the thread its context back.
func (s *Session) CallThread(t *Tracee, calls []RemoteCall) error {
	return s.hosted(t, 0, func(host *Session) error {
		for i := range calls {
			c := &calls[i]
			v, err := host.callRaw(uint64(c.Nr), c.Args)
			if err != nil {
				return err
			}
			c.Result, c.Err = errnoOf(v)
		}
		return nil
	})
}

// hosted makes another thread of the process the one that has the scratch area and the blob. There is room for one way back in the
// vDSO, so the leader, or whoever had it before, goes home first. Only then the other comes: should the engine die, nobody is left
// without the means to go.
func (s *Session) hosted(t *Tracee, vtid int, do func(host *Session) error) error {
	if err := s.Cure(); err != nil {
		return err
	}
	g := s.target
	g.Leader, g.VTid = t, vtid
	host, err := Infect(g)
	if err != nil {
		return fmt.Errorf("task %d: %w", t.Tid, err)
	}
	err = do(host)
	if cerr := host.Cure(); err == nil {
		err = cerr
	}
	s.Calls += host.Calls
	return err
}
