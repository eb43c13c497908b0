package pgwire

import (
	"bytes"
	"strings"

	"holdfast/internal/fault"
	"holdfast/row"
)

// lineReader cuts COPY's text into lines. A line may come in any number of
// pieces; one that comes whole is read where it lies.
type lineReader struct {
	c      *copyIn
	fields func(*lineReader, []byte) error // fills values from a line

	pending []byte // the beginning of a line
	seen    int    // how much of pending has been looked through
	quoted  bool   // CSV: seen ends inside quotes
	crlf    byte   // 0: not known yet, else the byte before a line's end: '\r', or '\n' for none
	over    bool   // \. was read
	first   bool   // no line was read yet

	values  []row.Value
	scratch []byte
}

func newLineReader(c *copyIn, fields func(*lineReader, []byte) error) *lineReader {
	return &lineReader{c: c, fields: fields, first: true}
}

func (r *lineReader) csv() bool { return r.c.st.format == "csv" }

func (r *lineReader) data(b []byte) error {
	for len(b) > 0 && !r.over {
		if len(r.pending) > 0 {
			r.pending = append(r.pending, b...)
			b = nil
			if err := r.takePending(); err != nil {
				return err
			}
			continue
		}
		n := r.lineEnd(b)
		if n < 0 {
			r.pending = append(r.pending, b...)
			break
		}
		if err := r.line(b[:n]); err != nil {
			return err
		}
		b = b[n+1:]
		r.seen, r.quoted = 0, false
	}
	if len(r.pending) > maxMessage {
		r.c.line++
		return fault.New(fault.LimitExceeded, "a line of COPY has more than %d bytes", maxMessage).
			WithHint("rows are limited to that; look for a quote that is not closed")
	}
	return r.c.hold(cap(r.pending))
}

// takePending reads the lines that pending has by now.
func (r *lineReader) takePending() error {
	b := r.pending
	for !r.over {
		n := r.lineEnd(b)
		if n < 0 {
			break
		}
		if err := r.line(b[:n]); err != nil {
			return err
		}
		b = b[n+1:]
		r.seen, r.quoted = 0, false
	}
	r.pending = append(r.pending[:0], b...)
	if len(r.pending) == 0 && cap(r.pending) > large {
		r.pending = nil
	}
	return nil
}

// lineEnd returns the index of the newline that ends the first line of b, -1
// where there is none yet. It looks at each byte once: r.seen is where it goes
// on.
func (r *lineReader) lineEnd(b []byte) int {
	if r.csv() {
		return r.csvEnd(b)
	}
	for {
		n := bytes.IndexByte(b[r.seen:], '\n')
		if n < 0 {
			r.seen = len(b)
			return -1
		}
		n += r.seen
		r.seen = n + 1
		slashes := 0
		for i := n - 1; i >= 0 && b[i] == '\\'; i-- {
			slashes++
		}
		if slashes%2 == 0 {
			return n
		}
	}
}

// csvEnd keeps count of the quotes. Where quote and escape differ, an escape
// inside quotes hides the byte behind it.
func (r *lineReader) csvEnd(b []byte) int {
	quote, escape := r.c.st.quote, r.c.st.escape
	i := r.seen
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case r.quoted && c == escape && escape != quote:
			if i+1 == len(b) {
				r.seen = i
				return -1
			}
			i++
		case c == quote:
			r.quoted = !r.quoted
		case c == '\n' && !r.quoted:
			return i
		}
	}
	r.seen = i
	return -1
}

// line reads one line without its newline.
func (r *lineReader) line(b []byte) error {
	r.c.line++
	cr := len(b) > 0 && b[len(b)-1] == '\r'
	if r.crlf == 0 {
		if r.crlf = '\n'; cr {
			r.crlf = '\r'
		}
	}
	if r.crlf == '\r' {
		if !cr {
			return fault.New(fault.BadCopyFormat, "literal newline found in data").
				WithHint(`the lines before end in CR LF; write a newline in a value as "\n", or quote it in CSV`)
		}
		b = b[:len(b)-1]
	}
	return r.record(b)
}

// record reads one line without its end.
func (r *lineReader) record(b []byte) error {
	if len(b) == 2 && b[0] == '\\' && b[1] == '.' {
		r.over = true
		return nil
	}
	header := r.first && r.c.st.header
	r.first = false
	if header && !r.c.st.match {
		return nil
	}
	if err := checkText(b); err != nil {
		return err
	}
	r.values, r.scratch = r.values[:0], r.scratch[:0]
	if err := r.fields(r, b); err != nil {
		return err
	}
	if header {
		return r.matchHeader()
	}
	columns := r.c.t.columns
	if len(r.values) < len(columns) {
		return fault.New(fault.BadCopyFormat, "missing data for column %q", columns[len(r.values)].Name)
	}
	return r.c.insert(r.values)
}

// add takes one field.
func (r *lineReader) add(v row.Value) error {
	if len(r.values) == len(r.c.t.columns) {
		return fault.New(fault.BadCopyFormat, "extra data after last expected column").
			WithHint("table %q gets %d columns by this COPY", r.c.t.table, len(r.c.t.columns))
	}
	r.values = append(r.values, v)
	return nil
}

func (r *lineReader) matchHeader() error {
	for i, c := range r.c.t.columns {
		if i >= len(r.values) || string(r.values[i].Text) != c.Name {
			return fault.New(fault.BadCopyFormat, "header line does not name column %q in field %d", c.Name, i+1)
		}
	}
	return nil
}

func (r *lineReader) end() error {
	if r.over || len(r.pending) == 0 {
		return nil
	}
	if r.quoted && r.csv() {
		r.c.line++
		return fault.New(fault.BadCopyFormat, "unterminated CSV quoted field")
	}
	b := r.pending
	if r.crlf != '\n' && b[len(b)-1] == '\r' {
		b = b[:len(b)-1]
	}
	r.c.line++
	return r.record(b)
}

// textFields takes a line of format text apart.
func textFields(r *lineReader, b []byte) error {
	if bytes.IndexByte(b, '\r') >= 0 {
		return fault.New(fault.BadCopyFormat, "literal carriage return found in data").
			WithHint(`write a carriage return in a value as "\r"`)
	}
	st := r.c.st
	slashes := bytes.IndexByte(b, '\\') >= 0
	for {
		n := bytes.IndexByte(b, st.delimiter)
		if slashes {
			n = unescapedIndex(b, st.delimiter)
		}
		field := b
		if n >= 0 {
			field = b[:n]
		}
		if err := r.textField(field, slashes); err != nil {
			return err
		}
		if n < 0 {
			return nil
		}
		b = b[n+1:]
	}
}

func unescapedIndex(b []byte, c byte) int {
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' {
			i++
		} else if b[i] == c {
			return i
		}
	}
	return -1
}

func (r *lineReader) textField(field []byte, slashes bool) error {
	if string(field) == r.c.st.null {
		return r.add(row.Null)
	}
	if !slashes || bytes.IndexByte(field, '\\') < 0 {
		return r.add(row.Value{Text: field})
	}
	mark := len(r.scratch)
	coded := false
	for i := 0; i < len(field); i++ {
		c := field[i]
		if c != '\\' || i+1 == len(field) {
			r.scratch = append(r.scratch, c)
			continue
		}
		i++
		switch c = field[i]; {
		case '0' <= c && c <= '7':
			v, n := digits(field[i:], 3, 8)
			c, i, coded = byte(v), i+n-1, true
		case c == 'x':
			if v, n := digits(field[i+1:], 2, 16); n > 0 {
				c, i, coded = byte(v), i+n, true
			}
		default:
			if at := strings.IndexByte("bfnrtv", c); at >= 0 {
				c = "\b\f\n\r\t\v"[at]
			}
		}
		r.scratch = append(r.scratch, c)
	}
	text := r.scratch[mark:len(r.scratch):len(r.scratch)]
	if coded {
		if err := checkText(text); err != nil {
			return err
		}
	}
	return r.add(row.Value{Text: text})
}

// csvFields takes a line of format CSV apart.
func csvFields(r *lineReader, b []byte) error {
	for {
		n, v, err := r.csvField(b)
		if err != nil {
			return err
		}
		if err := r.add(v); err != nil {
			return err
		}
		if n == len(b) {
			return nil
		}
		b = b[n+1:]
	}
}

// csvField reads one field and returns where it ends. Only a field without any
// quote can be NULL.
func (r *lineReader) csvField(b []byte) (int, row.Value, error) {
	st := r.c.st
	mark, i, inside, quoted := len(r.scratch), 0, false, false
	for ; i < len(b); i++ {
		c := b[i]
		switch {
		case inside && c == st.escape && i+1 < len(b) && (b[i+1] == st.quote || b[i+1] == st.escape):
			i++
			r.scratch = append(r.scratch, b[i])
			continue
		case c == st.quote:
			if !quoted {
				r.scratch = append(r.scratch, b[:i]...)
			}
			inside, quoted = !inside, true
			continue
		case c == '\r' && !inside:
			return 0, row.Value{}, fault.New(fault.BadCopyFormat, "unquoted carriage return found in data").
				WithHint("quote the field that holds it")
		}
		if c == st.delimiter && !inside {
			break
		}
		if quoted {
			r.scratch = append(r.scratch, c)
		}
	}
	switch {
	case inside:
		return 0, row.Value{}, fault.New(fault.BadCopyFormat, "unterminated CSV quoted field")
	case quoted:
		return i, row.Value{Text: r.scratch[mark:len(r.scratch):len(r.scratch)]}, nil
	case string(b[:i]) == st.null:
		return i, row.Null, nil
	}
	return i, row.Value{Text: b[:i]}, nil
}
