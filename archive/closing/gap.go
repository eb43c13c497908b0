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

// A Gap is an archive that lacks tables of its family, as archives do that
// were made by a version of the product which knew fewer.
type Gap struct {
	Archive int64          `json:"archive_id"`
	Window  archive.Window `json:"window"`
	Tables  []Share        `json:"tables"` // that are to be made

	stamp int64
	set   map[int]string // the archive's tables by type, those to be made included
}

// lacks reports whether the archive has no table of that type.
func (g Gap) lacks(t archive.Table) bool {
	return slices.ContainsFunc(g.Tables, func(h Share) bool { return h.Type == t.Type })
}

// gaps finds the archives that lack tables, oldest first; begun, if set, is
// the one that an earlier run began with. The tables of each are named after a
// second of its own, from stamp on.
func gaps(f *archive.Family, entries []archive.Entry, begun *run, stamp int64) (all []Gap) {
	sets := map[int64]*Gap{}
	var order []int64
	for _, e := range entries { // by date
		if f.OfType(e.Type) == nil {
			continue
		}
		if sets[e.ArchiveID] == nil {
			sets[e.ArchiveID] = &Gap{Archive: e.ArchiveID, Window: e.Window, set: map[int]string{}}
			order = append(order, e.ArchiveID)
		}
		sets[e.ArchiveID].set[e.Type] = e.Name
	}
	for _, id := range order {
		g := *sets[id]
		g.stamp = stamp + int64(len(all))
		if begun != nil && begun.archive == id {
			g.stamp = begun.stamp
		}
		for _, t := range f.Tables {
			if g.set[t.Type] == "" {
				g.set[t.Type] = dialect.Archived(t.Name, g.stamp)
				g.Tables = append(g.Tables, Share{Table: t.Name, Type: t.Type, Archive: g.set[t.Type]})
			}
		}
		switch {
		case len(g.Tables) == 0:
		case begun != nil && begun.archive == id:
			all = append([]Gap{g}, all...)
		default:
			all = append(all, g)
		}
	}
	return all
}

// filler looks at archives that are to be completed.
type filler struct {
	looker
	all   []Gap
	filed map[string]bool // tables of gaps that are there already
	past  map[string]string
}

// newFiller finds which tables of gaps are there: an earlier run made them.
func newFiller(ctx context.Context, l looker, entries []archive.Entry, all []Gap) (filler, error) {
	f := filler{l, all, map[string]bool{}, map[string]string{}}
	for _, e := range entries {
		if t := l.f.OfType(e.Type); t != nil {
			f.past[t.Name] += " UNION ALL SELECT * FROM " + l.s.Quote(e.Name)
		}
	}
	for _, g := range all {
		for _, h := range g.Tables {
			_, there, err := l.s.Shape(ctx, l.q, h.Archive)
			if err != nil {
				return f, err
			}
			if there {
				f.filed[h.Archive] = true
				f.past[h.Table] += " UNION ALL SELECT * FROM " + l.s.Quote(h.Archive)
			}
		}
	}
	return f, nil
}

// within returns where the rows of a table are that belong into a gap, as c0,
// and the condition that tells them from others.
func (f filler) within(t archive.Table, g Gap) (from, where string) {
	from, second := f.dated(t, func(t archive.Table) string {
		relation := f.s.Quote(t.Name)
		switch {
		case !g.lacks(t):
			relation = f.s.Quote(g.set[t.Type])
		case f.filed[g.set[t.Type]]:
			relation = "(SELECT * FROM " + relation + " UNION ALL SELECT * FROM " + f.s.Quote(g.set[t.Type]) + ")"
		}
		return f.source(t, relation)
	})
	return from, second + " BETWEEN " + fmt.Sprintf("%d AND %d", g.Window.Start, g.Window.End)
}

// foresee looks at one table of a gap: what its archive would hold, and what
// stands against it.
func (f filler) foresee(ctx context.Context, t archive.Table, g Gap) (filed archive.Filed, broken []archive.Broken, err error) {
	from, where := f.within(t, g)
	key := "c0." + f.s.Column(t.Key)
	n, err := f.numbers(ctx, fmt.Sprintf("SELECT COUNT(*), MIN(%[1]s), MAX(%[1]s) FROM %[2]s WHERE %[3]s", key, from, where))
	if err != nil {
		return filed, nil, err
	}
	filed = archive.Filed{Entry: archive.Entry{ArchiveID: g.Archive, Type: t.Type, Name: g.set[t.Type], Window: g.Window}, Rows: value(n[0]), MinID: n[1], MaxID: n[2]}
	if t.FinalWhen != "" {
		keys, err := f.keys(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s AND c0.holdfast_final = 0", key, from, where))
		if err != nil {
			return filed, nil, err
		}
		if len(keys) > 0 {
			broken = append(broken, archive.Broken{Rule: archive.RuleFinal, Table: t.Name, What: fmt.Sprintf("rows of archive %d may still change", g.Archive), Keys: keys})
		}
	}
	for _, m := range f.f.Mirrors {
		if m.Table == t.Name || m.Twin == t.Name {
			broken = append(broken, archive.Broken{Rule: archive.RuleTogether, Table: t.Name, What: fmt.Sprintf("archive %d lacks it, and its rows have twins: no backfill can tell what was meant", g.Archive)})
		}
	}
	return filed, broken, nil
}

// remain looks at what would be left in a current table once all gaps are
// filled.
func (f filler) remain(ctx context.Context, t archive.Table, last int64, live *archive.Live) error {
	var inside []string
	from, second := f.dated(t, func(in archive.Table) string {
		if in.Name == t.Name {
			return f.s.Quote(t.Name)
		}
		return "(SELECT * FROM " + f.s.Quote(in.Name) + f.past[in.Name] + ")"
	})
	for _, g := range f.all {
		if g.lacks(t) {
			inside = append(inside, fmt.Sprintf("%s BETWEEN %d AND %d", second, g.Window.Start, g.Window.End))
		}
	}
	if len(inside) == 0 {
		return nil
	}
	key, rest := "c0."+f.s.Column(t.Key), fmt.Sprintf("(%s IS NULL OR NOT (%s))", second, strings.Join(inside, " OR "))
	n, err := f.numbers(ctx, fmt.Sprintf("SELECT MIN(%s) FROM %s WHERE %s", key, from, rest))
	if err != nil {
		return err
	}
	live.MinID = n[0]
	if t.Parent == "" {
		live.Early, err = f.keys(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s AND %s <= %d", key, from, rest, second, last))
		return err
	}
	live.Orphans, err = f.keys(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s AND (%s IS NULL OR %s <= %d)", key, from, rest, second, second, last))
	return err
}

// judge holds every rule against what would be there once all gaps are filled.
// Archives in shallow are not read.
func (f filler) judge(ctx context.Context, entries []archive.Entry, shallow map[int64]bool) ([]archive.Broken, error) {
	found, err := f.found(ctx, entries, shallow)
	if err != nil {
		return nil, err
	}
	found.Unlisted = slices.DeleteFunc(found.Unlisted, func(name string) bool { return f.filed[name] })
	last := int64(0)
	for _, e := range entries {
		last = max(last, e.End)
	}
	var all []archive.Broken
	for _, t := range f.f.Tables {
		live := found.Live[t.Type]
		if slices.ContainsFunc(f.f.Line(t), func(up archive.Table) bool { return !askable(found.Live[up.Type]) }) {
			continue
		}
		for i, g := range f.all {
			if !g.lacks(t) {
				continue
			}
			filed, broken, err := f.foresee(ctx, t, g)
			if err != nil {
				return nil, err
			}
			filed.Structure = live.Structure
			found.Filed, all = append(found.Filed, filed), append(all, broken...)
			at := slices.IndexFunc(g.Tables, func(h Share) bool { return h.Type == t.Type })
			f.all[i].Tables[at].Filed = filed.Rows
		}
		if err := f.remain(ctx, t, last, &live); err != nil {
			return nil, err
		}
		found.Live[t.Type] = live
	}
	return append(all, archive.Verify(f.f, found)...), nil
}

// unfit returns why current tables that gaps lack cannot be read in steps.
func (f filler) unfit(tables []*dialect.Table) (all []archive.Broken) {
	for _, t := range tables {
		if !slices.ContainsFunc(f.all, func(g Gap) bool { return g.lacks(*f.f.Table(t.Name)) }) {
			continue
		}
		for _, why := range t.Unfit {
			all = append(all, archive.Broken{Rule: archive.RuleTables, Table: t.Name, What: why})
		}
	}
	return all
}

// Gaps returns the archives that lack tables of the family, oldest first, and
// what Backfill would put into each. A rule that would not hold behind it is a
// *Refusal, which comes with them.
func Gaps(ctx context.Context, s *dialect.Session, f *archive.Family) ([]Gap, error) {
	begun, err := unfinished(ctx, s, s, f)
	if err != nil {
		return nil, err
	}
	if begun != nil && begun.state == stateSwitched {
		return nil, fault.New(fault.CannotConnectNow, "a closing of family %q was interrupted", f.Name).WithHint("finish it first: archive run --apply")
	}
	if begun != nil && begun.state != stateFilling {
		begun = nil
	}
	now, err := s.Now(ctx)
	if err != nil {
		return nil, err
	}
	stamp, err := fresh(ctx, s, now)
	if err != nil {
		return nil, err
	}
	_, not, err := conditions(ctx, s, f)
	if err != nil {
		return nil, err
	}
	if len(not) > 0 {
		return nil, &Refusal{not}
	}
	var all []Gap
	err = snapshot(ctx, s, f, func(l looker) error {
		all, err = l.gaps(ctx, begun, stamp)
		return err
	})
	return all, err
}

// gaps is Gaps, at one moment.
func (l looker) gaps(ctx context.Context, begun *run, stamp int64) ([]Gap, error) {
	entries, err := l.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	f, err := newFiller(ctx, l, entries, gaps(l.f, entries, begun, stamp))
	if err != nil || len(f.all) == 0 {
		return nil, err
	}
	tables, err := describe(ctx, l)
	if err != nil {
		return nil, err
	}
	broken := f.unfit(tables)
	for _, g := range f.all {
		held, err := l.held(ctx, []archive.Set{{ID: g.Archive, Window: g.Window}}, "completed")
		if err != nil {
			return nil, err
		}
		broken = append(broken, held...)
	}
	if len(tables) == len(l.f.Tables) { // or found cannot ask for dates
		more, err := f.judge(ctx, entries, nil)
		if err != nil {
			return nil, err
		}
		broken = append(broken, more...)
	} else {
		broken = append(broken, archive.Verify(l.f, archive.Found{Live: presence(l.f, tables)})...)
	}
	if broken = once(broken); len(broken) > 0 {
		return f.all, &Refusal{broken}
	}
	return f.all, nil
}

// presence is what Verify needs to name tables that are not there.
func presence(f *archive.Family, tables []*dialect.Table) map[int]archive.Live {
	all := map[int]archive.Live{}
	for _, t := range tables {
		all[f.Table(t.Name).Type] = archive.Live{}
	}
	return all
}
