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
		list = append(list, &Probe{Place: *p, Kind: kindOf(spec, events)})
	}
	return list, nil
}

// kindOf says what an expression asks for. A bare name is a latency probe, if there is a latency to be had; where single
// events are asked for, a bare function is its entry.
func kindOf(spec *probes.Spec, events bool) probes.Kind {
	switch {
	case spec.Kind != probes.KindDefault:
		return spec.Kind
	case spec.Offset != 0, events && spec.Provider != probes.ProviderSyscall:
		return probes.KindEntry
	}
	return probes.KindLatency
}
