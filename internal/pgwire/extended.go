package pgwire

import (
	"bytes"
	"encoding/binary"

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
	preparedKept   = 64 << 20 // bytes of named statements per session
	portalsKept    = 1_000
	boundKept      = 16 << 20 // bytes of named portals per session
	itemsKept      = 1 << 17  // values in one prepared INSERT: twice what parameters can be
	itemSize       = 80       // bytes of an item, about
	valueSize      = 32       // bytes of a row.Value, about
)

// size returns about how many bytes a statement takes under its name. Its text
// is not all of that: parameters are four bytes each where they are declared,
// and values two where they are written.
func (ps *prepared) size(name string) int {
	n := len(name) + len(ps.src) + 4*(len(ps.oids)+len(ps.sent))
	if in, ok := ps.st.(*insertStatement); ok {
		n += len(in.items) * itemSize
	}
	return n
}

// size returns about how many bytes a portal takes under its name.
func (p *portal) size(name string) int {
	return len(name) + len(p.arena) + len(p.params)*valueSize + 2*len(p.formats)
}

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
	src, err := s.settings.text.utf8(src)
	if err == nil {
		err = checkText(src)
	}
	if err != nil {
		return err
	}
	if len(name) > 0 && s.prepared[string(name)] != nil {
		return fault.New(fault.DuplicateStatement, "prepared statement %q already exists", name)
	}
	if u := s.unnamed; len(name) == 0 && u != nil && bytes.Equal(u.src, src) && sameOIDs(u.sent, raw) && s.state != failed && settled(u.st) {
		s.bare('1') // the same statement again, as drivers that prepare nothing send it
		return nil
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
	} else if err := s.keep(string(name), ps); err != nil {
		return err
	}
	s.bare('1')
	return nil
}

// keep keeps a statement under its name.
func (s *session) keep(name string, ps *prepared) error {
	if len(s.prepared) >= statementsKept || s.held+ps.size(name) > preparedKept {
		return fault.New(fault.OutOfMemory, "too many prepared statements: %d of %d bytes", len(s.prepared), s.held).
			WithHint("close those that are not used any more")
	}
	if s.prepared == nil {
		s.prepared = make(map[string]*prepared)
	}
	s.prepared[name] = ps
	s.held += ps.size(name)
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
		held := p.size(string(portalName))
		for name, o := range s.portals {
			held += o.size(name)
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
	w.int32() // how many rows: answers are short, and sent whole
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
		s.held -= ps.size(name)
		delete(s.prepared, name)
	}
}

func (s *session) deallocateAll() {
	clear(s.prepared)
	s.held, s.unnamed = 0, nil
}
