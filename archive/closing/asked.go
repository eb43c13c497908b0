package closing

import (
	"context"
	"fmt"
	"slices"

	"holdfast/archive"
	"holdfast/archive/dialect"
)

// conditions holds the SQL of a family against its tables. What the database does
// not understand is a broken rule; known is the family without it.
func conditions(ctx context.Context, s *dialect.Session, f *archive.Family) (known *archive.Family, all []archive.Broken, err error) {
	one := *f
	one.Tables = slices.Clone(f.Tables)
	for i, t := range f.Tables {
		if t.FinalWhen == "" {
			continue
		}
		var asked error
		err := snapshot(ctx, s, f, func(l looker) error {
			if _, there, err := s.Shape(ctx, l.q, t.Name); err != nil || !there {
				return err
			}
			_, asked = dialect.Rows(ctx, l.q, "SELECT x.holdfast_final FROM "+l.current(t)+" x WHERE 1 = 0")
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
		if asked == nil {
			continue
		}
		if _, err := s.Now(ctx); err != nil || s.Busy(asked) { // it is not the condition
			return nil, nil, fmt.Errorf("try final_when of table %q: %w", t.Name, asked)
		}
		one.Tables[i].FinalWhen = ""
		all = append(all, archive.Broken{Rule: archive.RuleTables, Table: t.Name, What: fmt.Sprintf(`the database does not understand "final_when": %s: %v`, t.FinalWhen, asked)})
	}
	return &one, all, nil
}

// answers reports whether rows of the current tables can be chosen by key and
// date. Where they cannot, Verify says why.
func answers(ctx context.Context, s *dialect.Session, f *archive.Family) (bool, error) {
	_, broken, err := conditions(ctx, s, f)
	if err != nil || len(broken) > 0 {
		return false, err
	}
	l, found := looker{s: s, q: s, f: f}, map[int]archive.Live{}
	if err := l.shapes(ctx, found); err != nil {
		return false, err
	}
	for _, t := range f.Tables {
		if err := l.live(ctx, t, nil, found); err != nil {
			return false, err
		}
		if one := found[t.Type]; !askable(one) || len(one.Undated) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// names reports whether one of the broken rules is that one.
func names(all []archive.Broken, rule archive.Rule) bool {
	return slices.ContainsFunc(all, func(b archive.Broken) bool { return b.Rule == rule })
}
