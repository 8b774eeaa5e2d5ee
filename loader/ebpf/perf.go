// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/loader/internal/perfevent"
)

// The library places kprobes by name only; a name that several functions share needs the address. So perf events are opened
// here, and given to the library as links.

// perfKprobe opens a kprobe or kretprobe at an address.
func perfKprobe(address uint64, ret bool) (int, error) {
	e, err := perfevent.Kprobe(address, ret)
	if err != nil {
		return -1, err
	}
	return openPerf(e)
}

// perfTracepoint opens a tracepoint by its number.
func perfTracepoint(id int) (int, error) { return openPerf(perfevent.Tracepoint(id)) }

// openPerf opens an event for all processes. The CPU is of no meaning: a program that is attached to it runs wherever it
// happens. It begins disabled.
func openPerf(e *perfevent.Event) (int, error) {
	return e.Open(-1, 0, unix.PerfBitDisabled, 0, 1)
}

// perfLink is the part of union bpf_attr that BPF_LINK_CREATE reads for a perf event (Linux 5.15).
type perfLink struct {
	progFD     uint32
	targetFD   uint32
	attachType uint32
	flags      uint32
	cookie     uint64
}

// linkPerf runs the program at each hit of the event and enables it. It takes the event's descriptor over.
func linkPerf(event int, prog *ebpf.Program, cookie uint64) (link.Link, error) {
	attr := &perfLink{progFD: uint32(prog.FD()), targetFD: uint32(event), attachType: uint32(ebpf.AttachPerfEvent), cookie: cookie}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_LINK_CREATE, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	if errno != 0 {
		unix.Close(event)
		return nil, fmt.Errorf("attach: %w", errno)
	}
	l, err := link.NewFromFD(int(fd))
	if err != nil {
		unix.Close(event)
		unix.Close(int(fd))
		return nil, fmt.Errorf("attach: %w", err)
	}
	if err := unix.IoctlSetInt(event, unix.PERF_EVENT_IOC_ENABLE, 0); err != nil {
		unix.Close(event)
		l.Close()
		return nil, fmt.Errorf("enable: %w", err)
	}
	// The link holds the event.
	unix.Close(event)
	return l, nil
}
