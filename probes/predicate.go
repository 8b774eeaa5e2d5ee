// SPDX-License-Identifier: Apache-2.0

package probes

// Signed says whether the comparison is one of signed numbers: if one side is of a signed type or was written as a
// negative number.
func (e *Compare) Signed() bool { return e.L.signed() || e.R.signed() }

func (o *Operand) signed() bool {
	switch o.Kind {
	case OperandArg:
		return o.Arg.Type.Format == FormatSigned
	case OperandNumber:
		return o.Negative
	}
	return false
}

// operands calls f for each operand of a predicate, in the order in which they are written. e may be nil.
func operands(e Expr, f func(*Operand)) {
	switch e := e.(type) {
	case *And:
		operands(e.L, f)
		operands(e.R, f)
	case *Or:
		operands(e.L, f)
		operands(e.R, f)
	case *Not:
		operands(e.X, f)
	case *Compare:
		f(&e.L)
		f(&e.R)
	}
}

// SplitReturn splits the predicate of a latency probe into what is decided when the function is entered and what is
// decided when it returns; a call counts if both hold. Either is nil if there is nothing to decide then. Each part that
// && joins at the top must be wholly of one of them: $retval and $latency exist at the return only; parameters,
// registers, the stack and the kernel's memory are read at the entry; the rest ($pid, $comm, $cpu …) and constants go with
// either, and are decided at the entry if they are alone. Another mixture is a *ParseError without Text.
func SplitReturn(e Expr) (entry, ret Expr, err error) {
	if e == nil {
		return nil, nil, nil
	}
	if and, ok := e.(*And); ok {
		le, lr, err := SplitReturn(and.L)
		if err != nil {
			return nil, nil, err
		}
		re, rr, err := SplitReturn(and.R)
		if err != nil {
			return nil, nil, err
		}
		return conjunction(le, re), conjunction(lr, rr), nil
	}
	atEntry, atReturn := -1, -1 // where an operand of each time stands
	operands(e, func(o *Operand) {
		if o.Kind != OperandArg {
			return
		}
		switch b := o.Arg.Fetch.Base; {
		case b.AtReturn():
			atReturn = max(atReturn, o.Pos)
		case b == BaseArg || b == BaseRegister || b == BaseStack || b == BaseStackAddr || b == BaseField || b == BaseAddress:
			atEntry = max(atEntry, o.Pos)
		}
	})
	switch {
	case atReturn < 0:
		return e, nil, nil
	case atEntry < 0:
		return nil, e, nil
	}
	return nil, nil, &ParseError{
		Pos:  max(atEntry, atReturn),
		Msg:  "one comparison (or several joined by || or !) can't need values of both the entry and the return",
		Hint: "join such comparisons by &&",
	}
}

// conjunction joins two predicates, of which each may be nil.
func conjunction(l, r Expr) Expr {
	switch {
	case l == nil:
		return r
	case r == nil:
		return l
	}
	return &And{l, r}
}
