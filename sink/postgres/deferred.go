package postgres

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// checks says when a session has the constraints checked that wait for COMMIT.
type checks int

const (
	// atEnd has them checked right before COMMIT, all at once. Nothing is
	// cheaper while no row breaks one, and rows may come in any order.
	atEnd checks = iota
	// atOnce has them checked with each COPY, since some batch had a row that
	// breaks one: so it is found as one that breaks any other constraint, and
	// nothing but its chunk is written again. A row without its parent is put
	// off until the end, since the parent may still come.
	atOnce
	// atEndOnly is atEnd for one batch, of which atOnce put off too much: its
	// tables refer to each other in a circle.
	atEndOnly
)

const (
	// maxRounds is how often a whole transaction is written again to find rows
	// that break a deferred constraint.
	maxRounds = 16
	// mayWait is how many rows may be put off, besides one in a hundred.
	mayWait = 100
)

// errCircle says that too many rows were put off. The batch is to be written
// with the checks at its end.
var errCircle = errors.New("too many rows stand in front of those that they refer to")

// later is what is put off until all other rows of the transaction are in.
type later struct {
	chunks []*chunk
	rows   []waiting
	size   int
	copies int            // that went well
	last   map[string]int // number of the last of them, by table
	lines  int            // in them
	ended  bool           // nothing is put off any more
}

// waiting is one row put off.
type waiting struct {
	chunk  *chunk // in later
	line   int
	from   *chunk // where it was, if that is kept
	at     int
	why    *pgconn.PgError
	parent string // the table that it refers to; "" where that is not known
	copies int    // that had gone well by then
}

// wrote notes that k is in.
func (w *later) wrote(k *chunk) {
	if w.last == nil {
		w.last = map[string]int{}
	}
	w.copies++
	w.lines += len(k.lines)
	w.last[k.plan.table.name] = w.copies
}

// mayCome reports whether what a row of k lacks, as e says, may come with a
// later row of the same transaction; and into which table.
func (l *load) mayCome(k *chunk, e *pgconn.PgError) (parent string, ok bool) {
	if !l.eager || l.later.ended || e.Code != "23503" || e.TableName != k.plan.table.name {
		return "", false
	}
	i := slices.IndexFunc(k.plan.table.keys, func(one key) bool { return one.Name == e.ConstraintName })
	if i < 0 || !k.plan.table.keys[i].Deferred {
		return "", false
	}
	return k.plan.table.keys[i].Parent, true
}

// putOff keeps line i of k until the end.
func (l *load) putOff(k *chunk, i int, e *pgconn.PgError, parent string) error {
	w := &l.later
	if w.size += len(k.of(i)) + lineSize; w.size > maxKept || len(w.rows) >= mayWait+w.lines/100 {
		*l.checks, k.lines[i].refused = atEndOnly, false
		return errCircle
	}
	if n := len(w.chunks); n == 0 || w.chunks[n-1].plan != k.plan {
		w.chunks = append(w.chunks, &chunk{plan: k.plan})
	}
	to := w.chunks[len(w.chunks)-1]
	to.add(k.row(i))
	one := waiting{chunk: to, line: len(to.lines) - 1, why: e, parent: parent, copies: w.copies}
	if l.kept != nil {
		one.from, one.at = k, i
	}
	w.rows = append(w.rows, one)
	return nil
}

// finish sees to the constraints that wait for COMMIT.
func (l *load) finish() error {
	if l.eager {
		return l.recall()
	}
	if !l.deferred {
		return nil
	}
	err := l.check()
	if err == nil || !aboutRow(err) {
		return err
	}
	only := *l.checks == atEndOnly
	switch {
	case l.lost && only:
		return refusal(err, "")
	case l.lost:
		*l.checks = atOnce
		var e *pgconn.PgError
		errors.As(err, &e)
		return fmt.Errorf("a row breaks a constraint that is checked at COMMIT, and is looked for at the next attempt (SQLSTATE %s): %s", e.Code, words{e})
	case !only:
		*l.checks = atOnce
		if again := l.atOnce(); !errors.Is(again, errCircle) {
			return again
		}
	}
	return l.rounds(err)
}

func (l *load) check() error {
	_, err := l.conn.run(l.ctx, statement{sql: "SET CONSTRAINTS ALL IMMEDIATE"})
	return err
}

// back undoes everything that was written.
func (l *load) back() error {
	_, err := l.conn.run(l.ctx, statement{sql: "ROLLBACK TO SAVEPOINT load"})
	l.saved, l.parted, l.clean = false, false, false
	return err
}

// again writes what is kept, but for rows that were refused.
func (l *load) again() error {
	for _, k := range l.kept {
		l.clean = false
		if err := l.write(k, k.all()); err != nil {
			return err
		}
		l.later.wrote(k)
	}
	return nil
}

// atOnce writes what is kept again, with all constraints checked at once. After
// errCircle everything is as before.
func (l *load) atOnce() error {
	if err := l.back(); err != nil {
		return err
	}
	l.eager, l.set, l.later = true, false, later{}
	err := l.again()
	if err == nil {
		return l.recall()
	}
	if errors.Is(err, errCircle) {
		l.eager = false
		for _, one := range l.later.rows {
			one.from.lines[one.at].refused = false
		}
		l.later = later{}
	}
	return err
}

// hopeful returns the tables of rows that were put off and may go in now:
// something was written since to what they refer to, or may be with them.
func (w *later) hopeful() map[string]bool {
	hope := map[string]bool{}
	for before := -1; before < len(hope); {
		before = len(hope)
		for _, one := range w.rows {
			if w.hopes(one, hope) {
				hope[one.chunk.plan.table.name] = true
			}
		}
	}
	return hope
}

func (w *later) hopes(one waiting, hope map[string]bool) bool {
	return one.parent == "" || w.last[one.parent] > one.copies || hope[one.parent]
}

// recall writes the rows that were put off, where their parents may be there
// now. The others are refused.
func (l *load) recall() error {
	w := &l.later
	w.ended = true
	hope := w.hopeful()
	for _, one := range w.rows {
		if w.hopes(one, hope) {
			continue
		}
		if err := l.drop(one.chunk, one.line, one.why); err != nil {
			return err
		}
	}
	if len(hope) == 0 {
		return nil
	}
	if _, err := l.conn.run(l.ctx, statement{sql: "SET CONSTRAINTS ALL DEFERRED"}, statement{sql: "SAVEPOINT load"}); err != nil {
		return err
	}
	l.kept, l.lost = w.chunks, false
	l.saved, l.parted = false, false
	if err := l.again(); err != nil {
		return err
	}
	err := l.check()
	if err == nil || !aboutRow(err) {
		return err
	}
	return l.rounds(err)
}

// rounds finds rows of what is kept that break a constraint, as refused says.
// First by the key that the database names, which needs all of them written
// again for each; then, once, by having everything checked at once, as if
// nothing were deferred.
func (l *load) rounds(refused error) error {
	for round := 0; ; round++ {
		if l.lost || round > maxRounds {
			return refusal(refused, "")
		}
		if err := l.back(); err != nil {
			return err
		}
		found := false
		if round < maxRounds {
			var err error
			if found, err = l.accuse(refused); err != nil {
				return err
			}
		}
		if !found {
			round = maxRounds
			if err := l.check(); err != nil {
				return err
			}
		}
		if err := l.again(); err != nil {
			return err
		}
		err := l.check()
		if err == nil || !aboutRow(err) {
			return err
		}
		refused = err
	}
}

// accuse refuses the rows that hold the key which the database names in err.
func (l *load) accuse(err error) (found bool, _ error) {
	var e *pgconn.PgError
	errors.As(err, &e)
	for _, k := range slices.Backward(l.kept) {
		for {
			at := k.all()
			i := k.suspect(e, at)
			if i < 0 {
				break
			}
			found = true
			if err := l.drop(k, at[i], e); err != nil || e.Code != "23503" {
				return found, err // of those that hold one key twice, one is too many
			}
		}
	}
	return found, nil
}
