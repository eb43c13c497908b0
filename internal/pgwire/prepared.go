package pgwire

import (
	"slices"

	"holdfast/internal/fault"
	"holdfast/row"
)

// prepare parses the statement and types its parameters.
func (s *session) prepare(ps *prepared) error {
	l := lexer{src: ps.src}
	if l.space(); l.pos == len(l.src) && l.unended == 0 || l.punct(';') && onlyEnd(&l) {
		return nil
	}
	l.pos = 0
	var err error
	params := 0
	if !s.onConsole && fold(l.word(), "insert") {
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
	yields bool   // ON CONFLICT DO NOTHING
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
			var err error
			in.yields, err = p.tail()
			return in, err
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
	have, err := s.columns(t.table)
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
	s.yields = in.yields
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
