// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"fmt"
	"math"
	"strings"

	"github.com/trapline/trapline/loader/internal/tracefs"
	"github.com/trapline/trapline/probes"
)

// compiler makes a recipe. Errors stand at the character that they are about.
type compiler struct {
	*Site
	spec   *probes.Spec
	format *tracefs.Format // of a tracepoint, or of a system call's entry
	out    *Recipe
	named  map[string]int // arguments by name
	tests  *[]Test        // of the phase that is being made
}

// fail is an error at a character of the expression.
func (c *compiler) fail(pos int, msg string, args ...any) error {
	return &probes.ParseError{Text: c.spec.Text, Pos: pos, Msg: fmt.Sprintf(msg, args...)}
}

// fetch adds what reads a value, and gives its number. The argument comes back with its type, if that was left to the field.
func (c *compiler) fetch(arg probes.Arg) (int, probes.Arg, error) {
	i := len(c.out.Fetches)
	if i == MaxFetches {
		return 0, arg, c.fail(arg.Pos, "more than %d values are read at one probe", MaxFetches)
	}
	f := &Fetch{}
	if err := c.base(&arg, f); err != nil {
		return 0, arg, err
	}
	for _, d := range arg.Fetch.Deref {
		if err := c.deref(f, d, arg.Pos); err != nil {
			return 0, arg, err
		}
	}
	f.Size = uint8(arg.Type.Size)
	switch arg.Type.Format {
	case probes.FormatSigned:
		f.Format = FormatSigned
	case probes.FormatString, probes.FormatUserString:
		f.Format = FormatString
		inMemory := arg.Fetch.Base != probes.BaseComm && f.Base != BaseRecord
		if arg.Type.Format == probes.FormatUserString || f.Derefs > 0 && f.User>>(f.Derefs-1)&1 != 0 {
			f.Format, inMemory = FormatUserString, false
		}
		if f.Base == BaseRecord {
			f.Size = uint8(min(arg.Type.Size, math.MaxUint8))
		}
		if c.out.Strings == MaxStrings {
			return 0, arg, c.fail(arg.Pos, "a probe reads %d strings at most", MaxStrings)
		}
		f.String = uint8(c.out.Strings)
		c.out.Strings++
		if err := c.needKernelMemory(inMemory, arg.Pos); err != nil {
			return 0, arg, err
		}
	}
	if arg.Fetch.Base.AtReturn() && c.Kind == probes.KindLatency {
		f.AtReturn = true
	}
	c.out.Fetches = append(c.out.Fetches, *f)
	return i, arg, nil
}

func (c *compiler) needKernelMemory(needed bool, pos int) error {
	if !needed {
		return nil
	}
	if c.Memory == nil {
		return nil
	}
	if why := c.Memory(); why != nil {
		return c.fail(pos, "%v; registers, parameters and the process' own memory (+u0(…), :ustring) can be read", why)
	}
	return nil
}

func (c *compiler) deref(f *Fetch, d probes.Deref, pos int) error {
	if d.Offset < math.MinInt32 || d.Offset > math.MaxInt32 {
		return c.fail(pos, "the offset is too large")
	}
	if f.Derefs == MaxDerefs {
		return c.fail(pos, "more than %d memory reads in one value", MaxDerefs)
	}
	f.Offset[f.Derefs] = int32(d.Offset)
	if d.User {
		f.User |= 1 << f.Derefs
	}
	f.Derefs++
	return c.needKernelMemory(!d.User, pos)
}

// base sets where a value comes from.
func (c *compiler) base(arg *probes.Arg, f *Fetch) error {
	fetch := &arg.Fetch
	simple := map[probes.Base]Base{
		probes.BaseRetval: BaseRetval, probes.BaseComm: BaseComm, probes.BasePID: BasePID,
		probes.BaseTID: BaseTID, probes.BaseUID: BaseUID, probes.BaseCPU: BaseCPU,
		probes.BaseLatency: BaseLatency, probes.BaseContext: BaseContext,
	}
	if b, ok := simple[fetch.Base]; ok {
		f.Base = b
		return nil
	}
	switch fetch.Base {
	case probes.BaseImmediate:
		f.Base, f.Value = BaseImmediate, fetch.Value
		return nil
	case probes.BaseAddress:
		return c.address(fetch, f)
	case probes.BaseField:
		return c.field(arg, f)
	}
	if fetch.Base == probes.BaseRegister && c.Arch.Zero(fetch.Name) {
		f.Base = BaseImmediate
		return nil
	}
	if fetch.Base == probes.BaseArg && c.From.syscall() {
		return c.parameter(f, fetch.Index, fetch.Pos)
	}
	word, err := c.word(fetch)
	if err != nil {
		return err
	}
	f.Base, f.Index = BaseWord, uint8(word)
	if fetch.Base == probes.BaseStack {
		user := c.spec.Provider == probes.ProviderUprobe
		return c.deref(f, probes.Deref{Offset: int64(fetch.Index) * 8, User: user}, fetch.Pos)
	}
	return nil
}

// word gives the index of a parameter or register among the words of a hit.
func (c *compiler) word(fetch *probes.Fetch) (int, error) {
	arch := c.Arch
	if fetch.Base == probes.BaseArg {
		switch c.From {
		case FromFunction, FromArguments:
			return fetch.Index, nil
		case FromRecord:
			return 0, c.fail(fetch.Pos, "a tracepoint has named fields and no numbered parameters; write $NAME, or use rawtp:")
		default:
			if w, ok := arch.ArgWord(fetch.Index); ok {
				return w, nil
			}
		}
		return 0, c.fail(fetch.Pos, "parameter %d is in no register on %s; parameters from the seventh on are on the stack: $stack1 …", fetch.Index, arch)
	}
	c.out.Registers = true
	if !c.From.hasRegisters() {
		return 0, c.fail(fetch.Pos, "%s has no registers; those of kprobe: and uprobe: have", c.spec.Place())
	}
	if fetch.Base == probes.BaseStack || fetch.Base == probes.BaseStackAddr {
		return arch.SPWord(), nil
	}
	w, ok := arch.Word(fetch.Name)
	if !ok {
		return 0, c.fail(fetch.Pos, "%s has no register %s", arch, fetch.Name)
	}
	return w, nil
}

// parameter sets a fetch to a system call's parameter by its number.
func (c *compiler) parameter(f *Fetch, i, pos int) error {
	word, ok := c.Arch.SyscallArgWord(i)
	if !ok {
		return c.fail(pos, "system calls have no parameter %d", i)
	}
	f.Base = BaseWord
	switch c.From {
	case FromCallByPtRegs:
		regs, _ := c.Arch.ArgWord(0)
		f.Index = uint8(regs)
		return c.deref(f, probes.Deref{Offset: int64(word) * 8}, pos)
	case FromCallByValue:
		word, _ = c.Arch.ArgWord(i)
	}
	f.Index = uint8(word)
	return nil
}

// address sets a fetch to an address of the kernel.
func (c *compiler) address(fetch *probes.Fetch, f *Fetch) error {
	f.Base, f.Value = BaseImmediate, fetch.Value
	if fetch.Symbol == "" {
		return nil
	}
	symbols, err := c.Kernel.Symbols()
	if err != nil {
		return err
	}
	found := symbols.Lookup(fetch.Symbol)
	switch {
	case len(found) == 0:
		return c.fail(fetch.Pos, "the kernel has no symbol %s", fetch.Symbol)
	case len(found) > 1:
		return c.fail(fetch.Pos, "%d symbols are called %s; write the address of the one meant: @%#x", len(found), fetch.Symbol, found[0].Address)
	case found[0].Address == 0:
		return c.fail(fetch.Pos, "%v", symbols.Restricted())
	}
	f.Value = found[0].Address
	return nil
}

// field sets a fetch to a tracepoint's field or a system call's parameter.
func (c *compiler) field(arg *probes.Arg, f *Fetch) error {
	if c.From.syscall() {
		return c.namedParameter(arg, f)
	}
	if c.From != FromRecord {
		return c.fail(arg.Fetch.Pos, "only classic tracepoints and system calls have named fields; write %%a0, %%a1 …")
	}
	if c.format == nil {
		var err error
		if c.format, err = tracefs.ReadFormat(c.Place.Group, c.Place.Event); err != nil {
			return err
		}
	}
	fl, err := c.format.Find(arg.Fetch.Name)
	if err != nil {
		return c.fail(arg.Fetch.Pos, "%v", err)
	}
	if arg.Type == (probes.Type{}) {
		arg.Type = defaultType(fl)
	}
	if end := fl.Offset + min(fl.Size, 8); fl.Offset/8 >= MaxWords || end > c.format.Size/4*4 {
		return c.fail(arg.Fetch.Pos, "field %s lies too far behind in the record", fl.Name)
	}
	isString := arg.Type.Format == probes.FormatString
	switch {
	case fl.DataLoc:
		if strings.HasPrefix(fl.Type, "__rel_loc") {
			return c.fail(arg.Fetch.Pos, "fields of type __rel_loc can't be read yet")
		}
		f.Base = BaseDataLoc
		arg.Fetch.Deref = append(arg.Fetch.Deref, probes.Deref{})
	case fl.Array() && isString:
		f.Base, f.Index = BaseRecord, uint8(fl.Offset)
		arg.Type.Size = fl.Size
		if fl.Offset > math.MaxUint8 {
			return c.fail(arg.Fetch.Pos, "field %s lies too far behind in the record", fl.Name)
		}
		return nil
	case fl.Offset/8 != (fl.Offset+min(max(fl.Size, 1), 8)-1)/8:
		return c.fail(arg.Fetch.Pos, "field %s crosses a word", fl.Name)
	default:
		f.Base = BaseWord
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

// namedParameter sets a fetch to a system call's parameter by the name that tracefs has for it.
func (c *compiler) namedParameter(arg *probes.Arg, f *Fetch) error {
	format, err := tracefs.ReadFormat("syscalls", "sys_enter_"+c.Place.Event)
	if err != nil {
		return c.fail(arg.Fetch.Pos, "the names of parameters are not known (%v); write %%a0, %%a1 …", err)
	}
	n := 0
	var names []string
	for _, fl := range format.Fields {
		if strings.HasPrefix(fl.Name, "common_") || fl.Name == "__syscall_nr" {
			continue
		}
		if fl.Name == arg.Fetch.Name {
			if err := c.parameter(f, n, arg.Fetch.Pos); err != nil {
				return err
			}
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
	return c.fail(arg.Fetch.Pos, "system call %s has no parameter %s; it has %s", c.Place.Event, arg.Fetch.Name, strings.Join(names, " "))
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
