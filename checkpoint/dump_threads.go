// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"strconv"

	"github.com/trapline/trapline/checkpoint/stage"
)

// threads asks the other threads of each process what only they can tell, and writes core-TID.img of each.
func (d *dumper) threads() error {
	return d.each(stage.Threads, func(t *target, s stage.Span) error {
		if len(t.threads) == 1 {
			return nil
		}
		before := t.session.Calls
		// Asking waits for the thread, writing keeps this process busy: the one goes on while the other does.
		asked, written := make(chan *targetThread, 64), make(chan error, 1)
		go func() {
			var err error
			for th := range asked {
				if err == nil {
					err = d.dumpThread(t, th)
				}
			}
			written <- err
		}()
		var err error
		for _, th := range t.threads[1:] {
			if err = askThread(t, th); err != nil {
				break
			}
			asked <- th
		}
		close(asked)
		s.Add(stage.Counts{Calls: t.session.Calls - before})
		return errors.Join(err, <-written)
	})
}

func askThread(t *target, th *targetThread) error {
	a, err := t.session.AskThread(th.tracee, th.vtid, &th.regs, th.mask)
	if err != nil {
		return err
	}
	th.altStack = altStack{sp: a.AltStack, size: a.AltStackSize, flags: a.AltStackFlags}
	th.tidAddress, th.pdeathSig, th.secureBits = a.TidAddress, a.PdeathSig, a.SecureBits
	return nil
}

func (d *dumper) dumpThread(t *target, th *targetThread) error {
	e, err := threadCore(t, th)
	if err != nil {
		return err
	}
	return d.w.Put("core-"+strconv.Itoa(th.vtid)+".img", e)
}
