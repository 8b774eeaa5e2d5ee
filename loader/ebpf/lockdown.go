// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/trapline/trapline/loader/internal/perfevent"
)

// lockedDown says whether the kernel is locked down against its own root (kernel_lockdown(7), confidentiality): then it has
// no kprobes and lets no program read its memory. securityfs tells; where that is not mounted, a program that is refused
// while a simpler one of its kind loads.
var lockedDown = sync.OnceValue(func() bool {
	if locked, known := perfevent.LockedDown(); known {
		return locked
	}
	return loadKprobe(nil) == nil && !kernelReadable()
})

// kernelReadable says whether programs may read the kernel's memory (bpf_probe_read_kernel, Linux 5.5).
var kernelReadable = sync.OnceValue(func() bool {
	return loadKprobe(asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R10),
		asm.Add.Imm(asm.R1, -8),
		asm.Mov.Imm(asm.R2, 8),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnProbeReadKernel.Call(),
	}) == nil
})

// loadKprobe loads a program of the kind that kprobes and uprobes run, and drops it.
func loadKprobe(body asm.Instructions) error {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.Kprobe,
		License:      "GPL",
		Instructions: append(body, asm.Mov.Imm(asm.R0, 0), asm.Return()),
	})
	if err != nil {
		return err
	}
	return prog.Close()
}
