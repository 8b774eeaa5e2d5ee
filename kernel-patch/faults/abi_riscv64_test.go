// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// reasonNames are those of the reasons, in their order.
var reasonNames = [...]string{
	"none", "entry text", "engine", "noinstr", "kprobes text", "init text", "patching", "LR/SC", "exception table", "jump label",
	"no text", "boundary", "instruction", "kprobe", "slots", "lockdown", "stack", "no return",
}

func reasonName(r abi.Reason) string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint32(r))
}

// reasonErrno is the error that each reason comes with.
var reasonErrno = map[abi.Reason]unix.Errno{
	abi.ReasonEntryText: unix.EACCES, abi.ReasonEngine: unix.EACCES, abi.ReasonNoinstr: unix.EACCES, abi.ReasonKprobesText: unix.EACCES,
	abi.ReasonInitText: unix.EACCES, abi.ReasonPatching: unix.EACCES, abi.ReasonLRSC: unix.EACCES, abi.ReasonExtable: unix.EACCES,
	abi.ReasonJumpLabel: unix.EACCES, abi.ReasonNoReturn: unix.EACCES, abi.ReasonNotText: unix.ENOENT, abi.ReasonBoundary: unix.EILSEQ,
	abi.ReasonInstruction: unix.EOPNOTSUPP, abi.ReasonKprobe: unix.EBUSY, abi.ReasonSlots: unix.ENOSPC, abi.ReasonLockdown: unix.EPERM,
	abi.ReasonStack: unix.EOPNOTSUPP,
}

// refusal is why probe_open failed.
type refusal struct {
	errno   unix.Errno
	reason  abi.Reason
	address uint64
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%v (%s at %#x)", error(r.errno), reasonName(r.reason), r.address)
}

func (r *refusal) Unwrap() error { return r.errno }

// documented says whether a place may be refused like this.
func (r *refusal) documented() bool {
	return r.reason != abi.ReasonNone && reasonErrno[r.reason] == r.errno
}

// openRaw is the system call.
func openRaw(attr *abi.Attr, size uintptr, flags uint32) (int, unix.Errno) {
	fd, _, errno := unix.Syscall(abi.SysProbeOpen, uintptr(unsafe.Pointer(attr)), size, uintptr(flags))
	return int(fd), errno
}

// probe is an open probe.
type probe struct{ fd int }

// openProbe opens a probe; the error is a *refusal. fetches may be nil.
func openProbe(attr abi.Attr, fetches []abi.Fetch) (probe, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := &attr
	a.Size = uint32(unsafe.Sizeof(*a))
	if len(fetches) > 0 {
		pin.Pin(&fetches[0])
		a.FetchCount = uint32(len(fetches))
		a.Fetches = uint64(uintptr(unsafe.Pointer(&fetches[0])))
	}
	pin.Pin(a)
	for {
		fd, errno := openRaw(a, unsafe.Sizeof(*a), 0)
		switch errno {
		case 0:
			return probe{fd}, nil
		case unix.EINTR:
			continue
		}
		return probe{-1}, &refusal{errno: errno, reason: abi.Reason(a.Reason), address: a.ReasonAddress}
	}
}

// openAt opens a latency probe of the function at an address, of a group or (-1) of its own.
func openAt(address uint64, group int) (probe, error) {
	return openProbe(abi.Attr{Kind: abi.KindLatency, Address: address, GroupFD: int32(group)}, nil)
}

func (p probe) control(request, argument uintptr) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.fd), request, argument)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return fmt.Errorf("ioctl %#x: %w", request, errno)
	}
}

func (p probe) enable() error { return p.control(abi.IocEnable, 0) }

func (p probe) disable() error { return p.control(abi.IocDisable, 0) }

func (p probe) close() error {
	if err := unix.Close(p.fd); err != nil {
		return fmt.Errorf("close a probe: %w", err)
	}
	return nil
}

func (p probe) info() (abi.Info, error) {
	var i abi.Info
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.fd), abi.IocInfo, uintptr(unsafe.Pointer(&i))); errno != 0 {
		return i, fmt.Errorf("PROBE_IOC_INFO: %w", errno)
	}
	return i, nil
}

// stats are those of all contexts together; an error if they contradict themselves.
func (p probe) stats() (abi.Stats, error) {
	var sum abi.Stats
	size := int(unsafe.Sizeof(sum))
	buffer := make([]byte, 4*size)
	n, err := unix.Read(p.fd, buffer)
	if err != nil {
		return sum, fmt.Errorf("read statistics: %w", err)
	}
	if n%size != 0 {
		return sum, fmt.Errorf("read statistics: %d bytes are no multiple of %d", n, size)
	}
	for ; n > 0; n -= size {
		var one abi.Stats
		if _, err := binary.Decode(buffer[n-size:n], binary.LittleEndian, &one); err != nil {
			return sum, fmt.Errorf("read statistics: %w", err)
		}
		if one.Count > 0 && one.Min > one.Max {
			return sum, fmt.Errorf("statistics: minimum %d, maximum %d", one.Min, one.Max)
		}
		sum.Count += one.Count
		sum.Started += one.Started
		sum.Missed += one.Missed
		sum.Ended += one.Ended
		sum.Max = max(sum.Max, one.Max)
		for i, n := range one.Hist {
			sum.Hist[i] += n
		}
	}
	return sum, nil
}
