package dialect

import (
	"slices"
	"strings"
)

// Leave is how archived tables go for good.
type Leave struct {
	Before []string // changes nothing that is seen; may be run again
	Step   []string // views forget the tables, and these are gone from their names: in one transaction, or one statement
	After  []string // frees what they took; may be run again
}

// Taken reports whether the name of the view over the table belongs to
// something that is not ours.
func (t *Table) Taken() bool {
	return slices.ContainsFunc(t.Unfit, func(why string) bool { return strings.Contains(why, "name of its view") })
}

// Viewed reports whether there is a view of ours over the table and its archives.
func (t *Table) Viewed() bool { return len(t.views) > 0 }

// Leave drops tables, children first, in the transaction that changes views.
func (s *postgres) Leave(tables []*Table, gone []string, rest map[string][]string, _ int64) (l Leave) {
	for _, t := range tables {
		l.Step = append(l.Step, s.View(t, rest[t.Name])...)
	}
	for _, name := range slices.Backward(gone) {
		l.Step = append(l.Step, "DROP TABLE "+s.Quote(name))
	}
	return l
}

// Leave drops tables, children first, in the transaction that changes views.
func (l *lite) Leave(tables []*Table, gone []string, rest map[string][]string, _ int64) (all Leave) {
	for _, t := range tables {
		all.Step = append(all.Step, l.allView(t, rest[t.Name])...)
	}
	for _, name := range slices.Backward(gone) {
		all.Step = append(all.Step, "DROP TABLE "+l.Quote(name))
	}
	return all
}

// out is what an archived table is called once it has left.
func out(archived string) string { return archived + "_out" }

// Leave renames tables and views in one statement, and drops them behind it.
func (m *mariadb) Leave(tables []*Table, gone []string, rest map[string][]string, stamp int64) (l Leave) {
	var pairs []string
	rename := func(from, to string) { pairs = append(pairs, m.Quote(from)+" TO "+m.Quote(to)) }
	for _, t := range tables {
		next := strings.Replace(m.View(t, rest[t.Name])[0], m.Quote(AllName(t.Name)), m.Quote(nextView(t.Name, stamp)), 1)
		l.Before = append(l.Before, next)
		if len(t.views) > 0 {
			rename(AllName(t.Name), lastView(t.Name, stamp))
		}
		rename(nextView(t.Name, stamp), AllName(t.Name))
		l.After = append(l.After, "DROP VIEW IF EXISTS "+m.Quote(lastView(t.Name, stamp)))
	}
	for _, name := range gone {
		rename(name, out(name))
	}
	for _, name := range slices.Backward(gone) {
		l.After = append(l.After, "DROP TABLE IF EXISTS "+m.Quote(out(name)))
	}
	l.Step = []string{"RENAME TABLE " + strings.Join(pairs, ", ")}
	return l
}
