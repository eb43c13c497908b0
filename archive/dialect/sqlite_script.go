package dialect

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"holdfast/internal/mutant"
)

// viewMark stands in the definition of a view of ours.
const viewMark = "/* " + allMark + " */"

// Script swaps the tables in one transaction: triggers are dropped, tables
// renamed, and made again with everything that was theirs, from the texts that
// they were made with. Names of indexes are one's own in a file and cannot be
// changed, so the new ones carry the time.
func (l *lite) Script(tables []*Table, stamp int64, before map[string][]string) Script {
	var all Script
	for _, t := range tables {
		for _, g := range t.triggers {
			all.Swap = append(all.Swap, "DROP TRIGGER "+l.Quote(g.name))
		}
	}
	for _, t := range tables { // a RENAME parses each view that there is, and these name every archive
		all.Swap = append(all.Swap, l.dropView(t))
	}
	for _, t := range tables {
		all.Swap = append(all.Swap, "ALTER TABLE "+l.Quote(t.Name)+" RENAME TO "+l.Quote(Archived(t.Name, stamp)))
	}
	for _, t := range tables {
		all.Swap = append(all.Swap, t.create)
		if t.room > 0 && !mutant.On(38) {
			all.Swap = append(all.Swap, fmt.Sprintf("INSERT INTO sqlite_sequence (name, seq) SELECT %s, max(coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = %s), 0), coalesce((SELECT max(%s) FROM %s), 0))",
				l.Text(t.Name), l.Text(Archived(t.Name, stamp)), l.Column(t.numbered()), l.Quote(Archived(t.Name, stamp))))
		}
		for _, i := range t.indexes {
			all.Swap = append(all.Swap, "CREATE "+i.unique+"INDEX "+l.Column(renamed(i.name, stamp))+i.rest)
		}
	}
	for _, t := range tables {
		for _, g := range t.triggers {
			all.Swap = append(all.Swap, g.text)
		}
		all.Swap = append(all.Swap, l.allView(t, append(slices.Clone(before[t.Name]), Archived(t.Name, stamp)))...)
	}
	return all
}

// numbered returns the column that the engine numbers.
func (t *Table) numbered() string {
	for _, c := range t.columns {
		if c.identity != "" {
			return c.name
		}
	}
	return ""
}

func (l *lite) allView(t *Table, archived []string) []string {
	var columns []string
	for _, c := range t.columns {
		columns = append(columns, l.Column(c.name))
	}
	list, name := strings.Join(columns, ", "), l.Quote(AllName(t.Name))
	text := "CREATE VIEW " + name + " AS " + viewMark + " SELECT " + list + " FROM " + l.Quote(t.Name)
	for _, a := range archived {
		text += " UNION ALL SELECT " + list + " FROM " + l.Quote(a)
	}
	return []string{l.dropView(t), text}
}

func (l *lite) dropView(t *Table) string { return "DROP VIEW IF EXISTS " + l.Quote(AllName(t.Name)) }

// CheckViews says which names of views are taken by something that is not ours.
func (l *lite) CheckViews(ctx context.Context, q Querier, tables []*Table) error {
	for _, t := range tables {
		rows, err := Rows(ctx, q, "SELECT sql FROM sqlite_schema WHERE name = ? COLLATE NOCASE", AllName(t.Name))
		if err != nil {
			return err
		}
		if len(rows) > 0 && !strings.Contains(rows[0][0], viewMark) {
			t.Unfit = append(t.Unfit, fmt.Sprintf("the name of its view, %s, is taken", AllName(t.Name)))
		}
	}
	return nil
}

// Move takes rows from one table to another.
func (l *lite) Move(t *Table, from, where string) (insert, remove string) {
	var columns []string
	for _, c := range t.columns {
		if c.generated == "" {
			columns = append(columns, l.Column(c.name))
		}
	}
	list := strings.Join(columns, ", ")
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s WHERE %s", l.Quote(t.Name), list, list, l.Quote(from), where),
		fmt.Sprintf("DELETE FROM %s WHERE %s", l.Quote(from), where)
}

// Still drops the triggers of users, and makes them again: within the
// transaction nobody else writes.
func (l *lite) Still(t *Table) (still, again []string) {
	for _, g := range t.triggers {
		still, again = append(still, "DROP TRIGGER "+l.Quote(g.name)), append(again, g.text)
	}
	return still, again
}

// ReadOnly refuses whatever changes rows.
func (l *lite) ReadOnly(_ *Table, archived string) []string {
	all := l.Writable(archived)
	for i, name := range keepers(archived) {
		all = append(all, fmt.Sprintf("CREATE TRIGGER %s BEFORE %s ON %s BEGIN SELECT RAISE(ABORT, %s); END",
			l.Quote(name), events[i], l.Quote(archived), l.Text(archived+" is an archive, which can only be read")))
	}
	return all
}

// Writable lifts the triggers of ReadOnly.
func (l *lite) Writable(archived string) (all []string) {
	for _, name := range keepers(archived) {
		all = append(all, "DROP TRIGGER IF EXISTS "+l.Quote(name))
	}
	return all
}

// IsReadOnly reports whether all three triggers are there.
func (l *lite) IsReadOnly(ctx context.Context, q Querier, archived string) (bool, error) {
	t := &Table{Name: archived}
	err := l.readTriggers(ctx, q, t)
	left := keepers(archived)
	for _, g := range t.triggers {
		left = slices.DeleteFunc(left, func(name string) bool { return name == g.name && strings.Contains(g.text, "RAISE(ABORT") })
	}
	return len(left) == 0, err
}
