// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"

	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/procfs"
	"github.com/trapline/trapline/checkpoint/stage"
)

// infect gives each process a scratch area and parks its first thread in the blob.
func (d *dumper) infect() error {
	return d.each(stage.Infect, func(t *target, s stage.Span) error {
		for _, th := range t.threads {
			// The kernel would abort the section when the thread goes on. Once it has run in the blob the kernel no
			// longer knows of it, so the live thread moves too.
			if err := t.leaveRseq(th); err != nil {
				return err
			}
			if th.rseqCS != 0 {
				if err := th.tracee.SetRegs(&th.regs); err != nil {
					return fmt.Errorf("thread %d: %w", th.tid, err)
				}
			}
		}
		g := inject.Target{
			Leader: t.leader().tracee, Mem: t.mem, VPid: t.vpid, VTid: t.leader().vtid,
			SigCaught: t.status.SigCgt, SigIgnored: t.status.SigIgn, Seccomp: t.status.Seccomp,
			Mapped: make([]inject.Range, len(t.vmas)),
		}
		for i := range t.vmas {
			v := &t.vmas[i]
			g.Mapped[i] = inject.Range{Start: v.Start, End: v.End}
			if v.Kind == procfs.KindVDSO {
				g.VDSO = g.Mapped[i]
			}
		}
		var err error
		if t.session, err = inject.Infect(g); err != nil {
			return fmt.Errorf("infect: %w", err)
		}
		s.Add(stage.Counts{Calls: t.session.Calls})
		return nil
	})
}
