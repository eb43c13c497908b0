package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"holdfast/internal/fault"
	"holdfast/row"
)

const (
	maxLine  = 4 << 20 // bytes of one line or record; what the server takes
	maxBatch = 1 << 20 // bytes after which a batch is sent, however few its rows
)

// batch is some whole lines of the input, as they are sent.
type batch struct {
	body  bytes.Buffer
	csv   bool
	head  int   // lines of the body before the first row
	lines []int // the input line of each row; of CSV only the first
	rows  int
	last  int // last line of the input in it
	bad   int // the line at fault, where reading failed; 0 where none is
}

func (b *batch) contentType() string {
	if b.csv {
		return "text/csv; charset=utf-8"
	}
	return "application/x-ndjson"
}

func (b *batch) reader() io.Reader { return bytes.NewReader(b.body.Bytes()) }

// lineOf returns the input line of a line of the body.
func (b *batch) lineOf(line int) int {
	switch {
	case line <= b.head:
		return 1 // the header line, which every batch repeats
	case b.csv && len(b.lines) > 0:
		return b.lines[0] + line - b.head - 1
	case line <= len(b.lines):
		return b.lines[line-1]
	}
	return b.last
}

// batcher cuts the input into batches, in bounded memory.
type batcher struct {
	in      *bufio.Reader
	format  string
	columns []string
	keys    [][]byte // of flat: each column's name as the beginning of a JSON member
	header  []byte   // of CSV: the header line, with its end
	max     int      // rows of a batch
	line    int      // lines read so far
	record  []byte
	b       batch
}

func newBatcher(in io.Reader, format string, columns []string, rows int) *batcher {
	r := &batcher{in: bufio.NewReaderSize(in, 64<<10), format: format, columns: columns, max: rows}
	for _, c := range columns {
		r.keys = append(r.keys, append(appendString(nil, c), ':'))
	}
	if format == "csv" && len(columns) > 0 {
		quoted := make([]string, len(columns))
		for i, c := range columns {
			quoted[i] = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		}
		r.header = []byte(strings.Join(quoted, ",") + "\n")
	}
	return r
}

// next returns the next batch; io.EOF after the last one. On another error the
// batch only tells its place. It is valid until the next call.
func (r *batcher) next() (*batch, error) {
	b := &r.b
	b.body.Reset()
	b.csv, b.head, b.lines, b.rows, b.bad, b.last = r.format == "csv", 0, b.lines[:0], 0, 0, r.line
	if b.csv {
		if r.header == nil {
			header, err := r.read()
			if err != nil {
				return r.failed(err, 1)
			}
			r.header = append(bytes.Clone(bytes.TrimSuffix(header, []byte("\n"))), '\n')
		}
		b.body.Write(r.header)
		b.head = bytes.Count(r.header, []byte("\n"))
	}
	for b.rows < r.max && b.body.Len() < maxBatch {
		start := r.line + 1
		record, err := r.read()
		if errors.Is(err, io.EOF) && b.rows > 0 {
			break
		}
		if err == nil {
			err = r.add(record, start)
		}
		if err != nil {
			return r.failed(err, start)
		}
	}
	b.last = r.line
	return b, nil
}

func (r *batcher) failed(err error, line int) (*batch, error) {
	var f *fault.Error
	if errors.As(err, &f) {
		r.b.bad = line
	}
	r.b.last = r.line
	return &r.b, err
}

// read returns the next line, of CSV the next record, with its end; a quoted
// value may hold line feeds. It is valid until the next call.
func (r *batcher) read() ([]byte, error) {
	r.record = r.record[:0]
	quoted := false
	for {
		part, err := r.in.ReadSlice('\n')
		r.record = append(r.record, part...)
		if len(r.record) > maxLine {
			return nil, fault.New(fault.LimitExceeded, "the line is longer than %d bytes", maxLine)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			if r.format == "csv" {
				quoted = quoted != (bytes.Count(part, []byte{'"'})%2 == 1)
			}
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		if err != nil && len(r.record) == 0 {
			return nil, io.EOF
		}
		if err == nil || !bytes.HasSuffix(r.record, []byte("\n")) {
			r.line++
		}
		if r.format == "csv" {
			quoted = quoted != (bytes.Count(part, []byte{'"'})%2 == 1)
		}
		if err != nil || !quoted {
			return r.record, nil
		}
	}
}

// add puts a record into the batch, in the form in which it is sent.
func (r *batcher) add(record []byte, line int) error {
	b := &r.b
	if i := invalid(record); i >= 0 {
		return fault.New(fault.CharacterNotInRepertoire, "byte %d (0x%02x) is not text in UTF-8", i+1, record[i])
	}
	switch r.format {
	case "flat":
		if err := r.flat(bytes.TrimSuffix(record, []byte("\n"))); err != nil {
			return err
		}
	case "ndjson":
		if len(bytes.TrimSpace(record)) == 0 {
			return nil
		}
		b.body.Write(record)
	default:
		b.body.Write(record)
	}
	b.rows++
	if !b.csv || b.rows == 1 {
		b.lines = append(b.lines, line)
	}
	return nil
}

// flat adds a line of a flat file. A field is what stands between two
// delimiters, byte for byte: an empty one is the empty string, and %7C stays
// %7C, since nobody can tell whether it was a bar before.
func (r *batcher) flat(text []byte) error {
	if n := row.FlatFields(text); n != len(r.columns) {
		return fault.New(fault.BadCopyFormat, "the line has %s, and --columns names %d", plural(n, "field"), len(r.columns))
	}
	out := append(r.b.body.AvailableBuffer(), '{')
	for i, key := range r.keys {
		field, rest, _ := row.CutFlat(text)
		if i > 0 {
			out = append(out, ',')
		}
		out = appendString(append(out, key...), string(field))
		text = rest
	}
	r.b.body.Write(append(out, '}', '\n'))
	return nil
}

// invalid returns the index of the first byte that is no text, -1 where all is.
func invalid(text []byte) int {
	nul := bytes.IndexByte(text, 0)
	if utf8.Valid(text) {
		return nul
	}
	for i := 0; i < len(text); {
		c, n := utf8.DecodeRune(text[i:])
		if c == utf8.RuneError && n == 1 || c == 0 {
			return i
		}
		i += n
	}
	return nul
}

// appendString appends s as a JSON string. s is valid UTF-8.
func appendString(out []byte, s string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < ' ':
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
