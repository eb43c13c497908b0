package closing

import (
	"context"
	"fmt"

	"holdfast/archive"
	"holdfast/archive/dialect"
)

// never is a date behind every end: that of rows which stay for good.
const never = 1 << 60

// accepts reports whether rows of a dated table may stay in it although their
// window is closed. Where keys must rise they cannot: those that came late
// would soon be below archived ones.
func (l looker) accepts(t archive.Table) bool {
	return (l.f.Late == archive.LateCurrent || l.routed != nil) && isRoot(l.f, t)
}

// stays returns the last second that is closed, where rows of before may stay;
// else nil.
func (l looker) stays(entries []archive.Entry) *int64 {
	if sets := archive.Sets(l.f, entries); l.f.Late == archive.LateCurrent && len(sets) > 0 {
		return &sets[len(sets)-1].End
	}
	return nil
}

// effective returns an expression for the date by which rows of a dated table
// are archived, where second is the one that they carry.
func (l looker) effective(t archive.Table, second string) string {
	if l.stay == nil || !l.accepts(t) {
		return second
	}
	return fmt.Sprintf("CASE WHEN %s <= %d THEN %d ELSE %s END", second, *l.stay, never, second)
}

// Late returns how many rows stay in current tables although their window is
// closed, where the family accepts that.
func Late(ctx context.Context, s *dialect.Session, f *archive.Family) (n int64, err error) {
	err = snapshot(ctx, s, f, func(l looker) error {
		entries, err := l.catalogue(ctx)
		last := l.stays(entries)
		if err != nil || last == nil {
			return err
		}
		for _, t := range f.Tables {
			line := f.Line(t)
			if !l.accepts(line[len(line)-1]) {
				continue
			}
			from, second := l.dated(t, l.current)
			late, err := l.numbers(ctx, fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE %s <= %d", from, second, *last))
			if err != nil {
				return err
			}
			n += value(late[0])
		}
		return nil
	})
	return n, err
}
