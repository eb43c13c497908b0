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

// fits refuses a form that archives cannot have in this database, before anything
// is closed.
func fits(ctx context.Context, s *dialect.Session, f *archive.Family) error {
	if !f.Archives.Asked() {
		return nil
	}
	if err := f.Archives.Check(f.Late); err != nil {
		return fault.New(fault.InvalidParameterValue, "%s", err)
	}
	return s.Forms(ctx, s, f.Archives)
}

// form returns the statements that store what the plan archives in the form that
// the family wants.
func (p *Plan) form(ctx context.Context, l looker, before map[string][]string) (all []string, err error) {
	if !l.f.Archives.Asked() {
		return nil, nil
	}
	c := dialect.Change{Form: l.f.Archives, Stamp: p.stamp + 1, Current: p.tables, Archived: map[string][]string{}}
	for _, t := range p.tables {
		c.Filed = append(c.Filed, l.s.Filed(t, p.stamp))
		c.Archived[t.Name] = append(slices.Clone(before[t.Name]), dialect.Archived(t.Name, p.stamp))
	}
	how, err := l.s.Reform(ctx, l.q, c)
	for _, t := range c.Filed {
		all = append(all, how.Copy[t.Name]...)
	}
	return slices.Concat(all, how.Fasten, how.Exchange, how.After), err
}

// thenReform stores archives in the form that the family wants, once a run has
// closed one. What stands against that does not undo the closing.
func (j job) thenReform(ctx context.Context, err error) error {
	if err != nil || !j.f.Archives.Asked() {
		return err
	}
	j.result.Unformed, err = reform(ctx, j.s, j.f, j.step)
	return err
}

// reform stores each archive of the family that Holdfast closed in the form that
// the family wants, oldest first. It returns why some keep theirs, and an error
// where it was interrupted.
func reform(ctx context.Context, s *dialect.Session, f *archive.Family, step func(string) error) (unformed []string, err error) {
	l := looker{s: s, q: s, f: f}
	entries, err := l.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	kept, err := l.kept(ctx)
	if err != nil {
		return nil, err
	}
	for _, set := range archive.Sets(f, entries) {
		wanted, err := l.unlike(ctx, set, kept)
		if err != nil {
			return unformed, err
		}
		if !wanted {
			continue
		}
		held, err := l.held(ctx, []archive.Set{set}, "stored anew")
		if err != nil {
			return unformed, err
		}
		if len(held) > 0 { // it keeps its form until the hold is removed
			continue
		}
		now, err := s.Now(ctx)
		if err != nil {
			return unformed, err
		}
		stamp, err := fresh(ctx, s, now)
		if err != nil {
			return unformed, err
		}
		r := run{stamp: stamp, state: stateReforming, end: set.End, archive: set.ID}
		if err := l.reformOne(ctx, set, r, kept, step); err != nil {
			if again := reformed(ctx, s, f, r); again != nil {
				return unformed, errors.Join(err, again)
			}
			unformed = append(unformed, fmt.Sprintf("archive %d keeps its form: %s", set.ID, err))
		}
	}
	return unformed, nil
}

// unlike reports whether an archive that Holdfast closed has another form than
// the family wants.
func (l looker) unlike(ctx context.Context, set archive.Set, kept map[string]archive.Kept) (bool, error) {
	unlike := false
	for _, e := range set.Entries {
		if _, ours := kept[e.Name]; !ours || strings.Contains(e.Name, ".") {
			return false, nil
		}
		formed, err := l.s.Formed(ctx, l.q, e.Name, l.f.Archives)
		if err != nil {
			return false, err
		}
		unlike = unlike || !formed
	}
	return unlike, nil
}

// change describes what is to be done to an archive.
func (l looker) change(ctx context.Context, set archive.Set, stamp int64) (c dialect.Change, err error) {
	entries, err := l.catalogue(ctx)
	if err != nil {
		return c, err
	}
	c = dialect.Change{Form: l.f.Archives, Stamp: stamp, Archived: archivedBy(l.f, entries, nil)}
	if c.Current, err = describe(ctx, l); err != nil {
		return c, err
	}
	for _, t := range l.f.Tables {
		for _, e := range set.Entries {
			if e.Type != t.Type {
				continue
			}
			filed, err := l.s.Table(ctx, l.q, e.Name)
			if err != nil {
				return c, err
			}
			if filed == nil {
				return c, fault.New(fault.UndefinedTable, "archived table %q is gone", e.Name)
			}
			c.Filed = append(c.Filed, filed)
		}
	}
	return c, nil
}

// reformOne copies the tables of an archive, holds each copy against what was
// written down when it was closed, and exchanges them all at once.
func (l looker) reformOne(ctx context.Context, set archive.Set, r run, kept map[string]archive.Kept, step func(string) error) error {
	s := l.s
	c, err := l.change(ctx, set, r.stamp)
	if err != nil {
		return err
	}
	how, err := s.Reform(ctx, s, c)
	if err != nil {
		return err
	}
	if err := step("form"); err != nil {
		return err
	}
	if err := s.In(ctx, func(q dialect.Querier) error { return each(ctx, q, []string{r.insert(s, l.f)}) }); err != nil {
		return err
	}
	for _, t := range c.Filed {
		if err := each(ctx, s, how.Copy[t.Name]); err != nil {
			return err
		}
		n, sum, err := digest(ctx, s, s, dialect.Formed(t.Name))
		if err != nil {
			return err
		}
		if k := kept[t.Name]; k.Rows != n || k.Digest != sum {
			return fault.New(fault.DataCorrupted, "the copy of archived table %q holds %d rows with digest %s, and the archive was closed with %d and %s", t.Name, n, sum, k.Rows, k.Digest).
				WithHint("archive verify tells whether the archive is still as it was closed")
		}
	}
	if err := each(ctx, s, how.Fasten); err != nil {
		return err
	}
	if err := step("exchange"); err != nil {
		return err
	}
	var names []string
	for _, t := range c.Filed {
		names = append(names, t.Name)
	}
	if _, err := s.Exclusive(ctx, names, func(q dialect.Querier) error { return each(ctx, q, how.Exchange) }); err != nil {
		return err
	}
	return l.freed(ctx, how, r)
}

// freed drops what the archive was stored in before, and ends the run.
func (l looker) freed(ctx context.Context, how dialect.Reform, r run) error {
	if err := each(ctx, l.s, how.After); err != nil {
		return err
	}
	return l.s.In(ctx, func(q dialect.Querier) error {
		return each(ctx, q, []string{r.update(l.s, l.f, "state = '"+stateClosed+"'")})
	})
}

// reformed ends a change of form that was interrupted: where the copies have not
// taken the names yet they are dropped, else what they replaced is.
func reformed(ctx context.Context, s *dialect.Session, f *archive.Family, r run) error {
	l := looker{s: s, q: s, f: f}
	entries, err := l.catalogue(ctx)
	if err != nil {
		return err
	}
	for _, set := range archive.Sets(f, entries) {
		if set.ID != r.archive {
			continue
		}
		c, err := l.change(ctx, set, r.stamp)
		if err != nil {
			return err
		}
		how, err := s.Reform(ctx, s, c)
		if err != nil {
			return err
		}
		copies := false
		for _, t := range c.Filed {
			_, there, err := s.Shape(ctx, s, dialect.Formed(t.Name))
			if err != nil {
				return err
			}
			copies = copies || there
		}
		if copies { // all of them take their names in one step
			how.After = how.Undo
		}
		return l.freed(ctx, how, r)
	}
	return l.freed(ctx, dialect.Reform{}, r)
}

// Reform stores the archives of a family that Holdfast closed in the form that
// the family wants, and returns why some keep theirs. What was interrupted is
// ended first.
func Reform(ctx context.Context, s *dialect.Session, f *archive.Family) ([]string, error) {
	step := Options{}.step()
	begun, err := begin(ctx, s, f, step)
	if err != nil {
		return nil, err
	}
	if begun != nil {
		return nil, fault.New(fault.CannotConnectNow, "a closing of family %q was interrupted", f.Name).WithHint("finish it first: archive run --apply")
	}
	return reform(ctx, s, f, step)
}
