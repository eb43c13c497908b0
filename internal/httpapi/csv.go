package httpapi

import (
	"bytes"
	"errors"
	"io"

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
	inside, quoted, begun := false, false, false
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return c.atEnd(err, inside, quoted, begun)
		}
		begun = true
		if b == '\n' {
			c.line++
		}
		if inside {
			if b != '"' {
				if err := c.add([]byte{b}); err != nil {
					return err
				}
				continue
			}
			if next, err := c.r.Peek(1); err == nil && next[0] == '"' {
				if err := c.addQuote(); err != nil {
					return err
				}
				continue
			}
			inside = false
			continue
		}
		switch b {
		case '"':
			inside, quoted = true, true
		case ',':
			if err := c.field(quoted); err != nil {
				return err
			}
			quoted = false
		case '\n':
			return c.field(quoted)
		case '\r':
			if next, err := c.r.Peek(1); err == nil && next[0] == '\n' {
				continue
			}
			return fault.New(fault.BadCopyFormat, "a carriage return stands alone outside of quotes").
				WithHint("put the value in double quotes")
		default:
			if err := c.add([]byte{b}); err != nil {
				return err
			}
		}
	}
}

func (c *csvReader) addQuote() error {
	if _, err := c.r.Discard(1); err != nil {
		return err
	}
	return c.add([]byte{'"'})
}

// atEnd ends the last record where the body ends without a line feed.
func (c *csvReader) atEnd(err error, inside, quoted, begun bool) error {
	switch {
	case !errors.Is(err, io.EOF) || !begun:
		return err
	case inside:
		return fault.New(fault.BadCopyFormat, "a quoted value does not end").WithHint("a quote within a value is doubled")
	}
	return c.field(quoted)
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
