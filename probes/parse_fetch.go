// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// argument reads [NAME=]FETCH[:TYPE] and adds it.
func (p *parser) argument() error {
	start := p.pos
	if len(p.spec.Args) == MaxArgs {
		return p.fail(start, fmt.Sprintf("a probe has at most %d arguments", MaxArgs), "")
	}
	name := p.ident()
	switch {
	case name == "args" && p.atField():
		p.pos, name = start, ""
	case name != "" && p.peek() == '=' && p.at(1) != '=':
		if name == "if" || len(name) > maxArgName {
			return p.fail(start, fmt.Sprintf("%q can't be an argument's name", shorten(name, 40)), "")
		}
		if slices.ContainsFunc(p.spec.Args, func(a Arg) bool { return a.Name == name }) {
			return p.fail(start, fmt.Sprintf("there are two arguments %q", name), "")
		}
		p.pos++
	case name != "" || p.peek() == '=' || strings.IndexByte(`%$@\+-`, p.peek()) < 0:
		p.pos = start
		return p.fail(start, fmt.Sprintf("unexpected %q: an argument or \"if\" should stand here", shorten(p.restOfWord(), 40)), p.argumentHint(name))
	}
	arg, err := p.typedFetch()
	if err != nil {
		return err
	}
	arg.Name, arg.Pos = name, start
	if !p.atBlank() {
		err := p.unexpected("a blank")
		if p.peek() == ',' {
			err = p.fail(p.pos, "unexpected \",\"", "arguments are separated by blanks")
		}
		return err
	}
	if arg.Name == "" {
		arg.Name = p.defaultName(p.text[start:p.pos], arg.Fetch)
	}
	p.spec.Args = append(p.spec.Args, arg)
	return nil
}

// argumentHint guesses what a user meant by a word that is no argument.
func (p *parser) argumentHint(name string) string {
	switch {
	case name == "where" || name == "when" || name == "filter" || p.peek() == '/':
		return "a predicate is written as: if len > 4096"
	case p.peek() == '{':
		return "there are no actions; name what to show as arguments: fd=%a0 len=%a2:u64"
	case p.peek() == '+' || name != "" || p.peek() == '=':
		return "an argument is NAME=FETCH, such as fd=%a0; several probes are written as several words in quotes"
	}
	return ""
}

func (p *parser) restOfWord() string {
	end := p.pos
	for end < len(p.text) && !isBlank(p.text[end]) {
		end++
	}
	return p.text[p.pos:end]
}

// defaultName is the name of an argument that was given none.
func (p *parser) defaultName(text string, f Fetch) string {
	taken := func(name string) bool {
		return slices.ContainsFunc(p.spec.Args, func(a Arg) bool { return a.Name == name })
	}
	name, _, _ := strings.Cut(text, ":")
	if f.Base == BaseField {
		name = "$" + f.Name
	}
	if bare, ok := strings.CutPrefix(name, "$"); ok && len(bare) <= maxArgName && bare != "if" && !taken(bare) {
		return bare
	}
	for i := len(p.spec.Args) + 1; ; i++ {
		if name := "arg" + strconv.Itoa(i); !taken(name) {
			return name
		}
	}
}

// typedFetch reads FETCH[:TYPE], decides on the type and checks that the place has such a value.
func (p *parser) typedFetch() (Arg, error) {
	start := p.pos
	fetch, err := p.fetch()
	if err != nil {
		return Arg{}, err
	}
	arg := Arg{Fetch: fetch, Type: defaultType(fetch), Pos: start}
	if p.take(":") {
		at := p.pos
		for p.pos < len(p.text) && isIdent(p.text[p.pos]) {
			p.pos++
		}
		word := p.text[at:p.pos]
		typ, ok := types[word]
		if !ok {
			hint := "types are " + typeNames
			if near := Nearest(word, []string{"string", "ustring", "symbol", "char"}, 1); near != nil {
				hint = fmt.Sprintf("did you mean %s?", near[0])
			} else if word == "str" {
				hint = "did you mean string?"
			}
			return Arg{}, p.fail(at, fmt.Sprintf("unknown type %q", shorten(word, 40)), hint)
		}
		if err := p.setType(&arg, typ, at); err != nil {
			return Arg{}, err
		}
	}
	p.userMemory(&arg)
	return arg, nil
}

// setType gives an argument the type that was written at pos.
func (p *parser) setType(arg *Arg, typ Type, pos int) error {
	arg.Type = typ
	f := &arg.Fetch
	isString := typ.Format == FormatString || typ.Format == FormatUserString
	if f.Base == BaseComm {
		if typ.Format != FormatString {
			return p.fail(pos, "$comm is a string", "")
		}
		return nil
	}
	if !isString || len(f.Deref) > 0 {
		return nil
	}
	switch f.Base {
	case BaseArg, BaseRegister, BaseRetval, BaseStack, BaseStackAddr:
		f.Deref = []Deref{{User: typ.Format == FormatUserString}}
	case BaseField:
		if p.spec.Provider == ProviderSyscall {
			f.Deref = []Deref{{User: true}}
		}
	default:
		return p.fail(pos, "a number is no string", "")
	}
	return nil
}

// userMemory marks what is read as the process' own memory where nothing else can be meant: all that a program or a
// system call's parameters point to.
func (p *parser) userMemory(arg *Arg) {
	f := &arg.Fetch
	if p.spec.Provider != ProviderUprobe && p.spec.Provider != ProviderSyscall || f.Base == BaseAddress || len(f.Deref) == 0 {
		return
	}
	for i := range f.Deref {
		f.Deref[i].User = true
	}
	if arg.Type.Format == FormatString {
		arg.Type.Format = FormatUserString
	}
}

// defaultType is the type of a fetch that none was written for.
func defaultType(f Fetch) Type {
	if len(f.Deref) > 0 {
		return Type{FormatHex, 8}
	}
	switch f.Base {
	case BaseComm:
		return Type{FormatString, 0}
	case BasePID, BaseTID, BaseUID, BaseCPU, BaseContext:
		return Type{FormatUnsigned, 4}
	case BaseLatency:
		return Type{FormatUnsigned, 8}
	case BaseRetval:
		return Type{FormatSigned, 8}
	case BaseField:
		return Type{}
	}
	return Type{FormatHex, 8}
}

// fetch reads one FETCH, with its memory reads.
func (p *parser) fetch() (Fetch, error) {
	start := p.pos
	if c := p.peek(); c == '+' || c == '-' {
		return p.deref()
	}
	f, err := p.base()
	if err != nil {
		return f, err
	}
	f.Pos = start
	return f, p.checkBase(&f)
}

// deref reads +OFFSET(FETCH), -OFFSET(FETCH) or +uOFFSET(FETCH).
func (p *parser) deref() (Fetch, error) {
	start := p.pos
	if p.depth++; p.depth > maxDepth {
		return Fetch{}, p.fail(start, "too many parentheses inside each other", "")
	}
	defer func() { p.depth-- }()
	negative := p.peek() == '-'
	p.pos++
	d := Deref{User: p.take("u")}
	offset, ok := p.digits()
	if !ok || offset > maxOffset {
		return Fetch{}, p.unexpected("the offset of a memory read, such as +8(%a0),")
	}
	if d.Offset = int64(offset); negative {
		d.Offset = -d.Offset
	}
	if !p.take("(") {
		return Fetch{}, p.unexpected("the ( of a memory read, such as +8(%a0),")
	}
	f, err := p.fetch()
	if err != nil {
		return f, err
	}
	if !p.take(")") {
		return f, p.unexpected("the closing )")
	}
	if f.Base == BaseComm {
		return f, p.fail(f.Pos, "$comm is a string, not a pointer", "")
	}
	if len(f.Deref) == MaxDerefs {
		return f, p.fail(start, fmt.Sprintf("at most %d memory reads can follow each other", MaxDerefs), "")
	}
	f.Deref = append(f.Deref, d)
	f.Pos = start
	return f, nil
}

// base reads the source that a fetch begins with.
func (p *parser) base() (Fetch, error) {
	switch c := p.peek(); {
	case c == '%':
		return p.register()
	case c == '$':
		return p.variable()
	case c == '@':
		return p.address()
	case c == '\\':
		return p.immediate()
	case p.take("args"):
		if !p.take(".") && !p.take("->") {
			return Fetch{}, p.unexpected("args.FIELD")
		}
		name := p.ident()
		if name == "" {
			return Fetch{}, p.unexpected("the name of a field")
		}
		return Fetch{Base: BaseField, Name: name}, nil
	}
	return Fetch{}, p.unexpected("a value (%a0, $retval, $comm, +8(%a0) …)")
}

// atField says whether "args" that was just read goes on as args.FIELD.
func (p *parser) atField() bool { return p.peek() == '.' || p.peek() == '-' && p.at(1) == '>' }

// register reads %a0 or %NAME.
func (p *parser) register() (Fetch, error) {
	start := p.pos
	p.pos++
	name := p.ident()
	if name == "" {
		return Fetch{}, p.unexpected("a parameter (%a0) or a register (%di)")
	}
	if number, ok := strings.CutPrefix(name, "a"); ok && len(number) == 1 && isDigit(number[0]) {
		if number[0] > '7' {
			return Fetch{}, p.fail(start, "only the parameters %a0 … %a7 are in registers", "the others are on the stack: $stack1 …")
		}
		return Fetch{Base: BaseArg, Index: int(number[0] - '0')}, nil
	}
	if meant, ok := strings.CutPrefix(name, "arg"); ok && meant != "" || len(name) > 8 || strings.ToLower(name) != name {
		hint := "write parameters as %a0, registers by the architecture's names in small letters"
		return Fetch{}, p.fail(start, fmt.Sprintf("%q is no register", "%"+shorten(name, 40)), hint)
	}
	if _, ok := variables[name]; ok {
		return Fetch{}, p.fail(start, fmt.Sprintf("%q is no register", "%"+name), "did you mean $"+name+"?")
	}
	return Fetch{Base: BaseRegister, Name: name}, nil
}

// variable reads $NAME.
func (p *parser) variable() (Fetch, error) {
	start := p.pos
	p.pos++
	name := p.ident()
	if name == "" {
		return Fetch{}, p.unexpected("a name, such as $retval or $comm,")
	}
	if base, ok := variables[name]; ok {
		return Fetch{Base: base}, nil
	}
	if n, ok := numbered(name, "stack"); ok {
		if n > 511 {
			return Fetch{}, p.fail(start, "a stack has fewer words than that", "")
		}
		return Fetch{Base: BaseStack, Index: n}, nil
	}
	if n, ok := numbered(name, "arg"); ok && 1 <= n && n <= 8 {
		return Fetch{Base: BaseArg, Index: n - 1}, nil
	}
	hasFields := p.spec.Provider == ProviderTracepoint || p.spec.Provider == ProviderSyscall
	meant, known := variableErrors[name]
	if hasFields && (!known || p.spec.Provider == ProviderTracepoint) {
		return Fetch{Base: BaseField, Name: name}, nil
	}
	if !known {
		names := []string{"arg1"}
		for n := range variables {
			names = append(names, n)
		}
		slices.Sort(names)
		if near := Nearest(name, names, 1); near != nil {
			meant, known = "$"+near[0], true
		}
	}
	hint := "write parameters as %a0, %a1 …; only tracepoints and system calls have fields with names"
	if known {
		hint = fmt.Sprintf("did you mean %s?", strings.TrimSuffix(meant, ","))
	}
	return Fetch{}, p.fail(start, fmt.Sprintf("unknown variable %q", "$"+shorten(name, 40)), hint)
}

// numbered reads the number behind a name's prefix.
func numbered(name, prefix string) (int, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok || digits == "" || len(digits) > 4 || digits[0] == '0' && digits != "0" {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0
}

// address reads @SYMBOL[+OFFSET] or @0xADDRESS[+OFFSET]: memory of the kernel.
func (p *parser) address() (Fetch, error) {
	p.pos++
	f := Fetch{Base: BaseAddress, Deref: []Deref{{}}}
	if isDigit(p.peek()) {
		value, ok := p.digits()
		if !ok || value == 0 {
			return f, p.unexpected("an address, such as @0xffffffff82000000,")
		}
		f.Value = value
	} else {
		start := p.pos
		for p.pos < len(p.text) && isSymbol(p.text[p.pos]) {
			p.pos++
		}
		if f.Symbol = p.text[start:p.pos]; f.Symbol == "" {
			return f, p.unexpected("a kernel symbol or address")
		}
	}
	if c := p.peek(); c == '+' || c == '-' {
		p.pos++
		offset, ok := p.digits()
		if !ok || offset > maxOffset {
			return f, p.unexpected("an offset")
		}
		if f.Deref[0].Offset = int64(offset); c == '-' {
			f.Deref[0].Offset = -f.Deref[0].Offset
		}
	}
	return f, nil
}

// immediate reads \NUMBER.
func (p *parser) immediate() (Fetch, error) {
	p.pos++
	negative := p.take("-")
	value, ok := p.digits()
	if !ok {
		return Fetch{}, p.unexpected("a number")
	}
	if negative {
		value = -value
	}
	return Fetch{Base: BaseImmediate, Value: value}, nil
}
