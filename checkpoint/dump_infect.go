// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"

	"github.com/trapline/trapline/checkpoint/inject"
	"github.com/trapline/trapline/checkpoint/procfs"
	"github.com/trapline/trapline/checkpoint/stage"
)

// infect gives each process a scratch area and parks its first thread in the blob. It does so in steps for all processes: while one is
// at its remote call, the next gets ready.
func (d *dumper) infect() error {
	type infecting struct {
		t    *target
		span stage.Span
		i    *inject.Infection
	}
	var all []*infecting
	var first error
	step := func(f *infecting, do func() error) {
		if f.i == nil {
			return
		}
		if err := do(); err != nil {
			f.i = nil // it has undone what it did
			f.span.End()
			if first == nil {
				first = f.t.errorf(fmt.Errorf("infect: %w", err))
			}
		}
	}
	for _, t := range d.tasks {
		if t.dead() || first != nil {
			continue
		}
		f := &infecting{t: t, span: d.tl.Begin(stage.Infect, t.pid), i: &inject.Infection{}}
		step(f, func() (err error) {
			if err := t.leaveRseqs(); err != nil {
				return err
			}
			f.i, err = inject.InfectBegin(t.injectTarget())
			return err
		})
		all = append(all, f)
	}
	// After an error too: who has begun must get to the end, to be cured.
	for _, f := range all {
		step(f, func() error { return f.i.Enter() })
	}
	for _, f := range all {
		step(f, func() (err error) {
			if f.t.session, err = f.i.End(); err != nil {
				return err
			}
			f.span.Add(stage.Counts{Calls: f.t.session.Calls})
			f.span.End()
			return nil
		})
	}
	return first
}

// leaveRseqs takes all threads out of restartable sequences.
func (t *target) leaveRseqs() error {
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
	return nil
}

func (t *target) injectTarget() inject.Target {
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
	return g
}
