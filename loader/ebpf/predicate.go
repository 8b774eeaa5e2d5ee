// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"

	"github.com/trapline/trapline/bpf"
	"github.com/trapline/trapline/probes"
)

// tests is how many steps of predicates there are.
func (c *compiler) tests() uint32 { return c.out.Tests + c.out.ReturnTests + c.pending }

func (c *compiler) add(pos int, t bpf.TraceTest) error {
	n := c.tests()
	if n == maxTests {
		return c.fail(pos, fmt.Sprintf("the predicate has more than %d steps", maxTests))
	}
	c.out.Test[n] = t
	c.pending++
	return nil
}

// expr adds an expression in postfix order.
func (c *compiler) expr(e probes.Expr) error {
	switch e := e.(type) {
	case *probes.And:
		return c.both(e.L, e.R, bpf.TraceTestOpTEST_AND)
	case *probes.Or:
		return c.both(e.L, e.R, bpf.TraceTestOpTEST_OR)
	case *probes.Not:
		if err := c.expr(e.X); err != nil {
			return err
		}
		return c.add(e.Pos, bpf.TraceTest{Op: uint8(bpf.TraceTestOpTEST_NOT)})
	case *probes.Compare:
		return c.compare(e)
	}
	return c.fail(e.Position(), "this predicate can't be evaluated")
}

func (c *compiler) both(l, r probes.Expr, op bpf.TraceTestOp) error {
	if err := c.expr(l); err != nil {
		return err
	}
	if err := c.expr(r); err != nil {
		return err
	}
	return c.add(r.Position(), bpf.TraceTest{Op: uint8(op)})
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
	t := bpf.TraceTest{Left: uint8(left)}
	if e.Signed() {
		t.IsSigned = 1
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

func (c *compiler) compareNumber(pos int, t bpf.TraceTest, op probes.Op) error {
	if op == probes.OpLess && t.IsSigned == 0 && t.Right == 0 && t.Value == 0 {
		return c.fail(pos, "an unsigned value is never below 0; give it a signed type, such as x=%a2:s64")
	}
	switch op {
	case probes.OpEqual:
		t.Op = uint8(bpf.TraceTestOpTEST_EQUAL)
	case probes.OpNotEqual:
		t.Op = uint8(bpf.TraceTestOpTEST_NOT_EQUAL)
	case probes.OpLess:
		t.Op = uint8(bpf.TraceTestOpTEST_LESS)
	case probes.OpLessEqual:
		t.Op = uint8(bpf.TraceTestOpTEST_LESS_EQUAL)
	case probes.OpGreater:
		t.Op = uint8(bpf.TraceTestOpTEST_GREATER)
	case probes.OpGreaterEqual:
		t.Op = uint8(bpf.TraceTestOpTEST_GREATER_EQUAL)
	case probes.OpBits:
		t.Op = uint8(bpf.TraceTestOpTEST_BITS)
	default:
		return c.fail(pos, fmt.Sprintf("%s compares strings", op))
	}
	return c.add(pos, t)
}

func (c *compiler) compareString(e *probes.Compare, t bpf.TraceTest, op probes.Op, r probes.Operand) error {
	if len(r.String) > maxConstant {
		return c.fail(r.Pos, fmt.Sprintf("a string in a predicate has %d bytes at most", maxConstant))
	}
	if c.constants == maxStrings {
		return c.fail(r.Pos, fmt.Sprintf("a predicate has %d strings at most", maxStrings))
	}
	for i := range len(r.String) {
		c.out.Constant[c.constants][i] = int8(r.String[i])
	}
	t.Right = uint8(c.constants)
	c.constants++
	switch op {
	case probes.OpEqual:
		t.Op = uint8(bpf.TraceTestOpTEST_STRING)
	case probes.OpNotEqual:
		t.Op = uint8(bpf.TraceTestOpTEST_NOT_STRING)
	case probes.OpMatch:
		t.Op = uint8(bpf.TraceTestOpTEST_GLOB)
		c.out.globs = true
	default:
		return c.fail(e.Pos, "strings have ==, != and ~")
	}
	return c.add(e.Pos, t)
}

// operand gives the number of a value, reading it if no argument does already.
func (c *compiler) operand(o probes.Operand) (int, probes.Type, error) {
	if o.Arg.Name != "" {
		if i, ok := c.named[o.Arg.Name]; ok {
			return i, c.out.shown[i].Type, nil
		}
	}
	i, arg, err := c.fetch(o.Arg)
	return i, arg.Type, err
}
