package where

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"holdfast/internal/fault"
	"holdfast/row"
)

const (
	// maxText bounds an expression, in bytes, and maxNodes in parts: far above
	// what anybody types, low enough that judging a row stays cheap.
	maxText  = 4096
	maxNodes = 300
)

// functions are those that may be called: none takes more time or memory than
// its arguments are long.
var functions = map[string]bool{
	"len": true, "lower": true, "upper": true, "trim": true, "trimPrefix": true, "trimSuffix": true, "indexOf": true, "lastIndexOf": true,
	"hasPrefix": true, "hasSuffix": true, "abs": true, "ceil": true, "floor": true, "round": true, "int": true, "float": true,
	"now": true, "date": true, "duration": true,
}

// Compile reads an expression over the columns of a table.
func Compile(text, table string, columns []row.Column) (*Where, error) {
	if len(text) > maxText {
		return nil, fault.New(fault.LimitExceeded, "the expression has %d bytes", len(text)).WithHint("write at most %d", maxText)
	}
	cfg := conf.CreateNew()
	cfg.MaxNodes = maxNodes
	tree, err := parser.ParseWithConfig(text, cfg)
	if err != nil {
		return nil, fault.New(fault.SyntaxError, "the expression cannot be read: %s", said(err)).WithHint("%s", advice(text, said(err)))
	}
	c := &compiler{table: table, byName: map[string]int{}, w: &Where{text: text, table: table, bound: map[*row.Schema][]int{}}}
	for _, one := range columns {
		k, whole := KindOf(one.Type)
		c.known = append(c.known, column{one.Name, k, whole})
	}
	if err := c.allow(tree.Node); err != nil {
		return nil, err
	}
	if err := c.check(text); err != nil {
		return nil, err
	}
	c.w.root, err = c.part(tree.Node, false)
	c.w.columns = c.used
	return c.w, err
}

// compiler makes a Where.
type compiler struct {
	w      *Where
	table  string
	known  []column
	used   []column
	byName map[string]int // in used
}

// said returns what expr-lang says is wrong, without its drawing of the place.
func said(err error) string {
	var f *file.Error
	if errors.As(err, &f) {
		return fmt.Sprintf("%s, at character %d", typeNames.Replace(f.Message), f.Column+1)
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// columnOf returns the name of the column that a node is: name, or
// $env["name"] for one that is no word.
func columnOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return n.Value, n.Value != "$env"
	case *ast.MemberNode:
		of, isName := n.Node.(*ast.IdentifierNode)
		name, isText := n.Property.(*ast.StringNode)
		if isName && isText && of.Value == "$env" {
			return name.Value, true
		}
	}
	return "", false
}

// children returns the parts of a node; false where a node of its kind is not
// taken.
func children(n ast.Node) ([]ast.Node, bool) {
	switch n := n.(type) {
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode, *ast.ConstantNode:
		return nil, true
	case *ast.UnaryNode:
		return []ast.Node{n.Node}, true
	case *ast.BinaryNode:
		return []ast.Node{n.Left, n.Right}, n.Operator != ".."
	case *ast.SliceNode:
		all := []ast.Node{n.Node}
		for _, end := range []ast.Node{n.From, n.To} {
			if end != nil {
				all = append(all, end)
			}
		}
		return all, true
	case *ast.ConditionalNode:
		return []ast.Node{n.Cond, n.Exp1, n.Exp2}, true
	case *ast.ArrayNode:
		return n.Nodes, true
	case *ast.BuiltinNode:
		return n.Arguments, functions[n.Name]
	case *ast.CallNode:
		name, ok := n.Callee.(*ast.IdentifierNode)
		return n.Arguments, ok && functions[name.Value]
	}
	return nil, false
}

// allow refuses what is not taken, and unknown columns.
func (c *compiler) allow(n ast.Node) error {
	if name, ok := columnOf(n); ok {
		if slices.ContainsFunc(c.known, func(k column) bool { return k.name == name }) {
			return nil
		}
		return fault.New(fault.UndefinedColumn, "column %q of table %q does not exist", name, c.table).WithHint("%s", c.columns())
	}
	parts, ok := children(n)
	if !ok {
		return fault.New(fault.FeatureNotSupported, "%.60q is not taken in a condition", n.String()).
			WithHint("compare columns with constants and each other, joined by and, or, not; the functions are %s", strings.Join(callable(), ", "))
	}
	if b, is := n.(*ast.BinaryNode); is {
		if err := c.binary(b); err != nil {
			return err
		}
	}
	for _, p := range parts {
		if err := c.allow(p); err != nil {
			return err
		}
	}
	return nil
}

// binary refuses what is not taken of two parts.
func (c *compiler) binary(b *ast.BinaryNode) error {
	if b.Operator == "matches" {
		pattern, fixed := b.Right.(*ast.StringNode)
		if !fixed {
			return fault.New(fault.FeatureNotSupported, "a pattern that is no text in quotes is not taken in a condition").WithHint(`write it like name matches "^a.*z$"`)
		}
		if err := judgePattern(pattern.Value); err != nil {
			return err
		}
	}
	return c.quoted(b)
}

func callable() []string {
	var all []string
	for name := range functions {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// columns lists the table's, up to a line.
func (c *compiler) columns() string {
	if len(c.known) == 0 {
		return "the table has none"
	}
	var all []string
	for _, k := range c.known[:min(len(c.known), 20)] {
		all = append(all, k.name)
	}
	list := "it has " + strings.Join(all, ", ")
	if len(c.known) > 20 {
		list += " and more"
	}
	return list
}

// options are those of expr-lang: the types of the columns, and nothing else to
// call.
func (c *compiler) options(more ...expr.Option) []expr.Option {
	env := map[string]any{}
	for _, k := range c.known {
		env[k.name] = k.zero()
	}
	all := []expr.Option{expr.Env(env), expr.MaxNodes(maxNodes), expr.Timezone("UTC"), expr.Patch(moments{c})}
	for _, f := range builtin.Builtins {
		if !functions[f.Name] {
			all = append(all, expr.DisableBuiltin(f.Name))
		}
	}
	return append(all, more...)
}

// zero returns a value of the Go type that a column has in expressions.
func (k column) zero() any {
	switch {
	case k.kind == Number && k.whole:
		return 0
	case k.kind == Number:
		return 0.0
	case k.kind == Time:
		return time.Time{}
	case k.kind == Bool:
		return false
	}
	return ""
}

// check holds the whole against the types of the columns.
func (c *compiler) check(text string) error {
	program, err := expr.Compile(text, c.options(expr.AsBool())...)
	if err != nil {
		return fault.New(fault.DatatypeMismatch, "the expression cannot be used: %s", said(err)).WithHint("%s", c.types())
	}
	var grows func(n ast.Node) bool
	grows = func(n ast.Node) bool {
		if b, ok := n.(*ast.BinaryNode); ok && b.Operator == "+" && b.Type() != nil && b.Type().Kind().String() == "string" {
			return true
		}
		parts, _ := children(n)
		return slices.ContainsFunc(parts, grows)
	}
	if grows(program.Node()) {
		return fault.New(fault.FeatureNotSupported, "texts cannot be put together with + in a condition").WithHint("compare each by itself")
	}
	return nil
}

// types tells how the columns compare, up to a line.
func (c *compiler) types() string {
	var all []string
	for _, k := range c.known[:min(len(c.known), 20)] {
		all = append(all, k.name+" ("+string(k.kind)+")")
	}
	return "texts stand in quotes, numbers do not; the columns are " + strings.Join(all, ", ")
}

// moments makes a text that is compared with a time into one.
type moments struct{ c *compiler }

// Visit implements ast.Visitor.
func (m moments) Visit(n *ast.Node) {
	b, ok := (*n).(*ast.BinaryNode)
	if !ok || !comparing(b.Operator) {
		return
	}
	for _, pair := range [][2]*ast.Node{{&b.Left, &b.Right}, {&b.Right, &b.Left}} {
		name, isColumn := columnOf(*pair[0])
		text, isText := (*pair[1]).(*ast.StringNode)
		if !isColumn || !isText {
			continue
		}
		at := slices.IndexFunc(m.c.known, func(k column) bool { return k.name == name })
		if at < 0 || m.c.known[at].kind != Time {
			continue
		}
		if micros, ok := parseTime([]byte(text.Value)); ok {
			ast.Patch(pair[1], &ast.ConstantNode{Value: time.UnixMicro(micros).UTC()})
		}
	}
}

func comparing(op string) bool {
	return slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, op)
}

// use returns where a column is among those that the condition names.
func (c *compiler) use(name string) int {
	if at, ok := c.byName[name]; ok {
		return at
	}
	for _, k := range c.known {
		if k.name == name {
			c.used = append(c.used, k)
		}
	}
	c.byName[name] = len(c.used) - 1
	return len(c.used) - 1
}
