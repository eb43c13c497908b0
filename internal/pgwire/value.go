package pgwire

import (
	"bytes"
	"strconv"

	"holdfast/internal/fault"
)

// itemKind is what stands in one place of a VALUES list.
type itemKind uint8

const (
	itemText itemKind = iota
	itemNumber
	itemBool
	itemNull
	itemDefault
	itemParam
	itemClock
	itemUUID  // a random one
	itemArray // of what is says
)

// item is one place of a VALUES list.
type item struct {
	kind  itemKind
	text  []byte
	param int    // from 1
	oid   uint32 // of the cast that a parameter stands in; 0: none
	is    string // the type that the text was cast to, or is of by itself; "": none
	clock reading
}

// valueParser reads VALUES lists. Its buffers are used again for every row.
type valueParser struct {
	lexer
	items   []item
	scratch []byte
	params  int // the highest parameter met
}

// maxParams is what the protocol's 16 bits can number; maxColumns is PostgreSQL's.
const (
	maxParams  = 1<<16 - 1
	maxColumns = 1600
	maxParens  = 16
)

const evaluateHint = "Holdfast takes rows as they are and evaluates nothing but now(): send a literal or a parameter"

// row reads "(value, ...)" into items, which are valid until the next call.
func (p *valueParser) row() error {
	p.items, p.scratch = p.items[:0], p.scratch[:0]
	if err := p.want('('); err != nil {
		return err
	}
	for {
		if len(p.items) == maxColumns {
			return fault.New(fault.TooManyColumns, "a row has more than %d values", maxColumns)
		}
		p.items = append(p.items, item{})
		if err := p.value(&p.items[len(p.items)-1], 0); err != nil {
			return err
		}
		switch p.at(0) {
		case ',':
			p.pos++
			continue
		case ')':
			p.pos++
			return nil
		}
		return p.afterValue()
	}
}

// afterValue tells an operator, which would have to be computed, from a
// mistake.
func (p *valueParser) afterValue() error {
	if p.pos < len(p.src) && class[p.src[p.pos]]&isOperator != 0 {
		return p.refuse("expressions are not evaluated: operator "+strconv.Quote(p.token()), evaluateHint)
	}
	for _, w := range []string{"at", "collate", "is", "isnull", "notnull", "and", "or", "not", "in", "like", "ilike", "between", "similar"} {
		if fold(p.word(), w) {
			return p.refuse("expressions are not evaluated: "+w, evaluateHint)
		}
	}
	return p.syntax()
}

// value reads one value and leaves the parser at the next token.
func (p *valueParser) value(it *item, parens int) error {
	p.space()
	if p.pos >= len(p.src) {
		return p.syntax()
	}
	c := p.src[p.pos]
	var err error
	switch {
	case c == '\'':
		it.text, err = p.plain(&p.scratch)
	case class[c]&isDigit != 0 || c == '.':
		it.kind = itemNumber
		it.text, err = p.number()
	case c == '-' || c == '+':
		err = p.signed(it)
	case c == '$' && class[p.at(1)]&isDigit != 0:
		err = p.parameter(it)
	case stringAhead(&p.lexer):
		err = p.special(it)
	case c == '(':
		err = p.nested(it, parens)
	case c == '"':
		err = p.column()
	case class[c]&isIdentStart != 0:
		err = p.named(it, parens)
	case class[c]&isOperator != 0:
		err = p.afterValue()
	default:
		err = p.syntax()
	}
	for err == nil {
		if p.space(); p.at(0) != ':' || p.at(1) != ':' {
			return nil
		}
		at := p.pos
		err = p.castTo(it)
		if err == nil && (c == '-' || c == '+') && it.kind == itemText { // the sign is applied behind the cast
			p.pos = at
			err = p.refuse("expressions are not evaluated: a sign before a text", evaluateHint)
		}
	}
	return err
}

// special reads a string literal that is not a plain one.
func (p *valueParser) special(it *item) (err error) {
	c, bits := p.src[p.pos]|0x20, false
	it.text, bits, err = p.literal(&p.scratch)
	switch {
	case bits:
		it.is = "bit"
	case c == 'n':
		it.is, it.text = "bpchar", bytes.TrimRight(it.text, " ")
	}
	return err
}

func (p *valueParser) castTo(it *item) error {
	at := p.pos
	p.pos += 2
	t, err := p.sqlType()
	if err == nil {
		err = p.cast(it, t, at)
	}
	return err
}

// signed reads a number with its sign. A plus is not kept, a blank between
// sign and digits neither.
func (p *valueParser) signed(it *item) error {
	at, minus := p.pos, p.src[p.pos] == '-'
	p.pos++
	p.space()
	if c := p.at(0); class[c]&isDigit == 0 && c != '.' {
		p.pos = at
		return p.refuse("expressions are not evaluated: operator "+strconv.Quote(p.token()), evaluateHint)
	}
	start := p.pos
	n, err := p.number()
	it.kind, it.text = itemNumber, n
	if !minus || err != nil {
		return err
	}
	if start == at+1 {
		it.text = p.src[at:p.pos]
		return nil
	}
	mark := len(p.scratch)
	p.scratch = append(append(p.scratch, '-'), n...)
	it.text = p.scratch[mark:]
	return nil
}

func (p *valueParser) parameter(it *item) error {
	at := p.pos
	p.pos++
	v, n := digits(p.src[p.pos:], 6, 10)
	p.pos += n
	if class[p.at(0)]&isIdentPart != 0 {
		return p.junk(at)
	}
	if v < 1 || v > maxParams {
		return place(fault.New(fault.UndefinedParameter, "there is no parameter $%d", v).
			WithHint("parameters are numbered from 1 to %d", maxParams), p.src, at)
	}
	it.kind, it.param = itemParam, v
	p.params = max(p.params, v)
	return nil
}

// nested reads a value in parentheses.
func (p *valueParser) nested(it *item, parens int) error {
	if parens == maxParens {
		return p.refuse("parentheses are nested too deeply", evaluateHint)
	}
	at := p.pos
	p.pos++
	if fold(p.word(), "select") || fold(p.word(), "values") || fold(p.word(), "with") {
		return p.refuse("subqueries are not evaluated", evaluateHint)
	}
	if err := p.value(it, parens+1); err != nil {
		return err
	}
	if it.kind == itemDefault {
		p.pos = at
		return p.syntax()
	}
	if !p.punct(')') {
		return p.afterValue()
	}
	return nil
}

func (p *valueParser) column() error {
	at := p.pos
	n, err := p.name()
	if err != nil {
		return err
	}
	return place(fault.New(fault.UndefinedColumn, "column %q does not exist", n).
		WithHint("a value is written in single quotes"), p.src, at)
}

// named reads a value that starts with a word.
func (p *valueParser) named(it *item, parens int) error {
	w := p.word()
	switch {
	case fold(w, "null"):
		it.kind = itemNull
		p.pos += len(w)
	case fold(w, "default") && parens == 0:
		it.kind = itemDefault
		p.pos += len(w)
	case fold(w, "true"), fold(w, "false"):
		it.kind, it.text = itemBool, trueText
		if w[0]|0x20 == 'f' {
			it.text = falseText
		}
		p.pos += len(w)
	case fold(w, "cast"):
		return p.castCall(it, parens)
	case fold(w, "array"):
		return p.arrayLiteral(it, parens)
	default:
		if ok, err := p.clockCall(it); ok || err != nil {
			return err
		}
		if ok, err := p.call(it, parens); ok || err != nil {
			return err
		}
		return p.typed(it, w)
	}
	return nil
}

// typed reads "type 'text'", and names what else starts with a word.
func (p *valueParser) typed(it *item, w []byte) error {
	at := p.pos
	for _, e := range []string{"row", "case", "coalesce", "exists", "not", "greatest", "least", "extract",
		"user", "current_user", "session_user", "current_role", "current_catalog", "current_schema", "current_time"} {
		if fold(w, e) {
			return p.refuse("expressions are not evaluated: "+e, evaluateHint)
		}
	}
	if reserved[lower(w)] {
		return p.syntax()
	}
	t, err := p.sqlType()
	p.space()
	if c := p.at(0) | 0x20; err == nil && t.dims == 0 && (t.info().oid != 0 || literalTypes[t.name]) && stringAhead(&p.lexer) && c != 'b' && c != 'x' && c != 'n' {
		if it.text, _, err = p.literal(&p.scratch); err != nil {
			return err
		}
		return p.cast(it, t, at)
	}
	p.pos = at + len(w)
	call := p.punct('(') || p.punct('.')
	p.pos = at
	if call {
		return p.refuse("function "+strconv.Quote(lower(w))+" is not evaluated", evaluateHint)
	}
	return p.column()
}

// literalTypes are types whose binary form is not known, and whose literals
// may stand behind their name. Any word cannot: a prefix that is mistyped, or
// has a blank behind it, would pass for a type.
var literalTypes = map[string]bool{"bit": true, "timetz": true, "varbit": true, "money": true, "macaddr": true, "macaddr8": true, "point": true,
	"line": true, "lseg": true, "box": true, "path": true, "polygon": true, "circle": true, "tsvector": true, "tsquery": true,
	"int4range": true, "int8range": true, "numrange": true, "tsrange": true, "tstzrange": true, "daterange": true, "hstore": true,
	"geometry": true, "geography": true, "pg_lsn": true, "jsonpath": true}

// castCall reads CAST(value AS type).
func (p *valueParser) castCall(it *item, parens int) error {
	at := p.pos
	p.pos += len("cast")
	if err := p.want('('); err != nil {
		return err
	}
	if parens == maxParens {
		return p.refuse("parentheses are nested too deeply", evaluateHint)
	}
	if err := p.value(it, parens+1); err != nil {
		return err
	}
	if !p.keyword("as") {
		return p.afterValue()
	}
	t, err := p.sqlType()
	if err != nil {
		return err
	}
	if err := p.want(')'); err != nil {
		return err
	}
	return p.cast(it, t, at)
}
