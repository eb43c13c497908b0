package closing

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"holdfast/archive"
	"holdfast/archive/dialect"
	"holdfast/internal/fault"
)

// lateTable tells sinks of Holdfast which periods are closed, where a family
// has them refuse late rows: one row for each family. Sinks read it behind the
// rows of each transaction and keep it until their commit; whoever changes it
// keeps them from reading it until his own.
const lateTable = "holdfast_archive_late"

// errCame says that rows came for a period between its verification and its
// entry in the catalogue: its end is to be found once more.
var errCame = errors.New("late rows came while the archive was verified")

// lateRows returns the statement that makes lateTable.
func lateRows(s *dialect.Session, options string) string {
	text := "CREATE TABLE IF NOT EXISTS " + s.Quote(lateTable) + " (family varchar(63) NOT NULL PRIMARY KEY, closed text NOT NULL)" + options
	if share := s.Readable(lateTable); share != "" {
		text += "; " + share
	}
	return text
}

// publish has lateTable say what is closed, or nothing of a family that does
// not want late rows refused. A period that is being closed, up to the second
// pending, is told before its tables are swapped: rows that came behind the
// swap would belong to it, and pull its end back.
func publish(ctx context.Context, s *dialect.Session, f *archive.Family, pending int64) error {
	t, err := s.Table(ctx, s, lateTable)
	if err != nil || t == nil {
		return err
	}
	rows, err := dialect.Rows(ctx, s, "SELECT closed FROM "+s.Quote(lateTable)+" WHERE family = "+s.Text(f.Name))
	if err != nil {
		return err
	}
	if f.Late != archive.LateReject && len(rows) == 0 {
		return nil
	}
	l := looker{s: s, q: s, f: f}
	entries, err := l.catalogue(ctx)
	if err != nil {
		return err
	}
	text, err := l.closed(ctx, entries, pending)
	if err != nil || len(rows) == 1 && rows[0][0] == text && f.Late == archive.LateReject {
		return err
	}
	return alone(ctx, s, func(q dialect.Querier) error {
		if len(rows) == 0 {
			return each(ctx, q, []string{fmt.Sprintf("INSERT INTO %s (family, closed) VALUES (%s, %s)", s.Quote(lateTable), s.Text(f.Name), s.Text(text))})
		}
		return each(ctx, q, []string{l.tell(text)})
	})
}

// alone runs what in a transaction in which no sink reads lateTable, those that
// have read it and are not done yet included.
func alone(ctx context.Context, s *dialect.Session, what func(q dialect.Querier) error) error {
	if !s.Commits() {
		_, err := s.Exclusive(ctx, []string{lateTable}, what)
		return err
	}
	return s.Again(ctx, func() error {
		return s.In(ctx, func(q dialect.Querier) error {
			if _, err := q.ExecContext(ctx, "SELECT COUNT(*) FROM "+s.Quote(lateTable)+" FOR UPDATE"); err != nil {
				return err
			}
			return what(q)
		})
	})
}

// tell returns the statement by which lateTable says text of the family, which
// it has: the row is changed in place, and so waits for those who read it.
func (l looker) tell(text string) string {
	where := " WHERE family = " + l.s.Text(l.f.Name)
	if l.f.Late != archive.LateReject {
		return "DELETE FROM " + l.s.Quote(lateTable) + where
	}
	return "UPDATE " + l.s.Quote(lateTable) + " SET closed = " + l.s.Text(text) + where
}

// closed says what is closed where the catalogue lists entries, and what is
// being closed.
func (l looker) closed(ctx context.Context, entries []archive.Entry, pending int64) (string, error) {
	at, zoneless := map[int64]int64{}, map[string]bool{}
	var rows [][]string
	t, err := l.s.Table(ctx, l.q, runsTable)
	if err == nil && t != nil {
		rows, err = dialect.Rows(ctx, l.q, fmt.Sprintf("SELECT archive_id, stamp FROM %s WHERE family = %s AND state = '%s' AND archive_id IS NOT NULL ORDER BY stamp DESC", l.s.Quote(runsTable), l.s.Text(l.f.Name), stateClosed))
	}
	if err != nil {
		return "", err
	}
	for _, r := range rows { // the first run of an archive closed it; others completed it
		id, err := number(r[0])
		if err != nil {
			return "", err
		}
		stamp, err := number(r[1])
		if err != nil {
			return "", err
		}
		at[*id] = *stamp
	}
	for _, t := range l.f.Tables {
		shape, _, err := l.s.Shape(ctx, l.q, t.Name)
		if err != nil {
			return "", err
		}
		for _, c := range shape.Columns {
			if c.Name == t.Date && strings.Contains(c.Type, "without time zone") {
				zoneless[t.Name] = true
			}
		}
	}
	text, err := archive.ClosedBy(l.f, entries, pending, at, zoneless).Text()
	if err == nil && len(text) > maxText {
		err = fault.New(fault.FeatureNotSupported, "what sinks must know of family %q has %d bytes, and %d at most are kept", l.f.Name, len(text), maxText)
	}
	return text, err
}

// maxText is what a text of MariaDB holds.
const maxText = 1<<16 - 1

// noneCame returns errCame where a current table has rows of a closed period,
// those that others have not committed yet included as far as the engine can
// tell.
func (l looker) noneCame(ctx context.Context, end int64) error {
	for _, t := range l.f.Tables {
		if t.Parent != "" {
			continue
		}
		from, second := l.dated(t, l.current)
		rows, err := l.s.Newest(ctx, l.q, fmt.Sprintf("SELECT c0.%s FROM %s WHERE %s <= %d LIMIT 1", l.s.Column(t.Key), from, second, end))
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			return errCame
		}
	}
	return nil
}

// gated runs what, which lists an archive, so that no late row slips in between:
// sinks are told in the same transaction.
func (m mover) gated(ctx context.Context, end int64, what func(q dialect.Querier) error) error {
	if m.f.Late != archive.LateReject {
		return m.s.In(ctx, what)
	}
	return alone(ctx, m.s, func(q dialect.Querier) error {
		l := looker{s: m.s, q: q, f: m.f}
		if m.into == 0 { // an archive that is completed has its period since long
			if err := l.noneCame(ctx, end); err != nil {
				return err
			}
		}
		if err := what(q); err != nil {
			return err
		}
		entries, err := l.catalogue(ctx)
		if err != nil {
			return err
		}
		text, err := l.closed(ctx, entries, 0)
		if err != nil {
			return err
		}
		return each(ctx, q, []string{l.tell(text)})
	})
}
