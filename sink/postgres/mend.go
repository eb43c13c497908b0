package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/sink"
)

// write copies some lines of k, without those that are refused.
func (l *load) write(k *chunk, at []int) error {
	if len(at) == 0 {
		return nil
	}
	return l.mend(k, at, l.send(k, at))
}

// send copies some lines of k in one statement.
func (l *load) send(k *chunk, at []int) (err error) {
	sql := l.statements(k)
	switch {
	case k.plan.insert != "":
		err = l.conn.insert(l.ctx, sql[:len(sql)-1], k.inserts(at))
	case len(k.plan.schema.Columns) > 0:
		err = l.conn.copy(l.ctx, bytes.NewReader(k.pick(at)), sql...)
	default:
		var all []statement
		for _, s := range sql {
			all = append(all, statement{sql: s})
		}
		all[len(all)-1].args = []string{fmt.Sprint(len(at))}
		_, err = l.conn.run(l.ctx, all...)
	}
	return err
}

// mend is called with what copying the lines at of k gave. It refuses those
// that have to be, and returns once the others are in.
//
// A line that the database names costs a rollback and a second COPY without
// it; where that fails too, the lines before the second one are copied by
// themselves and left behind a savepoint. So two bad lines cost six statements,
// and each line is copied four times at most, however many are bad. Where
// none is named, the lines are halved.
func (l *load) mend(k *chunk, at []int, err error) error {
	for again := false; err != nil; {
		var e *pgconn.PgError
		if !errors.As(err, &e) || !aboutRow(err) && !(k.plan.insert != "" && e.Code == deferrable) {
			return l.wrap(k, err)
		}
		if err := l.undo(e); err != nil {
			return err
		}
		bad := named(e, k.plan.table.name, len(at))
		if bad < 0 {
			bad = k.suspect(e, at)
		}
		if bad < 0 && len(at) == 1 {
			bad = 0
		}
		switch {
		case bad < 0:
			half := len(at) / 2
			if err := l.part(k, at[:half]); err != nil {
				return err
			}
			at, again = at[half:], false
		case !again:
			if err := l.drop(k, at[bad], e); err != nil {
				return err
			}
			at, again = slices.Delete(slices.Clone(at), bad, bad+1), true
		default:
			if err := l.drop(k, at[bad], e); err != nil {
				return err
			}
			if err := l.part(k, at[:bad]); err != nil {
				return err
			}
			at, again = at[bad+1:], false
		}
		if len(at) == 0 {
			return nil
		}
		err = l.send(k, at)
	}
	return nil
}

// part copies lines, and leaves them behind a savepoint.
func (l *load) part(k *chunk, at []int) error {
	if len(at) == 0 {
		return nil
	}
	if err := l.write(k, at); err != nil {
		return err
	}
	if l.clean {
		return nil // all of them were refused
	}
	if _, err := l.conn.run(l.ctx, statement{sql: "SAVEPOINT part"}); err != nil {
		return err
	}
	l.parted, l.clean = true, true
	return nil
}

// undo takes back a COPY that failed.
func (l *load) undo(e *pgconn.PgError) error {
	point := "chunk"
	if l.parted {
		point = "part"
	}
	if _, err := l.conn.run(l.ctx, statement{sql: "ROLLBACK TO SAVEPOINT " + point}); err != nil {
		return fmt.Errorf("roll back to savepoint: %w", err)
	}
	l.clean = true
	if t := l.conn.tables.known[e.TableName]; e.Code != "23503" || l.checked || t == nil || t.has(e.ConstraintName) {
		return nil
	}
	// The foreign key is newer than what is known of the tables, and the order
	// in which they are written may be wrong.
	l.checked = true
	for _, name := range slices.Collect(maps.Keys(l.conn.tables.known)) {
		t := l.conn.tables.known[name]
		delete(l.conn.tables.known, name)
		now, err := l.conn.look(l.ctx, name)
		if err != nil {
			return err
		}
		same := slices.EqualFunc(t.keys, now.keys, func(a, b key) bool { return a.Name == b.Name && a.Parent == b.Parent && a.Deferred == b.Deferred })
		if !same {
			return fmt.Errorf("foreign keys of table %q were changed since they were looked at; the next attempt follows them (%s)", name, words{e})
		}
		l.conn.tables.known[name] = t
	}
	return nil
}

// drop refuses one line of k, or puts it off.
func (l *load) drop(k *chunk, i int, e *pgconn.PgError) error {
	k.lines[i].refused = true
	if parent, ok := l.mayCome(k, e); ok {
		return l.putOff(k, i, e, parent)
	}
	return l.refuse(k.row(i), sink.RowError{Table: k.plan.table.name, Code: e.Code, Err: words{e}})
}

// deferrable is how PostgreSQL refuses ON CONFLICT for a table with a unique
// constraint that is deferrable: rows that yield cannot be written to it.
const deferrable = "55000"

// wrap says which table an error is about that refuses no row.
func (l *load) wrap(k *chunk, err error) error {
	return fmt.Errorf("insert into table %q: %w", k.plan.table.name, err)
}
