package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/closed"
)

const createCursor = `CREATE TABLE IF NOT EXISTS holdfast_cursor (
  stream_id TEXT NOT NULL,
  stream TEXT NOT NULL,
  sink TEXT NOT NULL,
  seq INTEGER NOT NULL,
  chain INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  instance TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (stream_id, sink)
)`

const (
	selectCursor = `SELECT seq, chain, epoch, instance FROM holdfast_cursor WHERE stream_id = ? AND sink = ?`
	insertCursor = `INSERT INTO holdfast_cursor (seq, chain, epoch, instance, stream, updated_at, stream_id, sink) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
	updateCursor = `UPDATE holdfast_cursor SET seq = ?, chain = ?, epoch = ?, instance = ?, stream = ?, updated_at = ? WHERE stream_id = ? AND sink = ?`
)

// session delivers one stream. What it knows of the cursor is a copy; the
// cursor itself is read in every transaction.
type session struct {
	sink     *Sink
	id       sink.ID
	instance string
	cursor   sink.Cursor // as of the last call that read or moved it
	closed   bool
	gate     closed.Gate
}

// takeOver raises the epoch. The write lock is held, which makes reading and
// writing it one step.
func (n *session) takeOver(ctx context.Context, c *conn, start row.Position, sound func(sink.Cursor) error) error {
	if err := createOwn(ctx, c); err != nil {
		return err
	}
	old, err := n.read(ctx, c)
	put := updateCursor
	if errors.Is(err, sink.ErrNoCursor) {
		put, old, err = insertCursor, sink.Cursor{Position: start}, nil
	}
	if err == nil && sound != nil {
		err = sound(old)
	}
	if err != nil {
		return err
	}
	old.Epoch++
	old.Instance = n.instance
	n.cursor = old
	return n.write(ctx, c, put, old)
}

// read returns the cursor as it stands in the file.
func (n *session) read(ctx context.Context, c *conn) (sink.Cursor, error) {
	rows, err := c.query(ctx, selectCursor, n.id.StreamID, n.id.Sink)
	if err != nil {
		// A file that was replaced may lack the table as well as the row.
		if t, e := c.query(ctx, "SELECT 1 FROM sqlite_schema WHERE name = 'holdfast_cursor'"); e == nil && len(t) == 0 {
			return sink.Cursor{}, sink.ErrNoCursor
		}
		return sink.Cursor{}, fmt.Errorf("read cursor: %w", err)
	}
	if len(rows) == 0 {
		return sink.Cursor{}, sink.ErrNoCursor
	}
	return decodeCursor(rows[0])
}

// decodeCursor takes the row apart. The file is open to other programs, so
// nothing is taken for granted.
func decodeCursor(v []driver.Value) (sink.Cursor, error) {
	seq, ok1 := v[0].(int64)
	chain, ok2 := v[1].(int64)
	epoch, ok3 := v[2].(int64)
	instance, ok4 := v[3].(string)
	if !ok1 || !ok2 || !ok3 || !ok4 || seq < 0 || epoch < 0 || chain < 0 || chain > 1<<32-1 {
		return sink.Cursor{}, fmt.Errorf("read cursor: seq %v, chain %v, epoch %v, instance %v is not what Holdfast wrote", v[0], v[1], v[2], v[3])
	}
	at := row.Position{Seq: uint64(seq), Chain: uint32(chain)}
	return sink.Cursor{Position: at, Epoch: uint64(epoch), Instance: instance}, nil
}

// now is the time in the text that SQLite's own functions read.
func now() string { return time.Now().UTC().Format("2006-01-02 15:04:05.000") }

// write puts the cursor to where at says, by insertCursor or updateCursor.
func (n *session) write(ctx context.Context, c *conn, sql string, at sink.Cursor) error {
	changed, err := c.exec(ctx, sql, int64(at.Seq), int64(at.Chain), int64(at.Epoch), at.Instance, n.id.Stream, now(), n.id.StreamID, n.id.Sink)
	if err != nil {
		return fmt.Errorf("write cursor: %w", err)
	}
	if changed != 1 {
		return fmt.Errorf("write cursor: %d rows changed instead of 1", changed)
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
	var at sink.Cursor
	err := n.use(ctx, func(c *conn) (err error) {
		at, err = n.check(ctx, c)
		return err
	})
	if err != nil {
		return sink.Cursor{}, fmt.Errorf("database %q: %w", n.sink.path, err)
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

// load writes the rows of b but those that are refused, and sees that these
// are safe. Nothing behind it but the cursor's own row stands before the commit.
func (n *session) load(ctx context.Context, c *conn, b sink.Batch, rejects sink.Rejects) error {
	l := &load{ctx: ctx, conn: c, tables: &n.sink.tables, fixed: n.sink.opts.Fixed, rejects: rejects, guarded: n.sink.guarded || n.sink.tables.partial}
	l.gate = &n.gate
	if err := n.enter(ctx, c); err != nil {
		return err
	}
	err := l.all(b)
	n.sink.guarded = n.sink.guarded || l.guard
	if err != nil || !l.refused {
		return err
	}
	return rejects.Settle(ctx)
}

// commit calls f in a transaction, and writes the cursor as f leaves it. The
// cursor is read under the write lock, before f, so that a fenced session
// writes nothing, and a file that was put back under our feet is noticed.
func (n *session) commit(ctx context.Context, f func(c *conn, at *sink.Cursor) error) error {
	var at sink.Cursor
	err := n.use(ctx, func(c *conn) error {
		return n.sink.transaction(ctx, c, func() (err error) {
			if at, err = n.check(ctx, c); err != nil {
				return err
			}
			if at.Position != n.cursor.Position {
				return fmt.Errorf("cursor stands at seq %d, expected it at %d", at.Seq, n.cursor.Seq)
			}
			if err := f(c, &at); err != nil {
				return err
			}
			return n.write(ctx, c, updateCursor, at)
		})
	})
	if err != nil {
		return fmt.Errorf("database %q: %w", n.sink.path, err)
	}
	n.cursor = at
	return nil
}

// Close gives the session up. The connection stays with the sink.
func (n *session) Close() error {
	n.closed = true
	return nil
}

func (n *session) use(ctx context.Context, f func(c *conn) error) error {
	if n.closed {
		return errors.New("session is closed")
	}
	return n.sink.use(ctx, f)
}
