package closing

import (
	"context"
	"fmt"
	"slices"

	"holdfast/archive"
	"holdfast/archive/dialect"
)

// LateMove is what becomes of rows that came late, as the family says.
type LateMove struct {
	Late       string   `json:"late"`
	Archive    int64    `json:"archive_id,omitempty"` // that they go into; 0: into none
	Tables     []Share  `json:"tables"`               // Filed rows go into Archive, Staying ones stay
	Statements []string `json:"statements,omitempty"` // without the conditions that part them into steps
}

// Preview plans as Make does, and says what becomes of rows that came late: those
// that Run would first move into archives are taken for moved.
func Preview(ctx context.Context, s *dialect.Session, f *archive.Family, end int64) (*Plan, error) {
	return plan(ctx, s, f, end, true)
}

// foresee adds to the plan what becomes of late rows, and returns the rules that
// are broken all the same.
func (p *Plan) foresee(ctx context.Context, l *looker, broken []archive.Broken) ([]archive.Broken, error) {
	entries, err := l.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	sets := archive.Sets(l.f, entries)
	tables, err := describe(ctx, *l)
	if err != nil || len(sets) == 0 || len(tables) < len(l.f.Tables) {
		return broken, err
	}
	last := sets[len(sets)-1].End
	switch l.f.Late {
	case archive.LateRoute:
		return p.foreseeRoute(ctx, l, broken, last)
	case archive.LateCurrent, archive.LateReject:
		one := LateMove{Late: l.f.Late}
		rows, err := l.dating(ctx, archive.Window{Start: -never, End: last}, func(t archive.Table) bool { return l.f.Late == archive.LateReject || l.accepts(t) })
		if err != nil {
			return nil, err
		}
		for _, h := range rows {
			h.Staying, h.Filed = h.Filed, 0
			one.Tables = append(one.Tables, h)
		}
		if len(one.Tables) > 0 {
			if l.f.Late == archive.LateCurrent {
				one.Statements = p.stayBehind(*l, tables, last)
			}
			p.Late = append(p.Late, one)
		}
	}
	return broken, nil
}

// foreseeRoute finds the archives that late rows go into. Tables all of whose
// late rows do are not broken for them.
func (p *Plan) foreseeRoute(ctx context.Context, l *looker, broken []archive.Broken, last int64) ([]archive.Broken, error) {
	all, tables, err := lates(ctx, *l)
	if err != nil || len(all) == 0 {
		return broken, err
	}
	routed := map[string]int64{}
	movable := func(t archive.Table) bool { return isRoot(l.f, t) }
	for _, o := range all {
		one := LateMove{Late: l.f.Late, Archive: o.ID}
		if one.Tables, err = l.dating(ctx, o.Window, movable); err != nil {
			return nil, err
		}
		for i, h := range one.Tables {
			one.Tables[i].Archive = o.tables[h.Type]
			routed[h.Table] += h.Filed
		}
		m := mover{looker: *l, tables: tables, only: l.f.Tables, into: o.ID}
		for _, t := range roots(l.f) {
			g := Gap{Archive: o.ID, Window: o.Window, set: o.tables}
			one.Statements = append(one.Statements, m.takes(t, g, m.between(t, o.Window))...)
		}
		p.Late = append(p.Late, one)
	}
	p.routed = routed
	early, err := l.dating(ctx, archive.Window{Start: -never, End: last}, movable)
	if err != nil {
		return nil, err
	}
	for _, h := range early {
		if h.Filed == routed[h.Table] {
			broken = slices.DeleteFunc(broken, func(b archive.Broken) bool { return b.Rule == archive.RuleComplete && b.Table == h.Table })
		}
	}
	l.routed = &last
	return broken, nil
}

// dating counts the rows of current tables that are dated within a window, where
// the table that dates them is wanted; tables that have none are left out.
func (l looker) dating(ctx context.Context, w archive.Window, wanted func(t archive.Table) bool) (all []Share, err error) {
	l.stay, l.routed = nil, nil
	for _, t := range l.f.Tables {
		line := l.f.Line(t)
		if !wanted(line[len(line)-1]) {
			continue
		}
		from, second := l.dated(t, l.current)
		n, err := l.numbers(ctx, fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE %s BETWEEN %d AND %d", from, second, w.Start, w.End))
		if err != nil {
			return nil, err
		}
		if rows := value(n[0]); rows > 0 {
			all = append(all, Share{Table: t.Name, Type: t.Type, Filed: rows})
		}
	}
	return all, nil
}

// between returns the condition on a dated table for rows of a window.
func (m mover) between(t archive.Table, w archive.Window) string {
	second := m.s.Column(t.Date)
	if m.f.Unit == archive.UnitTime {
		second = m.s.Second(second)
	}
	return fmt.Sprintf("%s BETWEEN %d AND %d", second, w.Start, w.End)
}

// stayBehind returns the statements that put late rows back behind the swap.
func (p *Plan) stayBehind(l looker, tables []*dialect.Table, last int64) (all []string) {
	m := mover{looker: l, tables: tables, stamp: p.stamp}
	for _, t := range roots(l.f) {
		all = append(all, m.statements(t, m.between(t, archive.Window{Start: -never, End: last}))...)
	}
	return all
}

// tell adds the statements that tell sinks what is being closed, and then that
// it is, where they refuse late rows.
func (p *Plan) tell(ctx context.Context, l looker, entries []archive.Entry) error {
	if l.f.Late != archive.LateReject {
		return nil
	}
	next := int64(0)
	for _, e := range entries {
		next = max(next, e.ArchiveID)
	}
	pending, err := l.closed(ctx, entries, p.Decision.Window.End)
	if err != nil {
		return err
	}
	listed := slices.Clone(entries)
	for _, h := range p.Shares {
		listed = append(listed, archive.Entry{ArchiveID: next + 1, Type: h.Type, Name: h.Archive, Window: p.Decision.Window})
	}
	closed, err := l.closed(ctx, listed, 0)
	p.Late = append(p.Late, LateMove{Late: l.f.Late, Statements: []string{l.tell(pending), l.tell(closed)}})
	return err
}
