// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"

	"github.com/trapline/trapline/checkpoint/cpu"
)

// Extra is trapline-PID.json: what CRIU's images have no field for. CRIU ignores the file, and a restore works
// without it.
type Extra struct {
	// CPU is the processor of the dump.
	CPU *cpu.Features `json:"cpu,omitempty"`
	// Names are those of anonymous mappings (PR_SET_VMA_ANON_NAME).
	Names []ExtraName `json:"names,omitempty"`
	// Guards are the guard pages (MADV_GUARD_INSTALL).
	Guards []ExtraRange `json:"guards,omitempty"`
	// Sealed are mseal'ed maps.
	Sealed []ExtraRange `json:"sealed,omitempty"`
	// LockOnFault are maps of mlock2(MLOCK_ONFAULT).
	LockOnFault []ExtraRange `json:"lock_on_fault,omitempty"`
	// Droppable are maps of MAP_DROPPABLE (Linux 6.11), whose contents are no state.
	Droppable []ExtraRange  `json:"droppable,omitempty"`
	Threads   []ExtraThread `json:"threads,omitempty"`
	// Keys are maps with a memory protection key (pkeys(7)).
	Keys []ExtraKey `json:"keys,omitempty"`
	// THPDisable is the whole answer of PR_GET_THP_DISABLE where it says more than CRIU's flag (Linux 6.18).
	THPDisable uint64 `json:"thp_disable,omitempty"`
	// MDWE is PR_GET_MDWE, KSM PR_GET_MEMORY_MERGE, IOFlusher PR_GET_IO_FLUSHER; TSC is PR_GET_TSC unless PR_TSC_ENABLE.
	MDWE      uint64 `json:"mdwe,omitempty"`
	KSM       bool   `json:"ksm,omitempty"`
	IOFlusher bool   `json:"io_flusher,omitempty"`
	TSC       uint32 `json:"tsc,omitempty"`
	// MachineCheck is PR_MCE_KILL_GET unless PR_MCE_KILL_DEFAULT.
	MachineCheck uint32 `json:"machine_check,omitempty"`
	// LockFuture are the MCL_* flags of mlockall(2) for maps to come.
	LockFuture int `json:"lock_future,omitempty"`
	// XComp are the dynamic XSAVE components that the process may use (ARCH_GET_XCOMP_PERM; AMX).
	XComp uint64 `json:"xcomp,omitempty"`
	// CoredumpFilter is /proc/PID/coredump_filter unless it is the kernel's default.
	CoredumpFilter *uint32 `json:"coredump_filter,omitempty"`
}

// ExtraRange is a range of addresses, End exclusive.
type ExtraRange struct {
	Start uint64 `json:"start"`
	End   uint64 `json:"end"`
}

// ExtraName is the name of an anonymous mapping.
type ExtraName struct {
	ExtraRange
	Name string `json:"name"`
}

// ExtraKey is the protection key of a mapping.
type ExtraKey struct {
	ExtraRange
	Key int `json:"key"`
}

// ExtraThread is what CRIU's core image has no field for.
type ExtraThread struct {
	TID        int      `json:"tid"`
	TimerSlack uint64   `json:"timer_slack_ns,omitempty"`
	IOPriority int      `json:"ioprio,omitempty"`   // as ioprio_get(2) gives it
	Affinity   []uint64 `json:"affinity,omitempty"` // mask of CPUs, 64 a word
	SchedFlags uint64   `json:"sched_flags,omitempty"`
	SchedRT    []uint64 `json:"sched_deadline,omitempty"` // runtime, deadline, period in ns: SCHED_DEADLINE
	// XState is the whole NT_X86_XSTATE where CRIU's image would lose some of it; on riscv64 NT_RISCV_VECTOR, of which it has nothing.
	XState []byte `json:"xstate,omitempty"`
}

// extraName is the file of a process.
func extraName(pid int) string { return fmt.Sprintf("trapline-%d.json", pid) }

// thread returns the entry of a thread; it may be called on nil.
func (x *Extra) thread(tid int) *ExtraThread {
	if x == nil {
		return nil
	}
	for i := range x.Threads {
		if x.Threads[i].TID == tid {
			return &x.Threads[i]
		}
	}
	return nil
}
