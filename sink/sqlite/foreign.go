package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	lib "modernc.org/sqlite/lib"

	"holdfast/sink"
)

// foreignKey is one foreign key of a table.
type foreignKey struct {
	parent   string
	from, to []string // columns of the child, and those of the parent that they refer to
}

// lookKeys reads the foreign keys of the table.
func (t *table) lookKeys(c *conn) error {
	rows, err := c.query(context.Background(), `SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq`, t.name)
	if err != nil || len(rows) == 0 {
		return err
	}
	last := int64(-1)
	for _, r := range rows {
		id, ok1 := r[0].(int64)
		parent, ok2 := r[1].(string)
		from, ok3 := r[2].(string)
		to, _ := r[3].(string) // NULL where the parent's primary key is meant
		if !ok1 || !ok2 || !ok3 {
			return fmt.Errorf("got %v", r)
		}
		if id != last {
			t.keys, last = append(t.keys, foreignKey{parent: parent}), id
		}
		k := &t.keys[len(t.keys)-1]
		k.from = append(k.from, from)
		if to != "" {
			k.to = append(k.to, to)
		}
	}
	// Which of them are deferred only the statement that made the table tells.
	// Where it says so in another sense, rows are checked once too often.
	deferred, err := c.query(context.Background(), "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ? COLLATE NOCASE AND sql LIKE '%deferred%'", t.name)
	if err != nil || len(deferred) == 0 {
		return err
	}
	return t.planOrphans(c)
}

// planOrphans makes the query that returns, of the rows whose rowids are in a
// JSON array, those that refer to a row which is not there.
func (t *table) planOrphans(c *conn) error {
	rowid := ""
	for _, name := range []string{"rowid", "oid", "_rowid_"} {
		if _, taken := t.columns[name]; !taken {
			rowid = name
		}
	}
	without, err := c.query(context.Background(), "SELECT 1 FROM pragma_table_list(?) WHERE schema = 'main' AND wr = 1", t.name)
	if err != nil {
		return err
	}
	if rowid == "" || len(without) > 0 {
		return nil // a row cannot be found again; the commit judges all of them together
	}
	var lost []string
	for _, k := range t.keys {
		if len(k.to) == 0 {
			pk, err := c.query(context.Background(), "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", k.parent)
			if err != nil {
				return err
			}
			for _, r := range pk {
				name, _ := r[0].(string)
				k.to = append(k.to, name)
			}
		}
		if len(k.to) != len(k.from) {
			return nil // SQLite refuses each row of such a table anyway
		}
		var set, match []string
		for i := range k.from {
			set = append(set, "c."+quote(k.from[i])+" IS NOT NULL")
			// As SQLite does itself, compare as the parent's column does: the
			// plus takes the child's say.
			match = append(match, "p."+quote(k.to[i])+" = +c."+quote(k.from[i]))
		}
		lost = append(lost, fmt.Sprintf("(%s AND NOT EXISTS (SELECT 1 FROM main.%s p WHERE %s))",
			strings.Join(set, " AND "), quote(k.parent), strings.Join(match, " AND ")))
	}
	t.orphans = fmt.Sprintf("SELECT c.%s FROM main.%s c WHERE c.%s IN (SELECT value FROM json_each(?)) AND (%s)",
		rowid, quote(t.name), rowid, strings.Join(lost, " OR "))
	return nil
}

// parentsFirst returns the tables of groups so that those which others refer
// to stand in front of them. Otherwise, and around a cycle, the order stays.
func parentsFirst(groups []*group) []*table {
	var left []*table
	waits := map[string]*table{} // by folded name: tables that are not placed yet
	for _, g := range groups {
		if tab := g.plan.table; waits[FoldName(tab.name)] == nil {
			waits[FoldName(tab.name)] = tab
			left = append(left, tab)
		}
	}
	var order []*table
	for len(left) > 0 {
		next := slices.IndexFunc(left, func(tab *table) bool {
			// Whatever it waits for waits for it.
			for above := range ancestors(tab, waits) {
				if !ancestors(above, waits)[tab] {
					return false
				}
			}
			return true
		})
		delete(waits, FoldName(left[next].name))
		order, left = append(order, left[next]), slices.Delete(left, next, next+1)
	}
	return order
}

// ancestors returns which of waits tab refers to, through others or not.
func ancestors(tab *table, waits map[string]*table) map[*table]bool {
	found := map[*table]bool{}
	for look := []*table{tab}; len(look) > 0; look = look[1:] {
		for _, k := range look[0].keys {
			if p := waits[FoldName(k.parent)]; p != nil && !found[p] {
				found[p] = true
				look = append(look, p)
			}
		}
	}
	return found
}

// maxRounds bounds how often kept rows are written anew because some of them
// have no parent: each round finds those whose parent went in the one before.
const maxRounds = 64

// writeKept writes the kept rows, parents first. Where a foreign key is checked
// at commit only, which names no row, it is checked here instead: rows are
// written for trial, and once more without those that lack a parent.
func (l *load) writeKept() error {
	var groups []*group
	deferred := false
	for _, tab := range parentsFirst(l.kept) {
		deferred = deferred || tab.orphans != ""
		for _, g := range l.kept {
			if g.plan.table == tab {
				groups = append(groups, g)
			}
		}
	}
	if !deferred {
		return l.writeGroups(groups, nil)
	}
	for range maxRounds {
		if err := l.conn.do("SAVEPOINT holdfast_kept"); err != nil {
			return fmt.Errorf("begin trial: %w", err)
		}
		rowids := map[*table]map[int64]place{}
		if err := l.writeGroups(groups, rowids); err != nil {
			return err
		}
		found, err := l.findOrphans(rowids)
		if err != nil {
			return err
		}
		if found {
			if err := l.conn.do("ROLLBACK TO holdfast_kept"); err != nil {
				return fmt.Errorf("undo trial: %w", err)
			}
		}
		if err := l.conn.do("RELEASE holdfast_kept"); err != nil {
			return fmt.Errorf("end trial: %w", err)
		}
		if !found {
			return nil
		}
		for _, g := range groups {
			g.bad = g.bad[:0] // found again in the next round
		}
	}
	return &sink.RowError{Table: groups[0].plan.schema.Table, Code: orphanCode,
		Err: fmt.Errorf("more than %d rows lack a parent, each because of the one before", maxRounds)}
}

// place is where a row that was written waits.
type place struct {
	group *group
	at    int
}

// writeGroups writes groups in their order. Rows of tables whose keys are
// checked here are written one by one, for their rowids.
func (l *load) writeGroups(groups []*group, rowids map[*table]map[int64]place) error {
	for _, g := range groups {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		tab := g.plan.table
		if tab.orphans == "" {
			if err := l.write(g); err != nil {
				return err
			}
			continue
		}
		if rowids[tab] == nil {
			rowids[tab] = map[int64]place{}
		}
		for at := range g.rows {
			if g.orphans[at] {
				g.refuse(at, orphanCode, errOrphan)
				continue
			}
			id, is, err := l.writeOne(g, at)
			if err != nil {
				return err
			}
			if is {
				rowids[tab][id] = place{g, at}
			}
		}
	}
	return nil
}

// writeOne writes one row and returns its rowid. A row that is refused is
// noted; it has none, and neither has one that ON CONFLICT IGNORE passes over.
func (l *load) writeOne(g *group, at int) (id int64, is bool, err error) {
	done, err := l.try(g, at, 1)
	if err != nil {
		if final(err) {
			return 0, false, err
		}
		g.refuse(at, codeName(err), err)
		return 0, false, nil
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return 0, false, err
	}
	id, err = done.LastInsertId()
	return id, true, err
}

// errOrphan is what SQLite says of such a row where it judges rows at once.
var errOrphan = errors.New("FOREIGN KEY constraint failed: the row that it refers to is not there at commit")

var orphanCode = strconv.Itoa(lib.SQLITE_CONSTRAINT_FOREIGNKEY)

// findOrphans marks the rows that refer to a row which is not there.
func (l *load) findOrphans(rowids map[*table]map[int64]place) (found bool, err error) {
	for tab, places := range rowids {
		list := []byte{'['}
		for id := range places {
			if len(list) > 1 {
				list = append(list, ',')
			}
			list = strconv.AppendInt(list, id, 10)
		}
		lost, err := l.conn.query(context.Background(), tab.orphans, string(append(list, ']')))
		if err != nil {
			return false, fmt.Errorf("check foreign keys of table %q: %w", tab.name, err)
		}
		for _, r := range lost {
			id, _ := r[0].(int64)
			p, ok := places[id]
			if !ok {
				return false, fmt.Errorf("check foreign keys of table %q: got rowid %v", tab.name, r[0])
			}
			if p.group.orphans == nil {
				p.group.orphans = map[int]bool{}
			}
			p.group.orphans[p.at] = true
			found = true
		}
	}
	return found, nil
}
