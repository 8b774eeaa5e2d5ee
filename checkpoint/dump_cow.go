// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"strconv"

	"github.com/trapline/trapline/checkpoint/memory"
)

// cowDump keeps what pages of children found in their parents need.
type cowDump struct{}

// cowFinder finds the pages that a process still shares with an ancestor since fork.
type cowFinder struct{}

func (d *dumper) findCOW(*target) (*cowFinder, error) { return nil, nil }

func (c *cowFinder) split(r memory.Run, own, _ func(memory.Run) error) error { return own(r) }

func (c *cowFinder) close() {}

func (d *dumper) pagemapName(t *target) string { return "pagemap-" + strconv.Itoa(t.vpid) + ".img" }
