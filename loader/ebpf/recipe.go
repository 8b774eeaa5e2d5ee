// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"math"
	"strings"

	"github.com/trapline/trapline/bpf"
	"github.com/trapline/trapline/loader/internal/place"
	"github.com/trapline/trapline/loader/internal/tracefs"
	"github.com/trapline/trapline/probes"
)

// source is where a program finds the words of a hit.
type source uint8

const (
	fromRegisters source = iota // struct pt_regs: kprobes, uprobes
	fromFunction                // the parameters alone: fentry
	fromRecord                  // a tracepoint's record
	fromArguments               // a raw tracepoint's parameters
	fromSyscall                 // struct pt_regs of a system call
)

// Sizes of the C sources' wire.h.
const (
	maxFetches  = 12
	maxValues   = 8
	maxDerefs   = 4
	maxTests    = 16
	maxStrings  = 4
	maxConstant = 63 // bytes of a string constant, without its NUL
	stringSize  = 128
	regWords    = 36
	maxFrames   = 64
)

const recipeEvent = 1

// A recipe is what the programs read and decide at one probe, and what that takes.
type recipe struct {
	bpf.TraceRecipe
	shown       []probes.Arg // by value, as events show them
	readsKernel bool
	globs       bool
	registers   bool // it needs registers, which only kprobes and uprobes have
}

// empty says whether the programs can do without it.
func (r *recipe) empty() bool {
	return r.Fetches == 0 && r.Tests == 0 && r.ReturnTests == 0 && r.Flags == 0
}

// singleTest gives a predicate as constants of a program, if it is one comparison of a word with a constant and nothing else is
// read. That is what most predicates are, and it costs a program a few instructions where the recipe's interpreter takes hundreds.
func (r *recipe) singleTest() constants {
	f, t := &r.Fetch[0], &r.Test[0]
	switch {
	case r.Flags != 0, r.Fetches != 1, r.Tests != 1, r.ReturnTests != 0, r.Strings != 0:
		return nil
	case t.Left != 0, t.Right != 0, bpf.TraceTestOp(t.Op) > bpf.TraceTestOpTEST_BITS:
		return nil
	case bpf.TraceBase(f.Base) != bpf.TraceBaseBASE_WORD, f.Derefs != 0, f.AtReturn != 0:
		return nil
	}
	return constants{
		"tested_word": uint32(f.Index) + 1, "tested_op": uint32(t.Op), "tested_signed": uint32(t.IsSigned), "tested_shift": uint32(f.Shift),
		"tested_size": uint32(f.Size), "tested_format": uint32(f.Format), "tested_value": t.Value,
	}
}

// compiler makes a recipe. Errors stand at the character that they are about.
type compiler struct {
	kernel *place.Kernel
	probe  *Probe
	from   source
	format *tracefs.Format // of a tracepoint, or of a system call's entry
	out    *recipe
	named  map[string]int // arguments by name

	pending   uint32 // steps of the predicate's phase that is being made
	constants int
}

// compile makes the recipe of a probe.
func compile(k *place.Kernel, p *Probe, from source, events bool) (*recipe, error) {
	c := &compiler{kernel: k, probe: p, from: from, out: &recipe{}, named: map[string]int{}}
	if events {
		c.out.Flags |= recipeEvent
	}
	for _, arg := range p.Spec.Args {
		if len(c.out.shown) == maxValues {
			return nil, c.fail(arg.Pos, fmt.Sprintf("a probe shows %d values at most", maxValues))
		}
		i, arg, err := c.fetch(arg)
		if err != nil {
			return nil, err
		}
		c.named[arg.Name] = i
		c.out.shown = append(c.out.shown, arg)
	}
	if p.Spec.If == nil {
		return c.out, nil
	}
	entry, ret := p.Spec.If, probes.Expr(nil)
	if p.Kind == probes.KindLatency {
		var err error
		if entry, ret, err = probes.SplitReturn(p.Spec.If); err != nil {
			return nil, err
		}
	}
	for _, phase := range []struct {
		expr  probes.Expr
		count *uint32
	}{{entry, &c.out.Tests}, {ret, &c.out.ReturnTests}} {
		if phase.expr == nil {
			continue
		}
		before := c.tests()
		if err := c.expr(phase.expr); err != nil {
			return nil, err
		}
		*phase.count, c.pending = c.tests()-before, 0
	}
	return c.out, nil
}

// fail is an error at a character of the expression.
func (c *compiler) fail(pos int, msg string) error {
	return &probes.ParseError{Text: c.probe.Spec.Text, Pos: pos, Msg: msg}
}

// fetch adds what reads a value, and gives its number. The argument comes back with its type, if that was left to the field.
func (c *compiler) fetch(arg probes.Arg) (int, probes.Arg, error) {
	i := int(c.out.Fetches)
	if i == maxFetches {
		return 0, arg, c.fail(arg.Pos, fmt.Sprintf("more than %d values are read at one probe", maxFetches))
	}
	f := &c.out.Fetch[i]
	if err := c.base(&arg, f); err != nil {
		return 0, arg, err
	}
	if len(arg.Fetch.Deref) > maxDerefs {
		return 0, arg, c.fail(arg.Pos, fmt.Sprintf("more than %d memory reads in one value", maxDerefs))
	}
	for _, d := range arg.Fetch.Deref {
		if err := c.deref(f, d, arg.Pos); err != nil {
			return 0, arg, err
		}
	}
	f.Size = uint8(arg.Type.Size)
	switch arg.Type.Format {
	case probes.FormatSigned:
		f.Format = uint8(bpf.TraceFormatFORMAT_SIGNED)
	case probes.FormatString, probes.FormatUserString:
		f.Format = uint8(bpf.TraceFormatFORMAT_STRING)
		inMemory := arg.Fetch.Base != probes.BaseComm && f.Base != uint8(bpf.TraceBaseBASE_RECORD)
		if arg.Type.Format == probes.FormatUserString || f.Derefs > 0 && f.User>>(f.Derefs-1)&1 != 0 {
			f.Format, inMemory = uint8(bpf.TraceFormatFORMAT_USER_STRING), false
		}
		if f.Base == uint8(bpf.TraceBaseBASE_RECORD) {
			f.Size = uint8(min(arg.Type.Size, math.MaxUint8))
		}
		if c.out.Strings == maxStrings {
			return 0, arg, c.fail(arg.Pos, fmt.Sprintf("a probe reads %d strings at most", maxStrings))
		}
		f.String = uint8(c.out.Strings)
		c.out.Strings++
		if err := c.needKernelMemory(inMemory, arg.Pos); err != nil {
			return 0, arg, err
		}
	}
	if arg.Fetch.Base.AtReturn() && c.probe.Kind == probes.KindLatency {
		f.AtReturn = 1
	}
	c.out.Fetches++
	return i, arg, nil
}

func (c *compiler) needKernelMemory(needed bool, pos int) error {
	if !needed {
		return nil
	}
	c.out.readsKernel = true
	if kernelReadable() {
		return nil
	}
	reason := "programs may not read the kernel's memory here"
	if lockedDown() {
		reason += ": the kernel is locked down (confidentiality)"
	}
	return c.fail(pos, reason+"; registers, parameters and the process' own memory (+u0(…), :ustring) can be read")
}

func (c *compiler) deref(f *bpf.TraceFetch, d probes.Deref, pos int) error {
	if d.Offset < math.MinInt32 || d.Offset > math.MaxInt32 {
		return c.fail(pos, "the offset is too large")
	}
	f.Offset[f.Derefs] = int32(d.Offset)
	if d.User {
		f.User |= 1 << f.Derefs
	}
	f.Derefs++
	return c.needKernelMemory(!d.User, pos)
}

// base sets where a value comes from.
func (c *compiler) base(arg *probes.Arg, f *bpf.TraceFetch) error {
	fetch := &arg.Fetch
	simple := map[probes.Base]bpf.TraceBase{
		probes.BaseRetval: bpf.TraceBaseBASE_RETVAL, probes.BaseComm: bpf.TraceBaseBASE_COMM, probes.BasePID: bpf.TraceBaseBASE_PID,
		probes.BaseTID: bpf.TraceBaseBASE_TID, probes.BaseUID: bpf.TraceBaseBASE_UID, probes.BaseCPU: bpf.TraceBaseBASE_CPU,
		probes.BaseLatency: bpf.TraceBaseBASE_LATENCY, probes.BaseContext: bpf.TraceBaseBASE_CONTEXT,
	}
	if b, ok := simple[fetch.Base]; ok {
		f.Base = uint8(b)
		return nil
	}
	switch fetch.Base {
	case probes.BaseImmediate:
		f.Base, f.Value = uint8(bpf.TraceBaseBASE_IMMEDIATE), fetch.Value
		return nil
	case probes.BaseAddress:
		return c.address(fetch, f)
	case probes.BaseField:
		return c.field(arg, f)
	}
	if fetch.Base == probes.BaseRegister && probes.HostArch().Zero(fetch.Name) {
		f.Base = uint8(bpf.TraceBaseBASE_IMMEDIATE)
		return nil
	}
	word, err := c.word(fetch)
	if err != nil {
		return err
	}
	f.Base, f.Index = uint8(bpf.TraceBaseBASE_WORD), uint8(word)
	if fetch.Base == probes.BaseStack {
		user := c.probe.Spec.Provider == probes.ProviderUprobe
		return c.deref(f, probes.Deref{Offset: int64(fetch.Index) * 8, User: user}, fetch.Pos)
	}
	return nil
}

// word gives the index of a parameter or register among the words of a hit.
func (c *compiler) word(fetch *probes.Fetch) (int, error) {
	arch := probes.HostArch()
	if fetch.Base == probes.BaseArg {
		switch c.from {
		case fromFunction, fromArguments:
			return fetch.Index, nil
		case fromRecord:
			return 0, c.fail(fetch.Pos, "a tracepoint has named fields and no numbered parameters; write $NAME, or use rawtp:")
		case fromSyscall:
			if w, ok := arch.SyscallArgWord(fetch.Index); ok {
				return w, nil
			}
		default:
			if w, ok := arch.ArgWord(fetch.Index); ok {
				return w, nil
			}
		}
		return 0, c.fail(fetch.Pos, fmt.Sprintf("parameter %d is in no register on %s; parameters from the seventh on are on the stack: $stack1 …", fetch.Index, arch))
	}
	c.out.registers = true
	if c.from != fromRegisters {
		return 0, c.fail(fetch.Pos, fmt.Sprintf("%s has no registers; those of kprobe: and uprobe: have", c.probe.Spec.Place()))
	}
	if fetch.Base == probes.BaseStack || fetch.Base == probes.BaseStackAddr {
		return arch.SPWord(), nil
	}
	w, ok := arch.Word(fetch.Name)
	if !ok {
		return 0, c.fail(fetch.Pos, fmt.Sprintf("%s has no register %s", arch, fetch.Name))
	}
	return w, nil
}

// address sets a fetch to an address of the kernel.
func (c *compiler) address(fetch *probes.Fetch, f *bpf.TraceFetch) error {
	f.Base, f.Value = uint8(bpf.TraceBaseBASE_IMMEDIATE), fetch.Value
	if fetch.Symbol == "" {
		return nil
	}
	symbols, err := c.kernel.Symbols()
	if err != nil {
		return err
	}
	found := symbols.Lookup(fetch.Symbol)
	switch {
	case len(found) == 0:
		return c.fail(fetch.Pos, fmt.Sprintf("the kernel has no symbol %s", fetch.Symbol))
	case len(found) > 1:
		return c.fail(fetch.Pos, fmt.Sprintf("%d symbols are called %s; write the address of the one meant: @%#x", len(found), fetch.Symbol, found[0].Address))
	case found[0].Address == 0:
		return c.fail(fetch.Pos, symbols.Restricted().Error())
	}
	f.Value = found[0].Address
	return nil
}

// field sets a fetch to a tracepoint's field or a system call's parameter.
func (c *compiler) field(arg *probes.Arg, f *bpf.TraceFetch) error {
	if c.from == fromSyscall {
		return c.parameter(arg, f)
	}
	if c.from != fromRecord {
		return c.fail(arg.Fetch.Pos, "only classic tracepoints and system calls have named fields; write %a0, %a1 …")
	}
	if c.format == nil {
		var err error
		if c.format, err = tracefs.ReadFormat(c.probe.Group, c.probe.Event); err != nil {
			return err
		}
	}
	fl, err := c.format.Find(arg.Fetch.Name)
	if err != nil {
		return c.fail(arg.Fetch.Pos, err.Error())
	}
	if arg.Type == (probes.Type{}) {
		arg.Type = defaultType(fl)
	}
	if end := fl.Offset + min(fl.Size, 8); fl.Offset/8 >= regWords || end > c.format.Size/4*4 {
		return c.fail(arg.Fetch.Pos, fmt.Sprintf("field %s lies too far behind in the record", fl.Name))
	}
	isString := arg.Type.Format == probes.FormatString
	switch {
	case fl.DataLoc:
		if strings.HasPrefix(fl.Type, "__rel_loc") {
			return c.fail(arg.Fetch.Pos, "fields of type __rel_loc can't be read yet")
		}
		f.Base = uint8(bpf.TraceBaseBASE_DATA_LOC)
		arg.Fetch.Deref = append(arg.Fetch.Deref, probes.Deref{})
	case fl.Array() && isString:
		f.Base, f.Index = uint8(bpf.TraceBaseBASE_RECORD), uint8(fl.Offset)
		arg.Type.Size = fl.Size
		if fl.Offset > math.MaxUint8 {
			return c.fail(arg.Fetch.Pos, fmt.Sprintf("field %s lies too far behind in the record", fl.Name))
		}
		return nil
	case fl.Offset/8 != (fl.Offset+min(max(fl.Size, 1), 8)-1)/8:
		return c.fail(arg.Fetch.Pos, fmt.Sprintf("field %s crosses a word", fl.Name))
	default:
		f.Base = uint8(bpf.TraceBaseBASE_WORD)
	}
	f.Index, f.Shift = uint8(fl.Offset/8), uint8(fl.Offset%8*8)
	return nil
}

// defaultType shows a field as the kernel would.
func defaultType(f tracefs.Field) probes.Type {
	if f.DataLoc || f.Array() && strings.HasPrefix(f.Type, "char") {
		return probes.Type{Format: probes.FormatString}
	}
	size := 8
	switch f.Size {
	case 1, 2, 4:
		size = f.Size
	}
	switch {
	case f.Signed:
		return probes.Type{Format: probes.FormatSigned, Size: size}
	case strings.Contains(f.Type, "*"):
		return probes.Type{Format: probes.FormatHex, Size: size}
	}
	return probes.Type{Format: probes.FormatUnsigned, Size: size}
}

// parameter sets a fetch to a system call's parameter by the name that tracefs has for it.
func (c *compiler) parameter(arg *probes.Arg, f *bpf.TraceFetch) error {
	format, err := tracefs.ReadFormat("syscalls", "sys_enter_"+c.probe.Event)
	if err != nil {
		return c.fail(arg.Fetch.Pos, fmt.Sprintf("the names of parameters are not known (%v); write %%a0, %%a1 …", err))
	}
	n := 0
	var names []string
	for _, fl := range format.Fields {
		if strings.HasPrefix(fl.Name, "common_") || fl.Name == "__syscall_nr" {
			continue
		}
		if fl.Name == arg.Fetch.Name {
			w, ok := probes.HostArch().SyscallArgWord(n)
			if !ok {
				return c.fail(arg.Fetch.Pos, "it is in no register")
			}
			f.Base, f.Index = uint8(bpf.TraceBaseBASE_WORD), uint8(w)
			if arg.Type == (probes.Type{}) {
				arg.Type = parameterType(fl)
			}
			if arg.Type.Format == probes.FormatUserString && len(arg.Fetch.Deref) == 0 {
				arg.Fetch.Deref = []probes.Deref{{User: true}}
			}
			return nil
		}
		names = append(names, "$"+fl.Name)
		n++
	}
	return c.fail(arg.Fetch.Pos, fmt.Sprintf("system call %s has no parameter %s; it has %s", c.probe.Event, arg.Fetch.Name, strings.Join(names, " ")))
}

// parameterType shows a system call's parameter by its type in C.
func parameterType(f tracefs.Field) probes.Type {
	switch typ := strings.TrimPrefix(f.Type, "const "); {
	case typ == "char *":
		return probes.Type{Format: probes.FormatUserString}
	case strings.Contains(typ, "*"):
		return probes.Type{Format: probes.FormatHex, Size: 8}
	case typ == "int", typ == "pid_t", typ == "clockid_t", typ == "key_t":
		return probes.Type{Format: probes.FormatSigned, Size: 4}
	case typ == "unsigned int":
		return probes.Type{Format: probes.FormatUnsigned, Size: 4} // descriptors, mostly
	case typ == "size_t":
		return probes.Type{Format: probes.FormatUnsigned, Size: 8}
	case typ == "loff_t", typ == "long", typ == "off_t":
		return probes.Type{Format: probes.FormatSigned, Size: 8}
	case strings.HasSuffix(typ, "mode_t"):
		return probes.Type{Format: probes.FormatHex, Size: 4}
	}
	return probes.Type{Format: probes.FormatHex, Size: 8}
}
