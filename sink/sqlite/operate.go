package sqlite

import (
	"context"
	"fmt"

	"holdfast/row"
	"holdfast/sink"
)

const createGap = `CREATE TABLE IF NOT EXISTS holdfast_gap (
  stream_id TEXT NOT NULL,
  stream TEXT NOT NULL,
  sink TEXT NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  reason TEXT NOT NULL,
  noted_at TEXT NOT NULL,
  PRIMARY KEY (stream_id, sink, first_seq, last_seq)
)`

const createRetry = `CREATE TABLE IF NOT EXISTS holdfast_retry (
  stream_id TEXT NOT NULL,
  sink TEXT NOT NULL,
  seq INTEGER NOT NULL,
  retried_at TEXT NOT NULL,
  PRIMARY KEY (stream_id, sink, seq)
)`

// Retire removes the cursor of id.
func (s *Sink) Retire(ctx context.Context, id sink.ID) error {
	err := s.change(ctx, func(c *conn) error {
		_, err := c.exec(ctx, "DELETE FROM holdfast_cursor WHERE stream_id = ? AND sink = ?", id.StreamID, id.Sink)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove cursor from database %q: %w", s.path, err)
	}
	return nil
}

// Rename makes what belongs to id that of the sink called name.
func (s *Sink) Rename(ctx context.Context, id sink.ID, name string) error {
	err := s.change(ctx, func(c *conn) error {
		taken, err := c.query(ctx, "SELECT sink = ? FROM holdfast_cursor WHERE stream_id = ? AND sink IN (?, ?)", name, id.StreamID, id.Sink, name)
		if err == nil && (len(taken) == 0 || len(taken) == 1 && taken[0][0] == int64(1) && name != id.Sink) {
			return sink.ErrNoCursor // it may have been renamed before
		}
		if err == nil && len(taken) > 1 {
			err = fmt.Errorf("sink %q has a cursor of this stream already: retire that first, or choose another name", name)
		}
		if err != nil {
			return err
		}
		n, err := c.exec(ctx, "UPDATE holdfast_cursor SET sink = ? WHERE stream_id = ? AND sink = ?", name, id.StreamID, id.Sink)
		if err == nil && n == 0 {
			return sink.ErrNoCursor
		}
		// A retired sink of that name may have left the same gaps and keys.
		for _, table := range []string{"holdfast_gap", "holdfast_retry"} {
			if err == nil {
				_, err = c.exec(ctx, "UPDATE OR REPLACE "+table+" SET sink = ? WHERE stream_id = ? AND sink = ?", name, id.StreamID, id.Sink)
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("rename cursor in database %q: %w", s.path, err)
	}
	return nil
}

// change runs f in a transaction, with Holdfast's own tables there.
func (s *Sink) change(ctx context.Context, f func(c *conn) error) error {
	return s.use(ctx, func(c *conn) error {
		return s.transaction(ctx, c, func() error {
			if err := createOwn(ctx, c); err != nil {
				return err
			}
			return f(c)
		})
	})
}

func createOwn(ctx context.Context, c *conn) error {
	for _, sql := range []string{createCursor, createGap, createRetry} {
		if _, err := c.exec(ctx, sql); err != nil {
			return fmt.Errorf("create Holdfast's own tables: %w", err)
		}
	}
	return nil
}

// Move puts the cursor to a place, and notes gaps.
func (n *session) Move(ctx context.Context, to row.Position, gaps []row.Damage) error {
	return n.commit(ctx, func(c *conn, at *sink.Cursor) error {
		for _, g := range gaps {
			if _, err := c.exec(ctx, "INSERT OR IGNORE INTO holdfast_gap VALUES (?, ?, ?, ?, ?, ?, ?)",
				n.id.StreamID, n.id.Stream, n.id.Sink, int64(g.First), int64(g.Last), g.What, now()); err != nil {
				return fmt.Errorf("note gap: %w", err)
			}
		}
		at.Position = to
		return nil
	})
}

// Retry writes rows that were refused before.
func (n *session) Retry(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	return n.commit(ctx, func(c *conn, _ *sink.Cursor) error {
		return n.load(ctx, c, &unretried{Batch: b, ctx: ctx, conn: c, id: n.id}, &again{Rejects: rejects, ctx: ctx, conn: c, id: n.id})
	})
}

// unretried is a batch without the rows that were retried before. It notes
// those that are left as retried.
type unretried struct {
	sink.Batch
	ctx  context.Context
	conn *conn
	id   sink.ID
	err  error
}

// Next advances to the next row that was not retried before.
func (u *unretried) Next() bool {
	for u.err == nil && u.Batch.Next() {
		var n int64
		n, u.err = u.conn.exec(u.ctx, "INSERT OR IGNORE INTO holdfast_retry VALUES (?, ?, ?, ?)",
			u.id.StreamID, u.id.Sink, int64(u.Batch.Row().Seq), now())
		if n == 1 {
			return true
		}
	}
	return false
}

// Err returns what ended the batch early.
func (u *unretried) Err() error {
	if u.err != nil {
		return fmt.Errorf("note retried row: %w", u.err)
	}
	return u.Batch.Err()
}

// again takes the rows that are refused again, which are not retried after all.
type again struct {
	sink.Rejects
	ctx  context.Context
	conn *conn
	id   sink.ID
}

// Refuse forgets that r was noted as retried, and sets it aside.
func (a *again) Refuse(r *row.Row, why *sink.RowError) error {
	if _, err := a.conn.exec(a.ctx, "DELETE FROM holdfast_retry WHERE stream_id = ? AND sink = ? AND seq = ?",
		a.id.StreamID, a.id.Sink, int64(r.Seq)); err != nil {
		return fmt.Errorf("note refused row: %w", err)
	}
	return a.Rejects.Refuse(r, why)
}
