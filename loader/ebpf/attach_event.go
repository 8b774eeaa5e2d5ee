// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/trapline/trapline/bpf"
	neutral "github.com/trapline/trapline/loader/internal/recipe"
	"github.com/trapline/trapline/loader/internal/tracefs"
	"github.com/trapline/trapline/probes"
)

// attachTracepoint places a classic tracepoint. Its program reads as many words of the record as this event has: the
// kernel refuses one that reads further.
func (s *Session) attachTracepoint(p *Probe) error {
	f, err := tracefs.ReadFormat(p.Group, p.Event)
	if err != nil {
		return err
	}
	words, half := uint32(0), uint32(0)
	if s.objects.maps[mapRecipes].MaxEntries() > 1 || len(p.Spec.Args) > 0 || p.Spec.If != nil {
		words = uint32(min(f.Size/8, neutral.MaxWords))
		half = flag(f.Size%8 >= 4)
	}
	consts := alone(p)
	consts["words_here"], consts["half_here"] = words, half
	if word, ok := consts["tested_word"].(uint32); ok && word > words {
		delete(consts, "tested_word") // it is no whole one
	}
	prog, err := s.objects.load("tracepoint_count", variant{consts: consts})
	if err != nil {
		return err
	}
	fd, err := perfTracepoint(f.ID)
	if err != nil {
		prog.Close()
		return err
	}
	l, err := linkPerf(fd, prog, uint64(p.index))
	if err != nil {
		prog.Close()
		return err
	}
	s.stack.push(prog.Close)
	s.stack.pushLink(l.Close)
	p.missed = append(p.missed, programMisses(prog))
	return nil
}

// rawArguments is how many parameters a raw tracepoint has.
func rawArguments(event string) (int, error) {
	types, err := kernelTypes()
	if err != nil {
		return 0, err
	}
	var d *btf.Typedef
	if err := types.TypeByName("btf_trace_"+event, &d); err != nil {
		return 0, err
	}
	if ptr, ok := d.Type.(*btf.Pointer); ok {
		if f, ok := ptr.Target.(*btf.FuncProto); ok && len(f.Params) > 0 {
			return len(f.Params) - 1, nil // the first is the tracepoint's own
		}
	}
	return 0, errors.New("its parameters are not known")
}

// attachRawTracepoint places a raw tracepoint through its BTF type.
func (s *Session) attachRawTracepoint(p *Probe) error {
	words, err := rawArguments(p.Event)
	if err != nil {
		return err
	}
	prog, err := s.objects.load("raw_tracepoint_count", variant{attachTo: p.Event, consts: constants{"words_here": uint32(words), "probe_here": p.index + 1, "preemptible": uint32(1)}})
	if err != nil {
		return err
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: prog})
	if err != nil {
		prog.Close()
		return err
	}
	s.stack.push(prog.Close)
	s.stack.pushLink(l.Close)
	p.missed = append(p.missed, programMisses(prog))
	return nil
}

// attachSyscalls places all probes of system calls: two programs serve them all.
func (s *Session) attachSyscalls(list []*Probe, out map[*Probe]error) {
	list = s.tabulate(list, out)
	if len(list) == 0 {
		return
	}
	returns := slices.ContainsFunc(list, func(p *Probe) bool { return p.Kind != probes.KindEntry })
	err := s.attachKernelProgram("syscall_enter", constants{"syscall_returns": flag(returns)}, list)
	if err == nil && returns {
		err = s.attachKernelProgram("syscall_exit", nil, list)
	}
	for _, p := range list {
		out[p] = err
	}
}

// tabulate tells the programs which probes a system call has, and gives those that have found a place.
func (s *Session) tabulate(list []*Probe, out map[*Probe]error) (placed []*Probe) {
	table := map[uint32]*bpf.TraceSyscallProbes{}
	for _, p := range list {
		nr := uint32(p.Syscall)
		if table[nr] == nil {
			table[nr] = &bpf.TraceSyscallProbes{Any: 1}
		}
		chain := &table[nr].Entry
		switch p.Kind {
		case probes.KindLatency:
			chain = &table[nr].Latency
		case probes.KindReturn:
			chain = &table[nr].Exit
		}
		if !chainAdd(chain, p.index+1) {
			out[p] = fmt.Errorf("a system call has at most %d probes of one kind; trace the others in another run", len(chain))
			continue
		}
		if err := s.objects.maps[mapSyscalls].Put(nr, table[nr]); err != nil {
			out[p] = fmt.Errorf("system call %d: %w", nr, err)
			continue
		}
		placed = append(placed, p)
	}
	return placed
}

// chainAdd puts a probe into the first free place.
func chainAdd(chain *[4]uint32, id uint32) bool {
	for i := range chain {
		if chain[i] == 0 {
			chain[i] = id
			return true
		}
	}
	return false
}

// attachKernelProgram loads and attaches a program that names its own raw tracepoint, until the session ends.
// group are the probes whose hits it serves, if it serves any.
func (s *Session) attachKernelProgram(name string, consts constants, group []*Probe) error {
	prog, err := s.objects.load(name, variant{consts: consts})
	if err != nil {
		return err
	}
	s.stack.push(prog.Close)
	l, err := link.AttachTracing(link.TracingOptions{Program: prog})
	if err != nil {
		return fmt.Errorf("attach eBPF program %s: %w", name, err)
	}
	s.stack.pushLink(l.Close)
	if len(group) > 0 {
		s.multis = append(s.multis, multiMisses{programMisses(prog), group, false})
	}
	return nil
}

// attachTimekeeping watches the switches of tasks, if time on CPU is asked for.
func (s *Session) attachTimekeeping() error {
	if !s.opts.CPUTime {
		return nil
	}
	return s.attachKernelProgram("switch_cpu", nil, nil)
}
