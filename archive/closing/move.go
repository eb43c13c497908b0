package closing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/archive"
	"holdfast/archive/dialect"
	"holdfast/internal/mutant"
)

// batch is how many dated rows one step puts back, with all their children.
const batch = 2000

// mover puts rows that stay from a swapped table back into the current one.
type mover struct {
	looker
	tables []*dialect.Table // as they were before the swap, in the family's order
	stamp  int64

	low  map[string]int64 // keys below which no row is looked for, by table; nil: any may stay
	held *time.Duration   // how long tables were locked for it; nil: nobody asks
	only []archive.Table  // that are archived; nil: all of the family
	into int64            // the archive that they belong to; 0: a new one
}

func (m mover) table(name string) *dialect.Table {
	for _, t := range m.tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// after returns the condition on a dated table for rows later than end.
func (m mover) after(t archive.Table, end int64) string {
	second := m.s.Column(t.Date)
	if m.f.Unit == archive.UnitTime {
		second = m.s.Second(second)
	}
	second = m.effective(t, second)
	if mutant.On(40) {
		end--
	}
	return fmt.Sprintf("%s > %d", second, end)
}

// statements puts back the rows of a dated table that the condition chooses,
// with their children: parents come first, and go last, so that no foreign key
// is broken and none takes children along.
func (m mover) statements(root archive.Table, where string) []string {
	conditions := map[string]string{root.Name: where + m.floor(root)}
	var inserts, deletes []string
	for _, t := range m.f.Tables {
		if up, ok := conditions[t.Parent]; ok && t.Parent != "" {
			parent := m.f.Table(t.Parent)
			conditions[t.Name] = fmt.Sprintf("%s IN (SELECT p.%s FROM %s p WHERE %s)", m.s.Column(t.ParentKey), m.s.Column(parent.Key), m.s.Quote(dialect.Archived(parent.Name, m.stamp)), up) + m.floor(t)
		}
		if mutant.On(39) && t.Parent != "" && slices.ContainsFunc(m.table(t.Name).Structure.Columns, func(c archive.Column) bool { return c.Name == root.Date }) {
			conditions[t.Name] = where
		}
		if where, ok := conditions[t.Name]; ok {
			insert, remove := m.s.Move(m.table(t.Name), dialect.Archived(t.Name, m.stamp), where)
			inserts, deletes = append(inserts, insert), append([]string{remove}, deletes...)
		}
	}
	return append(inserts, deletes...)
}

// floor returns the rest of a condition, by which an index finds the rows that
// may stay.
func (m mover) floor(t archive.Table) string {
	low, ok := m.low[t.Name]
	if !ok {
		return ""
	}
	return fmt.Sprintf(" AND %s >= %d", m.s.Column(t.Key), low)
}

// putBack puts all rows later than end back into the current tables, in steps
// of one transaction each: wherever it stops, each row is in one place.
func (m mover) putBack(ctx context.Context, end int64, step func(string) error) error {
	for _, t := range m.f.Tables {
		archived := m.s.Quote(dialect.Archived(t.Name, m.stamp))
		key := m.s.Column(t.Key)
		for {
			var chosen, where string
			if t.Parent == "" {
				where = m.after(t, end)
				chosen = fmt.Sprintf("SELECT %s AS k FROM %s WHERE %s", key, archived, where)
			} else { // left behind by a parent that went back
				parent := m.f.Table(t.Parent)
				chosen = fmt.Sprintf("SELECT c.%[1]s AS k FROM %[2]s c LEFT JOIN %[3]s p ON p.%[4]s = c.%[5]s WHERE p.%[4]s IS NULL AND c.%[5]s IS NOT NULL",
					key, archived, m.s.Quote(dialect.Archived(parent.Name, m.stamp)), m.s.Column(parent.Key), m.s.Column(t.ParentKey))
				where = key + " IN (SELECT y.k FROM (" + chosen + ") y)"
			}
			n, err := m.numbers(ctx, fmt.Sprintf("SELECT MIN(k), MAX(k) FROM (%s ORDER BY 1 LIMIT %d) x", chosen, batch))
			if err != nil {
				return err
			}
			if n[0] == nil {
				break
			}
			if err := step("move " + t.Name); err != nil {
				return err
			}
			if err := m.step(ctx, t, m.statements(t, fmt.Sprintf("%s AND %s BETWEEN %d AND %d", where, key, *n[0], *n[1]))); err != nil {
				return fmt.Errorf("put rows back into %q: %w", t.Name, err)
			}
		}
	}
	return nil
}

// step runs statements about rows of root, and what follows them, in one
// transaction in which no trigger of a user sees them.
func (m mover) step(ctx context.Context, root archive.Table, statements []string) error {
	var names, still, again []string
	for _, t := range m.tables {
		if !slices.ContainsFunc(m.f.Line(*m.f.Table(t.Name)), func(up archive.Table) bool { return up.Name == root.Name }) {
			continue
		}
		a, b := m.s.Still(t)
		if len(a) > 0 {
			names = append(names, t.Name)
		}
		still, again = append(still, a...), append(again, b...)
		still = append(still, m.s.Writable(dialect.Archived(t.Name, m.stamp))...)
	}
	do := func(q dialect.Querier) error { return all(ctx, q, append(append(still, statements...), again...)) }
	if len(names) == 0 {
		return m.s.Again(ctx, func() error { return m.s.In(ctx, do) })
	}
	held, err := m.s.Exclusive(ctx, names, do)
	if m.held != nil {
		*m.held += held
	}
	return err
}

// behind runs what the engine needs behind the swap: before rows are put back,
// or, last, after it.
func (m mover) behind(ctx context.Context, last bool) error {
	first, then, err := m.s.Behind(ctx, m.s, m.tables, m.stamp)
	if err != nil {
		return err
	}
	if last {
		first = then
	}
	for _, one := range first {
		if _, err := m.s.Exclusive(ctx, nil, func(q dialect.Querier) error { return all(ctx, q, []string{one}) }); err != nil {
			return fmt.Errorf("%w\nwhile running: %s", err, one)
		}
	}
	return nil
}

// all runs statements, several in one message.
func all(ctx context.Context, q dialect.Querier, statements []string) error {
	text := ""
	for _, one := range statements {
		text += one + ";\n"
	}
	_, err := q.ExecContext(ctx, text)
	return err
}

// each runs statements one by one, so that an error tells which it was.
func each(ctx context.Context, q dialect.Querier, statements []string) error {
	for _, one := range statements {
		if _, err := q.ExecContext(ctx, one); err != nil {
			return fmt.Errorf("%w\nwhile running: %s", err, one)
		}
	}
	return nil
}

// gentle runs what again where somebody else held a lock.
func gentle(ctx context.Context, s *dialect.Session, tables []string, what func(q dialect.Querier) error) (time.Duration, error) {
	held, err := s.Exclusive(ctx, tables, what)
	if err != nil && !errors.Is(err, context.Canceled) {
		err = fmt.Errorf("swap the tables: %w", err)
	}
	return held, err
}
