// SPDX-License-Identifier: Apache-2.0

// Package perfevent describes and opens the performance events that count or carry probes: perf_event_open(2).
package perfevent

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/loader/internal/place"
)

// An Event says what counts as a hit.
type Event struct {
	attr unix.PerfEventAttr
	name *byte // what attr points to
	what string
	code bool // the kernel puts something into code for it
}

// Tracepoint is a tracepoint by its number, which its format tells.
func Tracepoint(id int) *Event {
	return &Event{what: "tracepoint", attr: unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: uint64(id)}}
}

// Software is an event of the kernel's own that needs no place, such as unix.PERF_COUNT_SW_DUMMY.
func Software(config uint64) *Event {
	return &Event{what: "software event", attr: unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: config}}
}

var (
	kprobeUnit = sync.OnceValues(func() (uint32, error) { return unit("kprobe") })
	uprobeUnit = sync.OnceValues(func() (uint32, error) { return unit("uprobe") })
)

// unit reads the type of a dynamic performance unit, such as "kprobe" (Linux 4.17).
func unit(name string) (uint32, error) {
	text, err := os.ReadFile("/sys/bus/event_source/devices/" + name + "/type")
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("this kernel has no %s events (CONFIG_%s_EVENTS): %w", name, strings.ToUpper(name), place.ErrNotSupported)
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	return uint32(n), err
}

// Kprobe is an instruction of the kernel by its address, or the returns of the function that begins there.
func Kprobe(address uint64, ret bool) (*Event, error) {
	typ, err := kprobeUnit()
	if err != nil {
		return nil, err
	}
	// Ext1, the name, is 0: config2 is then an address.
	return &Event{what: "kprobe", code: true, attr: unix.PerfEventAttr{Type: typ, Ext2: address, Config: returnBit(ret)}}, nil
}

// KprobeByName is the same for a function whose address the kernel hides.
func KprobeByName(function string, offset uint64, ret bool) (*Event, error) {
	typ, err := kprobeUnit()
	if err != nil {
		return nil, err
	}
	return named(&Event{what: "kprobe", code: true, attr: unix.PerfEventAttr{Type: typ, Ext2: offset, Config: returnBit(ret)}}, function)
}

// Uprobe is an instruction of a program by its offset in the file, or the returns of the function that begins there.
func Uprobe(path string, offset uint64, ret bool) (*Event, error) {
	typ, err := uprobeUnit()
	if err != nil {
		return nil, err
	}
	return named(&Event{what: "uprobe", code: true, attr: unix.PerfEventAttr{Type: typ, Ext2: offset, Config: returnBit(ret)}}, path)
}

// named sets the name that an event's config1 points to.
func named(e *Event, name string) (*Event, error) {
	var err error
	if e.name, err = unix.BytePtrFromString(name); err != nil {
		return nil, fmt.Errorf("%s %q: %w", e.what, name, err)
	}
	e.attr.Ext1 = uint64(uintptr(unsafe.Pointer(e.name)))
	return e, nil
}

// returnBit is bit 0 of config: "retprobe" in the unit's format directory.
func returnBit(ret bool) uint64 {
	if ret {
		return 1
	}
	return 0
}

// Placed says whether the kernel puts something into code for the event. Such an event must not be inherited: the kernel asks
// whoever forks for the same right (perf_uprobe_event_init and perf_kprobe_event_init of kernel/events/core.c; 6.18 still
// does), and a traced program that lacks it could not fork any more.
func (e *Event) Placed() bool { return e.code }

// Open opens the event for a task and what it does on a CPU; -1 stands for all, but not in both. bits are added to those of
// struct perf_event_attr. readFormat is what read gives besides the count. It is for counting if period is 0; else it is
// sampled each time, as a program that is attached to it needs.
func (e *Event) Open(task, cpu int, bits, readFormat, period uint64) (int, error) {
	attr := e.attr
	attr.Size = uint32(unsafe.Sizeof(attr))
	attr.Bits |= bits
	attr.Read_format = readFormat
	attr.Sample = period
	fd, err := unix.PerfEventOpen(&attr, task, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	runtime.KeepAlive(e)
	if err != nil {
		return -1, e.explain(err)
	}
	return fd, nil
}

// explained is an error of the kernel in words that fit, where its own would mislead.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }

func (e *explained) Unwrap() error { return e.err }

// explain says what an error of the kernel means.
func (e *Event) explain(err error) error {
	switch {
	case errors.Is(err, unix.EINVAL) && e.what == "kprobe":
		return &explained{"the kernel refuses kprobes there: the function, or this part of it, is on its blacklist", err}
	case errors.Is(err, unix.EILSEQ):
		return &explained{"the offset is not at the start of an instruction", err}
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		if locked, _ := LockedDown(); locked && e.what == "kprobe" {
			return fmt.Errorf("the kernel is locked down (confidentiality): %w", err)
		}
		if e.what == "uprobe" {
			// Linux 6.16 took it back from CAP_PERFMON, and so did the stable kernels of 2025.
			return fmt.Errorf("no right to (CAP_SYS_ADMIN; older kernels: CAP_PERFMON): %w", err)
		}
		return fmt.Errorf("no right to (CAP_PERFMON or CAP_SYS_ADMIN): %w", err)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("%w; take fewer probes, or raise the limit (ulimit -n)", err)
	}
	return err
}

// LockedDown says whether the kernel is locked down against its own root (kernel_lockdown(7), confidentiality). It is not
// known where securityfs is not mounted.
func LockedDown() (locked, known bool) {
	text, err := os.ReadFile("/sys/kernel/security/lockdown")
	return strings.Contains(string(text), "[confidentiality]"), err == nil
}
