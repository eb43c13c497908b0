package sqlite

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
	// maxPending is how many bytes of values are held back, over all tables
	// without foreign keys, to be inserted several rows at a time.
	maxPending = 256 << 10
	// maxKept is the memory that rows of tables with foreign keys take while
	// their parents may still come: some 5,000 rows, about what a batch has.
	maxKept = 4 << 20
	// valueWeight and rowWeight are what holding a value and a row back takes
	// besides the text.
	valueWeight = 48
	rowWeight   = 96
	// maxGroups is for how many schemas rows are held back.
	maxGroups = 256
	// perFlight is how many full statements are written at once by another
	// goroutine, so that handing them over costs little.
	perFlight = 4
	// keepBuffer is the largest buffer that is kept for the next rows.
	keepBuffer = 1 << 20
)

// load writes the rows of one batch, several per statement, and in order
// within each table. Rows of tables with foreign keys are kept until last, so
// that their parents are there.
type load struct {
	ctx     context.Context
	conn    *conn
	tables  *tables
	fixed   bool
	rejects sink.Rejects
	refused bool // whether a row went to rejects
	guarded bool // whether each statement has a savepoint, since not every error undoes all of it
	gate    *closed.Gate
	guard   bool // whether the next load must be guarded

	slots map[*row.Schema]*slot // every schema met so far, by its address
	plans map[*plan]*slot       // and by what it says
	queue []*group              // of tables without foreign keys, those that may hold rows
	kept  []*group              // of tables with foreign keys, in the order of their first rows
	last  map[*table]*group     // where the last row of each table waits
	bytes int                   // of values, over the queue
	flies *group                // being written; nil: nothing is
	lands chan error            // what became of it
	spare *group                // for the next one
	held  int                   // bytes of memory that the kept rows take
	text  []byte                // of the row being added
}

// slot is where the next row of a plan goes.
type slot struct {
	plan  *plan
	group *group
}

// group is rows of one plan that wait for their statement.
type group struct {
	plan   *plan
	queued bool
	args   []driver.NamedValue // of all of its rows, numbered as one statement's
	rows   []waiting
	bytes  int // of all values

	// What came, where it cannot be told from what is bound: the text of each
	// row, and where in it each value ends.
	texts []string
	ends  []uint32

	bad     []bad        // rows that were refused, and are not told yet
	orphans map[int]bool // rows left out for want of a parent, by index
}

// waiting is what a row is besides its values: rejects need all of it.
type waiting struct {
	seq      uint64
	received int64
	flags    row.Flags
	schema   *row.Schema
}

// all writes every row of b that is not refused.
func (l *load) all(b sink.Batch) error {
	l.slots, l.plans, l.last = map[*row.Schema]*slot{}, map[*plan]*slot{}, map[*table]*group{}
	l.lands, l.spare = make(chan error, 1), new(group)
	defer func() { // whatever happened, the connection is nobody else's before
		if l.flies != nil {
			<-l.lands
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
	return l.wait()
}

// add takes a row in, and writes what has waited long enough.
func (l *load) add(r *row.Row) error {
	if late := l.gate.Late(r); late != nil {
		if err := l.wait(); err != nil { // who takes it may need the connection
			return err
		}
		return l.refuse(r, late)
	}
	if l.slots[r.Schema] == nil {
		if err := l.meet(); err != nil {
			return err
		}
	}
	s, err := l.slot(r)
	if err != nil {
		var why *sink.RowError
		if errors.As(err, &why) {
			return l.refuse(r, &sink.RowError{Seq: r.Seq, Table: r.Schema.Table, Code: why.Code, Err: why.Err})
		}
		return err
	}
	tab := s.plan.table
	if last := l.last[tab]; last != s.group && last != nil && len(last.rows) > 0 {
		// Rows of one table keep their order over schemas.
		if tab.child() {
			if len(s.group.rows) > 0 {
				s.group = &group{plan: s.plan}
			}
		} else if err := l.flush(last); err != nil {
			return err
		}
	}
	g := s.group
	l.last[tab] = g
	if !g.queued {
		g.queued = true
		if tab.child() {
			l.kept = append(l.kept, g)
		} else {
			l.queue = append(l.queue, g)
		}
	}
	size := l.bind(g, r)
	if tab.child() {
		if l.held += rowWeight + valueWeight*len(r.Values) + size; l.held >= maxKept {
			return l.flushAll()
		}
		return nil
	}
	if l.bytes += size; l.bytes >= maxPending {
		return l.flushQueue()
	}
	if len(g.rows) >= perFlight*g.plan.rows {
		return l.flush(g)
	}
	return nil
}

// meet makes ready for a schema that is met for the first time: the connection
// may be needed to learn about its table.
func (l *load) meet() error {
	if len(l.slots) >= maxGroups {
		if err := l.flushAll(); err != nil {
			return err
		}
		clear(l.slots)
		clear(l.plans)
	}
	return l.wait()
}

// slot returns where rows like r go.
func (l *load) slot(r *row.Row) (*slot, error) {
	s := l.slots[r.Schema]
	if s == nil {
		p, err := l.tables.plan(l.conn, r.Schema, l.fixed)
		if err != nil {
			return nil, err
		}
		if s = l.plans[p]; s == nil {
			s = &slot{plan: p, group: &group{plan: p}}
			l.plans[p] = s
		}
		l.slots[r.Schema] = s
	}
	if len(r.Values) != len(s.plan.cells) {
		return nil, refuse(r.Schema, fmt.Sprintf("%d values for %d columns", len(r.Values), len(s.plan.cells)))
	}
	if r.Flags&row.Yields != 0 {
		p := s.plan.yielding()
		if s = l.plans[p]; s == nil {
			s = &slot{plan: p, group: &group{plan: p}}
			l.plans[p] = s
		}
	}
	return s, nil
}

// bind copies a row into g, all of its text at once, and returns the size of that.
func (l *load) bind(g *group, r *row.Row) int {
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
	g.bytes += len(text)
	end := 0
	for i := range r.Values {
		a := driver.NamedValue{Ordinal: len(g.args) + 1}
		if v := &r.Values[i]; !v.Null {
			one := text[end : end+len(v.Text)]
			end += len(one)
			if kind := g.plan.cells[i]; kind == affText {
				a.Value = one
			} else {
				a.Value = kind.cell(one, g.plan.schema.Columns[i].Type)
			}
		}
		g.args = append(g.args, a)
		if g.plan.converts {
			g.ends = append(g.ends, uint32(end))
		}
	}
	if g.plan.converts {
		g.texts = append(g.texts, text)
	}
	g.rows = append(g.rows, waiting{seq: r.Seq, received: r.Received, flags: r.Flags, schema: r.Schema})
	return len(text)
}

// row returns the row at index at as it came.
func (g *group) row(at int) *row.Row {
	w, width := &g.rows[at], len(g.plan.cells)
	r := &row.Row{Seq: w.seq, Received: w.received, Flags: w.flags, Schema: w.schema, Values: make([]row.Value, width)}
	start := uint32(0)
	for i := range r.Values {
		bound := g.args[at*width+i].Value
		switch {
		case bound == nil:
			r.Values[i] = row.Null
		case !g.plan.converts:
			r.Values[i] = row.Text(bound.(string))
		default:
			r.Values[i] = row.Text(g.texts[at][start:g.ends[at*width+i]])
		}
		if g.plan.converts {
			start = g.ends[at*width+i]
		}
	}
	return r
}

// reset empties g for its next rows.
func (g *group) reset() {
	clear(g.args) // so that the text can go
	clear(g.rows)
	clear(g.texts)
	clear(g.bad)
	g.args, g.rows, g.bytes, g.texts, g.ends = g.args[:0], g.rows[:0], 0, g.texts[:0], g.ends[:0]
	g.bad, g.orphans = g.bad[:0], nil
}

// flushAll writes every row that waits.
func (l *load) flushAll() error {
	if err := l.flushQueue(); err != nil {
		return err
	}
	if len(l.kept) == 0 {
		return nil
	}
	if err := l.wait(); err != nil {
		return err
	}
	if err := l.writeKept(); err != nil {
		return err
	}
	for _, g := range l.kept {
		if err := l.tell(g); err != nil {
			return err
		}
		g.reset()
		g.queued = false
		delete(l.last, g.plan.table)
	}
	clear(l.kept)
	l.kept, l.held = l.kept[:0], 0
	return nil
}

// flushQueue writes every row that waits and needs no parent.
func (l *load) flushQueue() error {
	for _, g := range l.queue {
		if err := l.flush(g); err != nil {
			return err
		}
		g.queued = false
		delete(l.last, g.plan.table)
	}
	clear(l.queue)
	l.queue = l.queue[:0]
	return nil
}

// flush has the rows of g, which needs no parents, written while the next ones
// are gathered: on a machine of two processors either takes one. Until they are
// written, nobody else may use the connection.
func (l *load) flush(g *group) error {
	if len(g.rows) == 0 {
		return nil
	}
	if err := l.wait(); err != nil {
		return err
	}
	l.bytes -= g.bytes
	f := l.spare
	*f, *g = *g, *f
	g.plan, g.queued = f.plan, f.queued
	l.flies, l.spare = f, nil
	go func() { l.lands <- l.write(f) }()
	return nil
}

// wait returns once nothing is being written. Rows that were refused are told
// then, because rejects are not for another goroutine.
func (l *load) wait() error {
	f := l.flies
	if f == nil {
		return nil
	}
	err := <-l.lands
	l.flies = nil
	if err != nil {
		return err
	}
	if err := l.tell(f); err != nil {
		return err
	}
	f.reset()
	l.spare = f
	return nil
}
