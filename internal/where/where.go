// Package where is a condition on rows, as holdfast cat takes it: an expression
// in the language of expr-lang over the columns of one table.
//
// It judges rows, by SQL's logic of three values: what compares with NULL is
// neither true nor false, and a row is wanted only where the whole is true.
// And it tells which values a row must have for that, so that an index can say
// where none is. docs/index.md has both.
package where

import (
	"strings"

	"holdfast/row"
)

// Kind is how the values of a column compare.
type Kind string

// The kinds.
const (
	Text   Kind = "text"   // byte by byte
	Number Kind = "number" // by value: 1.0 is 1
	Time   Kind = "time"   // by moment, in microseconds; without a zone UTC is meant
	Bool   Kind = "bool"
)

// numbers are the types whose values compare as numbers, by their first word;
// true where they are whole.
var numbers = map[string]bool{
	"smallint": true, "integer": true, "int": true, "bigint": true, "int2": true, "int4": true, "int8": true, "tinyint": true, "mediumint": true,
	"smallserial": true, "serial": true, "bigserial": true,
	"numeric": false, "decimal": false, "dec": false, "real": false, "double": false, "float": false, "float4": false, "float8": false,
}

// KindOf returns how values of a declared type compare, and whether they are
// whole numbers.
func KindOf(declared string) (k Kind, whole bool) {
	if zoned, plain := row.MomentType(declared); zoned || plain {
		return Time, false
	}
	word, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(declared)), "(")
	word, _, _ = strings.Cut(strings.TrimSpace(word), " ")
	if strings.HasSuffix(strings.TrimSpace(declared), "]") {
		return Text, false // an array
	}
	if whole, ok := numbers[word]; ok {
		return Number, whole
	}
	switch word {
	case "boolean", "bool":
		return Bool, false
	case "date":
		return Time, false
	}
	return Text, false
}

// truth is a truth value of SQL.
type truth int8

const (
	unknown truth = iota
	no
	yes
)

// truthOf makes a truth value of a Go one.
func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// Where is a condition on the rows of one table. Not safe for concurrent use.
type Where struct {
	text    string
	table   string
	columns []column
	root    node
	bound   map[*row.Schema][]int
	last    *row.Schema
	at      []int // where last has the columns
	failed  int
	first   error
}

// column is one that the condition names.
type column struct {
	name  string
	kind  Kind
	whole bool
}

// node is a part of the condition.
type node interface {
	// judge tells whether it holds of a row.
	judge(w *Where, r *row.Row) truth
	// condition tells what an index can know of rows of which it holds.
	condition(w *Where) Condition
}

// Match tells whether a row is wanted.
func (w *Where) Match(r *row.Row) bool {
	if r.Schema.Table != w.table || r.Flags&row.Malformed != 0 {
		return false
	}
	if r.Schema != w.last {
		w.bind(r.Schema)
	}
	return w.root.judge(w, r) == yes
}

// mostSchemas bounds how many schemas are remembered: a client may invent one
// for each row.
const mostSchemas = 1000

// bind finds the columns in a schema.
func (w *Where) bind(s *row.Schema) {
	at, known := w.bound[s]
	if !known {
		at = make([]int, len(w.columns))
		for i := range w.columns {
			at[i] = -1
			for k := range s.Columns {
				if s.Columns[k].Name == w.columns[i].name {
					at[i] = k
				}
			}
		}
		if len(w.bound) >= mostSchemas {
			clear(w.bound)
		}
		w.bound[s] = at
	}
	w.last, w.at = s, at
}

// value returns the value of a column; false where it is NULL, or the row has
// no such column.
func (w *Where) value(r *row.Row, column int) ([]byte, bool) {
	at := w.at[column]
	if at < 0 || at >= len(r.Values) || r.Values[at].Null {
		return nil, false
	}
	return r.Values[at].Text, true
}

// Table returns the table whose rows are meant.
func (w *Where) Table() string { return w.table }

// String returns the expression.
func (w *Where) String() string { return w.text }

// Failed returns of how many rows a part could not be computed, so that it was
// unknown of them, and why with the first.
func (w *Where) Failed() (int, error) { return w.failed, w.first }

// Condition returns what an index can know of rows that match.
func (w *Where) Condition() Condition { return w.root.condition(w) }

// Op is what a Condition asks.
type Op int

// The questions.
const (
	Anything Op = iota // nothing is known: any row may match
	All                // all Parts must hold
	Any                // one of Parts must hold
	Between            // the column's key lies between Low and High
	Equal              // the same, and its digest is Digest
)

// Condition is what must hold of a row for it to match, as far as an index can
// know that. It may hold of rows that do not match, never the other way round.
type Condition struct {
	Op     Op
	Parts  []Condition
	Table  string
	Column string
	Kind   Kind
	Low    Key // nil: no bound
	High   Key
	Digest uint64
}

// group is several parts of which all, or any, must hold.
type group struct {
	all   bool
	parts []node
}

func (g *group) judge(w *Where, r *row.Row) truth {
	decides, result := no, yes
	if !g.all {
		decides, result = yes, no
	}
	for _, p := range g.parts {
		switch t := p.judge(w, r); t {
		case decides:
			return decides
		case unknown:
			result = unknown
		}
	}
	return result
}

func (g *group) condition(w *Where) Condition {
	c := Condition{Op: Any}
	if g.all {
		c.Op = All
	}
	for _, p := range g.parts {
		c.Parts = append(c.Parts, p.condition(w))
	}
	return c
}

// constant is a part that names no column.
type constant bool

func (c constant) judge(*Where, *row.Row) truth { return truthOf(bool(c)) }

func (c constant) condition(*Where) Condition {
	if !c {
		return Condition{Op: Any} // of nothing
	}
	return Condition{}
}

// absent is col == nil, or, negated, col != nil.
type absent struct {
	column  int
	negated bool
}

func (a *absent) judge(w *Where, r *row.Row) truth {
	_, there := w.value(r, a.column)
	return truthOf(there == a.negated)
}

func (a *absent) condition(w *Where) Condition {
	if !a.negated {
		return Condition{}
	}
	c := w.columns[a.column]
	if c.kind != Text { // a text that is no value of the kind has no key
		return Condition{}
	}
	return Condition{Op: Between, Table: w.table, Column: c.name, Kind: c.kind}
}

// compare is a column compared with a constant.
type compare struct {
	column int
	op     string // ==, !=, <, <=, >, >=
	with   Value
}

func (c *compare) judge(w *Where, r *row.Row) truth {
	text, there := w.value(r, c.column)
	if !there {
		return unknown
	}
	order, ok := c.with.order(text)
	if !ok {
		return unknown
	}
	switch c.op {
	case "==":
		return truthOf(order == 0)
	case "!=":
		return truthOf(order != 0)
	case "<":
		return truthOf(order < 0)
	case "<=":
		return truthOf(order <= 0)
	case ">":
		return truthOf(order > 0)
	}
	return truthOf(order >= 0)
}

func (c *compare) condition(w *Where) Condition {
	col := w.columns[c.column]
	key := c.with.key()
	one := Condition{Op: Between, Table: w.table, Column: col.name, Kind: col.kind}
	switch c.op {
	case "==":
		one.Op, one.Low, one.High, one.Digest = Equal, key, key, c.with.digest()
	case "<", "<=":
		one.High = key
	case ">", ">=":
		one.Low = key
	}
	return one
}
