package dialect

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/mutant"
)

// Triggers of users see nothing of rows that are put back: until that is done,
// those of the new tables have this around them.
const (
	guardHead = "BEGIN IF " + moving + " IS NULL THEN\n"
	guardTail = "\n; END IF; END"
)

func guarded(body string) string { return guardHead + body + guardTail }

func unguarded(body string) string {
	if inner, ours := strings.CutPrefix(body, guardHead); ours {
		return strings.TrimSuffix(inner, guardTail)
	}
	return body
}

// nextView and lastView are what the view over a table is called before it
// takes its name, and once it has lost it.
func nextView(table string, stamp int64) string { return Archived(table, stamp) + "_all" }
func lastView(table string, stamp int64) string { return Archived(table, stamp) + "_was" }

// Twin is what the table that takes the place of another is called before it
// does: as the other will be called once it is archived. So the view over both,
// which goes by names, is made before the swap and reads each row once from then
// on: to rename a view takes ten times as long as to rename a table.
func (*mariadb) Twin(table string, stamp int64) string { return Archived(table, stamp) }

// mark is a table that the swap renames: whoever finds a run that was killed
// sees by it whether the names were exchanged.
func mark(tables []string, stamp int64) (before, after string) {
	return Twin(tables[0], stamp), out(Archived(tables[0], stamp))
}

// Swapped looks for the mark.
func (m *mariadb) Swapped(ctx context.Context, q Querier, tables []string, stamp int64) (bool, error) {
	_, after := mark(tables, stamp)
	_, swapped, err := m.Shape(ctx, q, after)
	return swapped, err
}

// Script makes the twins one by one, and swaps all of them in one statement.
func (m *mariadb) Script(tables []*Table, stamp int64, before map[string][]string) Script {
	all := Script{Alone: true}
	var names []string
	for _, t := range tables {
		names = append(names, t.Name)
		twin := m.Quote(m.Twin(t.Name, stamp))
		all.Prepare = append(all.Prepare, "CREATE TABLE "+twin+" LIKE "+m.Quote(t.Name))
		if t.room > 0 && !mutant.On(38) {
			all.Prepare = append(all.Prepare, fmt.Sprintf("ALTER TABLE %s AUTO_INCREMENT = %d", twin, t.next+t.room))
		}
	}
	twins := map[string]string{}
	for _, t := range tables {
		twins[t.regclass] = m.Twin(t.Name, stamp)
	}
	for _, t := range tables {
		all.Prepare = append(all.Prepare, m.attached(t, stamp, twins)...)
	}
	marked, swapped := mark(names, stamp)
	all.Prepare = append(all.Prepare, "CREATE TABLE "+m.Quote(marked)+" (swapped integer) ENGINE=InnoDB")
	all.Prepare = append(all.Prepare, m.may(marked, keepers(Archived(names[0], stamp))[0])...)
	for _, t := range tables {
		all.Views = append(all.Views, m.View(t, append(slices.Clone(before[t.Name]), Archived(t.Name, stamp)))...)
	}
	var pairs []string
	rename := func(from, to string) { pairs = append(pairs, m.Quote(from)+" TO "+m.Quote(to)) }
	for _, t := range tables {
		archived := Archived(t.Name, stamp)
		rename(t.Name, out(archived))
		rename(archived, t.Name)
		rename(out(archived), archived)
	}
	rename(marked, swapped)
	all.Swap = []string{"RENAME TABLE " + strings.Join(pairs, ", ")}
	return all
}

// may runs what is first needed behind the swap, on a table that is empty: a
// role without the right to it fails here, where nothing was swapped yet.
func (m *mariadb) may(table, trigger string) []string {
	return []string{
		"UPDATE " + m.Quote(table) + " SET swapped = 0",
		"DELETE FROM " + m.Quote(table),
		"CREATE TRIGGER " + m.Quote(trigger) + " BEFORE INSERT ON " + m.Quote(table) + " FOR EACH ROW BEGIN END",
		"DROP TRIGGER " + m.Quote(trigger),
	}
}

// attached makes what may name other tables of the family, or acts on rows.
func (m *mariadb) attached(t *Table, stamp int64, twins map[string]string) (all []string) {
	twin := m.Quote(m.Twin(t.Name, stamp))
	var keys []string
	for _, k := range t.keys {
		text, name := k.text, ""
		if to, ours := twins[k.target]; ours {
			text = strings.Replace(text, " REFERENCES "+m.Column(k.target)+" (", " REFERENCES "+m.Column(to)+" (", 1)
		}
		// A name that the server gave goes along with that of the table.
		if rest, given := strings.CutPrefix(k.name, t.Name+"_ibfk_"); !given || strings.Trim(rest, "0123456789") != "" {
			name = "CONSTRAINT " + m.Column(renamed(k.name, stamp)) + " "
		}
		keys = append(keys, "ADD "+name+text)
		all = append(all, m.asked(t, twin, k)...)
	}
	if len(keys) > 0 {
		all = append(all, "ALTER TABLE "+twin+" "+strings.Join(keys, ", "))
	}
	for _, g := range t.triggers {
		all = append(all, m.inMode(g, "CREATE", renamed(g.name, stamp), twin, guarded(g.text)))
	}
	for _, g := range t.grants { // rights stay with a name
		all = append(all, "GRANT "+g.privilege+" ON "+twin+" TO "+g.grantee)
	}
	return all
}

// asked makes an index one that was asked for, in a twin, which is empty. What
// the server made for a foreign key by itself it would make anew, at another
// place, and call it as the key of the twin is called.
func (m *mariadb) asked(t *Table, twin string, k definition) (all []string) {
	columns, _, _ := strings.Cut(strings.TrimPrefix(k.text, "FOREIGN KEY "), " REFERENCES ")
	for _, i := range t.indexes {
		if i.unique != "INDEX" || strings.ReplaceAll(i.rest, "`, `", "`,`") != strings.ReplaceAll(columns, "`, `", "`,`") {
			continue
		}
		other := m.Column(suffixed(i.name, "_new"))
		all = append(all, "ALTER TABLE "+twin+" RENAME INDEX "+m.Column(i.name)+" TO "+other, "ALTER TABLE "+twin+" RENAME INDEX "+other+" TO "+m.Column(i.name))
	}
	return all
}

// inMode makes a trigger as it was made: a body is read with the mode and the
// collation of literals that it was written in.
func (m *mariadb) inMode(g trigger, create, name, table, body string) string {
	return fmt.Sprintf("SET SESSION sql_mode = '%s', collation_connection = '%s'; %s DEFINER=%s TRIGGER %s.%s %s ON %s FOR EACH ROW %s\n; SET SESSION sql_mode = '%s', collation_connection = '%s'",
		g.mode, g.collation, create, g.definer, m.Column(m.schema), m.Column(name), g.enabled, table, body, ownMode, ownCollation)
}

// Undo drops the mark and the twins, children first. Views must not name them any
// more.
func (m *mariadb) Undo(tables []string, stamp int64) (drops []string) {
	for _, t := range tables {
		drops = append([]string{"DROP VIEW IF EXISTS " + m.Quote(nextView(t, stamp)), "DROP TABLE IF EXISTS " + m.Quote(m.Twin(t, stamp))}, drops...)
	}
	marked, _ := mark(tables, stamp)
	return append([]string{"DROP TABLE IF EXISTS " + m.Quote(marked)}, drops...)
}

// Behind takes the triggers of users off the archived tables, which are only
// read, and the guard off those of the new ones, once all rows are back.
func (m *mariadb) Behind(ctx context.Context, q Querier, tables []*Table, stamp int64) (first, last []string, err error) {
	for _, t := range tables {
		old := &Table{Name: Archived(t.Name, stamp)}
		if err := m.readTriggers(ctx, q, old); err != nil {
			return nil, nil, err
		}
		for _, g := range old.triggers {
			if !slices.Contains(keepers(old.Name), g.name) {
				first = append(first, "DROP TRIGGER IF EXISTS "+m.Column(m.schema)+"."+m.Column(g.name))
			}
		}
		for _, g := range t.triggers {
			if body := unguarded(g.text); body != g.text {
				last = append(last, m.inMode(g, "CREATE OR REPLACE", g.name, m.Quote(t.Name), body))
			}
		}
	}
	if len(tables) > 0 {
		_, swapped := mark([]string{tables[0].Name}, stamp)
		first = append(first, "DROP TABLE IF EXISTS "+m.Quote(swapped))
	}
	return first, last, nil
}

// Move takes rows from one table to another. The second form of DELETE is the
// one whose sub-queries are joined.
func (m *mariadb) Move(t *Table, from, where string) (insert, remove string) {
	var columns []string
	for _, c := range t.columns {
		if c.generated == "" {
			columns = append(columns, m.Column(c.name))
		}
	}
	list := strings.Join(columns, ", ")
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s WHERE %s", m.Quote(t.Name), list, list, m.Quote(from), where),
		fmt.Sprintf("DELETE x FROM %s AS x WHERE %s", m.Quote(from), where)
}

// Still returns nothing: triggers look at a variable of the session.
func (*mariadb) Still(*Table) (still, again []string) { return nil, nil }

// Writable returns nothing: triggers look at a variable of the session.
func (*mariadb) Writable(string) []string { return nil }

// events are what triggers stand before; keepers are the names of ours, which
// are one's own in a schema.
var events = []string{"INSERT", "UPDATE", "DELETE"}

func keepers(archived string) (all []string) {
	for i := range events {
		all = append(all, archived+"_ro"+strconv.Itoa(i+1))
	}
	return all
}

// ReadOnly refuses what changes rows. No trigger sees TRUNCATE or DROP.
func (m *mariadb) ReadOnly(_ *Table, archived string) (all []string) {
	for i, name := range keepers(archived) {
		all = append(all, m.keeper(name, i, archived, archived))
	}
	return all
}

// keeper makes the trigger of that name for one of events, on a table that is
// called so in what it says.
func (m *mariadb) keeper(name string, event int, table, called string) string {
	return fmt.Sprintf("CREATE OR REPLACE TRIGGER %s BEFORE %s ON %s FOR EACH ROW BEGIN IF %s IS NULL THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = %s; END IF; END",
		m.Quote(name), events[event], m.Quote(table), moving, m.Text(called+" is an archive, which can only be read"))
}

// IsReadOnly reports whether all three triggers are there.
func (m *mariadb) IsReadOnly(ctx context.Context, q Querier, archived string) (bool, error) {
	t := &Table{Name: archived}
	err := m.readTriggers(ctx, q, t)
	all := true
	for i, name := range keepers(archived) {
		all = all && slices.ContainsFunc(t.triggers, func(g trigger) bool {
			return (g.name == name || g.name == formKeeper(archived, i)) && strings.Contains(g.text, "SIGNAL")
		})
	}
	return all, err
}
