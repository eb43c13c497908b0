package closing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast/archive"
	"holdfast/archive/dialect"
	"holdfast/internal/fault"
)

// Migration is what Migrate does: to archived tables that do not look like the
// current ones any more, and to the views over them.
type Migration struct {
	Tables     []Migrated `json:"tables"`
	Statements []string   `json:"statements"`

	migrants []dialect.Migrant
	view     []string // the last of Statements; all views where nothing changes
	kept     map[string]archive.Kept
}

// Migrated is one archived table that changes.
type Migrated struct {
	Archive int64    `json:"archive_id"`
	Type    int      `json:"type"`
	Table   string   `json:"table"`
	Rows    int64    `json:"rows"`
	Why     []string `json:"why"` // how it differs from the current table
}

// migrating stands in place of the digest of a table that changes.
const migrating = "migrating"

// Migrations looks for archived tables that differ from the current ones, and
// says how they can follow. Where a value could be lost, or an archive is not
// as it was when it was closed, it is a *Refusal.
func Migrations(ctx context.Context, s *dialect.Session, f *archive.Family) (*Migration, error) {
	p := &Migration{}
	var refused []archive.Broken
	err := snapshot(ctx, s, f, func(l looker) (err error) {
		refused, err = p.look(ctx, l)
		return err
	})
	if err == nil && len(refused) > 0 {
		err = &Refusal{refused}
	}
	return p, err
}

func (p *Migration) look(ctx context.Context, l looker) (refused []archive.Broken, err error) {
	tables, err := describe(ctx, l)
	if err != nil {
		return nil, err
	}
	current := map[string]*dialect.Table{}
	for _, t := range tables {
		current[t.Name] = t
	}
	entries, err := l.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	if p.kept, err = l.kept(ctx); err != nil {
		return nil, err
	}
	retyped := map[string]bool{}
	var change []string
	for _, set := range archive.Sets(l.f, entries) {
		var all []dialect.Migrant
		drifts := false
		for _, t := range l.f.Tables {
			for _, e := range set.Entries {
				if e.Type != t.Type || current[t.Name] == nil {
					continue
				}
				m, why, err := p.one(ctx, l, current[t.Name], e)
				if err != nil {
					return nil, err
				}
				refused = append(refused, why...)
				if m != nil {
					all = append(all, *m)
					drifts = drifts || !m.Drift.None()
					retyped[t.Name] = retyped[t.Name] || m.Retyped()
				}
			}
		}
		if drifts {
			held, err := l.held(ctx, []archive.Set{set}, "migrated")
			if err != nil {
				return nil, err
			}
			refused = append(refused, held...)
			p.migrants = append(p.migrants, all...)
			change = append(change, l.s.Migrate(all)...)
		}
	}
	p.views(l, tables, archivedBy(l.f, entries, nil), retyped, change)
	return refused, nil
}

// one holds an archived table against the current one.
func (p *Migration) one(ctx context.Context, l looker, t *dialect.Table, e archive.Entry) (*dialect.Migrant, []archive.Broken, error) {
	filed, err := l.s.Table(ctx, l.q, e.Name)
	if err != nil || filed == nil {
		return nil, nil, err // RuleCatalogue names it
	}
	m := &dialect.Migrant{Current: t, Filed: filed}
	if m.ReadOnly, err = l.s.IsReadOnly(ctx, l.q, e.Name); err != nil {
		return nil, nil, err
	}
	drift, why := t.Structure.Drift(filed.Structure, l.s.Widens)
	if m.Drift = drift; drift.None() && len(why) == 0 {
		return m, nil, nil
	}
	more, err := l.s.Hinders(ctx, l.q, *m)
	if err != nil {
		return nil, nil, err
	}
	var refused []archive.Broken
	for _, one := range append(why, more...) {
		refused = append(refused, archive.Broken{Rule: archive.RuleStructure, Table: e.Name, What: one})
	}
	n, sum, err := digest(ctx, l.s, l.q, e.Name)
	if err != nil {
		return nil, nil, err
	}
	if k, ok := p.kept[e.Name]; ok && (k.Rows != n || k.Digest != sum) {
		refused = append(refused, archive.Broken{Rule: archive.RuleDigest, Table: e.Name, What: "it is not as it was when it was closed: a migration would hide that"})
	} else if ok && !m.ReadOnly {
		refused = append(refused, archive.Broken{Rule: archive.RuleReadOnly, Table: e.Name, What: "it can be written to"})
	}
	p.Tables = append(p.Tables, Migrated{Archive: e.ArchiveID, Type: e.Type, Table: e.Name, Rows: n, Why: t.Structure.Differences(filed.Structure)})
	return m, refused, nil
}

// views puts the statements in order: the views over tables that change are
// made anew behind them.
func (p *Migration) views(l looker, tables []*dialect.Table, archived map[string][]string, retyped map[string]bool, change []string) {
	var before []string
	for _, t := range tables {
		drifts := slices.ContainsFunc(p.Tables, func(one Migrated) bool { return l.f.OfType(one.Type).Name == t.Name })
		if (drifts || len(p.Tables) == 0) && !t.Taken() {
			first, last := l.s.Views(t, archived[t.Name], retyped[t.Name])
			before, p.view = append(before, first...), append(p.view, last...)
		}
	}
	if len(p.Tables) > 0 {
		p.Statements = slices.Concat(before, change, p.view)
	}
}

// Migrate has archived tables follow the current ones. PostgreSQL and SQLite do
// it in one transaction. Elsewhere each table is changed by one statement: where
// it is interrupted, those that are changed are whole, and the next migration
// goes on with the others.
func Migrate(ctx context.Context, s *dialect.Session, f *archive.Family, o Options) (*Migration, error) {
	step := o.step()
	begun, err := begin(ctx, s, f, step)
	if err != nil {
		return nil, err
	}
	if begun != nil {
		return nil, fault.New(fault.CannotConnectNow, "a closing of family %q was interrupted", f.Name).WithHint("finish it first: archive run --apply")
	}
	p, err := Migrations(ctx, s, f)
	if err != nil || len(p.Tables) == 0 {
		return p, err
	}
	now, err := s.Now(ctx)
	if err != nil {
		return nil, err
	}
	stamp, err := fresh(ctx, s, now)
	if err != nil {
		return nil, err
	}
	r := run{stamp: stamp, state: stateMigrating}
	if err := step("migrate"); err != nil {
		return nil, err
	}
	if s.Commits() {
		return p, p.inSteps(ctx, s, f, r)
	}
	var names []string
	for _, one := range p.Tables {
		names = append(names, one.Table)
	}
	_, err = s.Exclusive(ctx, names, func(q dialect.Querier) error {
		if err := each(ctx, q, append([]string{r.insert(s, f)}, p.mark(s)...)); err != nil {
			return err
		}
		if err := each(ctx, q, p.Statements); err != nil {
			return err
		}
		if err := p.followed(ctx, s, q); err != nil {
			return err
		}
		return seals(ctx, s, q, f, r)
	})
	return p, err
}

// mark notes the tables whose digest changes, those of which one was written
// down.
func (p *Migration) mark(s *dialect.Session) (all []string) {
	for _, m := range p.migrants {
		if _, ok := p.kept[m.Filed.Name]; ok {
			all = append(all, fmt.Sprintf("UPDATE %s SET digest = '%s' WHERE table_name = %s", s.Quote(keptTable), migrating, s.Text(m.Filed.Name)))
		}
	}
	return all
}

// inSteps changes one table after the other.
func (p *Migration) inSteps(ctx context.Context, s *dialect.Session, f *archive.Family, r run) error {
	if err := s.In(ctx, func(q dialect.Querier) error { return each(ctx, q, append([]string{r.insert(s, f)}, p.mark(s)...)) }); err != nil {
		return err
	}
	change := func() error {
		for _, one := range p.Statements {
			if err := s.Again(ctx, func() error { return each(ctx, s, []string{one}) }); err != nil {
				return err
			}
		}
		return p.followed(ctx, s, s)
	}
	err := change()
	if ctx.Err() != nil {
		return err // the next verb seals what is changed
	}
	return errors.Join(err, sealAnew(ctx, s, f, r))
}

// followed wants each table to look like the current one now, as that was when
// the migration was planned.
func (p *Migration) followed(ctx context.Context, s *dialect.Session, q dialect.Querier) error {
	for _, m := range p.migrants {
		shape, _, err := s.Shape(ctx, q, m.Filed.Name)
		if err != nil {
			return err
		}
		if left := m.Current.Structure.Differences(shape); len(left) > 0 {
			return fault.New(fault.InternalError, "archived table %q does not look like the current one behind its migration", m.Filed.Name).WithDetail("%s", strings.Join(left, "; "))
		}
	}
	return nil
}

// remigrate ends a migration that was interrupted: where no table was left to
// change, the views may lack what was added.
func remigrate(ctx context.Context, s *dialect.Session, f *archive.Family, r run) error {
	if p, err := Migrations(ctx, s, f); err == nil && len(p.Tables) == 0 { // else the next migration makes them
		if err := each(ctx, s, p.view); err != nil {
			return err
		}
	}
	return sealAnew(ctx, s, f, r)
}

// sealAnew writes down what the tables of a migration hold that has ended, or
// that was interrupted.
func sealAnew(ctx context.Context, s *dialect.Session, f *archive.Family, r run) error {
	return s.In(ctx, func(q dialect.Querier) error { return seals(ctx, s, q, f, r) })
}

// seals does it in a transaction, and ends the run. Where a table does not hold
// as many rows as it did, its digest stays unknown, and Verify names it.
func seals(ctx context.Context, s *dialect.Session, q dialect.Querier, f *archive.Family, r run) error {
	kept, err := looker{s: s, q: q, f: f}.kept(ctx)
	if err != nil {
		return err
	}
	var ended []string
	for name, k := range kept {
		if k.Digest != migrating {
			continue
		}
		_, there, err := s.Shape(ctx, q, name)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		n, sum, err := digest(ctx, s, q, name)
		if err != nil {
			return err
		}
		if n == k.Rows {
			ended = append(ended, fmt.Sprintf("UPDATE %s SET digest = '%s' WHERE table_name = %s", s.Quote(keptTable), sum, s.Text(name)))
		}
	}
	return each(ctx, q, append(ended, r.update(s, f, "state = '"+stateClosed+"'")))
}
