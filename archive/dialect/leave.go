package dialect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Leave is how archived tables go for good.
type Leave struct {
	Before []string // changes nothing that is seen; may be run again
	Step   []string // views forget the tables, and these are gone from their names: in one transaction, or one statement
	After  []string // frees what they took; may be run again
}

// Unlisting is the rows of a catalogue that go with an archive.
type Unlisting struct {
	Catalogue string
	Where     string // a condition on them
	Above     int64  // where numbers go on in a catalogue that takes its place; 0: nobody gives them
}

// Above returns a number that is well above the next of the table, so that what is
// entered into it meanwhile has others than what is entered into one that takes
// its place; 0 where the table gives no numbers.
func (t *Table) Above() int64 {
	if t.room == 0 {
		return 0
	}
	return t.next + min(t.room, 100)
}

func (u Unlisting) delete(quoted string) string { return "DELETE FROM " + quoted + " WHERE " + u.Where }

// Taken reports whether the name of the view over the table belongs to
// something that is not ours.
func (t *Table) Taken() bool {
	return slices.ContainsFunc(t.Unfit, func(why string) bool { return strings.Contains(why, "name of its view") })
}

// Tied reports whether triggers or foreign keys belong to the table, or lead to it.
func (t *Table) Tied() bool { return len(t.triggers)+len(t.keys) > 0 }

// Viewed reports whether there is a view of ours over the table and its archives.
func (t *Table) Viewed() bool { return len(t.views) > 0 }

// Leave drops tables, children first, in the transaction that changes views.
func (s *postgres) Leave(tables []*Table, gone []string, rest map[string][]string, u Unlisting, _ int64) (l Leave) {
	for _, t := range tables {
		l.Step = append(l.Step, s.View(t, rest[t.Name])...)
	}
	for _, name := range slices.Backward(gone) {
		l.Step = append(l.Step, "DROP TABLE "+s.Quote(name))
	}
	l.Step = append(l.Step, u.delete(s.Quote(u.Catalogue)))
	return l
}

// Leave drops tables, children first, in the transaction that changes views.
func (l *lite) Leave(tables []*Table, gone []string, rest map[string][]string, u Unlisting, _ int64) (all Leave) {
	for _, t := range tables {
		all.Step = append(all.Step, l.allView(t, rest[t.Name])...)
	}
	for _, name := range slices.Backward(gone) {
		all.Step = append(all.Step, "DROP TABLE "+l.Quote(name))
	}
	all.Step = append(all.Step, u.delete(l.Quote(u.Catalogue)))
	return all
}

// out is what an archived table is called once it has left.
func out(archived string) string { return archived + "_out" }

// CatalogueNext and CatalogueLeft are what a catalogue is called that takes the
// place of another, before it does, and what the other is called behind it.
func CatalogueNext(catalogue string, stamp int64) string {
	return suffixed(catalogue, "_"+strconv.FormatInt(stamp, 10)+"_new")
}

// CatalogueLeft is the name of the old one.
func CatalogueLeft(catalogue string, stamp int64) string {
	return suffixed(catalogue, "_"+strconv.FormatInt(stamp, 10)+"_out")
}

// Leave renames tables, views and the catalogue in one statement, and drops what
// they were behind it. Rows that others have entered into the old catalogue
// meanwhile are entered into the new one.
func (m *mariadb) Leave(tables []*Table, gone []string, rest map[string][]string, u Unlisting, stamp int64) (l Leave) {
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
	now, next, left := m.Quote(u.Catalogue), m.Quote(CatalogueNext(u.Catalogue, stamp)), m.Quote(CatalogueLeft(u.Catalogue, stamp))
	l.Before = append(l.Before, "CREATE TABLE "+next+" LIKE "+now, "INSERT INTO "+next+" SELECT * FROM "+now, u.delete(next))
	if u.Above > 0 {
		l.Before = append(l.Before, fmt.Sprintf("ALTER TABLE %s AUTO_INCREMENT = %d", next, u.Above))
	}
	rename(u.Catalogue, CatalogueLeft(u.Catalogue, stamp))
	rename(CatalogueNext(u.Catalogue, stamp), u.Catalogue)
	l.Step = []string{"RENAME TABLE " + strings.Join(pairs, ", ")}
	l.After = append(l.After, fmt.Sprintf("INSERT INTO %s SELECT * FROM %s WHERE (%s) IS NOT TRUE AND id NOT IN (SELECT id FROM (SELECT id FROM %s) n)", now, left, u.Where, now),
		"DROP TABLE IF EXISTS "+left)
	return l
}
