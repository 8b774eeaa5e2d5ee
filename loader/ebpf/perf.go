// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// The library places kprobes by name only; a name that several functions share needs the address. So perf events are opened
// here, and given to the library as links.

// pmuType reads the type of a dynamic performance unit, such as "kprobe".
func pmuType(name string) (uint32, error) {
	text, err := os.ReadFile("/sys/bus/event_source/devices/" + name + "/type")
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("this kernel has no %s events (CONFIG_%s_EVENTS): %w", name, strings.ToUpper(name), ErrNotSupported)
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	return uint32(n), err
}

var kprobeType = sync.OnceValues(func() (uint32, error) { return pmuType("kprobe") })

// openPerf opens an event for all processes, counted wherever it happens. It begins disabled.
func openPerf(attr *unix.PerfEventAttr) (int, error) {
	attr.Size = uint32(unsafe.Sizeof(*attr))
	attr.Sample = 1
	attr.Wakeup = 1
	attr.Bits |= unix.PerfBitDisabled
	return unix.PerfEventOpen(attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
}

// perfKprobe opens a kprobe or kretprobe at an address.
func perfKprobe(address uint64, ret bool) (int, error) {
	typ, err := kprobeType()
	if err != nil {
		return -1, err
	}
	attr := &unix.PerfEventAttr{Type: typ, Ext2: address} // Ext1, the name, is 0: config2 is then an address
	if ret {
		attr.Config = 1
	}
	fd, err := openPerf(attr)
	if err != nil {
		return -1, fmt.Errorf("kprobe: %w", explainKprobe(err))
	}
	return fd, nil
}

// explainKprobe says what an error of the kernel means for a kprobe.
func explainKprobe(err error) error {
	switch {
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the kernel refuses kprobes there (a blacklisted or traced-unsafe function): %w", err)
	case errors.Is(err, unix.EILSEQ):
		return fmt.Errorf("the offset is not at the start of an instruction: %w", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		if lockedDown() {
			return fmt.Errorf("the kernel is locked down (confidentiality): %w", err)
		}
		return fmt.Errorf("no right to (CAP_PERFMON or CAP_SYS_ADMIN): %w", err)
	}
	return err
}

// perfTracepoint opens a tracepoint by its number.
func perfTracepoint(id int) (int, error) {
	fd, err := openPerf(&unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: uint64(id)})
	if err != nil {
		return -1, fmt.Errorf("tracepoint: %w", err)
	}
	return fd, nil
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
