package closing

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"holdfast/archive"
	"holdfast/archive/dialect"
	"holdfast/internal/fault"
)

// Which says which archives Drop takes away.
type Which struct {
	Archive int64 // this one, which must be the oldest; 0: all that end before Before
	Before  int64 // a second
}

// Leaving is an archive that Drop takes away.
type Leaving struct {
	Archive    int64          `json:"archive_id"`
	Window     archive.Window `json:"window"`
	Tables     []Share        `json:"tables"`
	Statements []string       `json:"statements"`

	stamp int64
	gone  []string // tables that are there, parents first
	how   dialect.Leave
}

// Leavings returns the archives that Drop would take away, oldest first, and
// how. Where they are not the oldest, or none would be left, it is a *Refusal.
func Leavings(ctx context.Context, s *dialect.Session, f *archive.Family, w Which) (all []Leaving, err error) {
	now, err := s.Now(ctx)
	if err != nil {
		return nil, err
	}
	stamp, err := fresh(ctx, s, now)
	if err != nil {
		return nil, err
	}
	err = snapshot(ctx, s, f, func(l looker) error {
		entries, err := l.catalogue(ctx)
		if err != nil {
			return err
		}
		sets, refused := archive.Leave(f, entries, w.Archive, w.Before)
		held, err := l.held(ctx, sets, "dropped")
		if err != nil {
			return err
		}
		if refused = append(refused, held...); len(refused) > 0 {
			return &Refusal{refused}
		}
		tables, err := describe(ctx, l)
		if err != nil {
			return err
		}
		for _, t := range tables {
			if t.Taken() {
				return &Refusal{[]archive.Broken{{Rule: archive.RuleTables, Table: t.Name, What: strings.Join(t.Unfit, "; ")}}}
			}
		}
		above, err := l.exchangeable(ctx, len(sets))
		if err != nil {
			return err
		}
		for i, set := range sets {
			one := Leaving{Archive: set.ID, Window: set.Window, stamp: stamp + int64(i)}
			for _, t := range f.Tables {
				for _, e := range set.Entries {
					if e.Type == t.Type {
						if err := one.add(ctx, l, t, e.Name); err != nil {
							return err
						}
					}
				}
			}
			one.how = l.s.Leave(tables, one.gone, archivedBy(f, entries, sets[:i+1]), unlisting(f, set.ID, above), one.stamp)
			above += min(above, 100) // 0 stays 0
			one.Statements = append(slices.Concat(one.how.Before, one.how.Step, one.how.After), forget(s, f, set.ID))
			all = append(all, one)
		}
		return nil
	})
	return all, err
}

// add counts the rows of one table that leaves.
func (g *Leaving) add(ctx context.Context, l looker, t archive.Table, name string) error {
	h := Share{Table: t.Name, Type: t.Type, Archive: name}
	_, there, err := l.s.Shape(ctx, l.q, name)
	if err == nil && there {
		var n []*int64
		if n, err = l.numbers(ctx, "SELECT COUNT(*) FROM "+l.s.Quote(name)); err == nil {
			h.Filed = value(n[0])
			g.gone = append(g.gone, name)
		}
	}
	g.Tables = append(g.Tables, h)
	return err
}

// archivedBy returns the archived tables that are listed, without those of some
// archives, by the name of the current one.
func archivedBy(f *archive.Family, entries []archive.Entry, without []archive.Set) map[string][]string {
	all := map[string][]string{}
	for _, e := range entries {
		gone := false
		for _, s := range without {
			gone = gone || s.ID == e.ArchiveID
		}
		if t := f.OfType(e.Type); t != nil && !gone {
			all[t.Name] = append(all[t.Name], e.Name)
		}
	}
	return all
}

// exchangeable refuses a catalogue that cannot change in one step with the tables
// that leave, where another one takes its place; it returns where that one's
// numbers begin.
func (l looker) exchangeable(ctx context.Context, sets int) (above int64, err error) {
	t, err := l.s.Table(ctx, l.q, l.f.Catalogue)
	if err != nil || t == nil || sets == 0 || !l.s.Commits() {
		return 0, err
	}
	if t.Tied() {
		return 0, &Refusal{[]archive.Broken{{Rule: archive.RuleTables, Table: l.f.Catalogue, What: "triggers or foreign keys are tied to the catalogue, which is exchanged together with the tables: they would be lost"}}}
	}
	return t.Above(), nil
}

// unlisting is the rows by which the catalogue lists an archive.
func unlisting(f *archive.Family, id, above int64) dialect.Unlisting {
	var types []string
	for _, t := range f.Tables {
		types = append(types, fmt.Sprint(t.Type))
	}
	return dialect.Unlisting{Catalogue: f.Catalogue, Where: fmt.Sprintf("archive_id = %d AND table_type IN (%s)", id, strings.Join(types, ", ")), Above: above}
}

// forget takes away what was written down of an archive.
func forget(s *dialect.Session, f *archive.Family, id int64) string {
	return fmt.Sprintf("DELETE FROM %s WHERE family = %s AND archive_id = %d", s.Quote(keptTable), s.Text(f.Name), id)
}

// Drop takes archives away for good, oldest first, each of them whole: where it
// is interrupted, the next drop, run or backfill ends what it began.
func Drop(ctx context.Context, s *dialect.Session, f *archive.Family, w Which, o Options) ([]Leaving, error) {
	step := o.step()
	begun, err := begin(ctx, s, f, step)
	if err != nil {
		return nil, err
	}
	if begun != nil {
		return nil, fault.New(fault.CannotConnectNow, "a closing of family %q was interrupted", f.Name).WithHint("finish it first: archive run --apply")
	}
	all, err := Leavings(ctx, s, f, w)
	if err != nil {
		return nil, err
	}
	for i, g := range all {
		if err := step("drop"); err != nil {
			return all[:i], err
		}
		l := leaver{s, f, run{stamp: g.stamp, state: stateLeaving, end: g.Window.End, archive: g.Archive}}
		if err := l.leave(ctx, g); err != nil {
			return all[:i], fmt.Errorf("drop archive %d: %w", g.Archive, err)
		}
	}
	return all, publish(ctx, s, f, 0)
}

// leaver takes one archive away.
type leaver struct {
	s *dialect.Session
	f *archive.Family
	r run
}

// leave does it in one transaction, or, where renaming commits by itself, in one
// statement that renames the tables, the views and the catalogue, with a note of it
// before.
func (l leaver) leave(ctx context.Context, g Leaving) error {
	if !l.s.Commits() {
		ended := l.r
		ended.state = stateDropped
		_, err := l.s.Exclusive(ctx, g.gone, func(q dialect.Querier) error {
			return each(ctx, q, append(slices.Clone(g.how.Step), forget(l.s, l.f, g.Archive), ended.insert(l.s, l.f)))
		})
		return err
	}
	if err := each(ctx, l.s, append([]string{l.r.insert(l.s, l.f)}, g.how.Before...)); err != nil {
		return err
	}
	if _, err := l.s.Exclusive(ctx, nil, func(q dialect.Querier) error { return each(ctx, q, g.how.Step) }); err != nil {
		return err
	}
	return l.end(ctx, g.how)
}

// again ends a drop that was interrupted: where the catalogue still lists the
// archive, nothing has left yet, and nothing does.
func (l leaver) again(ctx context.Context) error {
	look := looker{s: l.s, q: l.s, f: l.f}
	entries, err := look.catalogue(ctx)
	if err != nil {
		return err
	}
	for _, set := range archive.Sets(l.f, entries) {
		if set.ID == l.r.archive {
			next := "DROP TABLE IF EXISTS " + l.s.Quote(dialect.CatalogueNext(l.f.Catalogue, l.r.stamp))
			if err := each(ctx, l.s, []string{next}); err != nil {
				return err
			}
			return undo(ctx, l.s, l.f, l.r)
		}
	}
	tables, err := describe(ctx, look)
	if err != nil {
		return err
	}
	names, there, err := l.gone(ctx)
	if err != nil {
		return err
	}
	how := dialect.Leave{}
	if there {
		how = l.s.Leave(tables, names, archivedBy(l.f, entries, nil), unlisting(l.f, l.r.archive, 0), l.r.stamp)
	}
	return l.end(ctx, how)
}

// gone returns the tables that have left, parents first, as the old catalogue
// lists them, and whether that is still there.
func (l leaver) gone(ctx context.Context) (names []string, there bool, err error) {
	left := dialect.CatalogueLeft(l.f.Catalogue, l.r.stamp)
	if _, there, err = l.s.Shape(ctx, l.s, left); err != nil || !there {
		return nil, there, err
	}
	for _, t := range l.f.Tables {
		rows, err := dialect.Rows(ctx, l.s, fmt.Sprintf("SELECT table_name FROM %s WHERE archive_id = %d AND table_type = %d", l.s.Quote(left), l.r.archive, t.Type))
		if err != nil {
			return nil, there, err
		}
		for _, r := range rows {
			names = append(names, r[0])
		}
	}
	return names, there, nil
}

// end is what is left once nobody sees the archive any more.
func (l leaver) end(ctx context.Context, how dialect.Leave) error {
	if err := each(ctx, l.s, how.After); err != nil {
		return err
	}
	return l.s.In(ctx, func(q dialect.Querier) error {
		return each(ctx, q, []string{forget(l.s, l.f, l.r.archive), l.r.update(l.s, l.f, "state = '"+stateDropped+"'")})
	})
}
