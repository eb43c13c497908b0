package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/closed"
)

const (
	// maxPending is how many bytes of rows are held back, over all tables, to be
	// inserted many at a time, and to be told apart where some are refused.
	maxPending = 1 << 20
	// maxSchemas is how many schemas are known by their address.
	maxSchemas = 256
	// costOfValue is what a value takes besides its text.
	costOfValue = 72
	// maxSpare is how many groups are kept for the next rows: one that is on its
	// way, and one that is gathered.
	maxSpare = 2
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
	gate    *closed.Gate
	again   func() error // behind the last row: whether more is late by now

	schemas map[*row.Schema]*plan // every schema met lately, by its address
	pending []*queue              // in the order of their first rows
	queues  map[*table]*queue     // the same, by table
	spare   []*group              // for the next rows
	flight  *flight               // on its way; nil: nothing is
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
	defer func() { // whatever happened, the connection is nobody else's before
		if l.flight != nil {
			<-l.flight.landed
		}
	}()
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
	if err := l.wait(); err != nil {
		return err
	}
	if err := l.again(); err != nil {
		return err
	}
	if l.refused {
		return l.rejects.Settle(l.ctx)
	}
	return nil
}

// add takes a row in, and writes what has waited long enough.
func (l *load) add(r *row.Row) error {
	if late := l.gate.Late(r); late != nil {
		if err := l.wait(); err != nil { // who takes it may need the connection
			return err
		}
		return l.refuse(r, late)
	}
	if l.schemas[r.Schema] == nil { // the connection may be needed
		if err := l.wait(); err != nil {
			return err
		}
	}
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
	if r.Flags&row.Yields != 0 {
		p = p.yielding()
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

// flushAll sends every row that waits on its way, parents first, once those
// before have arrived.
func (l *load) flushAll() error {
	if err := l.wait(); err != nil {
		return err
	}
	f := &flight{landed: make(chan struct{})}
	for _, q := range inOrder(l.pending) {
		q.table.written = true
		f.groups = append(f.groups, q.groups...)
	}
	l.pending, l.bytes = nil, 0
	clear(l.queues)
	l.flight = f
	go func() {
		defer close(f.landed)
		l.send(f)
	}()
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

// flight is groups that are on their way to the server while the next ones are
// gathered: on a machine of two processors either takes one. Until it has
// landed, nobody else may use the connection, or look at how far it is.
type flight struct {
	groups []*group
	landed chan struct{} // closed when send has returned

	next  int   // index of the group that is being written
	at    int   // index in it of the first row that is not written yet
	tried int   // how many rows from there were refused together
	err   error // why
}

// send writes groups in as few statements as their sizes allow, up to the first
// statement that fails.
func (l *load) send(f *flight) {
	for ; f.next < len(f.groups); f.next, f.at = f.next+1, 0 {
		for g := f.groups[f.next]; f.at < len(g.rows); f.at += f.tried {
			f.tried = l.fits(g, f.at)
			if f.err = l.insert(g, f.at, f.tried); f.err != nil {
				return
			}
		}
	}
}

// wait returns once nothing is on its way. Rows that were refused together are
// told apart then, because rejects are not for another goroutine.
func (l *load) wait() error {
	f := l.flight
	if f == nil {
		return nil
	}
	<-f.landed
	l.flight = nil
	for f.err != nil {
		g, refused := f.groups[f.next], f.err
		if !aboutRow(refused) {
			return fmt.Errorf("insert into table %q: %w", g.plan.schema.Table, refused)
		}
		if err := l.narrow(g, f.at, f.at+f.tried, refused); err != nil {
			return err
		}
		f.at, f.err = f.at+f.tried, nil
		l.send(f)
	}
	for _, g := range f.groups {
		if len(l.spare) == maxSpare {
			break
		}
		clear(g.args) // so that the text can go
		clear(g.rows)
		g.args, g.sizes, g.rows = g.args[:0], g.sizes[:0], g.rows[:0]
		l.spare = append(l.spare, g)
	}
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
