package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"holdfast/row"
	"holdfast/sink"
)

const (
	// maxPending is how many bytes of values are held back, over all tables,
	// to be inserted several rows at a time.
	maxPending = 256 << 10
	// maxGroups is for how many schemas rows are held back.
	maxGroups = 256
	// keepBuffer is the largest buffer that is kept for the next rows.
	keepBuffer = 1 << 20
)

// load writes the rows of one batch, several per statement, and in order
// within each table.
type load struct {
	ctx    context.Context
	conn   *conn
	tables *tables
	fixed  bool

	groups  map[*row.Schema]*group // every schema met so far, by its address
	plans   map[*plan]*group       // and by what it says
	pending map[*table]*group      // the one group of each table that holds rows
	bytes   int                    // of values, over all pending groups
	text    []byte                 // of the row being added
}

// group is rows of one schema that wait for their statement.
type group struct {
	plan  *plan
	args  []driver.NamedValue // of all of its rows, numbered as one statement's
	seqs  []uint64
	bytes int // of all values
}

// all writes every row of b.
func (l *load) all(b sink.Batch) error {
	l.groups, l.plans, l.pending = map[*row.Schema]*group{}, map[*plan]*group{}, map[*table]*group{}
	for b.Next() {
		if err := l.add(b.Row()); err != nil {
			return err
		}
	}
	if err := b.Err(); err != nil {
		return err
	}
	return l.flushAll()
}

// add takes a row in, and writes what has waited long enough.
func (l *load) add(r *row.Row) error {
	g, err := l.group(r)
	if err != nil {
		return err
	}
	if other := l.pending[g.plan.table]; other != g {
		if other != nil { // rows of one table keep their order over schemas
			if err := l.flush(other); err != nil {
				return err
			}
		}
		l.pending[g.plan.table] = g
	}
	l.bind(g, r)
	switch {
	case l.bytes >= maxPending:
		return l.flushAll()
	case len(g.seqs) >= g.plan.rows:
		return l.flush(g)
	}
	return nil
}

// group returns where rows like r wait.
func (l *load) group(r *row.Row) (*group, error) {
	g := l.groups[r.Schema]
	if g == nil {
		if len(l.groups) >= maxGroups {
			if err := l.flushAll(); err != nil {
				return nil, err
			}
			clear(l.groups)
			clear(l.plans)
		}
		p, err := l.tables.plan(l.conn, r.Schema, l.fixed)
		if err != nil {
			return nil, blame(err, r)
		}
		if g = l.plans[p]; g == nil {
			g = &group{plan: p}
			l.plans[p] = g
		}
		l.groups[r.Schema] = g
	}
	if len(r.Values) != len(g.plan.cells) {
		return nil, blame(refuse(r.Schema, fmt.Sprintf("%d values for %d columns", len(r.Values), len(g.plan.cells))), r)
	}
	return g, nil
}

// blame names the row in a RowError that its schema earned.
func blame(err error, r *row.Row) error {
	var e *sink.RowError
	if errors.As(err, &e) {
		e.Seq = r.Seq
	}
	return err
}

// bind copies a row into g, all of its text at once.
func (l *load) bind(g *group, r *row.Row) {
	l.text = l.text[:0]
	for i := range r.Values {
		if v := &r.Values[i]; !v.Null {
			l.text = append(l.text, v.Text...)
		}
	}
	text := string(l.text)
	if cap(l.text) > keepBuffer {
		l.text = nil
	}
	l.bytes += len(text)
	g.bytes += len(text)
	for i := range r.Values {
		a := driver.NamedValue{Ordinal: len(g.args) + 1}
		if v := &r.Values[i]; !v.Null {
			one := text[:len(v.Text)]
			text = text[len(one):]
			if kind := g.plan.cells[i]; kind == affText {
				a.Value = one
			} else {
				a.Value = kind.cell(one, g.plan.schema.Columns[i].Type)
			}
		}
		g.args = append(g.args, a)
	}
	g.seqs = append(g.seqs, r.Seq)
}

// flushAll writes every row that waits.
func (l *load) flushAll() error {
	for _, g := range l.pending {
		if err := l.flush(g); err != nil {
			return err
		}
	}
	clear(l.pending)
	return nil
}

// flush writes the rows of g, in as few statements as their sizes allow: the
// largest, some of 8 rows, and the rest one by one, so that a few statements
// serve any number of rows.
func (l *load) flush(g *group) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	for at := 0; at < len(g.seqs); {
		n := 1
		for _, size := range [...]int{g.plan.rows, 8} {
			if size > n && len(g.seqs)-at >= size {
				n = size
			}
		}
		if err := l.run(g, at, n); err != nil {
			if !aboutRow(err) {
				return fmt.Errorf("insert into table %q: %w", g.plan.schema.Table, err)
			}
			if err := l.locate(g, at, n, err); err != nil {
				return err
			}
		}
		at += n
	}
	l.bytes -= g.bytes
	clear(g.args) // so that the text can go
	g.bytes, g.args, g.seqs = 0, g.args[:0], g.seqs[:0]
	return nil
}

// run inserts n rows of g from the one at index at.
func (l *load) run(g *group, at, n int) error {
	width := len(g.plan.cells)
	args := g.args[at*width : (at+n)*width]
	if at > 0 {
		for i := range args {
			args[i].Ordinal = i + 1
		}
	}
	return l.conn.run(g.plan.sql(n), args)
}

// locate finds which of n rows, that were refused together, is refused, by
// inserting them one by one; the transaction is rolled back afterwards.
func (l *load) locate(g *group, at, n int, refused error) error {
	named := &sink.RowError{Table: g.plan.schema.Table, Code: codeName(refused), Err: refused}
	if n == 1 {
		named.Seq = g.seqs[at]
		return named
	}
	// A table may say ON CONFLICT FAIL, which keeps the rows before the one
	// refused; or ON CONFLICT ROLLBACK, which ends the transaction, so that
	// rows inserted now would be committed one by one.
	if _, err := l.conn.exec(l.ctx, "BEGIN"); err == nil {
		return named
	}
	kept, err := l.conn.query(l.ctx, "SELECT changes()")
	if err != nil {
		return fmt.Errorf("insert into table %q: %w", named.Table, err)
	}
	skip, _ := kept[0][0].(int64)
	for i := at + int(skip); i < at+n; i++ {
		if err := l.run(g, i, 1); err != nil {
			if !aboutRow(err) {
				return fmt.Errorf("insert into table %q: %w", named.Table, err)
			}
			named.Seq, named.Code, named.Err = g.seqs[i], codeName(err), err
			return named
		}
	}
	if skip > 0 { // a trigger that fails after its row went in keeps that row too
		named.Seq = g.seqs[at+int(skip)-1]
		return named
	}
	return nil // one by one they all went in
}
