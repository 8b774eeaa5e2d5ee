// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"

	"github.com/trapline/trapline/checkpoint/stage"
)

// cure takes blob and scratch area out of each process. Its threads stay stopped, in the context in which they were
// found. It does so in steps for all processes: while one is at its remote call, the next gets ready.
func (d *dumper) cure() error {
	type curing struct {
		t      *target
		span   stage.Span
		before int64
		parts  [4]func() error
		failed bool
	}
	var all []*curing
	for _, t := range d.tasks {
		if !t.dead() {
			all = append(all, &curing{t: t, span: d.tl.Begin(stage.Cure, t.pid), before: t.session.Calls, parts: t.session.CureParts()})
		}
	}
	var errs []error
	for i := range len(curing{}.parts) {
		for _, c := range all {
			if c.failed {
				continue
			}
			if err := c.parts[i](); err != nil {
				c.failed = true
				errs = append(errs, c.t.errorf(fmt.Errorf("cure: %w", err)))
			}
		}
	}
	for _, c := range all {
		c.span.Add(stage.Counts{Calls: c.t.session.Calls - c.before})
		c.span.End()
		if !c.failed {
			c.t.session = nil
		}
	}
	return errors.Join(errs...)
}
