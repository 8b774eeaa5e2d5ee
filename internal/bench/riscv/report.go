// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/elf"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/trapline/trapline/internal/bench/document"
	"github.com/trapline/trapline/internal/vm"
)

// A cost is a line of guest/measure.c.
type cost struct {
	By           string
	Kind         string
	Symbol       string
	Offset       int
	Method       int
	Instructions float64
}

// A placing is a line of guest/place.c. Times are in ns.
type placing struct {
	Kind                                     string
	Functions, Jump, Slot, Simulate, Refused int
	Reasons                                  map[string]int
	Probes                                   int
	Open, Enable, Disable, Close             float64
	SlowestEnable, SlowestClose              float64
}

type report struct {
	Series        string
	Costs         []cost // in the kernel that has kprobes too
	Small         []cost
	Unpatched     []cost
	Placing       []placing
	With, Without uint64 // bytes of the image
}

// enum probe_method of kernel-patch/include/trapline.h.
const (
	byJump = 1 + iota
	bySlot
	bySimulation
)

var methods = map[int]string{byJump: "a jump, no trap", bySlot: "ebreak, the instruction in a slot", bySimulation: "ebreak, the instruction simulated"}

// find gives the first line that fits.
func find(list []cost, by, kind string, method int, at *cost) *cost {
	for i := range list {
		c := &list[i]
		if c.By == by && c.Kind == kind && (method == 0 || c.Method == method) && (at == nil || c.Symbol == at.Symbol && c.Offset == at.Offset) {
			return c
		}
	}
	return nil
}

func (r *report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## Cost per hit, RISC-V guest, Linux %s, instructions\n\n", r.Series)
	call := find(r.Costs, "none", "call", 0, nil)
	if call == nil {
		return "nothing was measured\n"
	}
	fmt.Fprintf(&b, "A write of one byte to /dev/null is %.0f without a probe.\n\n", call.Instructions)
	b.WriteString("| probe | placed by | at | trapline | native | ratio | goal |\n| --- | --- | --- | ---: | ---: | ---: | ---: |\n")
	row := func(kind string, method int, goal string) {
		ours := find(r.Costs, "trapline", kind, method, nil)
		if ours == nil {
			return // nothing on the way is placed so: no instruction is simulated that a slot can hold
		}
		native, ratio := "–", "–"
		if n := find(r.Costs, "native", kind, 0, ours); n != nil {
			native, ratio = fmt.Sprintf("%.0f", n.Instructions), fmt.Sprintf("%.2f", ours.Instructions/n.Instructions)
		}
		fmt.Fprintf(&b, "| %s | %s | %s+%#x | %.0f | %s | %s | %s |\n", kind, methods[method], ours.Symbol, ours.Offset, ours.Instructions, native, ratio, goal)
	}
	row("count", byJump, "")
	row("entry", byJump, "0.25")
	row("entry", bySlot, "0.5")
	row("entry", bySimulation, "")
	row("latency", byJump, "0.4")
	if find(r.Costs, "trapline", "latency", bySlot, nil) != nil {
		row("latency", bySlot, "")
	} else {
		row("latency", bySimulation, "")
	}
	r.untouched(&b)
	r.placing(&b)
	return b.String()
}

// untouched says what a call costs that no probe is on.
func (r *report) untouched(b *strings.Builder) {
	small, plain := find(r.Small, "none", "call", 0, nil), find(r.Unpatched, "none", "call", 0, nil)
	elsewhere := find(r.Small, "trapline", "elsewhere", 0, nil)
	if small == nil || plain == nil || elsewhere == nil {
		return
	}
	fmt.Fprintf(b, "\nThe same write in the small kernel without the patch: %.2f; with it and no probe: %.2f; with a probe on vfs_read: %+.2f.\n",
		plain.Instructions, small.Instructions, elsewhere.Instructions)
	fmt.Fprintf(b, "The patch makes the small kernel %.1f KiB larger (text, data and read-only data of vmlinux; goal: below 64).\n", float64(r.With-r.Without)/1024)
}

func (r *report) placing(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Placing, RISC-V guest, Linux %s\n\nTwo emulated harts; wall time.\n\n", r.Series)
	for _, p := range r.Placing {
		switch p.Kind {
		case "coverage":
			all := float64(p.Functions) / 100
			fmt.Fprintf(b, "Of %d functions %.1f %% are probed by a jump, %.1f %% by an ebreak with a slot, %.1f %% by an ebreak with simulation; %.1f %% are refused.\n",
				p.Functions, float64(p.Jump)/all, float64(p.Slot)/all, float64(p.Simulate)/all, float64(p.Refused)/all)
		case "single":
			fmt.Fprintf(b, "One latency probe: opened in %.3f ms, enabled in %.3f, removed in %.3f (medians; goal: below 1).\n", p.Open/1e6, p.Enable/1e6, p.Close/1e6)
		case "many":
			fmt.Fprintf(b, "%d latency probes at once: opened in %.0f ms, enabled in %.1f, disabled in %.1f, closed in %.0f (goal: below 1,000 together).\n",
				p.Probes, p.Open/1e6, p.Enable/1e6, p.Disable/1e6, p.Close/1e6)
		}
	}
}

// imageSize is what a kernel takes of memory before it runs: all that is loaded, and what is zeroed. The file Image is padded.
func imageSize(k vm.Kernel) (uint64, error) {
	f, err := elf.Open(filepath.Join(k.Boot, "vmlinux"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var sum uint64
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_ALLOC != 0 {
			sum += s.Size
		}
	}
	return sum, nil
}

const heading = "# The kernel patch beside native kprobes"

const preface = `
QEMU, one emulated hart whose clock counts instructions (` + "`-icount shift=0`" + `): exact, and the same in every run. Both sides stand in one
kernel, at the same instruction, and their handlers do the same work: count, total, minimum, maximum and a histogram of an argument (entry) or
of the time from entry to return (latency; native: a kretprobe with an entry handler). "count" is an entry probe that only counts.
`

func writeReport(file, tables string) error { return document.Replace(file, heading, preface+tables) }
