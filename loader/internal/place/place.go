// SPDX-License-Identifier: Apache-2.0

// Package place finds where the expressions of probes lead: kernel functions, tracepoints, system calls, functions of
// programs. How a place can be probed is the backends' matter.
package place

import "github.com/trapline/trapline/probes"

// A Place is one of those that an expression names. An expression with a glob has several.
type Place struct {
	Name string // as tables show it
	Spec *probes.Spec

	// Of kernel functions.
	Symbol    probes.Symbol
	Ambiguous bool // other symbols have its name

	// Of programs.
	Path       string
	Function   string
	FileOffset uint64 // where in the file the instruction lies
	Stepped    bool   // the processor steps over the instruction, away from its place: see stepsOver

	// Of tracepoints and system calls. A system call's Event is its name.
	Group, Event string
	Syscall      int // its number
}

// Address is where a kernel function's instruction lies; 0 if it is none, or the kernel does not tell.
func (p *Place) Address() uint64 {
	if p.Symbol.Address == 0 {
		return 0
	}
	return p.Symbol.Address + p.Spec.Offset
}
