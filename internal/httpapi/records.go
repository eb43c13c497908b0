package httpapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"holdfast/internal/fault"
)

// largeRecord is the size, in bytes, beyond which a record needs a token: many
// clients may be reading at once, but only a few of them hold megabytes.
const largeRecord = 64 << 10

// input is a body that is cut into records, none of which may be larger than
// maxRecord.
type input struct {
	r    *bufio.Reader
	line int          // of the byte that is read next; from 1
	buf  []byte       // the record being collected
	grow func() error // called once, before a record passes largeRecord
	big  bool
}

func newInput(r io.Reader, grow func() error) *input {
	in := &input{r: bufio.NewReaderSize(r, largeRecord), line: 1, grow: grow}
	if mark, err := in.r.Peek(3); err == nil && bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		// Some programs put a byte order mark before UTF-8; it is no part of the text.
		_, _ = in.r.Discard(3)
	}
	return in
}

// add appends part to the record.
func (in *input) add(part []byte) error {
	size := len(in.buf) + len(part)
	if size > maxRecord {
		return fault.New(fault.LimitExceeded, "the record is larger than %d bytes", maxRecord).
			WithHint("split it over several rows")
	}
	if size > largeRecord && !in.big {
		if err := in.grow(); err != nil {
			return err
		}
		in.big = true
	}
	if size > cap(in.buf) && size > largeRecord {
		// append would leave five times as much behind on the way.
		bigger := make([]byte, len(in.buf), min(max(8*cap(in.buf), size), maxRecord))
		copy(bigger, in.buf)
		in.buf = bigger
	}
	in.buf = append(in.buf, part...)
	return nil
}

// plain adds what is already read up to the first byte of stops, which are
// ASCII. It only saves looking at each byte: it may add nothing.
func (in *input) plain(stops string) error {
	part, err := in.r.Peek(in.r.Buffered())
	if err != nil {
		return err
	}
	if i := bytes.IndexAny(part, stops); i >= 0 {
		part = part[:i]
	}
	in.line += bytes.Count(part, []byte{'\n'})
	if err := in.add(part); err != nil {
		return err
	}
	_, err = in.r.Discard(len(part))
	return err
}

// nextLine returns the next line without its end, and its number; io.EOF after
// the last one. The line is valid until the next call.
func (in *input) nextLine() ([]byte, int, error) {
	in.buf = in.buf[:0]
	number := in.line
	for {
		part, err := in.r.ReadSlice('\n')
		if e := in.add(part); e != nil {
			return nil, number, e
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil:
			in.line++
			return bytes.TrimSuffix(in.buf, []byte("\n")), number, nil
		case errors.Is(err, io.EOF) && len(in.buf) > 0:
			return in.buf, number, nil
		}
		return nil, number, err
	}
}

// nextNDJSON is nextLine without the empty ones.
func (in *input) nextNDJSON() ([]byte, int, error) {
	for {
		text, number, err := in.nextLine()
		if err != nil || len(bytes.TrimSpace(text)) > 0 {
			return text, number, err
		}
	}
}

// elements cuts an array of objects, or a single object, into objects without
// understanding them: it only tells strings and brackets apart.
type elements struct {
	*input
	begun bool
	array bool
	ended bool
}

// next returns the next object and the line in which it begins; io.EOF after
// the last one. The object is valid until the next call.
func (e *elements) next() ([]byte, int, error) {
	if e.ended {
		return nil, e.line, e.nothingMore()
	}
	c, err := e.skipSpace()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = e.early()
		}
		return nil, e.line, err
	}
	if !e.begun {
		e.begun = true
		if c == '[' {
			e.array = true
			if c, err = e.skipSpace(); err != nil {
				return nil, e.line, e.early()
			}
			if c == ']' {
				e.ended = true
				return nil, e.line, e.nothingMore()
			}
		}
	}
	if err := e.r.UnreadByte(); err != nil {
		return nil, e.line, err
	}
	number := e.line
	text, err := e.collect()
	return text, number, err
}

// collect reads up to the comma or bracket behind an element, or to the end of
// a single object.
func (e *elements) collect() ([]byte, error) {
	e.buf = e.buf[:0]
	depth, quoted, escaped := 0, false, false
	for {
		if quoted && !escaped {
			if err := e.plain(`"\`); err != nil {
				return nil, err
			}
		}
		c, err := e.r.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = e.early()
			}
			return nil, err
		}
		if c == '\n' {
			e.line++
		}
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case depth == 0 && e.array && (c == ',' || c == ']'):
			e.ended = c == ']'
			return e.buf, nil
		case c == '}' || c == ']':
			depth--
		}
		if err := e.add([]byte{c}); err != nil {
			return nil, err
		}
		if !e.array && depth <= 0 && !quoted {
			e.ended = true
			return e.buf, nil
		}
	}
}

func (e *elements) early() error {
	return fault.New(fault.InvalidTextRepr, "the JSON ends in the middle").WithHint("send an object, or an array of objects")
}

// nothingMore returns io.EOF where only space follows.
func (e *elements) nothingMore() error {
	c, err := e.skipSpace()
	if err != nil {
		return err
	}
	return fault.New(fault.InvalidTextRepr, "after the end of the JSON comes %q", string(rune(c))).
		WithHint("send one object per line as application/x-ndjson, or all of them in one array")
}

func (e *elements) skipSpace() (byte, error) {
	for {
		c, err := e.r.ReadByte()
		if err != nil {
			return 0, err
		}
		switch c {
		case '\n':
			e.line++
		case ' ', '\t', '\r':
		default:
			return c, nil
		}
	}
}
