package mywire

import (
	"bytes"
	"encoding/hex"
	"math/big"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/fault"
	"holdfast/row"
)

type itemKind uint8

const (
	itemNull itemKind = iota
	itemNumber
	itemText   // a string
	itemBytes  // 0x41, X'41', _binary'A'
	itemMoment // at, in the session's zone
	itemDate   // at, its day
	itemClock  // at, its time of day
)

// item is one value as it was written.
type item struct {
	kind   itemKind
	text   []byte
	at     time.Time
	digits int // of a second's fraction
}

// rowBuffer is what a session keeps for the next row.
type rowBuffer struct {
	values  []row.Value
	items   []item
	scratch []byte
	text    []byte
}

func (b *rowBuffer) shrink() {
	if cap(b.scratch) > bufferKept || cap(b.text) > bufferKept || cap(b.items) > 256 {
		*b = rowBuffer{}
	}
}

// kind is what a column's type means for the text of its values.
type kind uint8

const (
	kindOther kind = iota
	kindBinary
	kindInteger
	kindNumber
	kindZoned // a moment
	kindTime  // any other time
)

func kindOf(declared string) kind {
	switch zoned, plain := row.MomentType(declared); {
	case zoned:
		return kindZoned
	case plain:
		return kindTime
	}
	name, _, _ := strings.Cut(declared, "(")
	switch strings.TrimSpace(name) {
	case "bytea":
		return kindBinary
	case "int", "integer", "int4", "int2", "smallint", "int8", "bigint", "serial", "bigserial", "smallserial", "oid":
		return kindInteger
	case "numeric", "decimal", "real", "float4", "float8", "double precision", "float":
		return kindNumber
	case "date", "time":
		return kindTime
	}
	return kindOther
}

// value reads one value and adds it to the items.
func (in *insertion) value() error {
	it, err := in.item()
	if err != nil {
		return err
	}
	in.items = append(in.items, it)
	switch in.at(0) {
	case ',', ')', ';', 0:
		return nil
	}
	if in.assign && (fold(in.word(), "on") || fold(in.word(), "returning") || fold(in.word(), "as")) {
		return nil
	}
	return notYet("an expression is not evaluated", "send values; NOW(), FROM_UNIXTIME(n) and UNIX_TIMESTAMP() are taken alone")
}

func (in *insertion) item() (it item, err error) {
	switch c := in.at(0); {
	case c == '\'' || c == '"':
		it.kind = itemText
		it.text, err = in.quoted(&in.scratch)
		return it, err
	case c == '0' && in.at(1) == 'x', (c == 'x' || c == 'X') && in.at(1) == '\'':
		it.kind = itemBytes
		it.text, err = in.hex(&in.scratch)
		return it, err
	case isDigit(c), c == '.', c == '-', c == '+':
		it.kind = itemNumber
		it.text, err = in.number()
		return it, err
	case c == '?':
		in.pos++
		in.skip()
		return in.parameter()
	}
	return in.wordItem()
}

// parameter is a question mark.
func (in *insertion) parameter() (item, error) {
	in.marks++
	switch {
	case !in.mixed:
		return item{}, in.syntax()
	case in.params == nil: // it is only prepared
		return item{}, nil
	case in.marks > len(in.params):
		return item{}, errMalformed
	}
	return in.params[in.marks-1], nil
}

// wordItem reads a value that begins with a letter.
func (in *insertion) wordItem() (it item, err error) {
	w := strings.ToLower(string(in.word()))
	if w == "" {
		return it, in.syntax()
	}
	if (w == "b" || w == "n") && in.pos+1 < len(in.src) && in.src[in.pos+1] == '\'' {
		if w == "b" {
			return it, notYet("a bit value, b'...', is not taken", "write it as a number or as x'...'")
		}
		in.pos++
		it.kind = itemText
		it.text, err = in.quoted(&in.scratch)
		return it, err
	}
	at := in.pos
	in.pos += len(w)
	if err := in.space(); err != nil {
		return it, err
	}
	switch w {
	case "null":
		return item{kind: itemNull}, nil
	case "true":
		return item{kind: itemNumber, text: []byte("1")}, nil
	case "false":
		return item{kind: itemNumber, text: []byte("0")}, nil
	case "default":
		return it, notYet("DEFAULT is not taken", "leave the column out: its default is the sink's to fill in")
	case "_utf8", "_utf8mb3", "_utf8mb4", "_binary":
		return in.introduced(w == "_binary")
	case "date", "time", "timestamp": // DATE '2026-11-21', as standard SQL has it
		if c := in.at(0); c == '\'' || c == '"' {
			it.kind = itemText
			it.text, err = in.quoted(&in.scratch)
			return it, err
		}
	}
	if w[0] == '_' {
		return it, notYet("the character set "+w[1:]+" is not taken", "text is taken as UTF-8 only: connect with utf8mb4")
	}
	it, known, err := in.clock(w)
	if err == nil && !known {
		in.pos = at
		if w := in.word(); len(w) > 0 {
			return it, notYet("'"+strings.ToValidUTF8(string(w[:min(len(w), maxName)]), "?")+"' is not evaluated",
				"send values; NOW(), FROM_UNIXTIME(n) and UNIX_TIMESTAMP() are taken alone")
		}
	}
	return it, err
}

// introduced reads the string behind _utf8mb4 and its like.
func (in *insertion) introduced(binary bool) (it item, err error) {
	it.kind = itemText
	if binary {
		it.kind = itemBytes
	}
	switch c := in.at(0); {
	case c == '\'' || c == '"':
		it.text, err = in.quoted(&in.scratch)
	case c == '0' && in.at(1) == 'x', c|0x20 == 'x' && in.at(1) == '\'':
		it.text, err = in.hex(&in.scratch)
	default:
		err = in.syntax()
	}
	return it, err
}

// take puts the row of items into the transaction.
func (s *session) take(t *target, in *insertion, n int) error {
	b := &s.rowBuf
	b.values, b.text = b.values[:0], b.text[:0]
	for i := range in.items {
		v, err := s.render(&in.items[i], t.kinds[i], t.schema.Columns[i].Name)
		if err != nil {
			return err
		}
		b.values = append(b.values, v)
	}
	err := s.insert(t.schema, b.values, in.yields)
	if n > 1 && err != nil {
		if f := fault.Of(err); f.Code != fault.InternalError {
			c := *f
			c.Message += " at row " + strconv.Itoa(n)
			return &c
		}
	}
	return err
}

// render returns an item as a value of a column.
func (s *session) render(it *item, k kind, column string) (row.Value, error) {
	b := &s.rowBuf
	mark := len(b.text)
	switch it.kind {
	case itemNull:
		return row.Null, nil
	case itemNumber:
		if k != kindBinary {
			return row.Value{Text: it.text}, nil
		}
	case itemMoment, itemDate, itemClock:
		b.text = appendTime(b.text, it, k)
		return row.Value{Text: b.text[mark:len(b.text):len(b.text)]}, nil
	case itemBytes:
		if k == kindInteger || k == kindNumber { // 0x10 is 16 there
			b.text = new(big.Int).SetBytes(it.text[:min(len(it.text), 9)]).Append(b.text, 10) // 9 bytes are out of every range
			return row.Value{Text: b.text[mark:len(b.text):len(b.text)]}, nil
		}
	}
	if k == kindBinary { // a string is its bytes there, backslashes and all
		b.text = hex.AppendEncode(append(b.text, `\x`...), it.text)
		return row.Value{Text: b.text[mark:len(b.text):len(b.text)]}, nil
	}
	if err := checkText(it.text, column); err != nil {
		return row.Value{}, err
	}
	if k == kindZoned || k == kindTime {
		// PostgreSQL takes words such as now and tomorrow, which would mean the
		// moment of delivery there, and which MySQL does not take.
		if t := bytes.TrimSpace(it.text); len(t) == 0 || !isDigit(t[0]) && t[0] != '-' {
			return row.Value{}, fault.New(fault.InvalidDatetime, "incorrect datetime value: '%s' for column '%s'", clip(it.text), column)
		}
	}
	return row.Value{Text: it.text}, nil
}

// clip returns the beginning of a text, for a message.
func clip(b []byte) string {
	if len(b) > 64 {
		b = b[:64]
	}
	return strings.ToValidUTF8(string(b), "?")
}
