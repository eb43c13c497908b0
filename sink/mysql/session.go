package mysql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/closed"
)

// session delivers one stream. What it knows of the cursor is a copy; the
// cursor itself is read, and locked, in every transaction. That lock is the
// fence, so a connection may break and be replaced without attaching anew.
type session struct {
	sink     *Sink
	id       sink.ID
	instance string

	mu     sync.Mutex // held by whoever uses what stands below
	cursor sink.Cursor
	gate   closed.Gate
	conn   *conn // nil until it is needed, and after an error that may have left it unfit
	tables tables
	closed bool
}

func (s *Sink) own(table string) string { return quote(s.opts.Database) + "." + table }

// takeOver raises the epoch. The row is locked by the reading of it, which
// makes reading and writing it one step; where there is none, the primary key
// lets only one of two insert it.
func (n *session) takeOver(ctx context.Context, c *conn, start row.Position, sound func(sink.Cursor) error) error {
	at, err := n.read(ctx, c)
	fresh := errors.Is(err, sink.ErrNoCursor)
	if fresh {
		at, err = sink.Cursor{Position: start}, nil
	}
	if err == nil && sound != nil {
		err = sound(at)
	}
	if err != nil {
		return err
	}
	at.Epoch++
	at.Instance = n.instance
	n.cursor = at
	if !fresh {
		return n.write(ctx, c, at)
	}
	err = c.exec(ctx, "INSERT INTO "+n.sink.own("holdfast_cursor")+" (stream_id, stream, sink, seq, chain, epoch, instance, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		n.id.StreamID, n.id.Stream, n.id.Sink, at.Seq, uint64(at.Chain), at.Epoch, at.Instance, now())
	if err != nil {
		return fmt.Errorf("create cursor: %w", err)
	}
	return nil
}

// read returns the cursor as it stands in the database, and locks it: where
// the commit of a connection that was lost is still under way, that waits for it.
func (n *session) read(ctx context.Context, c *conn) (sink.Cursor, error) {
	rows, err := c.query(ctx, "SELECT seq, chain, epoch, instance FROM "+n.sink.own("holdfast_cursor")+" WHERE stream_id = ? AND sink = ? FOR UPDATE", n.id.StreamID, n.id.Sink)
	switch {
	case number(err) == 1146, err == nil && len(rows) == 0:
		return sink.Cursor{}, sink.ErrNoCursor
	case err != nil:
		return sink.Cursor{}, fmt.Errorf("read cursor: %w", err)
	}
	r := rows[0]
	seq, err1 := strconv.ParseUint(r[0].text, 10, 64)
	chain, err2 := strconv.ParseUint(r[1].text, 10, 32)
	epoch, err3 := strconv.ParseUint(r[2].text, 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return sink.Cursor{}, fmt.Errorf("read cursor: it is not what Holdfast wrote: %w", err)
	}
	return sink.Cursor{Position: row.Position{Seq: seq, Chain: uint32(chain)}, Epoch: epoch, Instance: r[3].text}, nil
}

// now is the time as DATETIME(3) takes it.
func now() string { return time.Now().UTC().Format("2006-01-02 15:04:05.000") }

// write puts the cursor to at, in the epoch that this session has.
func (n *session) write(ctx context.Context, c *conn, at sink.Cursor) error {
	err := c.exec(ctx, "UPDATE "+n.sink.own("holdfast_cursor")+" SET seq = ?, chain = ?, epoch = ?, instance = ?, stream = ?, updated_at = ? WHERE stream_id = ? AND sink = ?",
		at.Seq, uint64(at.Chain), at.Epoch, at.Instance, n.id.Stream, now(), n.id.StreamID, n.id.Sink)
	if err != nil {
		return fmt.Errorf("write cursor: %w", err)
	}
	return nil
}

// check reads the cursor and sees that this session still has it.
func (n *session) check(ctx context.Context, c *conn) (sink.Cursor, error) {
	at, err := n.read(ctx, c)
	if err == nil && (at.Epoch != n.cursor.Epoch || at.Instance != n.instance) {
		err = fmt.Errorf("%w: epoch %d, instance %q", sink.ErrFenced, at.Epoch, at.Instance)
	}
	return at, err
}

// Cursor reads the cursor back.
func (n *session) Cursor(ctx context.Context) (sink.Cursor, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var at sink.Cursor
	c, err := n.connection(ctx)
	if err == nil {
		at, err = n.check(ctx, c)
	}
	if err != nil {
		if n.conn != nil && !errors.Is(err, sink.ErrFenced) && !errors.Is(err, sink.ErrNoCursor) {
			n.drop()
		}
		return sink.Cursor{}, fmt.Errorf("%s: %w", n.sink.where, err)
	}
	n.cursor = at
	return at, nil
}

// Apply commits b and the cursor.
func (n *session) Apply(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	return n.commit(ctx, func(c *conn, at *sink.Cursor) error {
		if err := n.load(ctx, c, b, rejects); err != nil {
			return err
		}
		at.Position = b.End()
		return nil
	})
}

// load writes the rows of b.
func (n *session) load(ctx context.Context, c *conn, b sink.Batch, rejects sink.Rejects) error {
	l := &load{ctx: ctx, sink: n.sink, conn: c, tables: &n.tables, rejects: rejects}
	if err := l.enter(n); err != nil {
		return err
	}
	return l.all(b)
}

// commit calls f in a transaction, and writes the cursor as f leaves it. The
// cursor is locked first, so that a fenced session writes nothing, and a
// database that was put back under our feet is noticed.
func (n *session) commit(ctx context.Context, f func(c *conn, at *sink.Cursor) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, err := n.connection(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", n.sink.where, err)
	}
	at, err := n.attempt(ctx, c, f)
	if err == nil {
		n.cursor = at
		return nil
	}
	if errors.Is(err, sink.ErrDoubtful) || c.exec(context.Background(), "ROLLBACK") != nil {
		n.drop()
	}
	var late *lateError
	if errors.As(err, &late) { // nothing of this transaction stands in the way of DDL any more
		err = errors.Join(err, n.sink.execute(ctx, late.ddl))
		n.tables.forget()
	}
	if aboutSchema(err) {
		n.tables.forget()
	}
	return fmt.Errorf("%s: %w", n.sink.where, err)
}

// attempt is one transaction.
func (n *session) attempt(ctx context.Context, c *conn, f func(c *conn, at *sink.Cursor) error) (sink.Cursor, error) {
	if err := c.begin(ctx); err != nil {
		return sink.Cursor{}, err
	}
	at, err := n.check(ctx, c)
	if err != nil {
		return at, err
	}
	if at.Position != n.cursor.Position {
		return at, fmt.Errorf("cursor stands at seq %d, expected it at %d", at.Seq, n.cursor.Seq)
	}
	n.tables.age()
	if err := f(c, &at); err != nil {
		return at, err
	}
	if err := n.write(ctx, c, at); err != nil {
		return at, err
	}
	if err := ctx.Err(); err != nil {
		return at, err
	}
	return at, c.commit()
}

// connection returns the session's connection, opened where there is none.
func (n *session) connection(ctx context.Context) (*conn, error) {
	if n.closed {
		return nil, errors.New("session is closed")
	}
	if n.conn != nil && !n.conn.alive(ctx) {
		n.drop() // nothing was under way on it
	}
	if n.conn == nil {
		c, err := n.sink.connect(ctx)
		if err != nil {
			return nil, err
		}
		n.conn = c
	}
	return n.conn, nil
}

// drop gives up the connection and what was learned through it: the next one
// may lead to another server.
func (n *session) drop() {
	if n.conn != nil {
		n.conn.close()
	}
	n.conn = nil
	n.tables.forget()
}

// Close gives the session up.
func (n *session) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	n.drop()
	n.sink.leave(n)
	return nil
}
