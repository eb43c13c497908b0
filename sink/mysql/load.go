package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"holdfast/row"
	"holdfast/sink"
)

const (
	// maxPending is how many bytes of rows are held back, over all tables, to be
	// inserted many at a time, and to be told apart where some are refused.
	maxPending = 1 << 20
	// maxSchemas is how many schemas are known by their address.
	maxSchemas = 256
	// costOfValue is what a value takes besides its text.
	costOfValue = 72
)

// load writes the rows of one batch, many per statement, in order within each
// table, and parents first among what is written together.
type load struct {
	ctx     context.Context
	sink    *Sink
	conn    *conn
	tables  *tables
	rejects sink.Rejects
	refused bool // some row was set aside

	schemas map[*row.Schema]*plan // every schema met lately, by its address
	pending []*queue              // in the order of their first rows
	queues  map[*table]*queue     // the same, by table
	spare   []*group              // for the next rows
	bytes   int                   // over all pending groups
	text    []byte                // of the row being added
}

// queue is what waits for one table, in the order of its rows.
type queue struct {
	table  *table
	groups []*group
}

// group is rows of one schema, without others of their table in between.
type group struct {
	plan  *plan
	args  []driver.NamedValue // of all of its rows
	sizes []int32             // of the values as they came, -1 for NULL
	rows  []kept
}

// kept is what of a row is not in args, so that it can be handed back as it came.
type kept struct {
	seq      uint64
	received int64
	flags    row.Flags
	schema   *row.Schema
	text     string // of all values
}

// all writes every row of b.
func (l *load) all(b sink.Batch) error {
	l.schemas, l.queues = map[*row.Schema]*plan{}, map[*table]*queue{}
	for b.Next() {
		if err := l.add(b.Row()); err != nil {
			return err
		}
	}
	if err := b.Err(); err != nil {
		return err
	}
	if err := l.flushAll(); err != nil {
		return err
	}
	if l.refused {
		return l.rejects.Settle(l.ctx)
	}
	return nil
}

// add takes a row in, and writes what has waited long enough.
func (l *load) add(r *row.Row) error {
	p, err := l.planFor(r)
	var refused *sink.RowError
	if errors.As(err, &refused) { // no statement was tried, and the others of its table still may be
		return l.refuse(r, refused)
	}
	if err != nil {
		return err
	}
	if why := l.bind(l.group(p), r); why != "" {
		return l.refuse(r, &sink.RowError{Table: r.Schema.Table, Code: "value", Err: errors.New(why)})
	}
	if l.bytes >= maxPending {
		return l.flushAll()
	}
	return nil
}

// refuse sets a row aside.
func (l *load) refuse(r *row.Row, why *sink.RowError) error {
	named := *why
	named.Seq, named.Table = r.Seq, r.Schema.Table
	l.refused = true
	return l.rejects.Refuse(r, &named)
}

// planFor returns how r is inserted.
func (l *load) planFor(r *row.Row) (*plan, error) {
	p := l.schemas[r.Schema]
	if p == nil {
		var err error
		if p, err = l.plan(r.Schema); err != nil {
			return nil, err
		}
		if len(l.schemas) >= maxSchemas {
			clear(l.schemas)
		}
		l.schemas[r.Schema] = p
	}
	if len(r.Values) != len(p.kinds) {
		return nil, refuse(r.Schema, fmt.Sprintf("%d values for %d columns", len(r.Values), len(p.kinds)))
	}
	return p, nil
}

// group returns where the next row of p waits.
func (l *load) group(p *plan) *group {
	q := l.queues[p.table]
	if q == nil {
		q = &queue{table: p.table}
		l.queues[p.table] = q
		l.pending = append(l.pending, q)
	}
	if n := len(q.groups); n > 0 && q.groups[n-1].plan == p {
		return q.groups[n-1]
	}
	g := new(group)
	if n := len(l.spare); n > 0 {
		g, l.spare = l.spare[n-1], l.spare[:n-1]
	}
	g.plan = p
	q.groups = append(q.groups, g)
	l.bytes += costOfValue
	return g
}

// bind copies a row into g, all of its text at once. It returns why the row
// cannot be written, where that is known before it is tried.
func (l *load) bind(g *group, r *row.Row) string {
	l.text = l.text[:0]
	for i := range r.Values {
		if v := &r.Values[i]; !v.Null {
			l.text = append(l.text, v.Text...)
		}
	}
	text := string(l.text)
	if cap(l.text) > maxPending {
		l.text = nil
	}
	if room := l.conn.packet - len(g.plan.insert) - 1024 - costOfValue*len(r.Values); len(text) > room {
		return fmt.Sprintf("it has %d bytes of values, and the server's max_allowed_packet is %d", len(text), l.conn.packet)
	}
	rest, was, sizes := text, len(g.args), len(g.sizes)
	for i := range r.Values {
		a, size := driver.NamedValue{Ordinal: i + 1}, int32(-1)
		if v := &r.Values[i]; !v.Null {
			one := rest[:len(v.Text)]
			rest, size = rest[len(one):], int32(len(one))
			var why string
			if a.Value, why = g.plan.columns[i].cell(g.plan.kinds[i], one); why != "" {
				g.args, g.sizes = g.args[:was], g.sizes[:sizes]
				return fmt.Sprintf("column %q, value %.60q: %s", r.Schema.Columns[i].Name, one, why)
			}
		}
		g.args, g.sizes = append(g.args, a), append(g.sizes, size)
	}
	g.rows = append(g.rows, kept{r.Seq, r.Received, r.Flags, r.Schema, text})
	l.bytes += len(text) + costOfValue*(1+len(r.Values))
	return ""
}

// flushAll writes every row that waits, parents first.
func (l *load) flushAll() error {
	for _, q := range inOrder(l.pending) {
		for _, g := range q.groups {
			if err := l.flush(g); err != nil {
				return err
			}
		}
		if g := q.groups[len(q.groups)-1]; len(l.spare) == 0 { // one that is full serves most batches
			l.spare = append(l.spare, g)
		}
	}
	l.pending, l.bytes = nil, 0
	clear(l.queues)
	return nil
}

// inOrder returns queues with parents in front of their children. Where tables
// refer to each other in a circle, the order of their rows decides.
func inOrder(queues []*queue) []*queue {
	byKey := make(map[string]*queue, len(queues))
	for _, q := range queues {
		byKey[q.table.key] = q
	}
	seen := make(map[*queue]bool, len(queues))
	sorted := make([]*queue, 0, len(queues))
	var visit func(q *queue)
	visit = func(q *queue) {
		if seen[q] {
			return
		}
		seen[q] = true
		for _, key := range q.table.parents {
			if p := byKey[key]; p != nil {
				visit(p)
			}
		}
		sorted = append(sorted, q)
	}
	for _, q := range queues {
		visit(q)
	}
	return sorted
}

// flush writes the rows of g in as few statements as their sizes allow.
func (l *load) flush(g *group) error {
	for at := 0; at < len(g.rows); {
		n := l.fits(g, at)
		g.plan.table.written = true
		if err := l.insert(g, at, n); err != nil {
			if !aboutRow(err) {
				return fmt.Errorf("insert into table %q: %w", g.plan.schema.Table, err)
			}
			if err := l.narrow(g, at, at+n, err); err != nil {
				return err
			}
		}
		at += n
	}
	clear(g.args) // so that the text can go
	clear(g.rows)
	g.args, g.sizes, g.rows = g.args[:0], g.sizes[:0], g.rows[:0]
	return nil
}

// fits returns how many rows of g, from the one at index at, one statement takes.
func (l *load) fits(g *group, at int) int {
	room := l.conn.packet/4 - len(g.plan.insert)
	n := 0
	for n < g.plan.rows && at+n < len(g.rows) {
		if room -= len(g.rows[at+n].text) + len(g.plan.one) + 16*len(g.plan.kinds); room < 0 && n > 0 {
			break
		}
		n++
	}
	return n
}

// insert tries n rows of g from the one at index at, in one statement. InnoDB
// undoes a statement that fails, and no other.
func (l *load) insert(g *group, at, n int) error {
	width := len(g.plan.kinds)
	args := g.args[at*width : (at+n)*width]
	for i := range args {
		args[i].Ordinal = i + 1
	}
	return l.conn.insert(l.ctx, g.plan.sql(n), args, n == g.plan.rows && n > 1)
}
