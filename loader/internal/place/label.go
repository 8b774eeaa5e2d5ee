// SPDX-License-Identifier: Apache-2.0

package place

import (
	"fmt"

	"github.com/trapline/trapline/probes"
)

// KernelFunction says whether the place is a function of the kernel, or one of its instructions.
func (p *Place) KernelFunction() bool {
	switch p.Spec.Provider {
	case probes.ProviderFunction, probes.ProviderKprobe, probes.ProviderFentry:
		return true
	}
	return false
}

// KindOf says what an expression asks for. A bare name is a latency probe, if there is a latency to be had; where single
// events are asked for, a bare function is its entry.
func KindOf(spec *probes.Spec, events bool) probes.Kind {
	switch {
	case spec.Kind != probes.KindDefault:
		return spec.Kind
	case spec.Offset != 0, events && spec.Provider != probes.ProviderSyscall:
		return probes.KindEntry
	}
	return probes.KindLatency
}

// Label is how tables show a probe at the place: its kind stands behind it where that is not what a table takes the bare place
// for. repeat is which of several with one label it is, from 2 on.
func (p *Place) Label(kind probes.Kind, repeat int) string {
	usual := probes.KindEntry
	if p.KernelFunction() && p.Spec.Offset == 0 || p.Spec.Provider == probes.ProviderSyscall {
		usual = probes.KindLatency
	}
	label := p.Name
	if kind != usual {
		label += "%" + kind.String()
	}
	if repeat > 0 {
		label += fmt.Sprintf(" #%d", repeat) // as the expressions were given
	}
	return label
}
