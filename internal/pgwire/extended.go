package pgwire

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5/pgproto3"

	"holdfast/internal/fault"
	"holdfast/row"
)

// prepared is a prepared statement.
type prepared struct {
	src  []byte
	st   statement // nil: an empty query
	oids []uint32  // of the parameters, as they are described; 0: not known
	sent []uint32  // as the client declared them
}

// portal is a prepared statement with its parameters.
type portal struct {
	open    bool
	ran     bool
	st      *prepared
	params  []row.Value
	arena   []byte // what params point into
	formats []int16
}

const (
	statementsKept = 10_000
	textKept       = 16 << 20 // bytes of named statements' texts per session
	portalsKept    = 1_000
	boundKept      = 16 << 20 // bytes of named portals' parameters per session
	itemsKept      = 1 << 17  // values in one prepared INSERT: twice what parameters can be
)

// wire reads the fields of one message.
type wire struct {
	b   []byte
	bad bool
}

func (w *wire) take(n int) []byte {
	if n < 0 || n > len(w.b) {
		w.bad, w.b = true, nil
		return nil
	}
	f := w.b[:n]
	w.b = w.b[n:]
	return f
}

func (w *wire) int16() int {
	if f := w.take(2); f != nil {
		return int(binary.BigEndian.Uint16(f))
	}
	return 0
}

func (w *wire) int32() int32 {
	if f := w.take(4); f != nil {
		return int32(binary.BigEndian.Uint32(f))
	}
	return 0
}

func (w *wire) text() []byte {
	n := bytes.IndexByte(w.b, 0)
	f := w.take(n)
	w.take(1)
	return f
}

// end returns the error of a message that is too short or too long.
func (w *wire) end(what string) error {
	if w.bad || len(w.b) > 0 {
		return fault.New(fault.ProtocolViolation, "invalid format of a %s message", what)
	}
	return nil
}

// extended runs a message of the extended protocol.
func (s *session) extended(kind byte, body []byte) error {
	w := &wire{b: body}
	switch kind {
	case 'P':
		return s.onParse(w)
	case 'B':
		return s.onBind(w)
	case 'D':
		return s.onDescribe(w)
	case 'E':
		return s.onExecute(w)
	}
	return s.onClose(w)
}

func (s *session) onParse(w *wire) error {
	name, src := w.text(), w.text()
	n := w.int16()
	raw := w.take(4 * n)
	if err := w.end("Parse"); err != nil {
		return err
	}
	if err := checkText(name); err != nil {
		return err
	}
	if err := checkText(src); err != nil {
		return err
	}
	if len(name) > 0 && s.prepared[string(name)] != nil {
		return fault.New(fault.DuplicateStatement, "prepared statement %q already exists", name)
	}
	if u := s.unnamed; len(name) == 0 && u != nil && bytes.Equal(u.src, src) && sameOIDs(u.sent, raw) && s.state != failed && settled(u.st) {
		s.bare('1') // the same statement again, as drivers that prepare nothing send it
		return nil
	}
	if len(name) > 0 && (len(s.prepared) >= statementsKept || s.held+len(src) > textKept) {
		return fault.New(fault.OutOfMemory, "too many prepared statements: %d of %d bytes", len(s.prepared), s.held).
			WithHint("close those that are not used any more")
	}
	ps := &prepared{src: bytes.Clone(src), sent: make([]uint32, n)}
	for i := range ps.sent {
		ps.sent[i] = binary.BigEndian.Uint32(raw[4*i:])
	}
	if len(name) == 0 {
		s.unnamed = nil
	}
	if err := s.prepare(ps); err != nil {
		return err
	}
	if len(name) == 0 {
		s.unnamed = ps
	} else {
		if s.prepared == nil {
			s.prepared = make(map[string]*prepared)
		}
		s.prepared[string(name)] = ps
		s.held += len(src)
	}
	s.bare('1')
	return nil
}

func sameOIDs(oids []uint32, raw []byte) bool {
	if 4*len(oids) != len(raw) {
		return false
	}
	for i, o := range oids {
		if binary.BigEndian.Uint32(raw[4*i:]) != o {
			return false
		}
	}
	return true
}

// settled reports whether parsing the statement again could not change it: the
// columns of a table not known yet may have become known.
func settled(st statement) bool {
	in, ok := st.(*insertStatement)
	return !ok || in.target.schema != nil
}

// prepare parses the statement and types its parameters.
func (s *session) prepare(ps *prepared) error {
	l := lexer{src: ps.src}
	if l.space(); l.pos == len(l.src) && l.unended == 0 || l.punct(';') && onlyEnd(&l) {
		return nil
	}
	l.pos = 0
	var err error
	params := 0
	if fold(l.word(), "insert") {
		if s.state == failed {
			return errFailedBlock
		}
		p := &valueParser{lexer: l}
		var in *insertStatement
		if in, err = s.readInsert(p); err == nil {
			ps.st, params, l = in, p.params, p.lexer
		}
	} else if ps.st, err = s.parse(&l); err == nil {
		err = s.permitted(ps.st)
	}
	if err != nil {
		return err
	}
	if !onlyEnd(&l) {
		return fault.New(fault.SyntaxError, "cannot insert multiple commands into a prepared statement")
	}
	ps.oids = slices.Clone(ps.sent)
	if params > len(ps.oids) {
		ps.oids = append(ps.oids, make([]uint32, params-len(ps.oids))...)
	}
	for i, o := range ps.oids {
		if o == oidUnknown {
			ps.oids[i] = 0
		}
	}
	if in, ok := ps.st.(*insertStatement); ok {
		return s.typeParameters(in, ps.oids)
	}
	return nil
}

// onlyEnd reports whether nothing but semicolons is left.
func onlyEnd(l *lexer) bool {
	for l.punct(';') {
		continue
	}
	return l.pos >= len(l.src) && l.unended == 0
}

// insertStatement is an INSERT that was parsed once, to be run with parameters.
type insertStatement struct {
	target *target
	items  []item // of all rows
}

// readInsert parses the INSERT that p stands at, whole.
func (s *session) readInsert(p *valueParser) (*insertStatement, error) {
	in := &insertStatement{target: s.targets.find(p.src[p.pos:])}
	if in.target != nil && in.target.names != nil {
		p.pos += len(in.target.header)
	} else {
		var err error
		if in.target, err = p.readTarget(); err != nil {
			return nil, err
		}
	}
	for {
		if err := p.row(); err != nil {
			return nil, err
		}
		if in.items == nil && in.target.names == nil {
			if err := s.ownColumns(in.target, len(p.items)); err != nil {
				return nil, err
			}
		}
		if err := p.checkWidth(in.target); err != nil {
			return nil, err
		}
		if len(in.items)+len(p.items) > itemsKept {
			return nil, fault.New(fault.LimitExceeded, "a prepared INSERT has more than %d values", itemsKept).
				WithHint("use COPY, or several statements")
		}
		in.items = append(in.items, p.items...)
		p.scratch = nil // the items point into it
		if !p.punct(',') {
			return in, p.tail()
		}
	}
}

// typeParameters fills in the OIDs that the client left open: a cast's type,
// else the column's. Where a column is not known yet the OID stays 0, which
// makes clients send the value as text.
func (s *session) typeParameters(in *insertStatement, oids []uint32) error {
	t := in.target
	columns := t.columns
	if t.schema == nil && t.names != nil {
		var err error
		if columns, err = s.knownColumns(t); err != nil {
			return err
		}
	}
	for i := range in.items {
		it := &in.items[i]
		if it.kind != itemParam || oids[it.param-1] != 0 {
			continue
		}
		if oids[it.param-1] = it.oid; it.oid == 0 && columns != nil {
			oids[it.param-1] = typeOf(columns[i%t.width].Type).oid()
		}
	}
	return nil
}

// knownColumns returns the target's columns; those that are not known yet have
// no type, and are an error without automatic tables.
func (s *session) knownColumns(t *target) ([]row.Column, error) {
	have, err := s.srv.store.Columns(t.table)
	auto := s.srv.store.AutoTables()
	if err != nil && !(auto && fault.Code(err) == fault.UndefinedTable) {
		return nil, err
	}
	columns := make([]row.Column, len(t.names))
	for i, n := range t.names {
		columns[i].Name = n
		j := slices.IndexFunc(have, func(c row.Column) bool { return c.Name == n })
		if j >= 0 {
			columns[i].Type = have[j].Type
		} else if !auto {
			return nil, fault.New(fault.UndefinedColumn, "column %q of table %q does not exist", n, t.table).
				WithHint("declare it, or correct the name")
		}
	}
	return columns, nil
}

func (in *insertStatement) run(s *session, p *portal) error {
	if err := s.mayWrite("INSERT"); err != nil {
		return err
	}
	t := in.target
	if t.schema == nil {
		if err := s.resolve(t, in.items[:t.width], p.st.oids); err != nil {
			return err
		}
		s.targets.keep(t)
	}
	rows := 0
	for at := 0; at < len(in.items); at += t.width {
		if err := s.insertRow(t, in.items[at:at+t.width], p.params); err != nil {
			return err
		}
		rows++
	}
	s.completeRows("INSERT 0 ", rows)
	return nil
}

func (s *session) statement(name []byte) (*prepared, error) {
	ps := s.unnamed
	if len(name) > 0 {
		ps = s.prepared[string(name)]
	}
	if ps == nil {
		return nil, unknownStatement(string(name))
	}
	return ps, nil
}

func unknownStatement(name string) error {
	if name == "" {
		return fault.New(fault.InvalidStatementName, "unnamed prepared statement does not exist")
	}
	return fault.New(fault.InvalidStatementName, "prepared statement %q does not exist", name)
}

func (s *session) portalNamed(name []byte) (*portal, error) {
	p := &s.portal
	if len(name) > 0 {
		p = s.portals[string(name)]
	}
	if p == nil || !p.open {
		return nil, fault.New(fault.InvalidCursorName, "portal %q does not exist", name).
			WithHint("portals end with their transaction")
	}
	return p, nil
}

func (s *session) onBind(w *wire) error {
	portalName, name := w.text(), w.text()
	ps, err := s.statement(name)
	if w.bad {
		return w.end("Bind")
	}
	if err != nil {
		return err
	}
	if err := checkText(portalName); err != nil {
		return err
	}
	if ps.st != nil {
		if err := s.permitted(ps.st); err != nil {
			return err
		}
	}
	p := &s.portal
	if len(portalName) > 0 {
		if s.portals[string(portalName)] != nil {
			return fault.New("42P03", "portal %q already exists", portalName)
		}
		if len(s.portals) >= portalsKept {
			return fault.New(fault.OutOfMemory, "more than %d portals are open", portalsKept).WithHint("close them, or send Sync")
		}
		p = new(portal)
	}
	p.st, p.open, p.ran = ps, false, false
	if err := s.readParameters(p, w, string(name)); err != nil {
		return err
	}
	p.open = true
	if len(portalName) > 0 {
		held := len(p.arena)
		for _, o := range s.portals {
			held += len(o.arena)
		}
		if held > boundKept {
			return fault.New(fault.OutOfMemory, "open portals hold more than %d bytes", boundKept).WithHint("use the unnamed portal, or send Sync")
		}
		if s.portals == nil {
			s.portals = make(map[string]*portal)
		}
		s.portals[string(portalName)] = p
	}
	s.bare('2')
	return nil
}

func (s *session) onDescribe(w *wire) error {
	kind, name := w.take(1), w.text()
	if err := w.end("Describe"); err != nil {
		return err
	}
	var ps *prepared
	var formats []int16
	switch kind[0] {
	case 'S':
		var err error
		if ps, err = s.statement(name); err != nil {
			return err
		}
		s.send(&pgproto3.ParameterDescription{ParameterOIDs: ps.oids})
	case 'P':
		p, err := s.portalNamed(name)
		if err != nil {
			return err
		}
		ps, formats = p.st, p.formats
	default:
		return fault.New(fault.ProtocolViolation, "invalid kind %q in a Describe message", kind[0])
	}
	a, ok := ps.st.(answering)
	if !ok {
		s.bare('n')
		return nil
	}
	cells, err := a.cells(s)
	if err != nil {
		return err
	}
	s.describe(cells, formats)
	return nil
}

func (s *session) onExecute(w *wire) error {
	name := w.text()
	w.int32() // how many rows: no answer has more than one
	if err := w.end("Execute"); err != nil {
		return err
	}
	p, err := s.portalNamed(name)
	if err != nil {
		return err
	}
	if p.st.st == nil {
		s.bare('I')
		return nil
	}
	if p.ran {
		return fault.New("55000", "portal %q cannot be run anymore", name).WithHint("bind the statement again")
	}
	if err := s.permitted(p.st.st); err != nil {
		return err
	}
	p.ran = true
	s.srv.stats.statements.Add(1)
	err = p.st.st.run(s, p)
	if cap(p.arena) > bufferKept {
		p.arena, p.params = nil, nil
	}
	return err
}

func (s *session) onClose(w *wire) error {
	kind, name := w.take(1), w.text()
	if err := w.end("Close"); err != nil {
		return err
	}
	switch {
	case kind[0] == 'S':
		s.closeStatement(string(name))
	case kind[0] == 'P' && len(name) == 0:
		s.portal.open = false
	case kind[0] == 'P':
		delete(s.portals, string(name))
	default:
		return fault.New(fault.ProtocolViolation, "invalid kind %q in a Close message", kind[0])
	}
	s.bare('3')
	return nil
}

func (s *session) closeStatement(name string) {
	if name == "" {
		s.unnamed = nil
		return
	}
	if ps := s.prepared[name]; ps != nil {
		s.held -= len(ps.src)
		delete(s.prepared, name)
	}
}

func (s *session) deallocateAll() {
	clear(s.prepared)
	s.held, s.unnamed = 0, nil
}
