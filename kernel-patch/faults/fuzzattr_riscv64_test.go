// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"unsafe"

	"github.com/trapline/trapline/kernel-patch/abi"
)

// number is one that is likely to be treated in a special way.
func (f *fuzzThread) number() uint64 {
	switch f.IntN(8) {
	case 0:
		return f.Uint64()
	case 1:
		return 1 << f.IntN(64)
	case 2:
		return 1<<f.IntN(64) - 1
	case 3:
		return f.functions[f.IntN(len(f.functions))] + uint64(f.IntN(16))
	case 4:
		return uint64(uintptr(unsafe.Pointer(&f.constants[0]))) // memory of this process
	case 5:
		return uint64(uintptr(unsafe.Pointer(&f.area[0]))) + fuzzArea - uint64(f.IntN(64)) // none
	default:
		return uint64(f.IntN(130))
	}
}

// fd is one of the probes, or none.
func (f *fuzzThread) fd() int {
	if f.one(50) {
		return int(int32(f.number()))&0x7fff | 0x4000 // not open
	}
	for range 20 {
		if fd := f.fds[f.IntN(len(f.fds))].Load(); fd >= 0 {
			return int(fd)
		}
	}
	return -1
}

var fuzzSymbols = []string{
	"vfs_write", "vfs_read", "do_exit", "schedule", "kfree", "no_such_symbol", "", "_stext", "jiffies", "init_task", "copy_process", "ksys_write",
}

// attr is one that the kernel takes, as a rule; else with some of its bytes changed.
func (f *fuzzThread) attr() abi.Attr {
	a := abi.Attr{
		Kind: abi.KindEntry + uint32(f.IntN(3)), Flags: uint64(f.IntN(abi.FlagsAll + 1)), GroupFD: -1, Cookie: f.Uint64(),
		Address: f.functions[f.IntN(len(f.functions))],
	}
	a.Size = uint32(unsafe.Sizeof(a))
	switch a.Kind {
	case abi.KindEntry:
		a.Flags &^= abi.FlagErrors | abi.FlagCPUTime
		if f.one(3) {
			a.Offset = uint64(f.IntN(64))
		}
	case abi.KindReturn:
		a.Flags &^= abi.FlagValue | abi.FlagCPUTime
	case abi.KindLatency:
		a.Flags &^= abi.FlagValue
	}
	if f.one(3) {
		a.GroupFD = int32(f.fd())
	}
	if f.one(4) {
		clear(f.symbol[:])
		copy(f.symbol[:len(f.symbol)-1], fuzzSymbols[f.IntN(len(fuzzSymbols))])
		a.Symbol = uint64(uintptr(unsafe.Pointer(&f.symbol[0])))
		a.Address = 0
	}
	if f.one(3) {
		a.Contexts = uint32(f.IntN(abi.ContextsMax + 1))
		if a.Kind != abi.KindEntry {
			a.Active = uint32(f.IntN(100))
		}
	}
	if a.Flags&abi.FlagEvents == 0 {
		a.Flags &^= abi.FlagRegs
	} else if f.one(3) {
		a.StackWords = uint32(f.IntN(65))
	} else if f.one(10) {
		a.Frames = uint32(f.IntN(65)) // not all kernels have them
	}
	if a.Flags&abi.FlagValue != 0 || f.one(2) {
		f.fetched(&a)
	}
	if f.one(3) {
		f.mutate(unsafe.Slice((*byte)(unsafe.Pointer(&a)), unsafe.Sizeof(a)))
	}
	return a
}

// fetched adds values and a predicate of them.
func (f *fuzzThread) fetched(a *abi.Attr) {
	a.FetchCount = 1 + uint32(f.IntN(12))
	for i := range f.fetches {
		f.fetches[i] = f.fetch(a.Kind != abi.KindEntry, i > 0)
	}
	a.Fetches = uint64(uintptr(unsafe.Pointer(&f.fetches[0])))
	if f.one(8) {
		f.mutate(unsafe.Slice((*byte)(unsafe.Pointer(&f.fetches[0])), uintptr(a.FetchCount)*unsafe.Sizeof(f.fetches[0])))
	}
	if f.one(3) {
		return
	}
	a.TestCount = f.predicate(f.tests[:8], a.FetchCount, false)
	if a.Kind != abi.KindEntry {
		a.ReturnTestCount = f.predicate(f.tests[a.TestCount:][:8], a.FetchCount, true)
	}
	a.Tests = uint64(uintptr(unsafe.Pointer(&f.tests[0])))
	if f.one(8) {
		f.mutate(unsafe.Slice((*byte)(unsafe.Pointer(&f.tests[0])), 16*unsafe.Sizeof(f.tests[0])))
	}
	for i := range f.constants {
		f.constants[i] = "a*?[\x00]-z"[f.IntN(8)]
	}
	a.Constants = uint64(uintptr(unsafe.Pointer(&f.constants[0])))
}

// fetch is one value. returns: of a probe that sees the return; text: it may be a string.
func (f *fuzzThread) fetch(returns, text bool) abi.Fetch {
	w := abi.Fetch{Derefs: uint8(f.IntN(5)), Size: 1 << f.IntN(4), Format: uint8(f.IntN(2))}
	w.User = uint8(f.IntN(1 << w.Derefs))
	for i := range w.Offset[:w.Derefs] {
		w.Offset[i] = int32(f.number())
		if f.one(2) {
			w.Offset[i] = 8 * int32(f.IntN(64))
		}
	}
	if text && returns {
		w.AtReturn = uint8(f.IntN(2))
	}
	switch f.IntN(6) {
	case 0:
		w.Base, w.Value = 2, f.number() // immediate
	case 1:
		w.Base = uint8(4 + f.IntN(4)) // pid, tid, uid, cpu
	case 2:
		if w.AtReturn == 1 {
			w.Base = []uint8{1, 8}[f.IntN(2)] // return value, latency
		}
	case 3:
		if text {
			return abi.Fetch{Base: 3, Format: 2, Size: 1, String: uint8(f.IntN(4)), AtReturn: w.AtReturn} // comm
		}
	default:
		w.Index = uint8(f.IntN(32))
	}
	if text && f.one(3) {
		w.Format, w.Size, w.String = uint8(2+f.IntN(2)), 1, uint8(f.IntN(4))
	}
	return w
}

// predicate writes comparisons and what joins them.
func (f *fuzzThread) predicate(tests []abi.Test, fetches uint32, atReturn bool) uint32 {
	n := 0
	for i := range 1 + f.IntN(3) {
		left := f.IntN(int(fetches))
		if !atReturn && f.fetches[left].AtReturn == 1 {
			left = 0
		}
		test := abi.Test{Op: uint8(f.IntN(7)), Left: uint8(left), IsSigned: uint8(f.IntN(2)), Value: f.number()}
		if f.fetches[left].Format >= 2 {
			test = abi.Test{Op: uint8(7 + f.IntN(3)), Left: uint8(left), Right: uint8(f.IntN(4))}
		}
		tests[n] = test
		n++
		if i > 0 {
			tests[n] = abi.Test{Op: uint8(10 + f.IntN(2))}
			n++
		}
		if f.one(4) && n < len(tests)-2 {
			tests[n] = abi.Test{Op: 12}
			n++
		}
	}
	return uint32(n)
}

// mutate changes some of a struct's bytes or words.
func (f *fuzzThread) mutate(b []byte) {
	for range 1 + f.IntN(3) {
		at := f.IntN(len(b))
		if f.one(2) {
			b[at] ^= 1 << f.IntN(8)
			continue
		}
		word := (*uint64)(unsafe.Pointer(&b[at&^7]))
		*word = f.number()
	}
}
