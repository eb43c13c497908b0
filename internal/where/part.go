package where

import (
	"github.com/expr-lang/expr/ast"
)

// inverse are the comparisons that hold where others do not.
var inverse = map[string]string{"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}

// mirrored are the comparisons with their sides exchanged.
var mirrored = map[string]string{"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}

// part makes a part of the condition, negated or not: a not goes down to what
// it is about, so that an index can make use of that.
func (c *compiler) part(n ast.Node, negated bool) (node, error) {
	switch n := n.(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			return c.part(n.Node, !negated)
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&", "or", "||":
			all := (n.Operator == "and" || n.Operator == "&&") != negated
			left, err := c.part(n.Left, negated)
			if err != nil {
				return nil, err
			}
			right, err := c.part(n.Right, negated)
			return &group{all: all, parts: []node{left, right}}, err
		case "in":
			if one, ok, err := c.among(n, negated); ok || err != nil {
				return one, err
			}
		default:
			if one, ok, err := c.comparison(n, negated); ok || err != nil {
				return one, err
			}
		}
	}
	if name, ok := columnOf(n); ok { // a boolean by itself
		at := c.use(name)
		v, _ := valueOf(c.table, c.used[at], !negated)
		return &compare{column: at, op: "==", with: v}, nil
	}
	if !names(n) {
		v, err := c.constant(n)
		if b, ok := v.(bool); ok || err != nil {
			return constant(b != negated), err
		}
	}
	return c.opaque(n, negated)
}

// names tells whether a node names a column.
func names(n ast.Node) bool {
	if _, ok := columnOf(n); ok {
		return true
	}
	parts, _ := children(n)
	for _, p := range parts {
		if names(p) {
			return true
		}
	}
	return false
}

// comparison makes a part of a column and a constant; false where n is none.
func (c *compiler) comparison(n *ast.BinaryNode, negated bool) (node, bool, error) {
	op := n.Operator
	if !comparing(op) {
		return nil, false, nil
	}
	name, ok := columnOf(n.Left)
	other := n.Right
	if !ok {
		name, ok = columnOf(n.Right)
		other, op = n.Left, mirrored[op]
	}
	if !ok || names(other) {
		return nil, false, nil
	}
	if negated {
		op = inverse[op]
	}
	if _, isNil := other.(*ast.NilNode); isNil {
		if op != "==" && op != "!=" {
			return nil, false, nil
		}
		return &absent{column: c.use(name), negated: op == "!="}, true, nil
	}
	given, err := c.constant(other)
	if err != nil {
		return nil, false, err
	}
	at := c.use(name)
	v, ok := valueOf(c.table, c.used[at], given)
	return &compare{column: at, op: op, with: v}, ok, nil
}

// among makes a part of col in [a, b, c]; false where n is none.
func (c *compiler) among(n *ast.BinaryNode, negated bool) (node, bool, error) {
	name, ok := columnOf(n.Left)
	list, isList := n.Right.(*ast.ArrayNode)
	if !ok || !isList {
		return nil, false, nil
	}
	g := &group{all: negated}
	at := c.use(name)
	for _, one := range list.Nodes {
		if _, isNil := one.(*ast.NilNode); isNil || names(one) {
			return nil, false, nil
		}
		given, err := c.constant(one)
		if err != nil {
			return nil, false, err
		}
		v, ok := valueOf(c.table, c.used[at], given)
		if !ok {
			return nil, false, nil
		}
		op := "=="
		if negated {
			op = "!="
		}
		g.parts = append(g.parts, &compare{column: at, op: op, with: v})
	}
	return g, true, nil
}
