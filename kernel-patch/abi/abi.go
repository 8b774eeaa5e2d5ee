// SPDX-License-Identifier: Apache-2.0

// Package abi is kernel-patch/include/trapline.h in Go: the system call probe_open. The header explains it; the test TestABI of
// loader/patch compares the two, byte for byte.
package abi

// SysProbeOpen is the number of the system call, __NR_probe_open. It belongs to the architecture: elsewhere it is another call.
const SysProbeOpen = 244

// Kinds of probes: enum probe_kind. They are those of package probes.
const (
	KindEntry = 1 + iota
	KindReturn
	KindLatency
)

// Flags of an attr.
const (
	FlagFilter = 1 << iota
	FlagEvents
	FlagCPUTime
	FlagErrors
	FlagValue
	FlagNoJump
	FlagRegs

	FlagsAll = 1<<iota - 1
)

// Limits.
const (
	AttrSizeVer0  = 136
	Buckets       = 48
	ContextsMax   = 1024
	FetchesMax    = 12
	ValuesMax     = 8
	DerefsMax     = 4
	TestsMax      = 16
	StringsMax    = 4
	StringSize    = 128
	ConstantSize  = 64
	FramesMax     = 64
	StackWordsMax = 64
	RegsMax       = 32
	SymbolMax     = 512
	ActiveMax     = 65536
)

// Fetch is struct probe_fetch.
type Fetch struct {
	Value    uint64
	Offset   [DerefsMax]int32
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

// Test is struct probe_test.
type Test struct {
	Value    uint64
	Op       uint8
	IsSigned uint8
	Left     uint8
	Right    uint8
	Pad      [4]uint8
}

// Attr is struct probe_attr.
type Attr struct {
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

// A Reason is enum probe_reason: why probe_open fails.
type Reason uint32

// The reasons.
const (
	ReasonNone Reason = iota
	ReasonEntryText
	ReasonEngine
	ReasonNoinstr
	ReasonKprobesText
	ReasonInitText
	ReasonPatching
	ReasonLRSC
	ReasonExtable
	ReasonJumpLabel
	ReasonNotText
	ReasonBoundary
	ReasonInstruction
	ReasonKprobe
	ReasonSlots
	ReasonLockdown
	ReasonStack
	ReasonNoReturn
)

// Stats is struct probe_stats.
type Stats struct {
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
	Hist    [Buckets]uint64
}

// Methods: enum probe_method, how a probe is placed.
const (
	MethodJump     = 1 + iota // a jump to a slot, no trap
	MethodSlot                // ebreak; the instruction runs in a slot
	MethodSimulate            // ebreak; the kernel does what the instruction would
)

// Info is struct probe_info.
type Info struct {
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
	IocEnable  = 0xb900
	IocDisable = 0xb901
	IocReset   = 0xb902
	IocFollow  = 0xb903
	IocLaunch  = 0xb904
	IocInfo    = 0x8038b905

	WholeGroup = 1
)

// Page is struct probe_page.
type Page struct {
	Context uint32
	Pad     uint32
	Tail    uint64
}

// Ring is struct probe_ring.
type Ring struct {
	Head    uint64
	Size    uint64
	Dropped uint64
}

// Kinds of events.
const (
	EventPad = iota
	EventEntry
	EventReturn
	EventLatency
)

// Event is struct probe_event.
type Event struct {
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
