// SPDX-License-Identifier: Apache-2.0

package patch

import "github.com/trapline/trapline/probes"

// What follows is kernel-patch/include/trapline.h in Go, which explains it; TestABI compares the two.

// sysProbeOpen is the number of the system call, __NR_probe_open. It belongs to the architecture: elsewhere it is another call.
const sysProbeOpen = 244

// Kinds of probes. They are those of package probes.
const (
	kindEntry   = uint32(probes.KindEntry)
	kindReturn  = uint32(probes.KindReturn)
	kindLatency = uint32(probes.KindLatency)
)

// Flags of an attr.
const (
	flagFilter = 1 << iota
	flagEvents
	flagCPUTime
	flagErrors
	flagValue
	flagNoJump
	flagRegs
)

// Limits.
const (
	attrSizeVer0  = 136
	contextsMax   = 1024
	fetchesMax    = 12
	valuesMax     = 8
	derefsMax     = 4
	testsMax      = 16
	stringsMax    = 4
	stringSize    = 128
	constantSize  = 64
	framesMax     = 64
	stackWordsMax = 64
	regsMax       = 32
	symbolMax     = 512
	activeMax     = 65536
)

// wireFetch is struct probe_fetch.
type wireFetch struct {
	Value    uint64
	Offset   [derefsMax]int32
	Base     uint8
	Index    uint8
	Derefs   uint8
	User     uint8
	Format   uint8
	Size     uint8
	String   uint8
	AtReturn uint8
	Pad      [8]uint8
}

// wireTest is struct probe_test.
type wireTest struct {
	Value    uint64
	Op       uint8
	IsSigned uint8
	Left     uint8
	Right    uint8
	Pad      [4]uint8
}

// wireAttr is struct probe_attr.
type wireAttr struct {
	Size            uint32
	Kind            uint32
	Flags           uint64
	Symbol          uint64
	Address         uint64
	Offset          uint64
	Cookie          uint64
	GroupFD         int32
	Contexts        uint32
	Active          uint32
	Frames          uint32
	StackWords      uint32
	FetchCount      uint32
	TestCount       uint32
	ReturnTestCount uint32
	Fetches         uint64
	Tests           uint64
	Constants       uint64
	Wakeup          uint32
	Reason          uint32
	ReasonAddress   uint64
	Reserved        [2]uint64
}

// A reason is enum probe_reason: why probe_open fails.
type reason uint32

// The reasons.
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

// wireStats is struct probe_stats.
type wireStats struct {
	Context uint32
	Pad     uint32
	Count   uint64
	Started uint64
	Total   uint64
	Min     uint64
	Max     uint64
	CPU     uint64
	Errors  uint64
	Nested  uint64
	Missed  uint64
	Dropped uint64
	Ended   uint64
	Unread  uint64
	Hist    [probes.Buckets]uint64
}

// A Method is enum probe_method: how a probe is placed.
type Method uint32

// The methods.
const (
	MethodJump     Method = 1 // a jump to a slot, no trap
	MethodSlot     Method = 2 // ebreak; the instruction runs in a slot
	MethodSimulate Method = 3 // ebreak; the kernel does what the instruction would
)

// wireInfo is struct probe_info.
type wireInfo struct {
	Address      uint64
	Function     uint64
	FunctionSize uint64
	Instruction  uint32
	Method       uint32
	Slot         uint64
	Enabled      uint32
	Harts        uint32
	Cookie       uint64
}

// Requests of ioctl.
const (
	iocEnable  = 0xb900
	iocDisable = 0xb901
	iocReset   = 0xb902
	iocFollow  = 0xb903
	iocLaunch  = 0xb904
	iocInfo    = 0x8038b905

	wholeGroup = 1
)

// wirePage is struct probe_page.
type wirePage struct {
	Context uint32
	Pad     uint32
	Tail    uint64
}

// wireRing is struct probe_ring.
type wireRing struct {
	Head    uint64
	Size    uint64
	Dropped uint64
}

// Kinds of events.
const (
	eventPad = iota
	eventEntry
	eventReturn
	eventLatency
)

// wireEvent is struct probe_event.
type wireEvent struct {
	Size       uint32
	Kind       uint16
	Frames     uint16
	Time       uint64
	Cookie     uint64
	Latency    uint64
	Retval     uint64
	Context    uint32
	CPU        uint32
	PID        uint32
	TID        uint32
	Failed     uint32
	Values     uint16
	Strings    uint16
	Regs       uint16
	StackWords uint16
	Pad        uint32
	Comm       [16]byte
}
