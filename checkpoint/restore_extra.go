// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// extras restores what only our own dumps know of a process.
func extras(t *task, c *calls) {
	x := t.extra
	if x == nil {
		return
	}
	if x.THPDisable > 1 {
		// bit 0: disabled, the others are flags, the third argument
		c.do("transparent huge pages", unix.SYS_PRCTL, unix.PR_SET_THP_DISABLE, 1, x.THPDisable&^1, 0, 0)
	}
	if x.KSM {
		c.do("memory merging", unix.SYS_PRCTL, unix.PR_SET_MEMORY_MERGE, 1, 0, 0, 0)
	}
	if x.IOFlusher {
		c.do("I/O flusher", unix.SYS_PRCTL, unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0)
	}
	if x.LockFuture != 0 {
		c.do("locking of future maps", unix.SYS_MLOCKALL, uint64(x.LockFuture))
	}
	if x.MachineCheck != 0 {
		c.do("machine check policy", unix.SYS_PRCTL, unix.PR_MCE_KILL, unix.PR_MCE_KILL_SET, uint64(x.MachineCheck), 0, 0)
	}
	if x.TSC != 0 {
		c.do("TSC access", unix.SYS_PRCTL, unix.PR_SET_TSC, uint64(x.TSC))
	}
	if x.MDWE != 0 {
		c.do("memory-deny-write-execute", unix.SYS_PRCTL, unix.PR_SET_MDWE, x.MDWE, 0, 0, 0)
	}
}

// protectionKeys gives maps their keys again; the rights are in PKRU, a register.
func (r *restorer) protectionKeys(t *task) error {
	if t.extra == nil || len(t.extra.Keys) == 0 {
		return nil
	}
	prot := map[uint64]uint32{}
	for _, v := range t.mm.Vmas {
		prot[v.GetStart()] = v.GetProt()
	}
	need, highest := map[int]bool{}, 0
	for _, k := range t.extra.Keys {
		if k.Key < 1 || k.Key > 15 {
			return fmt.Errorf("protection key %d: %w", k.Key, ErrImage)
		}
		need[k.Key] = true
		highest = max(highest, k.Key)
	}
	// the kernel gives out the lowest free key: all up to the highest, then those back that nothing has
	for k := 1; k <= highest; k++ {
		if got, err := one(t.s, unix.SYS_PKEY_ALLOC, 0, 0); err != nil || int(got) != k {
			return fmt.Errorf("protection key %d (got %d): %w", k, got, err)
		}
	}
	c := newCalls(t.s)
	for k := 1; k <= highest; k++ {
		if !need[k] {
			c.do("pkey_free", unix.SYS_PKEY_FREE, uint64(k))
		}
	}
	for _, k := range t.extra.Keys {
		c.do("pkey_mprotect", unix.SYS_PKEY_MPROTECT, k.Start, k.End-k.Start, uint64(prot[k.Start]), uint64(k.Key))
	}
	return c.run()
}

// personality corrects what CRIU (4.1.1) writes: it takes the hexadecimal digits of /proc/PID/personality for decimal ones,
// so ADDR_NO_RANDOMIZE (0x40000) becomes 40000. That shows in bits that no personality has (linux/personality.h). What
// followed a digit above 9 is lost.
func personality(v uint32) uint32 {
	const unused = 0x1ff00
	if v&unused == 0 {
		return v
	}
	meant, err := strconv.ParseUint(strconv.FormatUint(uint64(v), 10), 16, 32)
	if err != nil {
		return v
	}
	return uint32(meant)
}
