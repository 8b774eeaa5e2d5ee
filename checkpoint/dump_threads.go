// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"strconv"

	"github.com/trapline/trapline/checkpoint/stage"
)

// threads asks the other threads of each process what only they can tell, and writes core-TID.img of each.
func (d *dumper) threads() error {
	return d.each(stage.Threads, func(t *target, s stage.Span) error {
		before := t.session.Calls
		defer func() { s.Add(stage.Counts{Calls: t.session.Calls - before}) }()
		for _, th := range t.threads[1:] {
			a, err := t.session.AskThread(th.tracee, th.vtid, &th.regs, th.mask)
			if err != nil {
				return err
			}
			th.altStack = altStack{sp: a.AltStack, size: a.AltStackSize, flags: a.AltStackFlags}
			th.tidAddress, th.pdeathSig, th.secureBits = a.TidAddress, a.PdeathSig, a.SecureBits
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
