// SPDX-License-Identifier: Apache-2.0

// Package perf counts probes' hits through performance events (perf_event_open(2)). It is what is left where no eBPF program
// may be loaded: without CAP_BPF, or on a kernel without eBPF. CAP_PERFMON is enough for tracepoints and kprobes, and
// kernel.perf_event_paranoid at 1 or below for tracepoints in the caller's own tasks; both with a tracefs that is mounted and
// readable. Uprobes need CAP_SYS_ADMIN on kernels since Linux 6.16.
//
// It only counts. Latencies, arguments, predicates, single events and contexts need programs in the kernel.
//
// Tasks that a traced one starts are counted with it by inheritance, but not by uprobes and kprobes: see
// [perfevent.Event.Placed]. A set-user-ID program is not counted from its execve on, and neither is a hit inside the handling
// of another (a tracepoint in an interrupt's handler that interrupts one of the same level): the kernel does not say how many
// those are. In Linux 6.12, not in 6.18 any more, a task's counters are gone before its sched_process_exit. A CPU that comes
// online later is not counted in a session of all tasks.
package perf

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/internal/feature"
	"github.com/trapline/trapline/loader/internal/perfevent"
	"github.com/trapline/trapline/loader/internal/place"
)

// ErrNotSupported is wrapped by errors about what this kernel can't do.
var ErrNotSupported = place.ErrNotSupported

// Usable says whether this process can count what the kernel does in its own tasks, and if not why.
var Usable = sync.OnceValue(func() error {
	fd, err := perfevent.Software(unix.PERF_COUNT_SW_DUMMY).Open(0, -1, unix.PerfBitDisabled, 0, 0)
	switch {
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("perf events: %w by this kernel (CONFIG_PERF_EVENTS)", ErrNotSupported)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("perf events: no right to count in the kernel; run as root, or with CAP_PERFMON and kernel.perf_event_paranoid at 2 or below (it is %s), or with that at 1: %w", paranoid(), unix.EPERM)
	case err != nil:
		return fmt.Errorf("perf events: %w", err)
	}
	return unix.Close(fd)
})

// paranoid is the kernel's setting. Debian's and Ubuntu's kernels have levels above 2, which only CAP_SYS_ADMIN passes.
func paranoid() string {
	text, err := os.ReadFile("/proc/sys/kernel/perf_event_paranoid")
	if err != nil {
		return "not known"
	}
	return strings.TrimSpace(string(text))
}

// Features gives what this backend uses of a kernel, each to be tested. The slice belongs to the caller.
func Features() []*feature.Feature {
	return []*feature.Feature{{
		Name: "perf_events", Level: feature.Extra, Since: "2.6.31", Needs: "CONFIG_PERF_EVENTS; root, or CAP_PERFMON, or kernel.perf_event_paranoid at 1 or below",
		Use: "counting without eBPF", Probe: func() error {
			if err := Usable(); err != nil {
				return feature.Missing("%v", err)
			}
			return nil
		},
	}}
}
