package pgwire

import (
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/fault"
	"holdfast/row"
)

// copyStatement is COPY ... FROM STDIN.
type copyStatement struct {
	table string
	names []string
	copyOptions
}

func readCopy(l *lexer, _ *session) (statement, error) {
	at := l.pos
	l.keyword("copy")
	st := &copyStatement{copyOptions: copyOptions{format: "text"}}
	if l.keyword("binary") {
		st.format = "binary"
	}
	l.space()
	if l.at(0) == '(' {
		return nil, l.refuse("COPY of a query is not answered", insertOnly)
	}
	var err error
	if st.table, err = l.tableName(); err != nil {
		return nil, err
	}
	if st.names, err = l.columnList(); err != nil {
		return nil, err
	}
	if fold(l.word(), "to") {
		l.pos = at
		return nil, l.refuse("COPY ... TO is not answered", insertOnly)
	}
	if !l.keyword("from") {
		return nil, l.syntax()
	}
	if !l.keyword("stdin") {
		return nil, l.refuse("COPY takes its data from STDIN only", `with psql, use \copy`)
	}
	if l.keyword("using") { // USING DELIMITERS, older still
		if !l.keyword("delimiters") {
			return nil, l.syntax()
		}
		if st.delimiter, err = l.oneByte("delimiter"); err != nil {
			return nil, err
		}
	}
	l.keyword("with")
	if l.punct('(') {
		err = st.options(l)
	} else {
		err = st.oldOptions(l)
	}
	if err != nil {
		return nil, err
	}
	if fold(l.word(), "where") {
		return nil, l.refuse("COPY ... WHERE is not evaluated", "leave out the lines before they are sent")
	}
	if err := st.complete(); err != nil {
		return nil, err
	}
	return st, l.wantEnd()
}

// copyIn is one running COPY.
type copyIn struct {
	s    *session
	st   *copyStatement
	t    *target
	rows int
	line int // of the text, from 1
	held int // bytes of the memory that all sessions share
}

// hold takes memory for a line or a row that comes in many pieces; n is how
// much it takes by now.
func (c *copyIn) hold(n int) error {
	if n <= large || n <= c.held {
		return nil
	}
	if !c.s.srv.memory.Take(n - c.held) {
		return errTooLarge
	}
	c.held = n
	return nil
}

// copyReader takes the data apart, in pieces of any size.
type copyReader interface {
	// data takes the next piece, which is only valid during the call.
	data(b []byte) error
	// end is called once no more data comes.
	end() error
}

func (st *copyStatement) run(s *session, _ *portal) error {
	if err := s.mayWrite("COPY FROM"); err != nil {
		return err
	}
	t, err := st.target(s)
	if err != nil {
		return err
	}
	c := &copyIn{s: s, st: st, t: t}
	defer func() { s.srv.memory.Give(c.held) }()
	r, format, err := c.reader()
	if err != nil {
		return err
	}
	m := pgproto3.CopyInResponse{OverallFormat: format, ColumnFormatCodes: make([]uint16, t.width)}
	for i := range m.ColumnFormatCodes {
		m.ColumnFormatCodes[i] = uint16(format)
	}
	s.send(&m)
	if err := s.flush(); err != nil {
		return err
	}
	s.yields = false
	if err := c.receive(r); err != nil {
		return err
	}
	s.completeRows("COPY ", c.rows)
	return nil
}

// target returns where the rows go.
func (st *copyStatement) target(s *session) (*target, error) {
	t := &target{table: st.table, names: st.names, width: len(st.names)}
	columns := make([]row.Column, len(st.names))
	for i, n := range st.names {
		columns[i] = row.Column{Name: n, Type: "text"}
	}
	if st.names == nil {
		var err error
		if columns, err = s.columns(st.table); err != nil {
			return nil, err
		}
		t.width = len(columns)
	}
	return t, s.bindTarget(t, columns)
}

// reader returns what takes the data apart, and its format as the protocol
// numbers them. The statement stays as it is: one that was prepared runs again,
// perhaps with another client_encoding.
func (c *copyIn) reader() (r copyReader, format byte, err error) {
	encoding := c.st.encoding
	if encoding == "" {
		encoding, _ = c.s.settings.get("client_encoding")
	}
	from := new(converter)
	from.use(encoding)
	switch c.st.format {
	case "binary":
		if from.charset != nil {
			return nil, 0, fault.New(fault.CharacterNotInRepertoire, "COPY in binary form is taken with text in UTF8 only, not %q", encoding)
		}
		b, err := newBinaryReader(c)
		return converted{b, from}, 1, err
	case "csv":
		return converted{newLineReader(c, csvFields), from}, 0, nil
	}
	return converted{newLineReader(c, textFields), from}, 0, nil
}

// receive reads messages until the client says that the data is complete.
func (c *copyIn) receive(r copyReader) error {
	s := c.s
	s.in.widen()
	s.setCopying(true)
	defer s.setCopying(false)
	for {
		if s.cancelled.Load() {
			return errCopyCancelled
		}
		kind, n, err := s.in.next()
		if err != nil {
			return c.interrupted(err)
		}
		switch kind {
		case 'd':
			for n > 0 {
				b, err := s.in.some(n)
				if err != nil {
					return c.interrupted(err)
				}
				n -= len(b)
				if err := r.data(b); err != nil {
					if d := s.in.discard(n); d != nil {
						s.broken = d
					}
					return c.located(err)
				}
			}
		case 'c':
			if err := s.in.discard(n); err != nil {
				return c.interrupted(err)
			}
			return c.located(r.end())
		case 'f':
			b, err := s.in.body(n)
			if err != nil {
				return c.interrupted(err)
			}
			w := &wire{b: b}
			return fault.New(fault.QueryCanceled, "COPY from stdin failed: %s", w.text())
		case 'H', 'S':
			if err := s.in.discard(n); err != nil {
				return c.interrupted(err)
			}
		case 'X':
			return c.interrupted(errClosed)
		default:
			if err := s.in.discard(n); err != nil {
				return c.interrupted(err)
			}
			return fault.New(fault.ProtocolViolation, "unexpected message type %q during COPY from stdin", kind)
		}
	}
}

var errCopyCancelled = fault.New(fault.QueryCanceled, "canceling COPY due to user request").
	WithHint("none of its rows is stored")

// setCopying opens and closes the time in which a cancel request ends a read.
func (s *session) setCopying(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copying = on
	if !on && s.cancelled.Load() {
		s.broken = errors.Join(s.broken, s.conn.SetReadDeadline(time.Time{}))
	}
}

// interrupted tells a cancel request from a connection that is gone.
func (c *copyIn) interrupted(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && c.s.cancelled.Load() {
		return errCopyCancelled
	}
	c.s.broken = err
	return err
}

// located says which line of the COPY an error is about.
func (c *copyIn) located(err error) error {
	if err == nil {
		return nil
	}
	where := "COPY " + c.t.table
	if c.line > 0 {
		where += ", line " + strconv.Itoa(c.line)
	}
	return &placed{err: err, where: where}
}

// insert adds a row of as many values as there are columns.
func (c *copyIn) insert(values []row.Value) error {
	if c.t.timed != nil {
		c.s.text = c.s.text[:0]
		for i := range values {
			if c.t.timed[i] {
				c.s.stamp(&values[i], c.t.columns[i].Type)
			}
		}
	}
	if err := c.s.insert(c.t.schema, values); err != nil {
		return err
	}
	c.rows++
	return nil
}
