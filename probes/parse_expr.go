// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// predicate reads what follows "if".
func (p *parser) predicate() error {
	e, err := p.or()
	if err != nil {
		return err
	}
	p.blanks()
	if p.pos < len(p.text) {
		hint := ""
		switch {
		case p.peek() == '|':
			hint = "write || for or"
		case strings.HasPrefix(p.text[p.pos:], "and"):
			hint = "write && for and"
		case strings.HasPrefix(p.text[p.pos:], "or"):
			hint = "write || for or"
		case p.operator() >= 0:
			hint = "comparisons are joined by && and ||"
		}
		return p.fail(p.pos, fmt.Sprintf("unexpected %q behind the predicate", p.rune()), hint)
	}
	p.spec.If = e
	return nil
}

func (p *parser) or() (Expr, error) {
	e, err := p.and()
	for err == nil {
		p.blanks()
		if !p.take("||") {
			return e, nil
		}
		var r Expr
		r, err = p.and()
		e = &Or{e, r}
	}
	return nil, err
}

func (p *parser) and() (Expr, error) {
	e, err := p.not()
	for err == nil {
		p.blanks()
		if !p.take("&&") {
			return e, nil
		}
		var r Expr
		r, err = p.not()
		e = &And{e, r}
	}
	return nil, err
}

// not reads a comparison, or one with ! or parentheses around it.
func (p *parser) not() (Expr, error) {
	p.blanks()
	start := p.pos
	if c := p.peek(); c != '!' && c != '(' {
		return p.compare()
	}
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail(start, "too many parentheses inside each other", "")
	}
	defer func() { p.depth-- }()
	p.pos++
	if p.text[start] == '!' {
		if p.blanks(); p.peek() != '!' && p.peek() != '(' {
			return nil, p.fail(p.pos, "what ! negates stands in parentheses", "as in: !(len > 4096)")
		}
		x, err := p.not()
		if err != nil {
			return nil, err
		}
		return &Not{x, start}, nil
	}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	p.blanks()
	if !p.take(")") {
		return nil, p.unexpected("the closing )")
	}
	return e, nil
}

// compare reads OPERAND OP OPERAND.
func (p *parser) compare() (Expr, error) {
	if p.compares++; p.compares > MaxCompares {
		return nil, p.fail(p.pos, fmt.Sprintf("a predicate has at most %d comparisons", MaxCompares), "")
	}
	l, err := p.operand()
	if err != nil {
		return nil, err
	}
	p.blanks()
	c := &Compare{L: l, Pos: p.pos}
	op := p.operator()
	if op < 0 {
		hint := "compare with == != < <= > >= & or ~; a number alone is written as: len != 0"
		if p.peek() == '=' {
			hint = "write == to compare"
		}
		return nil, p.fail(p.pos, "a comparison is missing here", hint)
	}
	c.Op = Op(op)
	p.pos += len(operators[op])
	p.blanks()
	if c.R, err = p.operand(); err != nil {
		return nil, err
	}
	return c, p.checkCompare(c)
}

// operators are the comparisons as they are written, by Op.
var operators = [...]string{
	OpEqual: "==", OpNotEqual: "!=", OpLess: "<", OpLessEqual: "<=", OpGreater: ">", OpGreaterEqual: ">=", OpBits: "&", OpMatch: "~",
}

// operator looks which comparison stands here; -1 if none.
func (p *parser) operator() int {
	best := -1
	rest := p.text[p.pos:]
	if strings.HasPrefix(rest, "&&") {
		return -1
	}
	for op, s := range operators {
		if strings.HasPrefix(rest, s) && (best < 0 || len(s) > len(operators[best])) {
			best = op
		}
	}
	return best
}

// checkCompare refuses comparisons that mean nothing, and makes a number of a character that is compared with a char.
func (p *parser) checkCompare(c *Compare) error {
	if c.L.Kind != OperandArg && c.R.Kind != OperandArg {
		return p.fail(c.L.Pos, "two constants are compared", "name an argument, or a value such as $pid")
	}
	for _, pair := range [][2]*Operand{{&c.L, &c.R}, {&c.R, &c.L}} {
		value, constant := pair[0], pair[1]
		if value.Kind == OperandArg && value.Arg.Type == types["char"] && constant.Kind == OperandString && len(constant.String) == 1 {
			constant.Kind, constant.Number, constant.String = OperandNumber, int64(constant.String[0]), ""
		}
	}
	l, r := c.L.text(), c.R.text()
	switch {
	case l*r < 0:
		pos, hint := c.R.Pos, "give the value the type :string"
		if r < 0 {
			hint = "put the text into quotes"
		}
		return p.fail(pos, "a string can only be compared with a string", hint)
	case l+r > 0 && c.Op != OpEqual && c.Op != OpNotEqual && c.Op != OpMatch:
		return p.fail(c.Pos, fmt.Sprintf("strings can't be compared with %s", operators[c.Op]), "use == != or ~")
	case c.Op == OpMatch && l+r <= 0:
		return p.fail(c.Pos, "only strings match a pattern", "give the value the type :string, and put the pattern into quotes")
	case c.Op == OpMatch && c.R.Kind != OperandString:
		return p.fail(c.R.Pos, "a pattern is written in quotes", "")
	}
	return nil
}

// text is 1 for a string, -1 for a number, and 0 for a field whose type only the kernel knows.
func (o *Operand) text() int {
	switch {
	case o.Kind == OperandString:
		return 1
	case o.Kind == OperandNumber:
		return -1
	case o.Arg.Type == Type{}:
		return 0
	case o.Arg.Type.Format == FormatString || o.Arg.Type.Format == FormatUserString:
		return 1
	}
	return -1
}

// operand reads one side of a comparison.
func (p *parser) operand() (Operand, error) {
	o := Operand{Pos: p.pos}
	var err error
	switch c := p.peek(); {
	case c == '"' || c == '\'':
		o.Kind = OperandString
		o.String, err = p.quoted()
	case isDigit(c) || c == '-' && !p.atDeref():
		o.Kind = OperandNumber
		o.Number, o.Negative, err = p.number()
	case isIdent(c):
		start := p.pos
		name := p.ident()
		if name == "args" && p.atField() {
			p.pos = start
			o.Arg, err = p.typedFetch()
			break
		}
		for _, a := range p.spec.Args {
			if a.Name == name {
				o.Arg = a
				return o, nil
			}
		}
		return o, p.fail(start, fmt.Sprintf("there is no argument %q", shorten(name, 40)), p.operandHint(name))
	default:
		o.Arg, err = p.typedFetch()
	}
	return o, err
}

// atDeref says whether the sign here begins a memory read and not a number.
func (p *parser) atDeref() bool {
	q := *p
	q.pos++
	if q.take("u") {
		return true
	}
	_, ok := q.digits()
	return ok && q.peek() == '('
}

// operandHint guesses what a user meant by a name that is no argument.
func (p *parser) operandHint(name string) string {
	if _, ok := variables[name]; ok {
		return "did you mean $" + name + "?"
	}
	var names []string
	for _, a := range p.spec.Args {
		names = append(names, a.Name)
	}
	if near := Nearest(name, names, 1); near != nil {
		return "did you mean " + near[0] + "?"
	}
	if p.spec.Provider == ProviderTracepoint || p.spec.Provider == ProviderSyscall {
		return "a field is written as $" + shorten(name, 40)
	}
	return "name it before the if, as in: vfs_write " + shorten(name, 40) + "=%a2 if …; put texts into quotes"
}

// units are the suffixes of numbers.
var units = map[string]uint64{
	"": 1, "k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9,
}

// number reads a number with its sign and unit.
func (p *parser) number() (value int64, negative bool, err error) {
	start := p.pos
	negative = p.take("-")
	n, ok := p.digits()
	if !ok {
		if isDigit(p.peek()) {
			return 0, false, p.fail(start, fmt.Sprintf("%q is no number of at most 64 bits", shorten(p.restOfWord(), 40)), "")
		}
		return 0, false, p.unexpected("a number")
	}
	at := p.pos
	for p.pos < len(p.text) && (isIdent(p.text[p.pos]) || p.text[p.pos] == '.' || p.text[p.pos] >= utf8.RuneSelf) {
		p.pos++
	}
	suffix := p.text[at:p.pos]
	unit, ok := units[suffix]
	if !ok {
		hint := "units are k M G (1024) and ns us ms s"
		if suffix[0] == '.' {
			hint = "write whole numbers: 1500us, not 1.5ms"
		}
		return 0, false, p.fail(at, fmt.Sprintf("unknown unit %q", shorten(suffix, 40)), hint)
	}
	limit := uint64(math.MaxUint64)
	if negative {
		limit = 1 << 63
	}
	if n > limit/unit {
		return 0, false, p.fail(start, "the number has more than 64 bits", "")
	}
	value = int64(n * unit)
	if negative {
		value = -value
	}
	return value, negative && value != 0, nil
}

// quoted reads a string in single or double quotes. A \ makes n and t a newline and a tab, and any other character
// itself.
func (p *parser) quoted() (string, error) {
	start := p.pos
	quote := p.peek()
	var b strings.Builder
	for p.pos++; p.pos < len(p.text); p.pos++ {
		c := p.text[p.pos]
		switch {
		case c == quote:
			p.pos++
			if b.Len() > MaxString {
				return "", p.fail(start, fmt.Sprintf("a string has at most %d bytes", MaxString), "")
			}
			return b.String(), nil
		case c == 0:
			return "", p.fail(p.pos, "a string can't hold a NUL", "")
		case c == '\\' && p.pos+1 < len(p.text):
			p.pos++
			if c = p.text[p.pos]; c == 'n' {
				c = '\n'
			} else if c == 't' {
				c = '\t'
			}
		}
		b.WriteByte(c)
	}
	return "", p.fail(start, "this quote is never closed", "")
}
