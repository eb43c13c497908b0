package where

import (
	"errors"
	"strconv"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"holdfast/internal/fault"
	"holdfast/row"
)

// budget bounds what one evaluation makes, in elements.
const budget = 10_000

// opaque is a part that only expr-lang can compute. An index knows nothing of
// it.
type opaque struct {
	program *vm.Program
	machine vm.VM
	columns []int
	nulls   bool // it says itself what becomes of NULL
	negated bool
	env     map[string]any
}

// opaque makes such a part.
func (c *compiler) opaque(n ast.Node, negated bool) (node, error) {
	program, err := expr.Compile(n.String(), c.options(expr.AsBool())...)
	if err != nil {
		return nil, fault.New(fault.DatatypeMismatch, "the expression cannot be used: %s", said(err)).WithHint("%s", c.types())
	}
	o := &opaque{program: program, negated: negated, env: map[string]any{}, machine: vm.VM{MemoryBudget: budget}}
	var walk func(ast.Node)
	walk = func(n ast.Node) {
		if name, ok := columnOf(n); ok {
			o.columns = append(o.columns, c.use(name))
			return
		}
		switch n := n.(type) {
		case *ast.NilNode:
			o.nulls = true
		case *ast.BinaryNode:
			o.nulls = o.nulls || n.Operator == "??"
		}
		parts, _ := children(n)
		for _, p := range parts {
			walk(p)
		}
	}
	walk(n)
	return o, nil
}

func (o *opaque) condition(*Where) Condition { return Condition{} }

func (o *opaque) judge(w *Where, r *row.Row) truth {
	for _, at := range o.columns {
		text, there := w.value(r, at)
		var v any
		if there {
			if v, there = w.columns[at].goValue(text); !there {
				return unknown // no value of its type
			}
		} else if !o.nulls {
			return unknown
		}
		o.env[w.columns[at].name] = v
	}
	out, err := o.machine.Run(o.program, o.env)
	b, ok := out.(bool)
	if err != nil || !ok {
		if w.failed++; w.first == nil {
			if err == nil {
				err = errors.New("it is neither true nor false")
			}
			w.first = fault.New(fault.InvalidParameterValue, "seq %d: %s", r.Seq, said(err))
		}
		return unknown
	}
	return truthOf(b != o.negated)
}

// goValue returns a text as expressions have it.
func (k column) goValue(text []byte) (any, bool) {
	switch k.kind {
	case Number:
		if k.whole {
			n, err := strconv.Atoi(string(text))
			return n, err == nil
		}
		d, ok := parseDecimal(text)
		if !ok {
			return nil, false
		}
		return d.float(text), true
	case Time:
		at, ok := parseTime(text)
		return time.UnixMicro(at).UTC(), ok
	case Bool:
		b, ok := parseBool(text)
		return b == 1, ok
	}
	return string(text), true
}

// constant computes a part that names no column, once.
func (c *compiler) constant(n ast.Node) (any, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.IntegerNode:
		return n.Value, nil
	case *ast.FloatNode:
		return n.Value, nil
	case *ast.BoolNode:
		return n.Value, nil
	}
	program, err := expr.Compile(n.String(), c.options()...)
	var v any
	if err == nil {
		m := vm.VM{MemoryBudget: budget}
		v, err = m.Run(program, map[string]any{})
	}
	if err != nil {
		return nil, fault.New(fault.InvalidParameterValue, "%.60q in the expression cannot be computed: %s", n.String(), said(err))
	}
	return v, nil
}
