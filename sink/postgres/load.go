package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/closed"
)

const (
	// maxPending is how many bytes of text are gathered, over all tables, before
	// they are copied; the first time minPending, and then twice as many each
	// time, so that the server begins early.
	maxPending = 1 << 20
	minPending = 128 << 10
	// maxKept is how much is kept of a transaction whose constraints are checked
	// at its end, to find the row that breaks one.
	maxKept = 8 << 20
	// keepText is the largest buffer that is kept for the next rows.
	keepText = 2 << 20
	// maxSpare is how many chunks are kept for the next rows: one that is on its
	// way and one that is gathered.
	maxSpare = 2
)

// load writes the rows of one batch: chunk by chunk, each by a COPY behind a
// savepoint, while the next one is encoded.
type load struct {
	ctx      context.Context
	conn     *conn
	rejects  sink.Rejects
	gate     *closed.Gate
	fixed    bool
	deferred bool // constraints of some table written are checked at COMMIT

	schemas map[*row.Schema]*plan // met so far, by address
	queues  map[*table]*queue
	order   []*queue // in the order in which their first row came
	bytes   int      // gathered in all queues
	limit   int      // of bytes, for the next flush

	flight *chunk // being copied
	landed chan error

	checks *checks // of the session: when deferred constraints are checked
	eager  bool    // with each COPY
	set    bool    // the database was told so
	later  later   // rows put off, for want of a parent

	saved   bool // there is a savepoint called chunk
	parted  bool // and one called part behind it
	clean   bool // and nothing was written behind the last of them
	checked bool // whether foreign keys were looked at again
	refused int
	kept    []*chunk
	size    int  // of kept
	lost    bool // more was written than is kept
}

// queue is the chunks of one table that wait; rows of several schemas keep
// their order.
type queue struct {
	table  *table
	chunks []*chunk
}

// all writes every row of b.
func (l *load) all(b sink.Batch) (err error) {
	l.schemas, l.queues, l.landed = map[*row.Schema]*plan{}, map[*table]*queue{}, make(chan error, 1)
	defer func() { // whatever happens, nobody else may use the connection before
		if l.flight != nil {
			err = errors.Join(err, <-l.landed)
			l.flight = nil
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
	if err := l.flush(); err != nil {
		return err
	}
	if err := l.wait(); err != nil {
		return err
	}
	return l.finish()
}

// settle makes what was refused safe, right before the commit.
func (l *load) settle() error {
	if l.refused == 0 {
		return nil
	}
	return l.rejects.Settle(l.ctx)
}

// add takes a row in, and copies what has waited long enough.
func (l *load) add(r *row.Row) error {
	if late := l.gate.Late(r); late != nil {
		return l.refuse(r, *late)
	}
	p := l.schemas[r.Schema]
	if p == nil {
		if len(l.schemas) >= maxPlans {
			clear(l.schemas)
		}
		var err error
		if p, err = l.plan(r.Schema); err != nil {
			return err
		}
		l.schemas[r.Schema] = p
	}
	if r.Flags&row.Yields != 0 {
		p = p.yielding()
	}
	why := p.refused
	if why == nil && len(r.Values) != len(p.schema.Columns) {
		why = refuse(p.schema, "42601", fmt.Sprintf("%d values for %d columns", len(r.Values), len(p.schema.Columns)))
	}
	if why != nil {
		return l.refuse(r, *why)
	}
	k := l.chunk(p)
	before := len(k.text)
	k.add(r)
	if l.bytes += len(k.text) - before + lineSize; l.bytes >= l.limit {
		return l.flush()
	}
	return nil
}

// refuse sets a row aside.
func (l *load) refuse(r *row.Row, why sink.RowError) error {
	l.refused++
	why.Seq = r.Seq
	return l.rejects.Refuse(r, &why)
}

// chunk returns where rows of p wait.
func (l *load) chunk(p *plan) *chunk {
	q := l.queues[p.table]
	if q == nil {
		q = &queue{table: p.table}
		l.queues[p.table] = q
		l.order = append(l.order, q)
	}
	if n := len(q.chunks); n > 0 && q.chunks[n-1].plan == p {
		return q.chunks[n-1]
	}
	k := &chunk{}
	if n := len(l.conn.spare); n > 0 {
		k, l.conn.spare = l.conn.spare[n-1], l.conn.spare[:n-1]
	}
	k.plan = p
	q.chunks = append(q.chunks, k)
	l.bytes += 256
	return k
}

// flush copies every row that waits, parents first. The last chunk may still
// be on its way when it returns.
func (l *load) flush() error {
	all := sorted(l.order)
	l.order, l.bytes, l.limit = nil, 0, min(2*l.limit, maxPending)
	clear(l.queues)
	for _, q := range all {
		l.deferred = l.deferred || q.table.deferred()
	}
	for _, q := range all {
		for _, k := range q.chunks {
			if err := l.launch(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// sorted returns queues with those of parents in front of their children's,
// and otherwise as they were. Tables that refer to each other in a circle stay
// as they were too.
func sorted(all []*queue) []*queue {
	by := map[string]*queue{}
	for _, q := range all {
		by[q.table.name] = q
	}
	out := make([]*queue, 0, len(all))
	seen := map[*queue]bool{}
	var visit func(q *queue)
	visit = func(q *queue) {
		if q == nil || seen[q] {
			return
		}
		seen[q] = true
		for _, k := range q.table.keys {
			if k.Parent != "" {
				visit(by[k.Parent])
			}
		}
		out = append(out, q)
	}
	for _, q := range all {
		visit(q)
	}
	return out
}

// launch sends k on its way, once the one before has arrived.
func (l *load) launch(k *chunk) error {
	if err := l.wait(); err != nil {
		return err
	}
	if len(k.plan.schema.Columns) == 0 || k.plan.insert != "" {
		if err := l.write(k, k.all()); err != nil {
			return err
		}
		l.done(k)
		return nil
	}
	l.flight = k
	sql := l.statements(k)
	go func() { l.landed <- l.conn.copy(l.ctx, bytes.NewReader(k.text), sql...) }()
	return nil
}

// wait returns once nothing is on its way. A chunk of which a row was refused
// is written again without it.
func (l *load) wait() error {
	k := l.flight
	if k == nil {
		return nil
	}
	err := <-l.landed
	l.flight = nil
	if err != nil {
		if err := l.mend(k, k.all(), err); err != nil {
			return err
		}
	}
	l.done(k)
	return nil
}

// done keeps a chunk that was written, or uses its memory again.
func (l *load) done(k *chunk) {
	l.later.wrote(k)
	if l.deferred && !l.lost && !l.eager {
		if l.size += len(k.text) + lineSize*len(k.lines); l.size <= maxKept {
			l.kept = append(l.kept, k)
			return
		}
		l.kept = nil
	}
	l.lost = true
	if cap(k.text) <= keepText && len(l.conn.spare) < maxSpare {
		k.plan, k.text, k.lines = nil, k.text[:0], k.lines[:0]
		l.conn.spare = append(l.conn.spare, k)
	}
}

// statements returns the beginning of what copies a chunk: a savepoint, which
// takes the place of the one before, and the COPY.
func (l *load) statements(k *chunk) []string {
	var sql []string
	if !l.clean {
		if l.saved {
			sql = append(sql, "RELEASE SAVEPOINT chunk")
		}
		if l.eager && !l.set { // nothing was written yet, so it finds nothing
			sql = append(sql, "SET CONSTRAINTS ALL IMMEDIATE")
			l.set = true
		}
		sql = append(sql, "SAVEPOINT chunk")
		l.saved, l.parted = true, false
	}
	l.clean = false
	return append(sql, k.plan.copy)
}
