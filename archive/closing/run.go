package closing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/archive"
	"holdfast/archive/dialect"
	"holdfast/internal/fault"
	"holdfast/internal/mutant"
)

// Options say how Run closes. The zero value closes up to now.
type Options struct {
	End  int64                   // the last second to archive; 0: as late as can be
	Step func(name string) error // called before each step, if set; an error stops the run there
}

// Result is what a run did.
type Result struct {
	Archive int64          `json:"archive_id"`
	Window  archive.Window `json:"window"`
	Tables  []Share        `json:"tables"`
	Resumed bool           `json:"resumed"`  // it finished a run that was interrupted, and closed nothing since
	Held    time.Duration  `json:"held_ns"`  // how long the tables were locked for the swap
	Moved   time.Duration  `json:"moved_ns"` // and, in all, how long single ones were behind it, for steps that put rows back
	Why     []string       `json:"why,omitempty"`
	Late    []LateMove     `json:"late,omitempty"` // rows that were moved into older archives first
	// Unformed says why archives are not stored as the family wants it: they are
	// closed, and whole, and the next run tries again.
	Unformed []string `json:"unformed,omitempty"`
}

// Run closes a period of the family. Where an earlier run was interrupted, it
// is finished or undone first; one that is finished is all that Run does.
func Run(ctx context.Context, s *dialect.Session, f *archive.Family, o Options) (*Result, error) {
	step := o.step()
	r, err := begin(ctx, s, f, step)
	if err != nil {
		return nil, err
	}
	result := &Result{}
	j := job{s, f, step, result}
	switch {
	case r == nil:
	case r.state == stateSwitched:
		result.Resumed = true
		return result, j.thenReform(ctx, j.finish(ctx, *r))
	default:
		result.Resumed = true
		return result, j.thenReform(ctx, j.resume(ctx))
	}
	if result.Late, err = route(ctx, s, f, step); err != nil {
		return nil, err
	}
	p, err := Make(ctx, s, f, o.End)
	if err != nil {
		return nil, err
	}
	fresh := run{stamp: p.stamp, state: statePrepared, end: p.Decision.Window.End}
	if err := step("prepare"); err != nil {
		return nil, err
	}
	if err := prepare(ctx, s, f, p, fresh); err != nil {
		return nil, err
	}
	if err := step("swap"); err != nil {
		return nil, err
	}
	result.Why = p.Decision.Why
	if err := publish(ctx, s, f, fresh.end); err != nil {
		return nil, err
	}
	if result.Held, err = swap(ctx, s, f, p, fresh); err != nil {
		return nil, errors.Join(err, publish(context.WithoutCancel(ctx), s, f, 0))
	}
	return result, j.thenReform(ctx, j.finish(ctx, fresh))
}

// step returns what is called before each step.
func (o Options) step() func(string) error {
	if o.Step == nil {
		return func(string) error { return nil }
	}
	return o.Step
}

// begin keeps other runs away, makes the tables of the journal, undoes a run
// that swapped nothing, and ends a drop, or a move of late rows, that was
// interrupted, or a migration. It returns the run that is to be gone on with; nil
// where there is none.
func begin(ctx context.Context, s *dialect.Session, f *archive.Family, step func(string) error) (*run, error) {
	if err := s.Lock(ctx); err != nil {
		return nil, err
	}
	if err := ensure(ctx, s, f); err != nil {
		return nil, err
	}
	for {
		r, err := unfinished(ctx, s, s, f)
		switch {
		case err != nil:
			return nil, err
		case r == nil:
			return nil, publish(ctx, s, f, 0)
		case r.state == stateSwitched: // it may not be noted yet, and what tells of it goes first
			if err := each(ctx, s, []string{r.update(s, f, "state = '"+stateSwitched+"'")}); err != nil {
				return nil, err
			}
			return r, publish(ctx, s, f, r.end)
		case r.state == statePrepared:
			err = undo(ctx, s, f, *r)
		case r.state == stateLeaving:
			err = leaver{s, f, *r}.again(ctx)
		case r.state == stateRouting:
			err = reroute(ctx, s, f, *r, step)
		case r.state == stateMigrating:
			err = remigrate(ctx, s, f, *r)
		case r.state == stateReforming:
			err = reformed(ctx, s, f, *r)
		default:
			return r, publish(ctx, s, f, 0)
		}
		if err != nil {
			return nil, err
		}
	}
}

// ensure makes the tables that are not there. Making nothing needs no rights.
func ensure(ctx context.Context, s *dialect.Session, f *archive.Family) error {
	names := []string{f.Catalogue, runsTable, keptTable}
	if f.Late == archive.LateReject {
		names = append(names, lateTable)
	}
	for i, name := range names {
		t, err := s.Table(ctx, s, name)
		if err != nil {
			return err
		}
		if t != nil {
			if s.Commits() && len(t.Unfit) > 0 {
				return fault.New(fault.FeatureNotSupported, "table %q cannot be written in one transaction with others: %s", name, t.Unfit[0])
			}
			continue
		}
		if _, err := s.ExecContext(ctx, tables(s, f)[i]); err != nil {
			return fmt.Errorf("make table %q: %w", name, err)
		}
	}
	return nil
}

// undo drops the twins of a run that swapped nothing. Where views read twins
// already, they forget them first.
func undo(ctx context.Context, s *dialect.Session, f *archive.Family, r run) error {
	l := looker{s: s, q: s, f: f}
	var names []string
	for _, t := range f.Tables {
		names = append(names, t.Name)
		if err := l.unread(ctx, t, r); err != nil {
			return err
		}
	}
	return s.In(ctx, func(q dialect.Querier) error { return each(ctx, q, append(s.Undo(names, r.stamp), r.remove(s, f))) })
}

// unread has the view over a table read no twin of a run that swapped nothing,
// where twins are called as archives are. One that holds rows is none.
func (l looker) unread(ctx context.Context, t archive.Table, r run) error {
	twin := l.s.Twin(t.Name, r.stamp)
	if twin != dialect.Archived(t.Name, r.stamp) {
		return nil
	}
	_, there, err := l.s.Shape(ctx, l.q, twin)
	if err != nil || !there {
		return err
	}
	keys, err := l.keys(ctx, "SELECT "+l.s.Column(t.Key)+" FROM "+l.s.Quote(twin))
	if err != nil {
		return err
	}
	if len(keys) > 0 {
		return fault.New(fault.DataCorrupted, "table %q was made to be empty, and holds rows: it is not dropped", twin).WithHint("keep it, and look who renamed it")
	}
	entries, err := l.catalogue(ctx)
	if err != nil {
		return err
	}
	one, err := l.s.Table(ctx, l.q, t.Name)
	if err != nil || one == nil {
		return err
	}
	all := []*dialect.Table{one}
	if err := l.s.CheckViews(ctx, l.q, all); err != nil || one.Taken() || !one.Viewed() {
		return err
	}
	return mover{looker: l}.alone(ctx, l.s.View(one, archivedBy(l.f, entries, nil)[t.Name]))
}

// prepare makes the twins, and reads each back: what a table has and its twin
// lacks would be lost.
func prepare(ctx context.Context, s *dialect.Session, f *archive.Family, p *Plan, r run) error {
	make := func(q dialect.Querier) error {
		if err := each(ctx, q, append([]string{r.insert(s, f)}, p.Prepare[:len(p.Prepare)-len(p.views)]...)); err != nil {
			return err
		}
		return compare(ctx, s, q, p)
	}
	if !s.Commits() {
		return s.In(ctx, make)
	}
	err := make(s)
	for i := 0; err == nil && i < len(p.views); i++ {
		err = mover{looker: looker{s: s, q: s, f: f}}.alone(ctx, p.views[i:i+1])
	}
	if err != nil && ctx.Err() == nil { // or the next run does
		err = errors.Join(err, undo(ctx, s, f, r))
	}
	return err
}

// swap puts the twins in place, under a lock and in one transaction.
func swap(ctx context.Context, s *dialect.Session, f *archive.Family, p *Plan, r run) (time.Duration, error) {
	var names []string
	for _, t := range p.tables {
		names = append(names, t.Name)
	}
	if err := s.In(ctx, func(q dialect.Querier) error { return compare(ctx, s, q, p) }); err != nil {
		return 0, err
	}
	switched := r.update(s, f, "state = '"+stateSwitched+"'")
	if s.Commits() { // who is killed before the note finds it swapped
		held, err := gentle(ctx, s, names, func(q dialect.Querier) error { return each(ctx, q, p.Swap) })
		if err == nil {
			err = each(ctx, s, []string{switched})
		}
		return held, err
	}
	return gentle(ctx, s, names, func(q dialect.Querier) error {
		statements := p.Swap
		if p.InSwap {
			few, err := p.few(ctx, looker{s: s, q: q, f: f})
			if err != nil {
				return err
			}
			if !few {
				statements = p.bare
			}
		}
		return all(ctx, q, append(slices.Clone(statements), switched))
	})
}

// job is one closing under way.
type job struct {
	s      *dialect.Session
	f      *archive.Family
	step   func(name string) error
	result *Result
}

// finish sorts the rows of a run that is switched, verifies what came of it,
// and lists it.
func (j job) finish(ctx context.Context, r run) error {
	l, result := looker{s: j.s, q: j.s, f: j.f}, j.result
	entries, err := l.catalogue(ctx)
	if err != nil {
		return err
	}
	l.stay = l.stays(entries)
	described, err := describe(ctx, l)
	if err != nil {
		return err
	}
	m := mover{looker: l, tables: described, stamp: r.stamp, held: &result.Moved}
	if err := m.behind(ctx, false); err != nil {
		return err
	}
	for end := r.end; ; {
		var err error
		if end, err = j.sort(ctx, m, entries, end); err != nil {
			return err
		}
		if err := m.behind(ctx, true); err != nil {
			return err
		}
		if err := m.list(ctx, entries, result, j.step); !errors.Is(err, errCame) {
			return err
		}
		result.Tables = nil
	}
}

// sort puts back the rows that stay, until the end of the window holds still,
// and returns that.
func (j job) sort(ctx context.Context, m mover, entries []archive.Entry, end int64) (int64, error) {
	result := j.result
	for {
		if err := j.step("settle"); err != nil {
			return end, err
		}
		d, err := m.settle(ctx, entries, end)
		if err != nil {
			return end, err
		}
		if len(d.Refused) > 0 {
			return end, &Refusal{d.Refused}
		}
		result.Why = append(result.Why, d.Why...)
		settled := d.Window.End == end && result.Window == d.Window
		result.Window, end = d.Window, d.Window.End
		if settled {
			return end, nil
		}
		if err := m.putBack(ctx, end, j.step); err != nil {
			return end, err
		}
	}
}

// settle finds the end again, now that the archived tables hold still.
func (m mover) settle(ctx context.Context, entries []archive.Entry, end int64) (d archive.Decision, err error) {
	err = snapshot(ctx, m.s, m.f, func(l looker) error {
		l.stay = m.stay
		both := l.swapped(m.stamp)
		late := func(t archive.Table, end int64) (*int64, error) {
			from, second := l.dated(t, func(in archive.Table) string {
				if in.Name == t.Name {
					return l.current(t)
				}
				return both(in)
			})
			n, err := l.numbers(ctx, fmt.Sprintf("SELECT MIN(%[1]s) FROM %[2]s WHERE %[1]s <= %[3]d", second, from, end))
			if err != nil {
				return nil, err
			}
			return n[0], nil
		}
		d, err = archive.Settle(l.f, end, func(end int64) (archive.State, error) {
			s := archive.State{End: end, Catalogue: entries, Tables: map[int]archive.Facts{}}
			return s, l.state(ctx, &s, both, late)
		})
		return err
	})
	return d, err
}

// list makes the archive read-only, holds it against every rule, and enters it
// in the catalogue.
func (m mover) list(ctx context.Context, entries []archive.Entry, result *Result, step func(string) error) error {
	shallow := map[int64]bool{}
	for _, e := range entries {
		shallow[e.ArchiveID] = true
		result.Archive = max(result.Archive, e.ArchiveID)
	}
	result.Archive++
	for _, t := range m.f.Tables {
		entries = append(entries, archive.Entry{ArchiveID: result.Archive, Type: t.Type, Name: dialect.Archived(t.Name, m.stamp), Window: result.Window})
	}
	kept, broken, err := m.hold(ctx, step, func(l looker) ([]archive.Broken, error) {
		found, err := l.found(ctx, entries, shallow)
		return archive.Verify(m.f, found), err
	})
	if err != nil {
		return err
	}
	for _, t := range m.f.Tables {
		name := dialect.Archived(t.Name, m.stamp)
		result.Tables = append(result.Tables, Share{Table: t.Name, Type: t.Type, Archive: name, Filed: kept[name].Rows})
	}
	if len(broken) > 0 {
		if mutant.On(37) {
			return errors.Join(m.enter(ctx, result, kept), &Refusal{broken})
		}
		return &Refusal{broken}
	}
	if err := step("catalogue"); err != nil {
		return err
	}
	return m.enter(ctx, result, kept)
}

// hold makes the archived tables read-only, has judge hold them against every
// rule, and returns what they hold.
func (m mover) hold(ctx context.Context, step func(string) error, judge func(l looker) ([]archive.Broken, error)) (kept map[string]archive.Kept, broken []archive.Broken, err error) {
	if err := step("read-only"); err != nil {
		return nil, nil, err
	}
	if err := m.seal(ctx); err != nil {
		return nil, nil, err
	}
	if err := step("verify"); err != nil {
		return nil, nil, err
	}
	kept = map[string]archive.Kept{}
	err = snapshot(ctx, m.s, m.f, func(l looker) (err error) {
		if broken, err = judge(l); err != nil {
			return err
		}
		for _, t := range m.tables {
			name := dialect.Archived(t.Name, m.stamp)
			n, sum, err := digest(ctx, m.s, l.q, name)
			if err != nil {
				return err
			}
			kept[name] = archive.Kept{Rows: n, Digest: sum}
		}
		return nil
	})
	return kept, broken, err
}

// seal makes the archived tables read-only.
func (m mover) seal(ctx context.Context) error {
	return m.s.In(ctx, func(q dialect.Querier) error {
		for _, t := range m.tables {
			if err := each(ctx, q, m.s.ReadOnly(t, dialect.Archived(t.Name, m.stamp))); err != nil {
				return err
			}
		}
		return nil
	})
}

// enter lists the archive, writes down what it holds, and ends the run.
func (m mover) enter(ctx context.Context, result *Result, kept map[string]archive.Kept) error {
	return m.gated(ctx, result.Window.End, func(q dialect.Querier) error {
		catalogue := m.s.Quote(m.f.Catalogue)
		if reserve := m.s.Reserve(m.f.Catalogue); reserve != "" {
			if _, err := q.ExecContext(ctx, reserve); err != nil {
				return err
			}
		}
		n, err := looker{s: m.s, q: q, f: m.f}.numbers(ctx, "SELECT coalesce(max(archive_id), 0) + 1, coalesce(max(id), 0) FROM "+catalogue)
		if err != nil {
			return err
		}
		members := m.only
		if result.Archive = m.into; m.into == 0 {
			result.Archive, members = *n[0], m.f.Tables
		}
		t, err := m.s.Table(ctx, q, m.f.Catalogue)
		if err != nil {
			return err
		}
		var statements []string
		for i, one := range members {
			column, id := "", ""
			if !t.Numbers("id") {
				column, id = "id, ", fmt.Sprintf("%d, ", *n[1]+int64(i)+1)
			}
			name := dialect.Archived(one.Name, m.stamp)
			statements = append(statements,
				fmt.Sprintf("INSERT INTO %s (%sarchive_id, table_type, table_name, start_date, end_date) VALUES (%s%d, %d, %s, %d, %d)", catalogue,
					column, id, result.Archive, one.Type, m.s.Text(name), result.Window.Start, result.Window.End),
				fmt.Sprintf("INSERT INTO %s (table_name, family, archive_id, table_type, row_count, digest) VALUES (%s, %s, %d, %d, %d, '%s')", m.s.Quote(keptTable),
					m.s.Text(name), m.s.Text(m.f.Name), result.Archive, one.Type, kept[name].Rows, kept[name].Digest))
		}
		r := run{stamp: m.stamp}
		return each(ctx, q, append(statements, r.update(m.s, m.f, fmt.Sprintf("state = '%s', archive_id = %d, end_date = %d", stateClosed, result.Archive, result.Window.End))))
	})
}
