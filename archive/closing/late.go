package closing

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"holdfast/archive"
	"holdfast/archive/dialect"
)

// late is one archive with rows of its window that came when it was closed.
type late struct {
	archive.Set
	tables map[int]string // by type
}

// route moves rows that are dated within a closed window into the archive of
// that window, where the family wants it: in steps, each of them one
// transaction. Tables whose keys rise are left to Verify, which names the rows:
// a key that came late is above those of later archives.
func route(ctx context.Context, s *dialect.Session, f *archive.Family, step func(string) error) (moved []LateMove, err error) {
	if f.Late != archive.LateRoute {
		return nil, nil
	}
	if ok, err := answers(ctx, s, f); err != nil || !ok {
		return nil, err
	}
	l := looker{s: s, q: s, f: f}
	all, tables, err := lates(ctx, l)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		now, err := s.Now(ctx)
		if err != nil {
			return moved, err
		}
		stamp, err := fresh(ctx, s, now)
		if err != nil {
			return moved, err
		}
		if err := step("route"); err != nil {
			return moved, err
		}
		r := run{stamp: stamp, state: stateRouting, end: one.End, archive: one.ID}
		if err := s.In(ctx, func(q dialect.Querier) error { return each(ctx, q, []string{r.insert(s, f)}) }); err != nil {
			return moved, err
		}
		rows, err := l.dating(ctx, one.Window, func(t archive.Table) bool { return isRoot(f, t) })
		if err != nil {
			return moved, err
		}
		moved = append(moved, LateMove{Late: f.Late, Archive: one.ID, Tables: rows})
		if err := one.file(ctx, l, tables, r, step); err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// lates finds the archives whose rows came late, oldest first. What would break
// a rule in an archive is left to Verify, which names it: rows without their
// twins, rows that may still change, and archives that lack a table, are not as
// they were when they were closed, or are on hold.
func lates(ctx context.Context, l looker) (all []late, tables []*dialect.Table, err error) {
	entries, err := l.catalogue(ctx)
	if err != nil {
		return nil, nil, err
	}
	if tables, err = describe(ctx, l); err != nil || len(tables) < len(l.f.Tables) {
		return nil, nil, err
	}
	kept, err := l.kept(ctx)
	if err != nil {
		return nil, nil, err
	}
	if alone, err := l.mirrors(ctx, l.current, ""); err != nil || len(alone) > 0 {
		return nil, nil, err
	}
	for _, set := range archive.Sets(l.f, entries) {
		one := late{set, map[int]string{}}
		for _, e := range set.Entries {
			one.tables[e.Type] = e.Name
		}
		came, err := one.came(ctx, l)
		if err != nil {
			return nil, nil, err
		}
		held, err := l.held(ctx, []archive.Set{set}, "added to")
		if err != nil {
			return nil, nil, err
		}
		if !came || len(held) > 0 || len(one.tables) != len(l.f.Tables) || len(set.Entries) != len(l.f.Tables) {
			continue
		}
		sound := true
		for _, name := range one.tables {
			if sound, err = l.s.Transacts(ctx, l.q, name); err != nil || !sound {
				break
			}
		}
		if err != nil {
			return nil, nil, err
		}
		for _, name := range one.tables {
			if k, ok := kept[name]; ok && sound {
				n, sum, err := digest(ctx, l.s, l.q, name)
				if err != nil {
					return nil, nil, err
				}
				sound = n == k.Rows && sum == k.Digest
			}
		}
		if sound {
			all = append(all, one)
		}
	}
	return all, tables, nil
}

// roots are the dated tables whose late rows can be moved: neither their keys
// nor those of their children must rise.
func roots(f *archive.Family) (all []archive.Table) {
	for _, t := range f.Tables {
		rises := false
		for _, other := range f.Tables {
			line := f.Line(other)
			rises = rises || other.IDOrder && line[len(line)-1].Name == t.Name
		}
		if t.Parent == "" && !rises {
			all = append(all, t)
		}
	}
	for _, m := range f.Mirrors { // both, or neither
		in := func(name string) bool {
			return slices.ContainsFunc(all, func(t archive.Table) bool { return t.Name == name })
		}
		if in(m.Table) != in(m.Twin) {
			all = slices.DeleteFunc(all, func(t archive.Table) bool { return t.Name == m.Table || t.Name == m.Twin })
		}
	}
	return all
}

// isRoot reports whether late rows of a dated table can be moved.
func isRoot(f *archive.Family, t archive.Table) bool {
	return slices.ContainsFunc(roots(f), func(root archive.Table) bool { return root.Name == t.Name })
}

// came reports whether rows of the window are in current tables, and all of
// them are final.
func (o late) came(ctx context.Context, l looker) (bool, error) {
	for _, t := range l.f.Tables {
		if t.FinalWhen == "" {
			continue
		}
		from, second := l.dated(t, l.current)
		keys, err := l.keys(ctx, fmt.Sprintf("SELECT c0.%s FROM %s WHERE %s BETWEEN %d AND %d AND c0.holdfast_final = 0", l.s.Column(t.Key), from, second, o.Start, o.End))
		if err != nil || len(keys) > 0 {
			return false, err
		}
	}
	for _, t := range roots(l.f) {
		from, second := l.dated(t, l.current)
		keys, err := l.keys(ctx, fmt.Sprintf("SELECT c0.%s FROM %s WHERE %s BETWEEN %d AND %d", l.s.Column(t.Key), from, second, o.Start, o.End))
		if err != nil || len(keys) > 0 {
			return len(keys) > 0, err
		}
	}
	return false, nil
}

// file moves the rows, and writes down what the archive holds now.
func (o late) file(ctx context.Context, l looker, tables []*dialect.Table, r run, step func(string) error) error {
	m := mover{looker: l, tables: tables, only: l.f.Tables, into: o.ID, stamp: r.stamp}
	g := Gap{Archive: o.ID, Window: o.Window, set: o.tables}
	for _, t := range tables {
		for _, one := range l.s.Quiet(t) {
			if err := m.alone(ctx, []string{one}); err != nil {
				return err
			}
		}
	}
	for _, t := range roots(l.f) {
		if err := m.gather(ctx, t, g, step); err != nil {
			return fmt.Errorf("file late rows of %q away: %w", t.Name, err)
		}
	}
	var err error
	if m.tables, err = m.again(ctx); err != nil {
		return err
	}
	if l.s.Commits() { // elsewhere it is about tables that were swapped at that time
		if err := m.behind(ctx, true); err != nil {
			return err
		}
	}
	if err := step("digest"); err != nil {
		return err
	}
	ended := []string{r.update(l.s, l.f, fmt.Sprintf("state = '%s'", stateClosed))}
	for _, kind := range slices.Sorted(maps.Keys(o.tables)) {
		n, sum, err := digest(ctx, l.s, l.q, o.tables[kind])
		if err != nil {
			return err
		}
		ended = append(ended, fmt.Sprintf("UPDATE %s SET row_count = %d, digest = '%s' WHERE table_name = %s", l.s.Quote(keptTable), n, sum, l.s.Text(o.tables[kind])))
	}
	return l.s.In(ctx, func(q dialect.Querier) error { return each(ctx, q, ended) })
}

// reroute goes on with late rows that an interrupted run was moving.
func reroute(ctx context.Context, s *dialect.Session, f *archive.Family, r run, step func(string) error) error {
	l := looker{s: s, q: s, f: f}
	entries, err := l.catalogue(ctx)
	if err != nil {
		return err
	}
	tables, err := describe(ctx, l)
	if err != nil {
		return err
	}
	for _, set := range archive.Sets(f, entries) {
		if set.ID == r.archive {
			one := late{set, map[int]string{}}
			for _, e := range set.Entries {
				one.tables[e.Type] = e.Name
			}
			return one.file(ctx, l, tables, r, step)
		}
	}
	return fmt.Errorf("archive %d, into which late rows were being moved, is not listed any more", r.archive)
}
