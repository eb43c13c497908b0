package closing

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"holdfast/archive"
	"holdfast/archive/dialect"
)

// Verify holds the family and its archives in the database against every rule.
func Verify(ctx context.Context, s *dialect.Session, f *archive.Family) (all []archive.Broken, entries []archive.Entry, err error) {
	f, not, err := conditions(ctx, s, f)
	if err != nil {
		return nil, nil, err
	}
	err = snapshot(ctx, s, f, func(l looker) error {
		if entries, err = l.catalogue(ctx); err != nil {
			return err
		}
		found, err := l.found(ctx, entries, nil)
		if err != nil {
			return err
		}
		if err := l.unfit(ctx, found.Live); err != nil {
			return err
		}
		all = append(not, archive.Verify(f, found)...)
		return nil
	})
	return all, entries, err
}

// found reads what Verify wants to know. Of the archives in shallow only what
// takes no reading of whole tables is asked.
func (l looker) found(ctx context.Context, entries []archive.Entry, shallow map[int64]bool) (archive.Found, error) {
	found := archive.Found{Live: map[int]archive.Live{}}
	var last *int64
	for _, e := range entries {
		if l.f.OfType(e.Type) != nil && (last == nil || e.End > *last) {
			end := e.End
			last = &end
		}
	}
	if err := l.shapes(ctx, found.Live); err != nil {
		return found, err
	}
	for _, t := range l.f.Tables {
		if err := l.live(ctx, t, last, found.Live); err != nil {
			return found, fmt.Errorf("look at table %q: %w", t.Name, err)
		}
	}
	var err error
	if whole(l.f, func(t archive.Table) bool { return askable(found.Live[t.Type]) }) {
		if found.Mirrors, err = l.mirrors(ctx, l.current, ""); err != nil {
			return found, err
		}
	}
	kept, err := l.kept(ctx)
	if err != nil {
		return found, err
	}
	sets := map[int64]map[int]string{}
	for _, e := range entries {
		shape, there, err := l.s.Shape(ctx, l.q, e.Name)
		if err != nil {
			return found, err
		}
		found.Filed = append(found.Filed, archive.Filed{Entry: e, Missing: !there, Structure: shape})
		if t := l.f.OfType(e.Type); there && t != nil && len(l.s.Misfits(l.f, *t, shape)) == 0 { // else RuleStructure or RuleTables names it
			if sets[e.ArchiveID] == nil {
				sets[e.ArchiveID] = map[int]string{}
			}
			sets[e.ArchiveID][e.Type] = e.Name
		}
	}
	for i := range found.Filed {
		e := &found.Filed[i]
		if set := sets[e.ArchiveID]; set[e.Type] == e.Name {
			if err := l.filed(ctx, e, set, shallow[e.ArchiveID]); err != nil {
				return found, fmt.Errorf("look at archived table %q: %w", e.Name, err)
			}
			if k, ok := kept[e.Name]; ok {
				if err := l.against(ctx, e, k, shallow[e.ArchiveID]); err != nil {
					return found, err
				}
			}
		}
	}
	if err := l.mirrored(ctx, &found, sets, shallow); err != nil {
		return found, err
	}
	found.Unlisted, err = l.unlisted(ctx, entries)
	return found, err
}

// shapes reads what the current tables look like.
func (l looker) shapes(ctx context.Context, into map[int]archive.Live) error {
	for _, t := range l.f.Tables {
		shape, there, err := l.s.Shape(ctx, l.q, t.Name)
		if err != nil {
			return err
		}
		live := archive.Live{Missing: !there, Structure: shape}
		if there {
			live.Unfit = l.s.Misfits(l.f, t, shape)
		}
		into[t.Type] = live
	}
	return nil
}

// unfit adds why current tables cannot be swapped.
func (l looker) unfit(ctx context.Context, live map[int]archive.Live) error {
	tables, err := fitting(ctx, l)
	for _, t := range tables {
		kind := l.f.Table(t.Name).Type
		one := live[kind]
		one.Missing, one.Unfit = false, t.Unfit
		live[kind] = one
	}
	return err
}

// askable reports whether keys and dates of a current table can be asked for, as
// far as that is known.
func askable(l archive.Live) bool { return !l.Missing && len(l.Unfit) == 0 && l.Keyless == 0 }

// whole reports whether something holds for all tables of the family.
func whole(f *archive.Family, holds func(t archive.Table) bool) bool {
	return !slices.ContainsFunc(f.Tables, func(t archive.Table) bool { return !holds(t) })
}

// live reads one current table, as far as it can be asked.
func (l looker) live(ctx context.Context, t archive.Table, last *int64, found map[int]archive.Live) (err error) {
	live := found[t.Type]
	if !askable(live) {
		return nil
	}
	defer func() { found[t.Type] = live }()
	from, second := l.dated(t, l.current)
	key := "c0." + l.s.Column(t.Key)
	alone := l.current(t) + " c0"
	keyless, odd := l.s.Odd(l.f, t, live.Structure)
	if keyless != "" {
		n, err := l.numbers(ctx, fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE %s", alone, keyless))
		if err != nil {
			return err
		}
		live.Keyless = value(n[0])
	}
	if t.Parent == "" {
		none := second + " IS NULL"
		if odd != "" {
			none += " OR " + odd
		}
		if live.Undated, err = l.keys(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s", key, alone, none)); err != nil {
			return err
		}
	}
	if err := l.twice(ctx, t, &live); err != nil {
		return err
	}
	if live.Keyless == 0 {
		n, err := l.numbers(ctx, fmt.Sprintf("SELECT MIN(%s) FROM %s", l.s.Column(t.Key), l.s.Quote(t.Name)))
		if err != nil {
			return err
		}
		live.MinID = n[0]
	}
	if last != nil && t.Parent == "" && !l.accepts(t) {
		if live.Early, err = l.keys(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s <= %d", key, from, second, *last)); err != nil {
			return err
		}
	}
	for _, up := range l.f.Line(t)[1:] {
		if !askable(found[up.Type]) {
			return nil
		}
	}
	if t.Parent != "" {
		live.Orphans, err = l.keys(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE c1.%s IS NULL", key, from, l.s.Column(l.f.Table(t.Parent).Key)))
	}
	return err
}

// twice finds keys that several rows of a parent have. Where an index forbids
// them, nothing is read.
func (l looker) twice(ctx context.Context, t archive.Table, live *archive.Live) (err error) {
	parent := slices.ContainsFunc(l.f.Tables, func(child archive.Table) bool { return child.Parent == t.Name })
	if parent && !live.Structure.Unique(t.Key) {
		key := l.s.Column(t.Key)
		live.Twice, err = l.keys(ctx, fmt.Sprintf("SELECT %[1]s FROM %[2]s GROUP BY %[1]s HAVING COUNT(*) > 1", key, l.s.Quote(t.Name)))
	}
	return err
}

// filed reads one archived table; set holds those of its archive, by type.
func (l looker) filed(ctx context.Context, e *archive.Filed, set map[int]string, shallow bool) error {
	t := *l.f.OfType(e.Type)
	n, err := l.numbers(ctx, fmt.Sprintf("SELECT MIN(%[1]s), MAX(%[1]s) FROM %[2]s", l.s.Column(t.Key), l.s.Quote(e.Name)))
	if err != nil {
		return err
	}
	e.MinID, e.MaxID = n[0], n[1]
	if shallow {
		return nil
	}
	for _, up := range l.f.Line(t)[1:] {
		if set[up.Type] == "" {
			return nil // RuleTogether names it
		}
	}
	from, second := l.dated(t, func(t archive.Table) string { return l.s.Quote(set[t.Type]) })
	key := "c0." + l.s.Column(t.Key)
	if t.Parent != "" {
		e.Orphans, err = l.keys(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s IS NULL", key, from, second))
		return err
	}
	e.Outside, err = l.keys(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s < %d OR %s > %d OR %s IS NULL", key, from, second, e.Start, second, e.End, second))
	return err
}

// against reads what an archived table holds, where it was written down when
// it was closed.
func (l looker) against(ctx context.Context, e *archive.Filed, k archive.Kept, shallow bool) error {
	still, err := l.s.IsReadOnly(ctx, l.q, e.Name)
	e.Writable = !still
	if err != nil || shallow {
		return err
	}
	e.Kept = &k
	e.Rows, e.Digest, err = digest(ctx, l.s, l.q, e.Name)
	return err
}

func digest(ctx context.Context, s *dialect.Session, q dialect.Querier, table string) (int64, string, error) {
	query, err := s.Digest(ctx, q, table)
	if err != nil {
		return 0, "", err
	}
	rows, err := dialect.Rows(ctx, q, query)
	if err != nil {
		return 0, "", err
	}
	n, err := strconv.ParseInt(rows[0][0], 10, 64)
	return n, rows[0][1], err
}

// mirrored holds the mirrors within each archive.
func (l looker) mirrored(ctx context.Context, found *archive.Found, sets map[int64]map[int]string, shallow map[int64]bool) error {
	for id, set := range sets {
		all := !shallow[id]
		for _, m := range l.f.Mirrors {
			all = all && set[l.f.Table(m.Table).Type] != "" && set[l.f.Table(m.Twin).Type] != ""
		}
		if !all {
			continue
		}
		broken, err := l.mirrors(ctx, func(t archive.Table) string { return l.s.Quote(set[t.Type]) }, fmt.Sprintf("archive %d: ", id))
		if err != nil {
			return err
		}
		found.Mirrors = append(found.Mirrors, broken...)
	}
	return nil
}

// unlisted returns tables that are named like archived ones of the family and
// are not in the catalogue.
func (l looker) unlisted(ctx context.Context, entries []archive.Entry) ([]string, error) {
	all, err := l.s.Named(ctx, l.q, l.f)
	return slices.DeleteFunc(all, func(name string) bool {
		return slices.ContainsFunc(entries, func(e archive.Entry) bool { return e.Name == name })
	}), err
}

// List returns what the catalogue lists of the family.
func List(ctx context.Context, s *dialect.Session, f *archive.Family) ([]archive.Entry, error) {
	all, err := looker{s: s, q: s, f: f}.catalogue(ctx)
	return slices.DeleteFunc(all, func(e archive.Entry) bool { return f.OfType(e.Type) == nil }), err
}
