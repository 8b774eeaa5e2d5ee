// SPDX-License-Identifier: Apache-2.0

package patch

import (
	"fmt"

	"github.com/trapline/trapline/kernel-patch/abi"
	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/loader/internal/recipe"
	"github.com/trapline/trapline/probes"
)

// A Probe is one place that is to be probed. A specification with a glob has several.
type Probe struct {
	place.Place
	Kind   probes.Kind // never KindDefault
	Method Method      // how the kernel places it; 0 if it does not

	call   probes.Symbol // of a system call: the function that serves it
	from   recipe.Source
	shown  []probes.Arg // by value, as events show them
	fd     int          // -1 if it could not be placed
	info   abi.Info
	repeat int   // which of several with one label it is, from 2 on
	err    error // why it could not be placed
}

// A Method is how the kernel places a probe.
type Method uint32

// The methods.
const (
	MethodJump     Method = abi.MethodJump     // a jump to a slot, no trap
	MethodSlot     Method = abi.MethodSlot     // a trap; the instruction runs in a slot
	MethodSimulate Method = abi.MethodSimulate // a trap; the kernel does what the instruction would
)

// mechanisms are the names of methods in tables.
var mechanisms = map[Method]string{MethodJump: "patch.jump", MethodSlot: "patch.slot", MethodSimulate: "patch.simulate"}

// String gives the method as tables show it.
func (m Method) String() string {
	if name := mechanisms[m]; name != "" {
		return name
	}
	return "patch"
}

// Label is how tables show the probe: see [place.Place.Label].
func (p *Probe) Label() string { return p.Place.Label(p.Kind, p.repeat) }

// HasLatency says whether the probe measures time.
func (p *Probe) HasLatency() bool { return p.Kind == probes.KindLatency }

// HasErrors says whether the probe counts returned errors.
func (p *Probe) HasErrors() bool {
	return p.HasLatency() && p.Spec.Provider == probes.ProviderSyscall
}

// Err says why the probe could not be placed: a [place.Error], or nil.
func (p *Probe) Err() error { return p.err }

// Detail says what the kernel does at the place: the instruction that is there, and where it runs instead.
func (p *Probe) Detail() string {
	instruction := fmt.Sprintf("%#08x", p.info.Instruction)
	if p.info.Instruction&3 != 3 {
		instruction = fmt.Sprintf("%#04x", p.info.Instruction&0xffff)
	}
	if text := disassemble(p.info.Instruction); text != "" {
		instruction += " (" + text + ")"
	}
	switch p.Method {
	case MethodJump:
		return fmt.Sprintf("a jump in place of %s to a slot at %#x", instruction, p.info.Slot)
	case MethodSlot:
		return fmt.Sprintf("a trap in place of %s, which runs in a slot at %#x", instruction, p.info.Slot)
	case MethodSimulate:
		return fmt.Sprintf("a trap in place of %s, which is simulated", instruction)
	}
	return ""
}

// symbol is the function that is probed.
func (p *Probe) symbol() probes.Symbol {
	if p.Spec.Provider == probes.ProviderSyscall {
		return p.call
	}
	return p.Symbol
}

// address is where the probe is to be; 0 if the kernel does not tell.
func (p *Probe) address() uint64 {
	if p.symbol().Address == 0 {
		return 0
	}
	return p.symbol().Address + p.Spec.Offset
}
