// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"context"

	"github.com/trapline/trapline/loader/ebpf"
	"github.com/trapline/trapline/probes"
)

// costKey is what the cost of a probe depends on.
type costKey struct {
	mechanism ebpf.Mechanism
}

func keyOf(p *ebpf.Probe) costKey { return costKey{p.Mechanism} }

// calibrate measures what the session's latency probes cost themselves.
func (s *Session) calibrate(context.Context) { s.costs = map[costKey]probes.Cost{} }
