// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"strconv"
	"strings"

	"github.com/trapline/trapline/internal/columns"
)

// An Event is one hit, as it is shown alone.
type Event struct {
	Time       uint64 // ns since boot, without the time in suspend
	Probe      string // as shown: the place with its kind
	Kind       Kind
	PID        uint32 // the process
	TID        uint32 // the thread
	CPU        uint32
	Comm       string // the thread's name
	Context    uint32 // the number last given to loader.SetContext
	Latency    uint64 // ns
	HasLatency bool
	Ret        uint64 // the return value, as the register has it
	HasRet     bool
	Args       []Value
	Trapframe  *Trapframe // nil if registers were not asked for
	Stack      []uint64   // addresses in the kernel, the innermost first; nil if it was not asked for
}

// A Value is what an argument was at a hit.
type Value struct {
	Name string
	Type Type
	Num  uint64 // of all types but strings; only as many of its low bytes as the type has count
	Str  string // of strings
	Err  string // why there is no value; "" if there is one
}

// An EventFormat says how events are written. The zero EventFormat is usable. Its methods may be called from several
// goroutines.
type EventFormat struct {
	Symbols *Symbols            // names the kernel's addresses; nil shows them as numbers
	Start   uint64              // ns since boot that text shows as 0
	Context func(uint32) string // names a context; nil leaves contexts out of text, and their names out of JSON
}

// AppendText appends an event for people to b: a line of time in s, CPU, task, probe with its arguments, return value
// and latency; below it, if there are any, the registers and the stack.
//
//	1.204511 [001] bash-812 vfs_write(fd=0x3, len=4096) = 4096 <1.24µs>
//
// Behind the process stands its thread if that is another: bash-812/815. What comes from the traced program is quoted.
func (f *EventFormat) AppendText(b []byte, e *Event) []byte {
	b = f.appendTime(b, e.Time)
	b = append(b, " ["...)
	b = appendPadded(b, uint64(e.CPU), 3)
	b = append(b, "] "...)
	b = append(b, columns.Printable(e.Comm)...)
	b = append(b, '-')
	b = strconv.AppendUint(b, uint64(e.PID), 10)
	if e.TID != e.PID {
		b = append(b, '/')
		b = strconv.AppendUint(b, uint64(e.TID), 10)
	}
	if f.Context != nil {
		b = append(b, " {"...)
		b = append(b, columns.Printable(f.Context(e.Context))...)
		b = append(b, '}')
	}
	b = append(b, ' ')
	b = append(b, columns.Printable(withoutKind(e.Probe))...)
	if len(e.Args) > 0 || e.Kind != KindReturn {
		b = append(b, '(')
		for i := range e.Args {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(b, e.Args[i].Name...)
			b = append(b, '=')
			b = f.appendValue(b, &e.Args[i])
		}
		b = append(b, ')')
	}
	if e.HasRet {
		b = append(b, " = "...)
		b = appendRet(b, e.Ret)
	}
	if e.HasLatency {
		b = append(b, " <"...)
		b = append(b, FormatNS(float64(e.Latency))...)
		b = append(b, '>')
	}
	b = append(b, '\n')
	if e.Trapframe != nil {
		b = f.appendRegisters(b, e.Trapframe)
	}
	for i, address := range e.Stack {
		b = append(b, "    "...)
		b = append(b, f.Address(address, i > 0)...)
		b = append(b, '\n')
	}
	return b
}

// appendTime writes ns since boot as seconds since Start.
func (f *EventFormat) appendTime(b []byte, ns uint64) []byte {
	if ns < f.Start {
		b = append(b, '-')
		ns = f.Start - ns
	} else {
		ns -= f.Start
	}
	b = strconv.AppendUint(b, ns/1e9, 10)
	b = append(b, '.')
	return appendPadded(b, ns%1e9/1e3, 6)
}

// appendPadded writes a number with zeros before it, as width digits.
func appendPadded(b []byte, n uint64, width int) []byte {
	for limit := uint64(10); width > 1; width-- {
		if n < limit {
			for ; width > 1; width-- {
				b = append(b, '0')
			}
			break
		}
		limit *= 10
	}
	return strconv.AppendUint(b, n, 10)
}

// appendValue writes a value as its type says.
func (f *EventFormat) appendValue(b []byte, v *Value) []byte {
	if v.Err != "" {
		b = append(b, '<')
		b = append(b, columns.Printable(v.Err)...)
		return append(b, '>')
	}
	n := v.cut()
	switch v.Type.Format {
	case FormatString, FormatUserString:
		return strconv.AppendQuote(b, v.Str)
	case FormatSigned:
		return strconv.AppendInt(b, int64(n), 10)
	case FormatUnsigned:
		return strconv.AppendUint(b, n, 10)
	case FormatChar:
		return strconv.AppendQuoteRuneToASCII(b, rune(n&0xff))
	case FormatSymbol:
		return append(b, f.Address(n, false)...)
	}
	b = append(b, "0x"...)
	return strconv.AppendUint(b, n, 16)
}

// cut gives the number with as many bytes as its type has, extended by its sign if it has one.
func (v *Value) cut() uint64 {
	if v.Type.Size < 1 || v.Type.Size > 7 {
		return v.Num
	}
	shift := 64 - 8*v.Type.Size
	if v.Type.Format == FormatSigned {
		return uint64(int64(v.Num<<shift) >> shift)
	}
	return v.Num << shift >> shift
}

// withoutKind takes %entry and the like off a probe's name: the value or the time behind it tells the kind.
func withoutKind(probe string) string {
	if i := strings.LastIndexByte(probe, '%'); i >= 0 {
		if _, ok := kinds[probe[i+1:]]; ok {
			return probe[:i]
		}
	}
	return probe
}

// signedRet gives a return value as a signed number. A function that returns an int leaves the register's upper half
// undefined or 0; if it is 0, an error is known by its lower half.
func signedRet(ret uint64) int64 {
	if low := int64(int32(ret)); ret>>32 == 0 && -maxErrno <= low && low < 0 {
		return low
	}
	return int64(ret)
}

// appendRet writes a return value: errors with their names, addresses in hexadecimal, the rest as decimal numbers.
func appendRet(b []byte, ret uint64) []byte {
	n := signedRet(ret)
	if n < -maxErrno {
		b = append(b, "0x"...)
		return strconv.AppendUint(b, ret, 16)
	}
	b = strconv.AppendInt(b, n, 10)
	if name := errnoName(int(-n)); n < 0 && name != "" {
		b = append(b, ' ')
		b = append(b, name...)
	}
	return b
}

// Address writes an address of the kernel as SYMBOL+0xOFFSET [MODULE], or as a number if no symbol is known. caller says
// that it is a return address, which belongs to the call before it.
func (f *EventFormat) Address(address uint64, caller bool) string {
	before := uint64(0)
	if caller && address > 0 {
		before = 1
	}
	hex := "0x" + strconv.FormatUint(address, 16)
	if f.Symbols == nil {
		return hex
	}
	s, offset, ok := f.Symbols.At(address - before)
	if !ok {
		return hex
	}
	text := s.Name
	if offset += before; offset > 0 {
		text += "+0x" + strconv.FormatUint(offset, 16)
	}
	if s.Module != "" {
		text += " [" + s.Module + "]"
	}
	return text
}

// registersALine is how many registers stand beside each other.
const registersALine = 4

// appendRegisters writes a block of the registers by the architecture's names.
func (f *EventFormat) appendRegisters(b []byte, t *Trapframe) []byte {
	b = append(b, "    pc "...)
	b = append(b, f.Address(t.PC(), false)...)
	if ra := t.RA(); ra != 0 { // it may not be known: on the stack of a process, say
		b = append(b, ", ra "...)
		b = append(b, f.Address(ra, true)...)
	}
	for n := range t.NumRegs() {
		if n%registersALine == 0 {
			b = append(b, "\n   "...)
		}
		name := t.Name(n)
		for range 6 - min(len(name), 5) {
			b = append(b, ' ')
		}
		b = append(b, name...)
		b = append(b, ' ')
		for shift := 60; shift >= 0; shift -= 4 {
			b = append(b, "0123456789abcdef"[t.Reg(n)>>shift&15])
		}
	}
	return append(b, '\n')
}
