package closing

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"holdfast/archive"
	"holdfast/archive/dialect"
)

// Backfill completes archives that lack tables of the family, over the period
// that they have, oldest first. Where it is interrupted, the next run goes on.
func Backfill(ctx context.Context, s *dialect.Session, f *archive.Family, o Options) ([]Gap, error) {
	step := o.step()
	if _, err := begin(ctx, s, f, step); err != nil {
		return nil, err
	}
	all, err := Gaps(ctx, s, f)
	if err != nil {
		return all, err
	}
	for i := range all {
		if err := fill(ctx, s, f, step, all[i:]); err != nil {
			return all[:i], err
		}
	}
	return all, nil
}

// resume goes on with the archive that an interrupted backfill was at.
func (j job) resume(ctx context.Context) error {
	all, err := Gaps(ctx, j.s, j.f)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("the archive that was being completed is complete: somebody else did it")
	}
	if err := fill(ctx, j.s, j.f, j.step, all); err != nil {
		return err
	}
	j.result.Archive, j.result.Window, j.result.Tables = all[0].Archive, all[0].Window, all[0].Tables
	return nil
}

// fill completes the first of the gaps that there are.
func fill(ctx context.Context, s *dialect.Session, f *archive.Family, step func(string) error, all []Gap) error {
	g := all[0]
	l := looker{s: s, q: s, f: f}
	r := run{stamp: g.stamp, state: stateFilling, end: g.Window.End, archive: g.Archive}
	begun, err := unfinished(ctx, s, s, f)
	if err != nil {
		return err
	}
	if err := step("begin"); err != nil {
		return err
	}
	if begun == nil {
		if err := s.In(ctx, func(q dialect.Querier) error { return each(ctx, q, []string{r.insert(s, f)}) }); err != nil {
			return err
		}
	}
	entries, err := l.catalogue(ctx)
	if err != nil {
		return err
	}
	tables, err := describe(ctx, l)
	if err != nil {
		return err
	}
	m := mover{looker: l, stamp: g.stamp, into: g.Archive}
	for _, t := range tables {
		if g.lacks(*f.Table(t.Name)) {
			m.tables, m.only = append(m.tables, t), append(m.only, *f.Table(t.Name))
		}
	}
	if err := m.open(ctx, g, entries, step); err != nil {
		return err
	}
	for _, t := range m.only {
		if t.Parent == "" || !g.lacks(*f.Table(t.Parent)) {
			if err := m.gather(ctx, t, g, step); err != nil {
				return fmt.Errorf("file rows of %q away: %w", t.Name, err)
			}
		}
	}
	if m.tables, err = m.again(ctx); err != nil {
		return err
	}
	if err := m.behind(ctx, true); err != nil {
		return err
	}
	return m.complete(ctx, all, entries, step)
}

// again describes the tables once more.
func (m mover) again(ctx context.Context) (all []*dialect.Table, err error) {
	for _, t := range m.tables {
		one, err := m.s.Table(ctx, m.q, t.Name)
		if err != nil {
			return nil, err
		}
		if one == nil {
			return nil, fmt.Errorf("table %q is gone", t.Name)
		}
		all = append(all, one)
	}
	return all, nil
}

// open makes the empty tables, and has the views show them, before a row is
// moved.
func (m mover) open(ctx context.Context, g Gap, entries []archive.Entry, step func(string) error) error {
	if err := step("tables"); err != nil {
		return err
	}
	archived := map[string]string{}
	for _, t := range m.f.Tables {
		archived[t.Name] = g.set[t.Type]
	}
	for _, t := range m.tables {
		_, there, err := m.s.Shape(ctx, m.q, archived[t.Name])
		if err != nil {
			return err
		}
		if there && !m.s.Commits() {
			continue
		}
		if err := m.s.Again(ctx, func() error {
			return m.s.In(ctx, func(q dialect.Querier) error { return each(ctx, q, m.s.Blank(t, archived[t.Name], archived)) })
		}); err != nil {
			return err
		}
	}
	if err := step("views"); err != nil {
		return err
	}
	for _, t := range m.tables {
		names := []string{}
		for _, e := range entries {
			if m.f.OfType(e.Type) != nil && m.f.OfType(e.Type).Name == t.Name {
				names = append(names, e.Name)
			}
		}
		if err := m.alone(ctx, m.s.View(t, append(names, archived[t.Name]))); err != nil {
			return err
		}
		for _, one := range m.s.Quiet(t) {
			if err := m.alone(ctx, []string{one}); err != nil {
				return err
			}
		}
	}
	return nil
}

// alone runs statements that wait for others, and others for them, for as
// short as can be.
func (m mover) alone(ctx context.Context, statements []string) error {
	if m.s.Commits() {
		_, err := m.s.Exclusive(ctx, nil, func(q dialect.Querier) error { return each(ctx, q, statements) })
		return err
	}
	return m.s.Again(ctx, func() error {
		return m.s.In(ctx, func(q dialect.Querier) error { return each(ctx, q, statements) })
	})
}

// gather moves the rows of a window, with those of children that the archive
// lacks too, in steps of one transaction each.
func (m mover) gather(ctx context.Context, t archive.Table, g Gap, step func(string) error) error {
	key, current := m.s.Column(t.Key), m.s.Quote(t.Name)
	where := ""
	if t.Parent == "" {
		second := m.s.Column(t.Date)
		if m.f.Unit == archive.UnitTime {
			second = m.s.Second(second)
		}
		where = fmt.Sprintf("%s BETWEEN %d AND %d", second, g.Window.Start, g.Window.End)
	} else {
		parent := m.f.Table(t.Parent)
		where = fmt.Sprintf("%s IN (SELECT p.%s FROM %s p)", m.s.Column(t.ParentKey), m.s.Column(parent.Key), m.s.Quote(g.set[parent.Type]))
	}
	for {
		n, err := m.numbers(ctx, fmt.Sprintf("SELECT MAX(k) FROM (SELECT %s AS k FROM %s WHERE %s ORDER BY 1 LIMIT %d) x", key, current, where, batch))
		if err != nil || n[0] == nil {
			return err
		}
		if err := step("file " + t.Name); err != nil {
			return err
		}
		if err := m.file(ctx, g, m.takes(t, g, fmt.Sprintf("%s AND %s <= %d", where, key, *n[0]))); err != nil {
			return err
		}
	}
}

// takes returns the statements that move rows of a current table which the
// condition chooses, with their children: parents come first, and go last.
func (m mover) takes(root archive.Table, g Gap, where string) []string {
	conditions := map[string]string{root.Name: where}
	var inserts, deletes []string
	for _, t := range m.only {
		if up, ok := conditions[t.Parent]; ok && t.Parent != "" {
			parent := m.f.Table(t.Parent)
			conditions[t.Name] = fmt.Sprintf("%s IN (SELECT p.%s FROM %s p WHERE %s)", m.s.Column(t.ParentKey), m.s.Column(parent.Key), m.s.Quote(parent.Name), up)
		}
		if where, ok := conditions[t.Name]; ok {
			to := *m.table(t.Name)
			to.Name = g.set[t.Type]
			insert, remove := m.s.Move(&to, t.Name, where)
			inserts, deletes = append(inserts, insert), append([]string{remove}, deletes...)
		}
	}
	return append(inserts, deletes...)
}

// file runs the statements of one step. Nobody writes to the tables meanwhile:
// a row that came between reading and removing would be lost.
func (m mover) file(ctx context.Context, g Gap, statements []string) error {
	var names, still, again []string
	for _, t := range m.tables {
		a, b := m.s.Still(t)
		names, still, again = append(names, t.Name), append(still, a...), append(again, b...)
		archived := g.set[m.f.Table(t.Name).Type]
		still = append(still, m.s.Writable(archived)...)
		if !m.s.Commits() && !g.lacks(*m.f.Table(t.Name)) { // it was sealed already
			again = append(again, m.s.ReadOnly(t, archived)...)
		}
	}
	do := func(q dialect.Querier) error { return each(ctx, q, slices.Concat(still, statements, again)) }
	if m.s.Commits() { // INSERT ... SELECT locks what it reads
		return m.s.Again(ctx, func() error { return m.s.In(ctx, do) })
	}
	_, err := m.s.Exclusive(ctx, names, do)
	return err
}

// complete makes what was filed read-only, holds it against every rule, and
// enters it in the catalogue.
func (m mover) complete(ctx context.Context, all []Gap, entries []archive.Entry, step func(string) error) error {
	g := &all[0]
	shallow := map[int64]bool{}
	for _, e := range entries {
		shallow[e.ArchiveID] = e.ArchiveID != g.Archive
	}
	entries = slices.Clone(entries)
	for _, h := range g.Tables {
		entries = append(entries, archive.Entry{ArchiveID: g.Archive, Type: h.Type, Name: h.Archive, Window: g.Window})
	}
	kept, broken, err := m.hold(ctx, step, func(l looker) ([]archive.Broken, error) {
		f, err := newFiller(ctx, l, entries, all[1:])
		if err != nil {
			return nil, err
		}
		return f.judge(ctx, entries, shallow)
	})
	for i, h := range g.Tables {
		g.Tables[i].Filed = kept[h.Archive].Rows
	}
	if err == nil && len(broken) > 0 {
		err = &Refusal{broken}
	}
	if err != nil {
		return err
	}
	if err := step("catalogue"); err != nil {
		return err
	}
	return m.enter(ctx, &Result{Window: g.Window}, kept)
}
