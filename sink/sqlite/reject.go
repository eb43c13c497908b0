package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	lib "modernc.org/sqlite/lib"

	"holdfast/row"
	"holdfast/sink"
)

// bad is a row that the database refuses.
type bad struct {
	at  int // index in its group
	why *sink.RowError
}

// write inserts the rows of g, in as few statements as their sizes allow: the
// largest, some of 8 rows, and the rest one by one, so that a few statements
// serve any number of rows. Those that are refused are left out and noted;
// behind one, sizes are halved, so that it costs twice log2 statements at most.
func (l *load) write(g *group) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	for at := 0; at < len(g.rows); {
		n, left := 1, len(g.rows)-at
		for _, size := range [...]int{g.plan.rows, 8} {
			if size > n && left >= size {
				n = size
			}
		}
		if len(g.bad) > 0 && left < g.plan.rows {
			n = 1 << (bits.Len(uint(left)) - 1)
		}
		_, err := l.try(g, at, n)
		if err == nil {
			at += n
		} else if at, err = l.search(g, at, n, err); err != nil {
			return err
		}
	}
	return nil
}

// try inserts n rows of g from the one at index at, all or none.
func (l *load) try(g *group, at, n int) (driver.Result, error) {
	if !l.guarded {
		done, err := l.insert(g, at, n)
		if err != nil {
			err = l.verdict(g, at, n, err)
		}
		return done, err
	}
	if err := l.conn.do("SAVEPOINT holdfast_try"); err != nil {
		return nil, fmt.Errorf("begin insert into table %q: %w", g.plan.schema.Table, err)
	}
	done, err := l.insert(g, at, n)
	if err != nil {
		if err = l.verdict(g, at, n, err); final(err) {
			return nil, err
		}
		if err := l.conn.do("ROLLBACK TO holdfast_try"); err != nil {
			return nil, fmt.Errorf("undo insert into table %q: %w", g.plan.schema.Table, err)
		}
	}
	if err := l.conn.do("RELEASE holdfast_try"); err != nil {
		return nil, fmt.Errorf("end insert into table %q: %w", g.plan.schema.Table, err)
	}
	return done, err
}

// insert runs the statement for n rows of g.
func (l *load) insert(g *group, at, n int) (driver.Result, error) {
	width := len(g.plan.cells)
	args := g.args[at*width : (at+n)*width]
	for i := range args {
		args[i].Ordinal = i + 1
	}
	sql := g.plan.sql(n)
	done, err := l.conn.run(sql, args)
	if err != nil && code(err) == lib.SQLITE_ERROR {
		// Where the statement itself is sound, a function did not like a value:
		// malformed JSON in a generated column, for one.
		if s, unsound := l.conn.Prepare(sql); unsound == nil {
			return nil, errors.Join(&valueError{err}, s.Close())
		}
	}
	return done, err
}

// endedError is a refusal that ended the transaction, as ON CONFLICT ROLLBACK
// does: there is nothing left to go on in.
type endedError struct{ *sink.RowError }

// Unwrap returns the refusal.
func (e *endedError) Unwrap() error { return e.RowError }

// valueError is SQLite's general error where it is about the row's values.
type valueError struct{ err error }

// Error gives the database's words.
func (e *valueError) Error() string { return e.err.Error() }

// Unwrap returns the database's error.
func (e *valueError) Unwrap() error { return e.err }

// errUnguarded ends a load whose rows come again, each statement in a savepoint.
var errUnguarded = errors.New("a row may be at fault, which the next attempt finds out")

// final reports whether err ends the load, other than one that refuses a row
// which can be left out.
func final(err error) bool {
	var e *endedError
	return !aboutRow(err) || errors.As(err, &e)
}

// verdict returns err where it refuses a row and the transaction goes on
// without; otherwise what ends the load.
func (l *load) verdict(g *group, at, n int, err error) error {
	if !aboutRow(err) {
		return fmt.Errorf("insert into table %q: %w", g.plan.schema.Table, err)
	}
	var v *valueError
	if !l.guarded && errors.As(err, &v) {
		// Such an error need not undo the rows in front of it, nor what
		// triggers did.
		l.guard = true
		return fmt.Errorf("insert into table %q: %w: %v", g.plan.schema.Table, errUnguarded, err)
	}
	if _, open := l.conn.exec(context.Background(), "BEGIN"); open == nil {
		named := &sink.RowError{Table: g.plan.schema.Table, Code: codeName(err), Err: err}
		if n == 1 {
			named.Seq = g.rows[at].seq
		}
		return &endedError{named}
	}
	return err
}

// search is called when the n rows from index at were refused together. It
// finds the first one that is refused, writes those in front of it, notes it,
// and returns the index behind it. That takes one statement for each halving,
// and one more.
func (l *load) search(g *group, at, n int, refused error) (int, error) {
	if final(refused) {
		return 0, refused
	}
	alone := true // refused is what these n rows were answered, and no more of them
	for n > 1 {
		half := 1 << (bits.Len(uint(n-1)) - 1) // powers of two, so that few statements serve all
		_, err := l.try(g, at, half)
		switch {
		case err == nil:
			at, n, alone = at+half, n-half, false
		case final(err):
			return 0, err
		default:
			n, refused, alone = half, err, true
		}
	}
	if !alone {
		if _, refused = l.try(g, at, 1); refused == nil {
			return at + 1, nil // one by one they all went in
		}
		if final(refused) {
			return 0, refused
		}
	}
	g.refuse(at, codeName(refused), refused)
	return at + 1, nil
}

// refuse notes that the row at index at is refused.
func (g *group) refuse(at int, code string, err error) {
	r := &g.rows[at]
	g.bad = append(g.bad, bad{at, &sink.RowError{Seq: r.seq, Table: r.schema.Table, Code: code, Err: err}})
}

// tell sets the refused rows of g aside, in their order.
func (l *load) tell(g *group) error {
	slices.SortFunc(g.bad, func(a, b bad) int { return cmp.Compare(a.at, b.at) })
	for _, b := range g.bad {
		if err := l.refuse(g.row(b.at), b.why); err != nil {
			return err
		}
	}
	return nil
}

// refuse sets one row aside.
func (l *load) refuse(r *row.Row, why *sink.RowError) error {
	l.refused = true
	return l.rejects.Refuse(r, why)
}
