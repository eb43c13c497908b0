package mysql

import (
	"context"
	"fmt"
	"strings"

	"holdfast/row"
	"holdfast/sink"
)

// ownTables are Holdfast's own, and how they are made. Their names compare
// byte by byte.
var ownTables = []struct {
	name string
	keys []string // what tells rows of one sink apart
	made string
}{
	{"holdfast_cursor", nil, `
  stream_id VARCHAR(255) NOT NULL,
  stream VARCHAR(255) NOT NULL,
  sink VARCHAR(255) NOT NULL,
  seq BIGINT UNSIGNED NOT NULL,
  chain BIGINT UNSIGNED NOT NULL,
  epoch BIGINT UNSIGNED NOT NULL,
  instance VARCHAR(255) NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  PRIMARY KEY (stream_id, sink)`},
	{"holdfast_gap", []string{"first_seq", "last_seq"}, `
  stream_id VARCHAR(255) NOT NULL,
  stream VARCHAR(255) NOT NULL,
  sink VARCHAR(255) NOT NULL,
  first_seq BIGINT UNSIGNED NOT NULL,
  last_seq BIGINT UNSIGNED NOT NULL,
  reason TEXT NOT NULL,
  noted_at DATETIME(3) NOT NULL,
  PRIMARY KEY (stream_id, sink, first_seq, last_seq)`},
	{"holdfast_retry", []string{"seq"}, `
  stream_id VARCHAR(255) NOT NULL,
  sink VARCHAR(255) NOT NULL,
  seq BIGINT UNSIGNED NOT NULL,
  retried_at DATETIME(3) NOT NULL,
  PRIMARY KEY (stream_id, sink, seq)`},
}

// createOwn creates those of Holdfast's own tables that are missing. One that
// is there needs no right to create it, but transactions.
func (s *Sink) createOwn(ctx context.Context, c *conn) error {
	rows, err := c.query(ctx, "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = ? AND table_name IN (?, ?, ?)",
		s.opts.Database, ownTables[0].name, ownTables[1].name, ownTables[2].name)
	if err != nil {
		return fmt.Errorf("look for Holdfast's own tables: %w", err)
	}
	engines := map[string]string{}
	for _, r := range rows {
		engines[r[0].text] = r[1].text
	}
	for _, t := range ownTables {
		engine, exists := engines[t.name]
		if exists && !c.engines[strings.ToLower(engine)] {
			return fmt.Errorf("table %s has engine %q, which has no transactions; exactly once needs InnoDB: ALTER TABLE %s ENGINE=InnoDB", t.name, engine, s.own(t.name))
		}
		if exists {
			continue
		}
		if err := c.exec(ctx, "CREATE TABLE IF NOT EXISTS "+s.own(t.name)+" ("+t.made+
			"\n) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"); err != nil {
			return fmt.Errorf("create Holdfast's own table %s: %w", t.name, err)
		}
	}
	return nil
}

// Retire removes the cursor of id.
func (s *Sink) Retire(ctx context.Context, id sink.ID) error {
	err := s.change(ctx, func(c *conn) error {
		return c.exec(ctx, "DELETE FROM "+s.own("holdfast_cursor")+" WHERE stream_id = ? AND sink = ?", id.StreamID, id.Sink)
	})
	if err != nil {
		return fmt.Errorf("remove cursor from %s: %w", s.where, err)
	}
	return nil
}

// Rename makes what belongs to id that of the sink called name.
func (s *Sink) Rename(ctx context.Context, id sink.ID, name string) error {
	err := s.change(ctx, func(c *conn) error {
		for i, t := range ownTables {
			if err := s.giveWay(ctx, c, i, id, name); err != nil {
				return err
			}
			n, err := c.change(ctx, "UPDATE "+s.own(t.name)+" SET sink = ? WHERE stream_id = ? AND sink = ?", name, id.StreamID, id.Sink)
			if err != nil {
				return err
			}
			if i == 0 && n == 0 && name != id.Sink {
				return sink.ErrNoCursor
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("rename cursor in %s: %w", s.where, err)
	}
	return nil
}

// giveWay removes what a retired sink of that name left behind and id has too.
func (s *Sink) giveWay(ctx context.Context, c *conn, own int, id sink.ID, name string) error {
	t := ownTables[own]
	if t.keys == nil || name == id.Sink {
		return nil
	}
	sql := "DELETE left_behind FROM " + s.own(t.name) + " left_behind JOIN " + s.own(t.name) + " mine ON mine.stream_id = left_behind.stream_id"
	for _, key := range t.keys {
		sql += " AND mine." + key + " = left_behind." + key
	}
	return c.exec(ctx, sql+" WHERE left_behind.stream_id = ? AND left_behind.sink = ? AND mine.sink = ?", id.StreamID, name, id.Sink)
}

// Move puts the cursor to a place, and notes gaps.
func (n *session) Move(ctx context.Context, to row.Position, gaps []row.Damage) error {
	return n.commit(ctx, func(c *conn, at *sink.Cursor) error {
		for _, g := range gaps {
			if err := n.note(ctx, c, g); err != nil {
				return fmt.Errorf("note gap: %w", err)
			}
		}
		at.Position = to
		return nil
	})
}

// note writes one gap, unless it was noted before. The cursor's lock is held,
// so looking and writing are one step; INSERT IGNORE would hide other errors.
func (n *session) note(ctx context.Context, c *conn, g row.Damage) error {
	table := n.sink.own("holdfast_gap")
	rows, err := c.query(ctx, "SELECT 1 FROM "+table+" WHERE stream_id = ? AND sink = ? AND first_seq = ? AND last_seq = ?", n.id.StreamID, n.id.Sink, g.First, g.Last)
	if err != nil || len(rows) > 0 {
		return err
	}
	return c.exec(ctx, "INSERT INTO "+table+" (stream_id, stream, sink, first_seq, last_seq, reason, noted_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
		n.id.StreamID, n.id.Stream, n.id.Sink, g.First, g.Last, g.What, now())
}

// Retry writes rows that were refused before.
func (n *session) Retry(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	return n.commit(ctx, func(c *conn, _ *sink.Cursor) error {
		keyed := &unretried{Batch: b, ctx: ctx, conn: c, session: n}
		if err := n.load(ctx, c, keyed, &forgetful{rejects, keyed}); err != nil {
			return err
		}
		return keyed.err
	})
}

// unretried is a batch without the rows that were retried before. It notes
// those that are left as retried.
type unretried struct {
	sink.Batch
	ctx     context.Context
	conn    *conn
	session *session
	err     error
}

// Next advances to the next row that was not retried before.
func (u *unretried) Next() bool {
	for u.err == nil && u.Batch.Next() {
		fresh, err := u.note(u.Batch.Row().Seq)
		if err != nil {
			u.err = fmt.Errorf("note row as retried: %w", err)
		} else if fresh {
			return true
		}
	}
	return false
}

// note reports whether seq was not noted before, and notes it.
func (u *unretried) note(seq uint64) (bool, error) {
	id, table := u.session.id, u.session.sink.own("holdfast_retry")
	rows, err := u.conn.query(u.ctx, "SELECT 1 FROM "+table+" WHERE stream_id = ? AND sink = ? AND seq = ?", id.StreamID, id.Sink, seq)
	if err != nil || len(rows) > 0 {
		return false, err
	}
	return true, u.conn.exec(u.ctx, "INSERT INTO "+table+" (stream_id, sink, seq, retried_at) VALUES (?, ?, ?, ?)", id.StreamID, id.Sink, seq, now())
}

// Err returns what ended the batch early.
func (u *unretried) Err() error {
	if u.err != nil {
		return u.err
	}
	return u.Batch.Err()
}

// forgetful takes the note of a row that is refused again back, so that it can
// be retried again.
type forgetful struct {
	sink.Rejects
	noted *unretried
}

// Refuse sets r aside.
func (f *forgetful) Refuse(r *row.Row, why *sink.RowError) error {
	if err := f.Rejects.Refuse(r, why); err != nil {
		return err
	}
	u := f.noted
	if err := u.conn.exec(u.ctx, "DELETE FROM "+u.session.sink.own("holdfast_retry")+" WHERE stream_id = ? AND sink = ? AND seq = ?",
		u.session.id.StreamID, u.session.id.Sink, r.Seq); err != nil {
		return fmt.Errorf("note row as not retried: %w", err)
	}
	return nil
}
