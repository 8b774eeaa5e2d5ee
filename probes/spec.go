// SPDX-License-Identifier: Apache-2.0

package probes

// A Spec is one probe as the user asked for it: where, what to read there, and when it counts. Parse makes it; a
// backend of package loader turns it into one or more placed probes (a glob or an ambiguous name is several).
type Spec struct {
	Text     string   // as it was written
	Provider Provider // who serves the place
	Kind     Kind     // when it fires
	Module   string   // kernel module the symbol must be in; "" for any, "vmlinux" for the kernel itself
	Symbol   string   // function, system call, or event; may be a glob
	Group    string   // of a tracepoint: the subsystem; may be a glob
	Path     string   // of a uprobe: the program or library
	Offset   uint64   // bytes behind the symbol's address; an offset makes it an instruction probe of KindEntry
	Address  uint64   // in place of a symbol: a kernel address; of a uprobe: the address as nm shows it. 0 if there is a symbol
	Args     []Arg    // what each event shows, in order
	If       Expr     // the hits that count; nil for all
}

// A Provider is who serves a place.
type Provider uint8

// The providers of the grammar.
const (
	ProviderFunction      Provider = iota // a kernel function, by the cheapest means there is
	ProviderKprobe                        // "kprobe:", "kretprobe:": a kernel function through a kprobe
	ProviderFentry                        // "fentry:", "fexit:": a kernel function through its BPF trampoline
	ProviderTracepoint                    // "tracepoint:GROUP:EVENT"
	ProviderRawTracepoint                 // "rawtp:EVENT"
	ProviderSyscall                       // "syscall:NAME"
	ProviderUprobe                        // "uprobe:PATH:SYMBOL", "uretprobe:…"
)

// A Kind is when a probe fires.
type Kind uint8

// The kinds. KindDefault is KindLatency where a table is asked for and the place has a return, else KindEntry.
const (
	KindDefault Kind = iota
	KindEntry
	KindReturn
	KindLatency // entry and return, paired
)

// An Arg is a named value that is read at a hit.
type Arg struct {
	Name  string
	Fetch Fetch
	Type  Type
	Pos   int // byte offset in Spec.Text
}

// A Fetch says where a value comes from: a base, then memory reads, each at the value so far plus an offset.
type Fetch struct {
	Base   Base
	Index  int     // of BaseArg and BaseStack: which, from 0
	Name   string  // of BaseRegister: the register; of BaseField: the field of the tracepoint or the parameter of the system call
	Value  uint64  // of BaseImmediate; of BaseAddress: the kernel address
	Symbol string  // of BaseAddress: the kernel symbol that gives the address, or ""
	Deref  []Deref // innermost first
	Pos    int     // byte offset in Spec.Text
}

// A Base is the first source of a fetch.
type Base uint8

// The bases.
const (
	BaseArg       Base = iota // %a0 … %a7, $arg1 … $arg8: a parameter of the function by its calling convention
	BaseRegister              // %NAME: a register by the architecture's name
	BaseRetval                // $retval
	BaseStack                 // $stack0, $stack1 …: a word on the stack; as in tracefs
	BaseStackAddr             // $stack: the stack pointer
	BaseField                 // $NAME, of a tracepoint or system call
	BaseImmediate             // \1234
	BaseAddress               // @ADDR, @SYMBOL, @SYMBOL+OFF: memory of the kernel; one Deref at least follows
	BaseComm                  // $comm: the task's name, a string
	BasePID                   // $pid: the process (thread group)
	BaseTID                   // $tid: the thread
	BaseUID                   // $uid
	BaseCPU                   // $cpu
	BaseLatency               // $latency: ns between entry and return; at the return of a latency probe
	BaseContext               // $context: the number last given to loader.SetContext
)

// AtReturn says whether the value exists only when the function returns.
func (b Base) AtReturn() bool { return b == BaseRetval || b == BaseLatency }

// A Deref is one memory read: 8 bytes (or the type's size for the last one) at the value so far plus Offset. If the type
// is a string, the last Deref reads no pointer: the string itself begins there, as in tracefs. So "+8(%a0):string" is the
// string 8 bytes behind where parameter 0 points to, and "+0(+8(%a0)):string" the one that the pointer there points to.
type Deref struct {
	Offset int64
	User   bool // +u8(…): in the process' own memory
}

// A Type is how a fetched value is cut and shown. A string always has a Deref, which Parse adds to "%a1:string", unless
// it is $comm or the field of a tracepoint. The zero Type stands with a field that no type was written for, and means
// the field's own.
type Type struct {
	Format Format
	Size   int // bytes: 1, 2, 4, 8; 0 for strings
}

// A Format is how a value is shown.
type Format uint8

// The formats.
const (
	FormatUnsigned   Format = iota // u8 … u64
	FormatSigned                   // s8 … s64
	FormatHex                      // x8 … x64, the default (x64)
	FormatChar                     // char
	FormatString                   // string: NUL-terminated, in the kernel's memory
	FormatUserString               // ustring: NUL-terminated, in the process' memory
	FormatSymbol                   // symbol: the kernel symbol at that address
)

// An Expr is a predicate: *And, *Or, *Not or *Compare.
type Expr interface{ Position() int }

// And is true if both are.
type And struct{ L, R Expr }

// Or is true if one is.
type Or struct{ L, R Expr }

// Not is true if its operand is not.
type Not struct {
	X   Expr
	Pos int
}

// Compare compares two values. A comparison is signed if one side is of a signed type or a negative number (see Signed).
// Strings have OpEqual, OpNotEqual and OpMatch.
type Compare struct {
	Op   Op
	L, R Operand
	Pos  int // of the operator
}

// Position gives the byte offset in Spec.Text.
func (e *And) Position() int { return e.L.Position() }

// Position gives the byte offset in Spec.Text.
func (e *Or) Position() int { return e.L.Position() }

// Position gives the byte offset in Spec.Text.
func (e *Not) Position() int { return e.Pos }

// Position gives the byte offset in Spec.Text.
func (e *Compare) Position() int { return e.L.Pos }

// An Op is a comparison.
type Op uint8

// The comparisons.
const (
	OpEqual        Op = iota // ==
	OpNotEqual               // !=
	OpLess                   // <
	OpLessEqual              // <=
	OpGreater                // >
	OpGreaterEqual           // >=
	OpBits                   // &: some of the bits are set
	OpMatch                  // ~: a string matches a glob
)

// An Operand is one side of a comparison: a value that is read (Arg), or a constant.
type Operand struct {
	Kind     OperandKind
	Arg      Arg    // of OperandArg: the named argument's copy, or an unnamed one for a fetch that stands in the predicate itself
	Number   int64  // of OperandNumber; a number above the largest int64 wraps
	Negative bool   // of OperandNumber: it was written with a minus sign, so it did not wrap
	String   string // of OperandString
	Pos      int
}

// An OperandKind says what an operand is.
type OperandKind uint8

// The kinds of operands.
const (
	OperandArg OperandKind = iota
	OperandNumber
	OperandString
)
