package closing

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/archive"
	"holdfast/archive/dialect"
	"holdfast/internal/fault"
)

// few is how many offending keys are shown.
const few = 5

// scope says where the rows of each table are looked for.
type scope func(t archive.Table) string

// looker asks about the rows of a family in one session.
type looker struct {
	s *dialect.Session
	q dialect.Querier
	f *archive.Family

	routed *int64 // rows dated at or before it are taken for moved into their archives

	stay *int64 // rows dated at or before it stay in their current tables, where stays says so
}

// current is the scope of the current tables.
func (l looker) current(t archive.Table) string { return l.source(t, l.s.Quote(t.Name)) }

// swapped is the scope of a family that was swapped at stamp: the current
// tables together with those that took their rows along.
func (l looker) swapped(stamp int64) scope {
	return func(t archive.Table) string {
		return l.source(t, "(SELECT * FROM "+l.s.Quote(t.Name)+" UNION ALL SELECT * FROM "+l.s.Quote(dialect.Archived(t.Name, stamp))+")")
	}
}

// source adds to a relation whether its rows are final.
func (l looker) source(t archive.Table, relation string) string {
	if t.FinalWhen == "" {
		return relation
	}
	return "(SELECT h.*, CASE WHEN (" + t.FinalWhen + ") THEN 1 ELSE 0 END AS holdfast_final FROM " + relation + " h)"
}

// dated returns a FROM clause that joins a table, as c0, with its parents, and
// an expression for the date of its rows.
func (l looker) dated(t archive.Table, in scope) (from, second string) {
	line := l.f.Line(t)
	from = in(t) + " c0"
	for i := 1; i < len(line); i++ {
		from += fmt.Sprintf(" LEFT JOIN %s c%d ON c%d.%s = c%d.%s", in(line[i]), i, i, l.s.Column(line[i].Key), i-1, l.s.Column(line[i-1].ParentKey))
	}
	last := len(line) - 1
	second = fmt.Sprintf("c%d.%s", last, l.s.Column(line[last].Date))
	if l.f.Unit == archive.UnitTime {
		second = l.s.Second(second)
	}
	return from, l.effective(line[last], second)
}

// number reads a whole number; nil where text is empty, which is NULL.
func number(text string) (*int64, error) {
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is no whole number: dates and keys must be", text)
	}
	return &n, nil
}

// numbers runs a query that returns one row of whole numbers.
func (l looker) numbers(ctx context.Context, query string) ([]*int64, error) {
	rows, err := dialect.Rows(ctx, l.q, query)
	if err != nil {
		return nil, fmt.Errorf("%w\nwhile asking: %s", err, query)
	}
	if len(rows) != 1 {
		return nil, fmt.Errorf("%d rows where one was asked for: %s", len(rows), query)
	}
	all := make([]*int64, len(rows[0]))
	for i, text := range rows[0] {
		if all[i], err = number(text); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// keys returns a few keys that a query for one column finds.
func (l looker) keys(ctx context.Context, query string) (all []string, err error) {
	rows, err := dialect.Rows(ctx, l.q, query+" ORDER BY 1 LIMIT "+strconv.Itoa(few))
	for _, r := range rows {
		all = append(all, r[0])
	}
	if err != nil {
		err = fmt.Errorf("%w\nwhile asking: %s", err, query)
	}
	return all, err
}

// facts looks at one table, for an end.
func (l looker) facts(ctx context.Context, t archive.Table, in scope, end int64) (archive.Facts, error) {
	from, second := l.dated(t, in)
	key := "c0." + l.s.Column(t.Key)
	final := "NULL"
	if t.FinalWhen != "" {
		final = fmt.Sprintf("MIN(CASE WHEN %s <= %d AND c0.holdfast_final = 0 THEN %s END)", second, end, second)
	}
	n, err := l.numbers(ctx, fmt.Sprintf(`SELECT COUNT(*), SUM(CASE WHEN %[1]s IS NULL THEN 1 ELSE 0 END), MIN(%[1]s), SUM(CASE WHEN %[1]s <= %[2]d THEN 1 ELSE 0 END),
		SUM(CASE WHEN %[1]s > %[2]d THEN 1 ELSE 0 END), MAX(CASE WHEN %[1]s <= %[2]d THEN %[3]s END), MIN(CASE WHEN %[1]s > %[2]d THEN %[3]s END), %[4]s FROM %[5]s`,
		second, end, key, final, from))
	if err != nil {
		return archive.Facts{}, err
	}
	k := archive.Facts{Rows: value(n[0]), Undated: value(n[1]), Min: n[2], Filed: value(n[3]), Staying: value(n[4]), MaxFiled: n[5], MinStaying: n[6], Unfinal: n[7]}
	if k.Undated > 0 {
		if k.Loose, err = l.keys(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s IS NULL", key, from, second)); err != nil {
			return k, err
		}
	}
	if t.IDOrder && k.MaxFiled != nil && k.MinStaying != nil && *k.MaxFiled > *k.MinStaying {
		n, err := l.numbers(ctx, fmt.Sprintf("SELECT MIN(%[1]s) FROM %[2]s WHERE %[1]s <= %[3]d AND %[4]s > %[5]d", second, from, end, key, *k.MinStaying))
		if err != nil {
			return k, err
		}
		k.Disorder = n[0]
	}
	return k, nil
}

// mirrors holds the mirrors of the family in a scope against each other.
func (l looker) mirrors(ctx context.Context, in scope, where string) (all []archive.Broken, err error) {
	for _, m := range l.f.Mirrors {
		table, twin := *l.f.Table(m.Table), *l.f.Table(m.Twin)
		var same []string
		for _, c := range m.Columns {
			same = append(same, "a."+l.s.Column(c)+" = b."+l.s.Column(c))
		}
		chosen := fmt.Sprintf("a.%s = %d", l.s.Column(m.Column), m.Value)
		agree := strings.Join(same, " AND ")
		for _, one := range []struct{ table, what, query string }{
			{m.Table, "rows have no twin in " + m.Twin + " with the same " + strings.Join(m.Columns, ", "),
				fmt.Sprintf("SELECT a.%s FROM %s a WHERE %s AND NOT EXISTS (SELECT 1 FROM %s b WHERE %s)", l.s.Column(table.Key), in(table), chosen, in(twin), agree)},
			{m.Twin, fmt.Sprintf("rows are the twin of none in %s with %s %d", m.Table, m.Column, m.Value),
				fmt.Sprintf("SELECT b.%s FROM %s b WHERE NOT EXISTS (SELECT 1 FROM %s a WHERE %s AND %s)", l.s.Column(twin.Key), in(twin), in(table), chosen, agree)},
		} {
			keys, err := l.keys(ctx, one.query)
			if err != nil {
				return nil, err
			}
			if len(keys) > 0 {
				all = append(all, archive.Broken{Rule: archive.RuleMirror, Table: one.table, What: where + one.what, Keys: keys})
			}
		}
	}
	return all, nil
}

// catalogue returns what the catalogue lists of the family, and no error where
// there is no catalogue yet.
func (l looker) catalogue(ctx context.Context) ([]archive.Entry, error) {
	t, err := l.s.Table(ctx, l.q, l.f.Catalogue)
	if err != nil || t == nil {
		return nil, err
	}
	for _, name := range []string{"id", "archive_id", "table_type", "start_date", "end_date", "table_name"} {
		if !slices.ContainsFunc(t.Structure.Columns, func(c archive.Column) bool { return strings.EqualFold(c.Name, name) }) {
			return nil, fmt.Errorf("table %q is no catalogue of archives: it has no column %q; where it is another program's, name another \"catalogue\" in the family", l.f.Catalogue, name)
		}
	}
	rows, err := dialect.Rows(ctx, l.q, "SELECT id, archive_id, table_type, start_date, end_date, table_name FROM "+l.s.Quote(l.f.Catalogue)+" ORDER BY start_date, archive_id, table_type, id")
	if err != nil {
		return nil, err
	}
	var all []archive.Entry
	for _, r := range rows {
		var n [5]int64
		for i := range n {
			v, err := number(r[i])
			if err != nil || v == nil {
				return nil, fmt.Errorf("the row of %s with id %s is no entry: %w", l.f.Catalogue, r[0], err)
			}
			n[i] = *v
		}
		all = append(all, archive.Entry{ID: n[0], ArchiveID: n[1], Type: int(n[2]), Name: r[5], Window: archive.Window{Start: n[3], End: n[4]}})
	}
	return all, l.own(ctx, all)
}

// own wants the catalogue to list no archive that was closed for another
// family: types are numbers, and its tables would pass for those of this one.
func (l looker) own(ctx context.Context, entries []archive.Entry) error {
	t, err := l.s.Table(ctx, l.q, keptTable)
	if err != nil || t == nil {
		return err
	}
	rows, err := dialect.Rows(ctx, l.q, fmt.Sprintf("SELECT table_name, family FROM %s WHERE family <> %s ORDER BY 1", l.s.Quote(keptTable), l.s.Text(l.f.Name)))
	if err != nil {
		return err
	}
	at := slices.IndexFunc(rows, func(r []string) bool { // two tables may have two collations, and a server compares no such texts
		return slices.ContainsFunc(entries, func(e archive.Entry) bool { return e.Name == r[0] })
	})
	if at < 0 {
		return nil
	}
	other := rows[at][1]
	return fault.New(fault.InvalidParameterValue, "table %q lists archives of family %q, and so it cannot list those of %q", l.f.Catalogue, other, l.f.Name).
		WithHint("give the family a catalogue of its own: \"catalogue\": \"%s_archives\"; where it was called %q before, call it so again", l.f.Name, other)
}

// snapshot runs what in a transaction that sees one moment and writes nothing.
func snapshot(ctx context.Context, s *dialect.Session, f *archive.Family, what func(l looker) error) error {
	tx, err := s.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it wrote nothing
	return what(looker{s: s, q: tx, f: f})
}
