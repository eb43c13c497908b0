package closing

import (
	"context"
	"fmt"

	"holdfast/archive"
	"holdfast/archive/dialect"
)

// Limits say when a current table is full. The zero value never does.
type Limits struct {
	Rows  int64
	Bytes int64 // about, indexes included
}

// Reached returns in words which current table of the family has reached a
// limit; "" where none has. It counts no rows while keys tell that there cannot
// be so many, and never more of them than the limit.
func Reached(ctx context.Context, s *dialect.Session, f *archive.Family, m Limits) (string, error) {
	l := looker{s: s, q: s, f: f}
	for _, t := range f.Tables {
		if _, there, err := s.Shape(ctx, s, t.Name); err != nil || !there {
			if err != nil {
				return "", err
			}
			continue // the closing names it
		}
		if m.Bytes > 0 {
			n, err := l.numbers(ctx, s.Bytes(t.Name))
			if err != nil {
				return "", err
			}
			if value(n[0]) >= m.Bytes {
				return fmt.Sprintf("table %s takes %d bytes", t.Name, *n[0]), nil
			}
		}
		if m.Rows > 0 {
			full, err := l.full(ctx, t, m.Rows)
			if err != nil {
				return "", err
			}
			if full {
				return fmt.Sprintf("table %s has %d rows or more", t.Name, m.Rows), nil
			}
		}
	}
	return "", nil
}

// full reports whether a table has so many rows.
func (l looker) full(ctx context.Context, t archive.Table, rows int64) (bool, error) {
	made, err := l.s.Table(ctx, l.q, t.Name)
	if err != nil || made == nil {
		return false, err
	}
	if made.Numbers(t.Key) && len(l.s.Misfits(l.f, t, made.Structure)) == 0 {
		n, err := l.numbers(ctx, fmt.Sprintf("SELECT MIN(%[1]s), MAX(%[1]s) FROM %[2]s", l.s.Column(t.Key), l.s.Quote(t.Name)))
		if err != nil || n[0] == nil || *n[1]-*n[0] < rows-1 { // each key is there once
			return false, err
		}
	}
	n, err := l.numbers(ctx, fmt.Sprintf("SELECT COUNT(*) FROM (SELECT 1 AS one FROM %s LIMIT %d) x", l.s.Quote(t.Name), rows))
	return err == nil && *n[0] >= rows, err
}
