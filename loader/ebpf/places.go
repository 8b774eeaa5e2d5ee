// SPDX-License-Identifier: Apache-2.0

package ebpf

import "github.com/trapline/trapline/probes"

// Places gives the places of an expression, none of which is placed. events says what a bare name means: see Options.
func Places(spec *probes.Spec, events bool) ([]*Probe, error) {
	return newKernel().resolve(spec, events)
}

// Address is where a probe of a kernel function sits; 0 if it is none, or the kernel does not tell.
func (p *Probe) Address() uint64 {
	if p.Symbol.Address == 0 {
		return 0
	}
	return p.address()
}
