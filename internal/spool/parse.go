package spool

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"holdfast/internal/fault"
	"holdfast/row"
)

var mark = []byte("\xef\xbb\xbf") // a byte order mark, which is no part of the text

// lines returns how a file is cut and its lines are read, and where they begin.
// parse is nil where the columns are not known.
func (r *reading) lines(text []byte) (cut func([]byte) ([]byte, int), parse func([]byte) ([]row.Column, []row.Value, error), rest []byte, err error) {
	rest = bytes.TrimPrefix(text, mark)
	switch r.s.o.Format {
	case CSV:
		header, n := cutRecord(rest)
		if r.columns, err = r.s.o.Parser.Header(bytes.TrimSuffix(header, []byte("\r"))); err != nil {
			return nil, nil, nil, fmt.Errorf("in the header line: %w", err)
		}
		r.columns = slices.Clone(r.columns)
		return cutRecord, r.record, rest[n:], nil
	case Flat:
		for _, name := range r.s.o.Columns[r.table] {
			r.columns = append(r.columns, row.Column{Name: name, Type: "text"})
		}
		if len(r.columns) > 0 {
			parse = r.flat
		}
		return cutLine, parse, text, nil
	}
	return cutLine, r.s.o.Parser.Object, rest, nil
}

// cutLine returns the first line of text, and how long it is with its end. One
// of blanks is as none.
func cutLine(text []byte) (line []byte, n int) {
	line, _, more := bytes.Cut(text, []byte("\n"))
	n = len(line)
	if more {
		n++
	}
	if len(bytes.TrimSpace(line)) == 0 {
		line = nil
	}
	return line, n
}

// cutRecord returns the first record of CSV, in which a line end may stand
// between quotes.
func cutRecord(text []byte) (record []byte, n int) {
	for quoted := false; n < len(text); {
		i := bytes.IndexAny(text[n:], "\"\n")
		if i < 0 {
			break
		}
		n += i + 1
		if text[n-1] == '"' {
			quoted = !quoted
		} else if !quoted {
			return text[:n-1], n
		}
	}
	return text, len(text)
}

// record reads a record of CSV.
func (r *reading) record(text []byte) ([]row.Column, []row.Value, error) {
	values, err := r.s.o.Parser.Record(bytes.TrimSuffix(text, []byte("\r")))
	if err == nil && len(values) != len(r.columns) {
		err = fault.New(fault.BadCopyFormat, "the record has %d fields, and %d columns are named in the header line", len(values), len(r.columns))
	}
	return r.columns, values, err
}

// flat reads a line with bars between its values.
func (r *reading) flat(line []byte) ([]row.Column, []row.Value, error) {
	if err := clean(line); err != nil {
		return nil, nil, err
	}
	if n := row.FlatFields(line); n != len(r.columns) {
		return nil, nil, fault.New(fault.BadCopyFormat, "it has %d fields, not %d", n, len(r.columns))
	}
	r.values = r.values[:0]
	for more := true; more; {
		var field []byte
		field, line, more = row.CutFlat(line)
		r.values = append(r.values, row.Value{Text: field})
	}
	return r.columns, r.values, nil
}

// clean refuses what no text can hold.
func clean(text []byte) error {
	switch {
	case bytes.IndexByte(text, 0) >= 0:
		return fault.New(fault.CharacterNotInRepertoire, "it holds a NUL byte")
	case !utf8.Valid(text):
		return fault.New(fault.CharacterNotInRepertoire, "it is not UTF-8 text")
	}
	return nil
}

// refusal says what an error of the store means: that the row is refused for
// what it is, that its table is, or, where neither, that rows have to wait.
func refusal(err error) (row, table bool) {
	code := fault.Code(err)
	switch {
	case len(code) != 5:
	case code[:2] == "22", code[:2] == "23", code == fault.LimitExceeded, code == fault.UndefinedColumn, code == fault.DuplicateColumn, code == fault.TooManyColumns:
		return true, false
	case code[:2] == "42", code == fault.FeatureNotSupported:
		return false, true
	}
	return false, false
}

// reason returns what was wrong, without what to do about it.
func reason(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Message
	}
	return err.Error()
}
