// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"

	"github.com/trapline/trapline/checkpoint/stage"
)

// cure takes blob and scratch area out of each process. Its threads stay stopped, in the context in which they were
// found.
func (d *dumper) cure() error {
	return d.each(stage.Cure, func(t *target, s stage.Span) error {
		before := t.session.Calls
		err := t.session.Cure()
		s.Add(stage.Counts{Calls: t.session.Calls - before})
		if err != nil {
			return fmt.Errorf("cure: %w", err)
		}
		t.session = nil
		return nil
	})
}
