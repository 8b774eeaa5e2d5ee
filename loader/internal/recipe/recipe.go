// SPDX-License-Identifier: Apache-2.0

// Package recipe turns the arguments and the predicate of a probe into data: values to fetch and tests to make. A backend gives
// them to its side in the kernel, which interprets them at each hit; all have the same meaning and the same limits.
package recipe

import (
	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/probes"
)

// Limits of what the kernel's side interprets: those of bpf/wire.h and of kernel-patch/include/trapline.h.
const (
	MaxFetches  = 12
	MaxValues   = 8 // fetches that an event shows; those behind them only serve the predicate
	MaxDerefs   = 4
	MaxTests    = 16
	MaxStrings  = 4  // string values, and as many constants
	MaxConstant = 63 // bytes of a string constant, without its NUL
	StringSize  = 128
	MaxWords    = 36 // the longest struct pt_regs
	MaxFrames   = 64
)

// A Source is where a hit's words are: those that parameters and registers are read from.
type Source uint8

// The sources.
const (
	FromRegisters    Source = iota // struct pt_regs: kprobes, uprobes
	FromFunction                   // the parameters alone: fentry
	FromRecord                     // a tracepoint's record
	FromArguments                  // a raw tracepoint's parameters
	FromSyscall                    // struct pt_regs of a system call
	FromCallByPtRegs               // registers of the function of a system call, whose parameter 0 points to the call's struct pt_regs
	FromCallByValue                // registers of the function of a system call, which has the call's parameters
)

// syscall says whether the words are those of a system call.
func (s Source) syscall() bool { return s >= FromSyscall }

// hasRegisters says whether each register is there.
func (s Source) hasRegisters() bool {
	return s == FromRegisters || s == FromCallByPtRegs || s == FromCallByValue
}

// A Base is where a fetch begins. The numbers are those of the wire.
type Base uint8

// The bases.
const (
	BaseWord Base = iota // a word of the source
	BaseRetval
	BaseImmediate
	BaseComm
	BasePID
	BaseTID
	BaseUID
	BaseCPU
	BaseLatency
	BaseContext
	BaseRecord  // the bytes from an index on of a tracepoint's record: a string
	BaseDataLoc // the address of a tracepoint's dynamic field, whose place is in a word
)

// A Format is what a fetch gives. The numbers are those of the wire.
type Format uint8

// The formats.
const (
	FormatUnsigned Format = iota
	FormatSigned
	FormatString // in the kernel's memory, up to its NUL
	FormatUserString
)

// A Fetch is one value: a base, then memory reads, each at the value so far plus an offset. The last read of a string gives its
// address.
type Fetch struct {
	Base     Base
	Index    uint8 // of BaseWord, BaseDataLoc: the word; of BaseRecord: the byte
	Shift    uint8 // bits by which a word is moved right first: a tracepoint's field lies inside of it
	Value    uint64
	Offset   [MaxDerefs]int32
	Derefs   uint8
	User     uint8 // a bit a read: from the process' memory
	Format   Format
	Size     uint8 // bytes; of a string 0, or its length in a record
	String   uint8 // which of the strings
	AtReturn bool
}

// An Op is a step of a predicate. The numbers are those of the wire.
type Op uint8

// The steps.
const (
	OpEqual Op = iota
	OpNotEqual
	OpLess
	OpLessEqual
	OpGreater
	OpGreaterEqual
	OpBits
	OpString
	OpNotString
	OpGlob
	OpAnd
	OpOr
	OpNot
)

// A Test is one step of a predicate in postfix order on a stack of bits.
type Test struct {
	Op     Op
	Signed bool
	Left   uint8  // fetch
	Right  uint8  // fetch + 1, or 0 for Value; of strings: constant
	Value  uint64 // right side
}

// A Recipe is what is read and decided at one probe.
type Recipe struct {
	Fetches     []Fetch
	Tests       []Test // at entry
	ReturnTests []Test
	Constants   []string // that strings are compared with
	Strings     int      // string values
	Shown       []probes.Arg
	Globs       bool // a string is compared with a glob
	Registers   bool // it needs registers beyond parameters
}

// Empty says whether there is nothing to read and to decide.
func (r *Recipe) Empty() bool {
	return len(r.Fetches) == 0 && len(r.Tests) == 0 && len(r.ReturnTests) == 0
}

// A Site is what a recipe is made for.
type Site struct {
	Kernel *place.Kernel
	Arch   *probes.Arch
	Place  *place.Place
	Kind   probes.Kind // never KindDefault
	From   Source
	// Memory says why the kernel's memory can't be read here, or nil. It is asked only if a value lies there. A nil Memory
	// stands for nothing in the way.
	Memory func() error
}

// Compile makes the recipe of a probe. Errors about the expression are a [probes.ParseError], at the character that they are about.
func Compile(site *Site) (*Recipe, error) {
	c := &compiler{Site: site, spec: site.Place.Spec, out: &Recipe{}, named: map[string]int{}}
	for _, arg := range c.spec.Args {
		if len(c.out.Shown) == MaxValues {
			return nil, c.fail(arg.Pos, "a probe shows %d values at most", MaxValues)
		}
		i, arg, err := c.fetch(arg)
		if err != nil {
			return nil, err
		}
		c.named[arg.Name] = i
		c.out.Shown = append(c.out.Shown, arg)
	}
	if c.spec.If == nil {
		return c.out, nil
	}
	entry, ret := c.spec.If, probes.Expr(nil)
	if site.Kind == probes.KindLatency {
		var err error
		if entry, ret, err = probes.SplitReturn(c.spec.If); err != nil {
			return nil, err
		}
	}
	for _, phase := range []struct {
		expr  probes.Expr
		tests *[]Test
	}{{entry, &c.out.Tests}, {ret, &c.out.ReturnTests}} {
		if phase.expr == nil {
			continue
		}
		c.tests = phase.tests
		if err := c.expr(phase.expr); err != nil {
			return nil, err
		}
	}
	return c.out, nil
}
