package pgwire

import (
	"context"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/fault"
	"holdfast/row"
)

// ConsoleDatabase is the database whose sessions speak to the console: they see
// how the server is, and write no rows.
const ConsoleDatabase = "holdfast"

// Console is what the console shows. Its methods must be safe for concurrent
// use, and must not wait for a sink.
type Console interface {
	// Topics returns what there is to show. It is always the same; names are of
	// lower-case letters.
	Topics() []Topic
	// Show returns the rows of a topic, each with a value for each of its
	// columns: nil, bool, int64, float64, string or time.Time, as the column's
	// type says.
	Show(ctx context.Context, topic string) ([][]any, error)
}

// Topic is one thing that SHOW shows.
type Topic struct {
	Name    string
	Help    string
	Columns []row.Column // of type bool, int8, float8, text or timestamptz
}

// help is the topic that every console has.
var help = Topic{"help", "this list", []row.Column{{Name: "command", Type: "text"}, {Name: "shows", Type: "text"}}}

// topics returns all topics of the console.
func (s *Server) topics() []Topic { return append([]Topic{help}, s.console.Topics()...) }

// enterConsole decides whether the session is one of the console's, once it is
// known who the client is.
func (s *session) enterConsole() error {
	s.onConsole = s.srv.console != nil && s.database == ConsoleDatabase
	if !s.onConsole {
		return nil
	}
	return s.mayLook()
}

// mayLook returns nil where the user may use the console.
func (s *session) mayLook() error { return s.srv.access.Policy().AllowConsole(s.who) }

// consoleHint tells what the console takes.
func (s *session) consoleHint() string {
	var b strings.Builder
	b.WriteString("this is the console; it takes")
	for i, t := range s.srv.topics() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" SHOW " + strings.ToUpper(t.Name))
	}
	b.WriteString("; rows are written on a database of any other name")
	return b.String()
}

// readConsole reads a statement of the console: SHOW of a topic, and what
// drivers send around it.
func (s *session) readConsole(l *lexer) (statement, error) {
	if err := s.mayLook(); err != nil {
		return nil, err
	}
	at, w := l.pos, lower(l.word())
	switch w {
	case "show":
		l.keyword("show")
		name := lower(l.word())
		for _, t := range s.srv.topics() {
			if l.keyword(t.Name) {
				return &show{topic: t}, l.wantEnd()
			}
		}
		l.pos = at
		if st, err := readShow(l, s); err == nil {
			return st, nil
		}
		return nil, fault.New(fault.UndefinedObject, "there is nothing called %q to show", name).WithHint("%s", s.consoleHint())
	case "set", "reset", "select", "discard", "deallocate", "close", "unlisten",
		"begin", "start", "commit", "end", "rollback", "abort":
		st, err := readers[w](l, s)
		if _, reads := st.(*columnsOf); err == nil && !reads {
			return st, nil
		}
	}
	l.pos = at
	l.space()
	if w == "" {
		return nil, place(fault.New(fault.SyntaxError, "syntax error at or near %q", l.token()).WithHint("%s", s.consoleHint()), l.src, l.pos)
	}
	return nil, l.refuse("statement "+strconv.Quote(w)+" is not taken on the console", s.consoleHint())
}

// show is SHOW of a topic.
type show struct{ topic Topic }

func (st *show) cells(*session) ([]cell, error) {
	cells := make([]cell, len(st.topic.Columns))
	for i, c := range st.topic.Columns {
		cells[i] = cell{name: c.Name, oid: typeOf(c.Type).oid()}
	}
	return cells, nil
}

func (st *show) run(s *session, p *portal) error {
	if err := s.mayLook(); err != nil {
		return err
	}
	rows, err := s.shownRows(st.topic.Name)
	if err != nil {
		return err
	}
	var formats []int16
	if p != nil {
		formats = p.formats
	}
	m := pgproto3.DataRow{Values: make([][]byte, len(st.topic.Columns))}
	for _, r := range rows {
		for i, v := range r {
			m.Values[i] = s.consoleValue(v, formatOf(formats, i) != 0)
		}
		s.send(&m)
		if len(s.out) >= flushAt && s.flush() != nil {
			return errClosed
		}
	}
	s.complete("SHOW")
	return nil
}

func (s *session) shownRows(topic string) ([][]any, error) {
	if topic != help.Name {
		return s.srv.console.Show(s.ctx, topic)
	}
	var rows [][]any
	for _, t := range s.srv.topics() {
		rows = append(rows, []any{"SHOW " + strings.ToUpper(t.Name), t.Help})
	}
	return rows, nil
}

// consoleValue returns a value as PostgreSQL sends it; nil is NULL.
func (s *session) consoleValue(v any, binaryForm bool) []byte {
	switch v := v.(type) {
	case string:
		return append([]byte{}, clean(v)...)
	case int64:
		if binaryForm {
			return binary.BigEndian.AppendUint64(nil, uint64(v))
		}
		return strconv.AppendInt(nil, v, 10)
	case float64:
		if binaryForm {
			return binary.BigEndian.AppendUint64(nil, math.Float64bits(v))
		}
		if size := math.Abs(v); size != 0 && (size < 1e-4 || size >= 1e15) {
			return strconv.AppendFloat(nil, v, 'e', -1, 64)
		}
		return strconv.AppendFloat(nil, v, 'f', -1, 64)
	case bool:
		switch {
		case binaryForm && v:
			return []byte{1}
		case binaryForm:
			return []byte{0}
		case v:
			return []byte{'t'}
		}
		return []byte{'f'}
	case time.Time:
		if v.IsZero() {
			return nil
		}
		if binaryForm {
			return binary.BigEndian.AppendUint64(nil, uint64(v.UnixMicro()-epoch*1e6))
		}
		return reading{word: wordNow, as: "timestamptz"}.appendText(nil, v.In(s.settings.zone))
	}
	return nil
}
