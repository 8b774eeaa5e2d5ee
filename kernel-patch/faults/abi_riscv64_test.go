// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What follows is kernel-patch/include/trapline.h, as far as these tests use it. The loader's own structs are not used: the fuzzer
// needs values that those can't have.

const sysProbeOpen = 244

const (
	kindEntry   = 1
	kindReturn  = 2
	kindLatency = 3
)

const (
	flagFilter  = 1 << 0
	flagEvents  = 1 << 1
	flagCPUTime = 1 << 2
	flagErrors  = 1 << 3
	flagValue   = 1 << 4
	flagNoJump  = 1 << 5
	flagRegs    = 1 << 6
	flagsAll    = 1<<7 - 1
)

const (
	iocEnable  = 0xb900
	iocDisable = 0xb901
	iocReset   = 0xb902
	iocFollow  = 0xb903
	iocLaunch  = 0xb904
	iocInfo    = 0x8038b905

	wholeGroup = 1
)

const (
	methodJump     = 1
	methodSlot     = 2
	methodSimulate = 3
)

const (
	contextsMax = 1024
	buckets     = 48
)

type wireFetch struct {
	Value                                                     uint64
	Offset                                                    [4]int32
	Base, Index, Derefs, User, Format, Size, String, AtReturn uint8
	Pad                                                       [8]uint8
}

type wireTest struct {
	Value                   uint64
	Op, Signed, Left, Right uint8
	Pad                     [4]uint8
}

type wireAttr struct {
	Size, Kind                             uint32
	Flags, Symbol, Address, Offset, Cookie uint64
	GroupFD                                int32
	Contexts, Active, Frames, StackWords   uint32
	FetchCount, TestCount, ReturnTestCount uint32
	Fetches, Tests, Constants              uint64
	Wakeup, Reason                         uint32
	ReasonAddress                          uint64
	Reserved                               [2]uint64
}

type wireStats struct {
	Context, Pad                                                                         uint32
	Count, Started, Total, Min, Max, CPU, Errors, Nested, Missed, Dropped, Ended, Unread uint64
	Hist                                                                                 [buckets]uint64
}

type wireInfo struct {
	Address, Function, FunctionSize uint64
	Instruction, Method             uint32
	Slot                            uint64
	Enabled, Harts                  uint32
	Cookie                          uint64
}

// wireEvent is a record of the ring as far as values[0].
type wireEvent struct {
	Size                              uint32
	Kind, Frames                      uint16
	Time, Cookie, Latency, Retval     uint64
	Context, CPU, PID, TID, Failed    uint32
	Values, Strings, Regs, StackWords uint16
	Pad                               uint32
	Comm                              [16]byte
}

// reason is enum probe_reason.
type reason uint32

const (
	reasonNone reason = iota
	reasonEntryText
	reasonEngine
	reasonNoinstr
	reasonKprobesText
	reasonInitText
	reasonPatching
	reasonLRSC
	reasonExtable
	reasonJumpLabel
	reasonNotText
	reasonBoundary
	reasonInstruction
	reasonKprobe
	reasonSlots
	reasonLockdown
	reasonStack
	reasonNoReturn
)

var reasonNames = [...]string{
	"none", "entry text", "engine", "noinstr", "kprobes text", "init text", "patching", "LR/SC", "exception table", "jump label",
	"no text", "boundary", "instruction", "kprobe", "slots", "lockdown", "stack", "no return",
}

func (r reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint32(r))
}

// reasonErrno is the error that each reason comes with.
var reasonErrno = map[reason]unix.Errno{
	reasonEntryText: unix.EACCES, reasonEngine: unix.EACCES, reasonNoinstr: unix.EACCES, reasonKprobesText: unix.EACCES,
	reasonInitText: unix.EACCES, reasonPatching: unix.EACCES, reasonLRSC: unix.EACCES, reasonExtable: unix.EACCES,
	reasonJumpLabel: unix.EACCES, reasonNoReturn: unix.EACCES, reasonNotText: unix.ENOENT, reasonBoundary: unix.EILSEQ,
	reasonInstruction: unix.EOPNOTSUPP, reasonKprobe: unix.EBUSY, reasonSlots: unix.ENOSPC, reasonLockdown: unix.EPERM,
	reasonStack: unix.EOPNOTSUPP,
}

// refusal is why probe_open failed.
type refusal struct {
	errno   unix.Errno
	reason  reason
	address uint64
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%v (%s at %#x)", error(r.errno), r.reason, r.address)
}

func (r *refusal) Unwrap() error { return r.errno }

// documented says whether a place may be refused like this.
func (r *refusal) documented() bool {
	return r.reason != reasonNone && reasonErrno[r.reason] == r.errno
}

func TestABISizes(t *testing.T) {
	for name, sizes := range map[string][2]uintptr{
		"probe_fetch": {unsafe.Sizeof(wireFetch{}), 40}, "probe_test": {unsafe.Sizeof(wireTest{}), 16},
		"probe_attr": {unsafe.Sizeof(wireAttr{}), 136}, "probe_stats": {unsafe.Sizeof(wireStats{}), 488},
		"probe_info": {unsafe.Sizeof(wireInfo{}), 56}, "probe_event": {unsafe.Sizeof(wireEvent{}), 88},
	} {
		if sizes[0] != sizes[1] {
			t.Errorf("struct %s is %d bytes here, %d in the header", name, sizes[0], sizes[1])
		}
	}
}

// openRaw is the system call.
func openRaw(attr *wireAttr, size uintptr, flags uint32) (int, unix.Errno) {
	fd, _, errno := unix.Syscall(sysProbeOpen, uintptr(unsafe.Pointer(attr)), size, uintptr(flags))
	return int(fd), errno
}

// probe is an open probe.
type probe struct{ fd int }

// openProbe opens a probe; the error is a *refusal. fetches may be nil.
func openProbe(attr wireAttr, fetches []wireFetch) (probe, error) {
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
		return probe{-1}, &refusal{errno: errno, reason: reason(a.Reason), address: a.ReasonAddress}
	}
}

// openAt opens a latency probe of the function at an address, of a group or (-1) of its own.
func openAt(address uint64, group int) (probe, error) {
	return openProbe(wireAttr{Kind: kindLatency, Address: address, GroupFD: int32(group)}, nil)
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

func (p probe) enable() error { return p.control(iocEnable, 0) }

func (p probe) disable() error { return p.control(iocDisable, 0) }

func (p probe) close() error {
	if err := unix.Close(p.fd); err != nil {
		return fmt.Errorf("close a probe: %w", err)
	}
	return nil
}

func (p probe) info() (wireInfo, error) {
	var i wireInfo
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.fd), iocInfo, uintptr(unsafe.Pointer(&i))); errno != 0 {
		return i, fmt.Errorf("PROBE_IOC_INFO: %w", errno)
	}
	return i, nil
}

// stats are those of all contexts together; an error if they contradict themselves.
func (p probe) stats() (wireStats, error) {
	var sum wireStats
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
		var one wireStats
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
