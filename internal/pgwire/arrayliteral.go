package pgwire

import (
	"bytes"
	"slices"

	"holdfast/internal/fault"
)

// arrayHint is what to do where ARRAY is refused.
const arrayHint = "write the array as a text, '{...}', or send it as a parameter"

// arrayNumbers are what PostgreSQL takes whole numbers and others for, the
// larger behind the smaller.
var arrayNumbers = []string{"integer", "bigint", "numeric"}

// arrayLiteral reads ARRAY[...] of one dimension, which psycopg2 writes for each
// list: of texts, or numbers, or booleans, and NULLs. What it makes is the text
// of the array as PostgreSQL prints it.
func (p *valueParser) arrayLiteral(it *item, parens int) error {
	at := p.pos
	p.pos += len("array")
	if !p.punct('[') {
		p.pos = at
		return p.refuse("expressions are not evaluated: array", evaluateHint)
	}
	if parens == maxParens {
		return p.refuse("parentheses are nested too deeply", evaluateHint)
	}
	it.kind, it.is = itemArray, ""
	out := []byte{'{'} // not in scratch, where the elements are
	for {
		if p.space(); p.at(0) == '[' || p.at(0) == ']' {
			return p.refuse("ARRAY is evaluated with one dimension, and with elements", arrayHint)
		}
		start := p.pos
		var e item
		if err := p.value(&e, parens+1); err != nil {
			return err
		}
		if !p.element(&e) || !it.widen(e.is) {
			p.pos = start
			return p.refuse("ARRAY is evaluated for texts, numbers or booleans of one kind, and NULL", arrayHint)
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		if e.kind == itemNull {
			out = append(out, "NULL"...)
		} else {
			out = appendElement(out, e.text)
		}
		if p.punct(']') {
			break
		}
		if !p.punct(',') {
			return p.afterValue()
		}
	}
	if it.is == "" {
		it.is = "text" // as PostgreSQL takes it, where there are NULLs alone
	}
	it.is += "[]"
	it.text = append(out, '}')
	return nil
}

// element says what an element is, and writes it as PostgreSQL prints it. It
// returns false for what it cannot say it of.
func (p *valueParser) element(e *item) (ok bool) {
	if e.is != "" && e.is != "text" {
		return false
	}
	switch e.kind {
	case itemNull:
		return e.is == ""
	case itemText:
		e.is = "text"
		return true
	case itemBool:
		e.is = "boolean"
		return true
	case itemNumber:
		if e.text, ok = p.printed(e.text); !ok {
			return false
		}
		switch digits := len(bytes.TrimPrefix(e.text, []byte("-"))); {
		case bytes.IndexByte(e.text, '.') >= 0 || digits > 18:
			e.is = "numeric"
		case digits > 9:
			e.is = "bigint"
		default:
			e.is = "integer"
		}
		return true
	}
	return false
}

// widen makes the array one that an element fits into, by its type; "" fits
// into any. It returns false where PostgreSQL would have to convert.
func (it *item) widen(of string) bool {
	if of == "" || of == it.is {
		return true
	}
	old, is := slices.Index(arrayNumbers, it.is), slices.Index(arrayNumbers, of)
	if it.is != "" && (old < 0 || is < 0) {
		return false
	}
	if it.is == "" || is > old {
		it.is = of
	}
	return true
}

// fitsArray returns an error where an ARRAY would be converted on its way into
// a column of a type, element by element, other than to what prints the same.
func fitsArray(it *item, column string) error {
	t := typeOf(column)
	kind := t.info().kind
	ok := false
	switch of := typeOf(it.is).info().kind; {
	case t.dims == 0:
		ok = t.name == "text"
	case of == kindBool, of == kindNumber:
		ok = kind == of
	case of == kindInteger:
		ok = kind == kindNumber || kind == kindInteger
	default:
		ok = t.name == "text" || t.name == "varchar"
	}
	if ok {
		return nil
	}
	return fault.New(fault.FeatureNotSupported, "an ARRAY of type %s is not converted to %s", it.is, column).WithHint(arrayHint)
}
