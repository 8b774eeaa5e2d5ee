// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"fmt"
	"strconv"
	"strings"
)

// String writes the probe in one canonical way, which Parse reads as the same probe.
func (s *Spec) String() string {
	var b strings.Builder
	b.WriteString(s.Place())
	for _, a := range s.Args {
		b.WriteByte(' ')
		b.WriteString(a.String())
	}
	if s.If != nil {
		b.WriteString(" if ")
		writeExpr(&b, s.If)
	}
	return b.String()
}

// Place writes where the probe is and its kind, without arguments and predicate.
func (s *Spec) Place() string {
	name := s.Symbol
	if s.Address != 0 {
		name = fmt.Sprintf("%#x", s.Address)
	}
	if s.Module != "" {
		name = s.Module + ":" + name
	}
	switch {
	case s.Offset != 0:
		return s.prefix() + name + fmt.Sprintf("+%#x", s.Offset)
	case s.Provider == ProviderFunction || s.Provider == ProviderSyscall:
		if s.Kind != KindDefault {
			name += "%" + s.Kind.String()
		}
	case s.Kind == KindLatency:
		name += "%latency"
	}
	return s.prefix() + name
}

// prefix is what stands before the symbol.
func (s *Spec) prefix() string {
	ret := s.Kind == KindReturn
	switch s.Provider {
	case ProviderKprobe:
		return choose(ret, "kretprobe:", "kprobe:")
	case ProviderFentry:
		return choose(ret, "fexit:", "fentry:")
	case ProviderTracepoint:
		return "tracepoint:" + s.Group + ":"
	case ProviderRawTracepoint:
		return "rawtp:"
	case ProviderSyscall:
		return "syscall:"
	case ProviderUprobe:
		return choose(ret, "uretprobe:", "uprobe:") + escapePath(s.Path) + ":"
	}
	return ""
}

func choose(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// escapePath puts a \ before what would end the path.
func escapePath(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if c := path[i]; c == ':' || c == '\\' || isBlank(c) {
			b.WriteByte('\\')
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// Glob says whether the place is a pattern, so that the probe may be many.
func (s *Spec) Glob() bool { return IsGlob(s.Symbol) || IsGlob(s.Group) }

// String gives the kind's name, as it stands behind a %.
func (k Kind) String() string {
	switch k {
	case KindEntry:
		return "entry"
	case KindReturn:
		return "return"
	case KindLatency:
		return "latency"
	}
	return "default"
}

// String gives the provider's name.
func (p Provider) String() string {
	names := [...]string{"function", "kprobe", "fentry", "tracepoint", "rawtp", "syscall", "uprobe"}
	if int(p) < len(names) {
		return names[p]
	}
	return "provider " + strconv.Itoa(int(p))
}

// String gives the operator as it is written.
func (o Op) String() string {
	if int(o) < len(operators) {
		return operators[o]
	}
	return "?"
}

// String gives the type as it is written; "" for the zero Type.
func (t Type) String() string {
	switch t.Format {
	case FormatChar:
		return "char"
	case FormatString:
		return "string"
	case FormatUserString:
		return "ustring"
	case FormatSymbol:
		return "symbol"
	}
	if t == (Type{}) {
		return ""
	}
	letter := [...]string{FormatUnsigned: "u", FormatSigned: "s", FormatHex: "x"}[min(t.Format, FormatHex)]
	return letter + strconv.Itoa(8*t.Size)
}

// String writes the argument as NAME=FETCH[:TYPE], the type only where it is not the fetch's usual one.
func (a Arg) String() string {
	s := a.Fetch.String()
	if a.Type != defaultType(a.Fetch) {
		s += ":" + a.Type.String()
	}
	if a.Name != "" {
		s = a.Name + "=" + s
	}
	return s
}

// String writes the fetch as Parse reads it.
func (f Fetch) String() string {
	s, reads := f.base(), f.Deref
	if f.Base == BaseAddress && len(reads) > 0 {
		if reads[0].Offset != 0 {
			s += signed(reads[0].Offset)
		}
		reads = reads[1:]
	}
	for _, d := range reads {
		offset := signed(d.Offset)
		if d.User {
			offset = offset[:1] + "u" + offset[1:]
		}
		s = offset + "(" + s + ")"
	}
	return s
}

// signed writes an offset with its sign.
func signed(offset int64) string { return fmt.Sprintf("%+d", offset) }

// base writes the source of the fetch.
func (f Fetch) base() string {
	switch f.Base {
	case BaseArg:
		return "%a" + strconv.Itoa(f.Index)
	case BaseRegister:
		return "%" + f.Name
	case BaseStack:
		return "$stack" + strconv.Itoa(f.Index)
	case BaseImmediate:
		return fmt.Sprintf(`\%#x`, f.Value)
	case BaseAddress:
		if f.Symbol != "" {
			return "@" + f.Symbol
		}
		return fmt.Sprintf("@%#x", f.Value)
	case BaseField:
		p := &parser{text: "$" + f.Name, spec: &Spec{Provider: ProviderSyscall}}
		if g, err := p.variable(); err == nil && g.Base == BaseField {
			return "$" + f.Name
		}
		return "args." + f.Name // a plain $NAME would mean something else
	}
	for name, base := range variables {
		if base == f.Base {
			return "$" + name
		}
	}
	return "?"
}

// writeExpr writes a predicate, with the parentheses that keep its shape.
func writeExpr(b *strings.Builder, e Expr) {
	switch e := e.(type) {
	case *And:
		_, or := e.L.(*Or)
		writeInside(b, e.L, or)
		b.WriteString(" && ")
		_, or = e.R.(*Or)
		_, and := e.R.(*And)
		writeInside(b, e.R, or || and)
	case *Or:
		writeExpr(b, e.L)
		b.WriteString(" || ")
		_, or := e.R.(*Or)
		writeInside(b, e.R, or)
	case *Not:
		_, not := e.X.(*Not)
		b.WriteByte('!')
		writeInside(b, e.X, !not)
	case *Compare:
		b.WriteString(e.L.write())
		b.WriteString(" " + e.Op.String() + " ")
		b.WriteString(e.R.write())
	}
}

// writeInside writes a predicate, in parentheses if they are needed.
func writeInside(b *strings.Builder, e Expr, parentheses bool) {
	if parentheses {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	writeExpr(b, e)
}

// write writes one side of a comparison.
func (o *Operand) write() string {
	switch o.Kind {
	case OperandNumber:
		if o.Negative {
			return strconv.FormatInt(o.Number, 10)
		}
		return strconv.FormatUint(uint64(o.Number), 10)
	case OperandString:
		r := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`)
		return `"` + r.Replace(o.String) + `"`
	}
	if o.Arg.Name != "" {
		return o.Arg.Name
	}
	return o.Arg.String()
}
