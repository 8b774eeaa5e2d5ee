// SPDX-License-Identifier: Apache-2.0

package recipe

import "github.com/trapline/trapline/probes"

func (c *compiler) add(pos int, t Test) error {
	if len(c.out.Tests)+len(c.out.ReturnTests) == MaxTests {
		return c.fail(pos, "the predicate has more than %d steps", MaxTests)
	}
	*c.tests = append(*c.tests, t)
	return nil
}

// expr adds an expression in postfix order.
func (c *compiler) expr(e probes.Expr) error {
	switch e := e.(type) {
	case *probes.And:
		return c.both(e.L, e.R, OpAnd)
	case *probes.Or:
		return c.both(e.L, e.R, OpOr)
	case *probes.Not:
		if err := c.expr(e.X); err != nil {
			return err
		}
		return c.add(e.Pos, Test{Op: OpNot})
	case *probes.Compare:
		return c.compare(e)
	}
	return c.fail(e.Position(), "this predicate can't be evaluated")
}

func (c *compiler) both(l, r probes.Expr, op Op) error {
	if err := c.expr(l); err != nil {
		return err
	}
	if err := c.expr(r); err != nil {
		return err
	}
	return c.add(r.Position(), Test{Op: op})
}

// mirrored is the comparison with its sides exchanged.
var mirrored = map[probes.Op]probes.Op{
	probes.OpEqual: probes.OpEqual, probes.OpNotEqual: probes.OpNotEqual, probes.OpBits: probes.OpBits, probes.OpLess: probes.OpGreater,
	probes.OpLessEqual: probes.OpGreaterEqual, probes.OpGreater: probes.OpLess, probes.OpGreaterEqual: probes.OpLessEqual, probes.OpMatch: probes.OpMatch,
}

// compare adds one comparison, a value on its left side. A value that can't be read makes it false.
func (c *compiler) compare(e *probes.Compare) error {
	l, r, op := e.L, e.R, e.Op
	if l.Kind != probes.OperandArg {
		l, r, op = r, l, mirrored[op]
	}
	if l.Kind != probes.OperandArg {
		return c.fail(e.Pos, "both sides are constants")
	}
	left, typ, err := c.operand(l)
	if err != nil {
		return err
	}
	t := Test{Left: uint8(left)}
	if e.Signed() {
		t.Signed = true
	}
	isString := typ.Format == probes.FormatString || typ.Format == probes.FormatUserString
	switch {
	case isString && r.Kind == probes.OperandString:
		return c.compareString(e, t, op, r)
	case isString || r.Kind == probes.OperandString:
		return c.fail(e.Pos, "a string is compared with a string in quotes")
	case r.Kind == probes.OperandNumber:
		t.Value = uint64(r.Number)
		return c.compareNumber(e.Pos, t, op)
	}
	right, _, err := c.operand(r)
	if err != nil {
		return err
	}
	t.Right = uint8(right + 1)
	return c.compareNumber(e.Pos, t, op)
}

func (c *compiler) compareNumber(pos int, t Test, op probes.Op) error {
	if op == probes.OpLess && !t.Signed && t.Right == 0 && t.Value == 0 {
		return c.fail(pos, "an unsigned value is never below 0; give it a signed type, such as x=%%a2:s64")
	}
	switch op {
	case probes.OpEqual:
		t.Op = OpEqual
	case probes.OpNotEqual:
		t.Op = OpNotEqual
	case probes.OpLess:
		t.Op = OpLess
	case probes.OpLessEqual:
		t.Op = OpLessEqual
	case probes.OpGreater:
		t.Op = OpGreater
	case probes.OpGreaterEqual:
		t.Op = OpGreaterEqual
	case probes.OpBits:
		t.Op = OpBits
	default:
		return c.fail(pos, "%s compares strings", op)
	}
	return c.add(pos, t)
}

func (c *compiler) compareString(e *probes.Compare, t Test, op probes.Op, r probes.Operand) error {
	if len(r.String) > MaxConstant {
		return c.fail(r.Pos, "a string in a predicate has %d bytes at most", MaxConstant)
	}
	if len(c.out.Constants) == MaxStrings {
		return c.fail(r.Pos, "a predicate has %d strings at most", MaxStrings)
	}
	t.Right = uint8(len(c.out.Constants))
	c.out.Constants = append(c.out.Constants, r.String)
	switch op {
	case probes.OpEqual:
		t.Op = OpString
	case probes.OpNotEqual:
		t.Op = OpNotString
	case probes.OpMatch:
		t.Op = OpGlob
		c.out.Globs = true
	default:
		return c.fail(e.Pos, "strings have ==, != and ~")
	}
	return c.add(e.Pos, t)
}

// operand gives the number of a value, reading it if no argument does already.
func (c *compiler) operand(o probes.Operand) (int, probes.Type, error) {
	if o.Arg.Name != "" {
		if i, ok := c.named[o.Arg.Name]; ok {
			return i, c.out.Shown[i].Type, nil
		}
	}
	i, arg, err := c.fetch(o.Arg)
	return i, arg.Type, err
}
