// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/probes"
)

// newProbes gives a probe for each place of an expression.
func newProbes(k *place.Kernel, spec *probes.Spec, events bool) ([]*Probe, error) {
	places, err := k.Resolve(spec)
	if err != nil {
		return nil, err
	}
	list := make([]*Probe, 0, len(places))
	for _, p := range places {
		list = append(list, &Probe{Place: *p, Kind: place.KindOf(spec, events)})
	}
	return list, nil
}
