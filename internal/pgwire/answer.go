package pgwire

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/fault"
)

// placed is an error with the place that it is about.
type placed struct {
	err   error
	pos   int    // in characters from 1; 0: unknown
	where string // PostgreSQL's CONTEXT
}

func (p *placed) Error() string {
	if p.where != "" {
		return p.where + ": " + p.err.Error()
	}
	return p.err.Error()
}

func (p *placed) Unwrap() error { return p.err }

// place says that err is about the byte at offset at of src.
func place(err error, src []byte, at int) error {
	return &placed{err: err, pos: utf8.RuneCount(src[:at]) + 1}
}

// bufferKept is the answer buffer that an idle connection keeps; flushAt is
// how much is gathered before the socket is written without being asked to.
const (
	bufferKept = 4 << 10
	flushAt    = 32 << 10
)

// send adds one of pgproto3's messages to the answer.
func (s *session) send(m pgproto3.BackendMessage) {
	out, err := m.Encode(s.out)
	if err != nil { // only a message above 1 GiB; none here is
		s.broken = err
		return
	}
	s.out = out
}

// flush writes the answer. An error ends the connection.
func (s *session) flush() error {
	if s.broken == nil && len(s.out) > 0 {
		s.takeBy(len(s.out))
		_, s.broken = s.line.Write(s.out)
		s.seen.sent.Add(uint64(len(s.out)))
	}
	s.unsettled = -1
	if cap(s.out) > bufferKept {
		s.out = nil
	}
	s.out = s.out[:0]
	return s.broken
}

// settleLater remembers that what follows must be withdrawn if the implicit
// transaction does not commit.
func (s *session) settleLater() {
	if s.state == idle && s.unsettled < 0 {
		s.unsettled = len(s.out)
	}
}

// complete adds a CommandComplete.
func (s *session) complete(tag string) {
	s.settleLater()
	s.out = append(s.out, 'C')
	s.out = binary.BigEndian.AppendUint32(s.out, uint32(4+len(tag)+1))
	s.out = append(s.out, tag...)
	s.out = append(s.out, 0)
}

// completeRows adds a CommandComplete that ends in a number of rows.
func (s *session) completeRows(tag string, rows int) {
	s.settleLater()
	at := len(s.out)
	s.out = append(s.out, 'C', 0, 0, 0, 0)
	s.out = append(s.out, tag...)
	s.out = strconv.AppendInt(s.out, int64(rows), 10)
	s.out = append(s.out, 0)
	binary.BigEndian.PutUint32(s.out[at+1:], uint32(len(s.out)-at-1))
}

// ready adds a ReadyForQuery with the state of the transaction.
func (s *session) ready() {
	s.out = append(s.out, 'Z', 0, 0, 0, 5, byte(s.state))
	s.seen.ended.Store(uint32(s.state))
}

// bare adds a message without a body.
func (s *session) bare(kind byte) {
	s.out = append(s.out, kind, 0, 0, 0, 4)
}

// report adds an ErrorResponse and counts it.
func (s *session) report(severity string, err error) {
	f := fault.Of(err)
	m := pgproto3.ErrorResponse{
		Severity: severity, SeverityUnlocalized: severity,
		Code: f.Code, Message: s.said(f.Message), Detail: s.said(f.Detail), Hint: s.said(f.Hint),
	}
	if f.Err != nil {
		m.Message += ": " + s.said(f.Err.Error())
	}
	if p := (*placed)(nil); errors.As(err, &p) {
		m.Position, m.Where = int32(p.pos), s.said(p.where)
	}
	s.srv.stats.failed(f.Code)
	s.send(&m)
}

// notice adds a NoticeResponse.
func (s *session) notice(severity, code, message string) {
	m := pgproto3.NoticeResponse{
		Severity: severity, SeverityUnlocalized: severity, Code: code, Message: s.said(message),
	}
	s.send(&m)
}

// said is text in the client's encoding.
func (s *session) said(text string) string { return s.settings.text.own(clean(text)) }

// clean keeps text that came from a client within what a message may carry: no
// NUL, which would end a field, and nothing that is not UTF-8.
func clean(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", `\0`), "\uFFFD")
}

// cell is one value of an answer, with the type that it is described by.
type cell struct {
	name string
	oid  uint32
	text string
	null bool
}

// describe adds the RowDescription of cells, in the formats asked for.
func (s *session) describe(cells []cell, formats []int16) {
	m := pgproto3.RowDescription{Fields: make([]pgproto3.FieldDescription, len(cells))}
	for i, c := range cells {
		m.Fields[i] = pgproto3.FieldDescription{
			Name: []byte(c.name), DataTypeOID: c.oid, DataTypeSize: typeSize(c.oid),
			TypeModifier: -1, Format: formatOf(formats, i),
		}
	}
	s.send(&m)
}

// dataRow adds a DataRow.
func (s *session) dataRow(cells []cell, formats []int16) error {
	m := pgproto3.DataRow{Values: make([][]byte, len(cells))}
	for i, c := range cells {
		switch {
		case c.null:
		case formatOf(formats, i) == 0:
			m.Values[i] = []byte(c.text)
		default:
			b, err := encodeBinary(c.oid, c.text)
			if err != nil {
				return err
			}
			m.Values[i] = b
		}
	}
	s.send(&m)
	return nil
}

// formatOf applies the rule of Bind: no code means text for all, one code
// stands for all.
func formatOf(formats []int16, i int) int16 {
	switch {
	case len(formats) == 0:
		return 0
	case len(formats) == 1:
		return formats[0]
	case i < len(formats):
		return formats[i]
	}
	return 0
}
