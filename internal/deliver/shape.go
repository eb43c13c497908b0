package deliver

import (
	"fmt"
	"path"
	"strconv"
	"time"

	"holdfast/row"
)

// Shape says what a sink gets of the rows of a stream. The zero Shape is all of
// it, as it is.
type Shape struct {
	Tables  []string          // patterns with * and ?, of tables as they are in the stream; none: all
	Rename  map[string]string // what tables are called in the sink
	Columns map[string]string // what columns are called there, by "table.column" as in the stream
	Add     []Added           // columns added to each row that has none of that name
}

// Added is a column that a sink gets besides those of the row. It stands behind
// them, by its name in the sink.
type Added struct {
	Column string
	Fill   Fill
	Text   string // for Fixed
}

// Fill says what is in an added column.
type Fill string

// What can be in an added column.
const (
	Fixed      Fill = ""            // Text, in every row
	Seq        Fill = "seq"         // the row's
	ReceivedAt Fill = "received_at" // the row's time of receipt, in UTC
	FromStream Fill = "stream"      // the stream's name
)

// columnType is what a sink that must create the column uses.
func (f Fill) columnType() string {
	switch f {
	case Seq:
		return "bigint"
	case ReceivedAt:
		return "timestamptz"
	}
	return "text"
}

// plain reports whether rows stay as they are.
func (s Shape) plain() bool {
	return len(s.Tables) == 0 && len(s.Rename) == 0 && len(s.Columns) == 0 && len(s.Add) == 0
}

// takes reports whether the sink gets rows of table.
func (s Shape) takes(table string) bool {
	for _, p := range s.Tables {
		if ok, _ := path.Match(p, table); ok || p == table {
			return true
		}
	}
	return len(s.Tables) == 0
}

// mapping is what a Shape makes of one schema.
type mapping struct {
	in, out *row.Schema // out is nil where the sink takes no such rows
	add     []Added
}

// mold gives rows their shape, and gives it back. Readers make schemas anew for
// each segment, so mappings are found by what is in a schema, and by its
// address only as long as that saves time.
type mold struct {
	shape  Shape
	stream string

	byAddress map[*row.Schema]*mapping
	byKey     map[string]*mapping
	back      map[*row.Schema]*mapping // by out

	row    row.Row // what shaped returns
	values []row.Value
	text   []byte
}

func newMold(s Shape, stream string) *mold {
	m := &mold{shape: s, stream: stream}
	m.reset()
	return m
}

// mostMappings bounds what is remembered.
const mostMappings = 1000

func (m *mold) reset() {
	m.byAddress, m.byKey, m.back = map[*row.Schema]*mapping{}, map[string]*mapping{}, map[*row.Schema]*mapping{}
}

// begin forgets mappings that may be of use no more. No row that it has shaped
// is with a sink.
func (m *mold) begin() {
	if len(m.byKey) > mostMappings {
		m.reset()
	} else if len(m.byAddress) > mostMappings {
		clear(m.byAddress)
	}
}

// find returns the mapping of a schema.
func (m *mold) find(s *row.Schema) *mapping {
	if p := m.byAddress[s]; p != nil {
		return p
	}
	key := s.Key()
	p := m.byKey[key]
	if p == nil {
		p = m.mapping(s)
		m.byKey[key] = p
		if p.out != nil {
			m.back[p.out] = p
		}
	}
	m.byAddress[s] = p
	return p
}

func (m *mold) mapping(s *row.Schema) *mapping {
	p := &mapping{in: s}
	if !m.shape.takes(s.Table) {
		return p
	}
	out := &row.Schema{ID: s.ID, Stream: s.Stream, Table: s.Table}
	if name, ok := m.shape.Rename[s.Table]; ok {
		out.Table = name
	}
	has := map[string]bool{}
	for _, c := range s.Columns {
		if name, ok := m.shape.Columns[s.Table+"."+c.Name]; ok {
			c.Name = name
		}
		has[c.Name] = true
		out.Columns = append(out.Columns, c)
	}
	for _, a := range m.shape.Add {
		if !has[a.Column] {
			p.add = append(p.add, a)
			out.Columns = append(out.Columns, row.Column{Name: a.Column, Type: a.Fill.columnType()})
		}
	}
	p.out = out
	return p
}

// takes reports whether the sink gets r.
func (m *mold) takes(r *row.Row) bool {
	return len(m.shape.Tables) == 0 || m.find(r.Schema).out != nil
}

// takesAny reports whether the sink gets a row of the block.
func (m *mold) takesAny(b *row.Block) bool {
	if len(m.shape.Tables) == 0 {
		return true
	}
	for i := range b.Rows {
		if m.takes(&b.Rows[i]) {
			return true
		}
	}
	return false
}

// shaped returns r as the sink gets it. It is valid until the next call, and as
// long as r.
func (m *mold) shaped(r *row.Row) *row.Row {
	if m.shape.plain() {
		return r
	}
	p := m.find(r.Schema)
	m.row = *r
	m.row.Schema = p.out
	if len(p.add) == 0 {
		return &m.row
	}
	m.text = m.text[:0]
	m.values = append(m.values[:0], r.Values...)
	for _, a := range p.add {
		at := len(m.text)
		switch a.Fill {
		case Seq:
			m.text = strconv.AppendUint(m.text, r.Seq, 10)
		case ReceivedAt:
			m.text = time.UnixMicro(r.Received).UTC().AppendFormat(m.text, "2006-01-02 15:04:05.000000+00")
		case FromStream:
			m.text = append(m.text, m.stream...)
		default:
			m.text = append(m.text, a.Text...)
		}
		m.values = append(m.values, row.Value{Text: m.text[at:len(m.text):len(m.text)]})
	}
	m.row.Values = m.values
	return &m.row
}

// original returns a row that shaped has made, or a copy of one, as it is in the
// stream.
func (m *mold) original(r *row.Row) (*row.Row, error) {
	if m.shape.plain() {
		return r, nil
	}
	p := m.back[r.Schema]
	if p == nil || len(r.Values) < len(p.in.Columns) {
		return nil, fmt.Errorf("row %d of table %q was refused, but not sent", r.Seq, r.Schema.Table)
	}
	o := *r
	o.Schema, o.Values = p.in, r.Values[:len(p.in.Columns)]
	return &o, nil
}
