// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/cilium/ebpf/btf"

	"github.com/trapline/trapline/internal/feature"
	"github.com/trapline/trapline/probes"
)

// features are what this backend uses of a kernel. The versions are those of the kernel releases that brought each one.
var features = sync.OnceValue(func() []*feature.Feature {
	return []*feature.Feature{
		{
			Name: "bpf", Needs: "CONFIG_BPF_SYSCALL; root, or CAP_BPF and CAP_PERFMON", Since: "4.4", Use: "every probe",
			Probe: func() error { return missing(loadKprobe(nil)) },
		},
		{
			Name: "btf", Since: "5.4", Needs: "CONFIG_DEBUG_INFO_BTF", Use: "every probe: the kernel's types",
			Probe: func() error { _, err := btf.LoadKernelSpec(); return missing(err) },
		},
		{
			Name: "task_storage", Since: "5.11", Use: "every latency and every filter: the calls that a task is in",
			Probe: func() error { return missing(loadPrograms("mark_tasks")) },
		},
		{
			Name: "tp_btf", Level: feature.Extra, Since: "5.5", Use: "syscall:, rawtp:, following forks, time on CPU",
			Probe: func() error { return try(MechanismRawTracepoint, "rawtp:sched_process_exec") },
		},
		{
			Name: "tracepoint", Level: feature.Extra, Since: "4.7", Needs: "CONFIG_TRACEPOINTS, tracefs", Use: "tracepoint:",
			Probe: func() error { return try(MechanismTracepoint, "tracepoint:sched:sched_process_exec") },
		},
		{
			Name: "fentry", Level: feature.Extra, Since: "5.19", Needs: "CONFIG_FUNCTION_TRACER, CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
			Use: "kernel functions, cheapest", Probe: func() error { return try(MechanismFentry, "vfs_read%latency") },
		},
		{
			Name: "kprobe", Level: feature.Extra, Since: "5.15", Needs: "CONFIG_KPROBES, CONFIG_KPROBE_EVENTS; no lockdown",
			Use: "kernel functions with registers, instructions", Probe: func() error { return try(MechanismKprobe, "vfs_read%latency") },
		},
		{
			Name: "kprobe_multi", Level: feature.Extra, Since: "5.18", Needs: "CONFIG_FPROBE; no lockdown",
			Use: "thousands of kernel functions at once", Probe: func() error { return try(MechanismKprobeMulti, "vfs_read%latency") },
		},
		{
			Name: "kprobe_session", Level: feature.Extra, Since: "6.10", Needs: "CONFIG_FPROBE; no lockdown",
			Use: "latencies of thousands of kernel functions, paired by the kernel", Probe: func() error { return try(MechanismKprobeSession, "vfs_read%latency") },
		},
		{
			Name: "uprobe", Level: feature.Extra, Since: "5.15", Needs: "CONFIG_UPROBES, CONFIG_UPROBE_EVENTS", Use: "uprobe:",
			Probe: func() error { return tryOwn(MechanismUprobe) },
		},
		{
			Name: "uprobe_multi", Level: feature.Extra, Since: "6.6", Needs: "CONFIG_UPROBES", Use: "many functions of a program at once",
			Probe: func() error { return tryOwn(MechanismUprobeMulti) },
		},
		{
			Name: "read_kernel", Level: feature.Extra, Since: "5.5", Needs: "no lockdown", Use: "arguments that are in the kernel's memory",
			Probe: func() error {
				if !kernelReadable() {
					return feature.Missing("programs may not read the kernel's memory")
				}
				return nil
			},
		},
		{
			Name: "counted_misses", Level: feature.Extra, Since: "6.7", Use: "says how many hits kprobes and tracepoints lost because another program was running on that CPU",
			Probe: feature.ByVersion("6.7"),
		},
		{
			Name: "kallsyms", Level: feature.Extra, Needs: "CONFIG_KALLSYMS, kernel.kptr_restrict below 2, CAP_SYSLOG", Use: "kernel functions by address, stacks with names",
			Probe: func() error {
				s, err := probes.LoadSymbols()
				if err != nil {
					return missing(err)
				}
				return missing(s.Restricted())
			},
		},
	}
})

// Features gives what this backend uses of a kernel, each to be tested. The slice belongs to the caller.
func Features() []*feature.Feature { return append([]*feature.Feature(nil), features()...) }

// missing makes of what went wrong the reason why a feature is not there.
func missing(err error) error {
	if err == nil {
		return nil
	}
	return feature.Missing("%v", err)
}

// loadPrograms loads programs and drops them.
func loadPrograms(names ...string) error {
	o, err := newObjects(nil, sizes{})
	if err != nil {
		return err
	}
	defer o.Close()
	for _, name := range names {
		prog, err := o.load(name, variant{})
		if err != nil {
			return err
		}
		prog.Close()
	}
	return nil
}

// try places a probe by one mechanism and removes it.
func try(m Mechanism, place string) error {
	spec, err := probes.Parse(place)
	if err != nil {
		return err
	}
	s := &Session{}
	err = s.open(context.Background(), []*probes.Spec{spec}, &Options{Only: m})
	if closed := s.Close(); err == nil {
		err = closed
	}
	for _, p := range s.all {
		if len(p.tried) > 0 {
			err = p.tried[len(p.tried)-1] // without what to do instead
		}
	}
	return missing(err)
}

// tryOwn places a probe at a function of this program that never runs.
func tryOwn(m Mechanism) error {
	return try(m, fmt.Sprintf("uprobe:/proc/self/exe:%#x", reflect.ValueOf(neverRuns).Pointer()))
}

// neverRuns is a function that a probe can be tried on.
//
//go:noinline
func neverRuns() {}
