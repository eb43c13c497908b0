package mywire

import (
	"strconv"
)

// column is a column of a result.
type column struct {
	name string
	kind byte // typeString or typeLong
}

// result is what a SELECT or SHOW answers. Values are string, int64 or nil.
type result struct {
	columns []column
	rows    [][]any
}

// one returns a result of one row.
func one(columns []column, values []any) *result {
	return &result{columns: columns, rows: [][]any{values}}
}

// packet is the definition of a column.
func (c column) packet() []byte {
	b := appendText(nil, "def")
	for _, s := range []string{"", "", "", c.name, ""} { // database, table, table's own name
		b = appendText(b, s)
	}
	charset, size := uint64(charsetUTF8), uint64(1024)
	if c.kind == typeLong {
		charset, size = 63, 11
	}
	b = appendNumber(append(b, 0x0c), charset, 2)
	b = append(appendNumber(b, size, 4), c.kind)
	return append(b, 0, 0, 0, 0, 0) // flags, decimals and nothing
}

// send puts a result, in the text form, or in the binary one of prepared
// statements.
func (s *session) send(r *result, binary bool) {
	s.in.put(appendLength(nil, uint64(len(r.columns))))
	for _, c := range r.columns {
		s.in.put(c.packet())
	}
	s.eof()
	for _, values := range r.rows {
		if binary {
			s.in.put(binaryRow(r.columns, values))
		} else {
			s.in.put(textRow(values))
		}
	}
	s.eof()
}

func textRow(values []any) (b []byte) {
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			b = append(b, 0xfb)
		case int64:
			b = appendText(b, strconv.FormatInt(v, 10))
		case string:
			b = appendText(b, v)
		}
	}
	return b
}

func binaryRow(columns []column, values []any) []byte {
	b := make([]byte, 1+(len(columns)+7+2)/8)
	for i, v := range values {
		switch v := v.(type) {
		case nil:
			b[1+(i+2)/8] |= 1 << ((i + 2) % 8)
		case int64:
			b = appendNumber(b, uint64(v), 4)
		case string:
			b = appendText(b, v)
		}
	}
	return b
}
