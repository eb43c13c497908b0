package httpapi

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"holdfast/internal/fault"
	"holdfast/row"
)

// csvReader reads CSV as PostgreSQL's COPY does: a field without quotes and
// without content is NULL, a quoted one is the empty string. encoding/csv
// cannot tell the two apart.
type csvReader struct {
	*input
	ends   []int // where each field ends in buf
	quoted []bool
	values []row.Value
}

// next returns the values of the next record and the line in which it begins;
// io.EOF after the last one. They are valid until the next call.
func (c *csvReader) next() ([]row.Value, int, error) {
	c.buf, c.ends, c.quoted, c.values = c.buf[:0], c.ends[:0], c.quoted[:0], c.values[:0]
	number := c.line
	if err := c.record(); err != nil {
		return nil, number, err
	}
	if err := clean(c.buf); err != nil {
		return nil, number, err
	}
	start := 0
	for i, end := range c.ends {
		if end < len(c.buf) && !utf8.RuneStart(c.buf[end]) {
			// All fields together are UTF-8, but a comma splits a character.
			return nil, number, fault.New(fault.CharacterNotInRepertoire, "field %d ends within a character", i+1)
		}
		v := row.Value{Text: c.buf[start:end:end]}
		if start == end && !c.quoted[i] {
			v = row.Null
		}
		c.values = append(c.values, v)
		start = end
	}
	return c.values, number, nil
}

// record collects one record's fields. Quotes may begin anywhere in a field,
// as in PostgreSQL; a quote within quotes is doubled.
func (c *csvReader) record() error {
	quoted, begun := false, false
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) && begun {
				return c.field(quoted)
			}
			return err
		}
		begun = true
		switch b {
		case '"':
			quoted = true
			err = c.inQuotes()
		case ',':
			err = c.field(quoted)
			quoted = false
		case '\n':
			c.line++
			return c.field(quoted)
		case '\r':
			if next, e := c.r.Peek(1); e != nil || next[0] != '\n' {
				err = fault.New(fault.BadCopyFormat, "a carriage return stands alone outside of quotes").
					WithHint("put the value in double quotes")
			}
		default:
			if err = c.add([]byte{b}); err == nil {
				err = c.plain("\",\r\n")
			}
		}
		if err != nil {
			return err
		}
	}
}

// inQuotes collects up to the closing quote.
func (c *csvReader) inQuotes() error {
	for {
		if err := c.plain(`"`); err != nil {
			return err
		}
		b, err := c.r.ReadByte()
		if errors.Is(err, io.EOF) {
			return fault.New(fault.BadCopyFormat, "a quoted value does not end").WithHint("a quote within a value is doubled")
		}
		if err != nil {
			return err
		}
		if b == '\n' {
			c.line++
		}
		if b == '"' {
			if next, e := c.r.Peek(1); e != nil || next[0] != '"' {
				return nil
			}
			if _, err := c.r.Discard(1); err != nil {
				return err
			}
		}
		if err := c.add([]byte{b}); err != nil {
			return err
		}
	}
}

func (c *csvReader) field(quoted bool) error {
	if len(c.ends) == maxColumns {
		return fault.New(fault.TooManyColumns, "a record has more than %d fields", maxColumns)
	}
	c.ends = append(c.ends, len(c.buf))
	c.quoted = append(c.quoted, quoted)
	return nil
}

// header reads the line that names the columns.
func (c *csvReader) header() ([]row.Column, int, error) {
	values, number, err := c.next()
	if err != nil {
		return nil, number, err
	}
	columns := make([]row.Column, len(values))
	seen := make(map[string]bool, len(values))
	for i, v := range values {
		name := string(bytes.TrimSpace(v.Text))
		if name == "" {
			return nil, number, fault.New(fault.InvalidName, "column %d has no name in the header line", i+1)
		}
		if seen[name] {
			return nil, number, fault.New(fault.DuplicateColumn, "column %q stands twice in the header line", name)
		}
		seen[name] = true
		columns[i].Name = name
	}
	return columns, number, nil
}
