package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"holdfast/internal/mutant"
	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/closed"
)

// idle is after how long a connection is tried before it is used: servers and
// what stands between close those that are silent.
const idle = 5 * time.Second

// session delivers one stream. What it knows of the cursor is a copy; the
// cursor itself is read, and locked, in every transaction.
type session struct {
	sink     *Sink
	id       sink.ID
	instance string
	cursor   sink.Cursor // as of the last call that read or moved it

	turn   chan struct{} // holds one token: whoever has it uses what stands below
	conn   *conn         // nil until it is needed, and after it broke
	used   time.Time
	closed bool

	// late is set once a COMMIT was refused: some constraint is checked then
	// that no table's own description tells of, so all are taken to be so.
	late bool

	checks checks
	gate   closed.Gate
}

// use waits for its turn, and calls f with the connection, made where there
// is none. A new connection is not a new attachment: the fence stays.
func (n *session) use(ctx context.Context, f func(c *conn) error) error {
	select {
	case <-n.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { n.turn <- struct{}{} }()
	if n.closed {
		return errors.New("session is closed")
	}
	if n.conn != nil && time.Since(n.used) > idle && n.conn.pg.Ping(ctx) != nil {
		n.drop() // it was closed while nobody looked
	}
	if n.conn == nil {
		c, err := n.sink.connect(ctx)
		if err != nil {
			return err
		}
		n.conn = c
	}
	err := f(n.conn)
	n.used = time.Now()
	if n.conn.pg.IsClosed() {
		n.drop()
	}
	return err
}

// drop gives the connection up.
func (n *session) drop() {
	if n.conn == nil {
		return
	}
	n.conn.close()
	n.sink.bury(n.conn)
	n.conn = nil
}

// Close gives the session up; what is committed stays.
func (n *session) Close() error {
	<-n.turn
	n.drop()
	n.closed = true
	n.turn <- struct{}{}
	n.sink.mu.Lock()
	delete(n.sink.sessions, n)
	n.sink.mu.Unlock()
	return nil
}

// takeOver raises the epoch. The row is locked, or inserted by one of those
// who try, which makes reading and writing it one step.
func (n *session) takeOver(ctx context.Context, c *conn, start row.Position, sound func(sink.Cursor) error) error {
	if err := c.createOwn(ctx); err != nil {
		return err
	}
	results, err := c.run(ctx,
		statement{"INSERT INTO " + c.table("holdfast_cursor") + " (stream_id, stream, sink, seq, chain, epoch, instance, updated_at)" +
			" VALUES ($1, $2, $3, $4, $5, 0, '', now()) ON CONFLICT (stream_id, sink) DO NOTHING",
			[]string{n.id.StreamID, n.id.Stream, n.id.Sink, decimal(start.Seq), decimal(uint64(start.Chain))}},
		statement{"UPDATE " + c.table("holdfast_cursor") + " SET epoch = epoch + 1, instance = $3, stream = $4, updated_at = now()" +
			" WHERE stream_id = $1 AND sink = $2 RETURNING seq, chain, epoch, instance",
			[]string{n.id.StreamID, n.id.Sink, n.instance, n.id.Stream}})
	if err != nil {
		return fmt.Errorf("take cursor over: %w", err)
	}
	if len(results[1].Rows) != 1 {
		return fmt.Errorf("take cursor over: %d rows changed instead of 1", len(results[1].Rows))
	}
	if n.cursor, err = decodeCursor(results[1].Rows[0]); err != nil || sound == nil {
		return err
	}
	before := n.cursor
	before.Epoch--
	return sound(before) // an error takes all of it back
}

// decimal writes a number that PostgreSQL's bigint takes: seqs end before its end.
func decimal(v uint64) string { return strconv.FormatUint(v, 10) }

// selectCursor locks the row, so that a commit of this session's that may be
// under way on a connection that broke is waited for.
func (n *session) selectCursor(c *conn) statement {
	return statement{"SELECT seq, chain, epoch, instance FROM " + c.table("holdfast_cursor") + " WHERE stream_id = $1 AND sink = $2 FOR UPDATE",
		[]string{n.id.StreamID, n.id.Sink}}
}

// decodeCursor takes the row apart. The table is open to other programs, so
// nothing is taken for granted.
func decodeCursor(v [][]byte) (sink.Cursor, error) {
	seq, err1 := strconv.ParseUint(string(v[0]), 10, 63)
	chain, err2 := strconv.ParseUint(string(v[1]), 10, 32)
	epoch, err3 := strconv.ParseUint(string(v[2]), 10, 63)
	if err := errors.Join(err1, err2, err3); err != nil || v[3] == nil {
		return sink.Cursor{}, fmt.Errorf("read cursor: seq %q, chain %q, epoch %q, instance %q is not what Holdfast wrote", v[0], v[1], v[2], v[3])
	}
	return sink.Cursor{Position: row.Position{Seq: seq, Chain: uint32(chain)}, Epoch: epoch, Instance: string(v[3])}, nil
}

// check locks the cursor, behind what first says, and sees that this session
// still has it.
func (n *session) check(ctx context.Context, c *conn, first ...statement) (sink.Cursor, error) {
	results, err := c.run(ctx, append(first, n.selectCursor(c))...)
	switch {
	case isCode(err, "42P01", "3F000"):
		return sink.Cursor{}, fmt.Errorf("%w: %w", sink.ErrNoCursor, err)
	case err != nil:
		return sink.Cursor{}, fmt.Errorf("read cursor: %w", err)
	}
	rows := results[len(results)-1].Rows
	if len(rows) == 0 {
		return sink.Cursor{}, sink.ErrNoCursor
	}
	at, err := decodeCursor(rows[0])
	if err == nil && (at.Epoch != n.cursor.Epoch || at.Instance != n.instance) {
		err = fmt.Errorf("%w: epoch %d, instance %q", sink.ErrFenced, at.Epoch, at.Instance)
	}
	return at, err
}

// Cursor reads the cursor back.
func (n *session) Cursor(ctx context.Context) (at sink.Cursor, err error) {
	err = n.use(ctx, func(c *conn) (err error) {
		at, err = n.check(ctx, c)
		return err
	})
	if err != nil {
		return sink.Cursor{}, n.sink.wrap("read", err)
	}
	n.cursor = at
	return at, nil
}

// change is what one transaction does, and what is to be done right before its
// commit.
type change func(c *conn, at *sink.Cursor) (last func() error, err error)

// commit calls f in a transaction, and writes the cursor as f leaves it. The
// cursor is locked before f, so that a fenced session writes nothing, and a
// database that was put back under our feet is noticed.
func (n *session) commit(ctx context.Context, verb string, f change) error {
	var at sink.Cursor
	err := n.use(ctx, func(c *conn) (err error) {
		if at, err = n.write(ctx, c, f); err != nil {
			if !c.pg.IsClosed() && c.pg.TxStatus() != 'I' {
				c.rollback(ctx)
			}
			c.tables = newTables() // what it created is gone, and what it met may have been changed
			return err
		}
		return nil
	})
	if err != nil {
		return n.sink.wrap(verb, err)
	}
	n.cursor = at
	if n.checks == atEndOnly {
		n.checks = atEnd
	}
	return nil
}

func (n *session) write(ctx context.Context, c *conn, f change) (sink.Cursor, error) {
	at, err := n.check(ctx, c, begin, statement{sql: "SAVEPOINT load"})
	if err != nil {
		return at, err
	}
	if at.Position != n.cursor.Position {
		return at, fmt.Errorf("cursor stands at seq %d, expected it at %d", at.Seq, n.cursor.Seq)
	}
	last, err := f(c, &at)
	if err != nil {
		return at, n.judge(err)
	}
	if mutant.On(26) {
		if _, err := c.run(ctx, statement{sql: "COMMIT"}, statement{sql: "BEGIN"}); err != nil {
			return at, err
		}
	}
	results, err := c.run(ctx, statement{
		"UPDATE " + c.table("holdfast_cursor") + " SET seq = $3, chain = $4, stream = $5, updated_at = now() WHERE stream_id = $1 AND sink = $2",
		[]string{n.id.StreamID, n.id.Sink, decimal(at.Seq), decimal(uint64(at.Chain)), n.id.Stream}})
	if err == nil && results[0].CommandTag.RowsAffected() != 1 {
		err = fmt.Errorf("%d rows changed instead of 1", results[0].CommandTag.RowsAffected())
	}
	if err != nil {
		return at, fmt.Errorf("write cursor: %w", err)
	}
	if last != nil {
		if err := last(); err != nil {
			return at, err
		}
	}
	return at, n.judge(c.commit(ctx))
}

// judge remembers that a transaction was refused at its end, for rows that
// were not kept to be told apart, so that the next attempt keeps them. Only
// where it did already is that the verdict.
func (n *session) judge(err error) error {
	var refused *sink.RowError
	if errors.As(err, &refused) && refused.Seq == 0 && !n.late {
		n.late = true
		return fmt.Errorf("commit refused (SQLSTATE %s), the row is looked for at the next attempt: %s", refused.Code, refused.Err)
	}
	return err
}

// Apply commits b and the cursor.
func (n *session) Apply(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	return n.commit(ctx, "write to", func(c *conn, at *sink.Cursor) (func() error, error) {
		l := n.newLoad(ctx, c, rejects)
		settle, err := n.gated(ctx, c, l)
		if err != nil {
			return nil, err
		}
		if err := l.all(b); err != nil {
			return nil, err
		}
		at.Position = b.End()
		return settle, nil
	})
}

func (n *session) newLoad(ctx context.Context, c *conn, rejects sink.Rejects) *load {
	return &load{ctx: ctx, conn: c, rejects: rejects, fixed: n.sink.opts.Fixed, deferred: n.late, limit: minPending,
		checks: &n.checks, eager: n.checks == atOnce}
}
