package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast/row"
	"holdfast/sink"
)

// own are the statements that make what Holdfast needs for itself; %s is where.
var own = []struct{ table, columns string }{
	{"holdfast_cursor", "stream_id text NOT NULL, stream text NOT NULL, sink text NOT NULL, seq bigint NOT NULL, chain bigint NOT NULL, " +
		"epoch bigint NOT NULL, instance text NOT NULL, updated_at timestamptz NOT NULL, PRIMARY KEY (stream_id, sink)"},
	{"holdfast_gap", "stream_id text NOT NULL, stream text NOT NULL, sink text NOT NULL, first_seq bigint NOT NULL, last_seq bigint NOT NULL, " +
		"reason text NOT NULL, noted_at timestamptz NOT NULL, PRIMARY KEY (stream_id, sink, first_seq, last_seq)"},
	{"holdfast_retry", "stream_id text NOT NULL, sink text NOT NULL, seq bigint NOT NULL, retried_at timestamptz NOT NULL, PRIMARY KEY (stream_id, sink, seq)"},
}

// lockDDL makes those who create tables wait for each other until they commit:
// CREATE TABLE IF NOT EXISTS fails where two do it at the same time. The
// number is "holdfast" in ASCII.
var lockDDL = statement{sql: "SELECT pg_advisory_xact_lock(7525404757498721140)"}

// createOwn creates what is missing of Holdfast's own tables. What is there is
// not touched, so that no right to create is needed then.
func (c *conn) createOwn(ctx context.Context) error {
	for locked := false; ; locked = true {
		var ask []statement
		for _, o := range own {
			ask = append(ask, statement{"SELECT to_regclass($1) IS NULL", []string{c.table(o.table)}})
		}
		results, err := c.run(ctx, ask...)
		if err != nil {
			return fmt.Errorf("look for Holdfast's own tables: %w", err)
		}
		var create []statement
		for i, o := range own {
			if string(results[i].Rows[0][0]) == "t" {
				create = append(create, statement{sql: "CREATE TABLE " + c.table(o.table) + " (" + o.columns + ")"})
			}
		}
		if len(create) == 0 {
			return nil
		}
		if !locked {
			create = []statement{lockDDL} // and look again
		}
		if _, err := c.run(ctx, create...); err != nil {
			return fmt.Errorf("create Holdfast's own tables in schema %q: %w", c.own, err)
		}
		if locked {
			return nil
		}
	}
}

// alter runs f in a transaction of its own, with Holdfast's own tables there.
func (s *Sink) alter(ctx context.Context, verb string, f func(c *conn) error) error {
	err := s.once(ctx, func(c *conn) error {
		return s.transaction(ctx, c, func() error {
			if err := c.createOwn(ctx); err != nil {
				return err
			}
			return f(c)
		})
	})
	if err != nil {
		return s.wrap(verb, err)
	}
	return nil
}

// Retire removes the cursor of id.
func (s *Sink) Retire(ctx context.Context, id sink.ID) error {
	return s.alter(ctx, "remove cursor from", func(c *conn) error {
		_, err := c.run(ctx, statement{"DELETE FROM " + c.table("holdfast_cursor") + " WHERE stream_id = $1 AND sink = $2", []string{id.StreamID, id.Sink}})
		return err
	})
}

// Rename makes what belongs to id that of the sink called name. Gaps and keys
// that a retired sink of that name left are kept, where both have them.
func (s *Sink) Rename(ctx context.Context, id sink.ID, name string) error {
	return s.alter(ctx, "rename cursor in", func(c *conn) error {
		args := []string{id.StreamID, id.Sink, name}
		results, err := c.run(ctx, statement{"UPDATE " + c.table("holdfast_cursor") + " SET sink = $3 WHERE stream_id = $1 AND sink = $2", args})
		switch {
		case isCode(err, "23505"):
			return fmt.Errorf("sink %q has a cursor already", name)
		case err != nil:
			return err
		case results[0].CommandTag.RowsAffected() == 0:
			return sink.ErrNoCursor
		case id.Sink == name:
			return nil
		}
		for table, columns := range map[string][]string{"holdfast_gap": {"stream", "first_seq", "last_seq", "reason", "noted_at"}, "holdfast_retry": {"seq", "retried_at"}} {
			list := strings.Join(columns, ", ")
			if _, err := c.run(ctx,
				statement{"INSERT INTO " + c.table(table) + " (stream_id, sink, " + list + ") SELECT stream_id, $3, " + list + " FROM " + c.table(table) +
					" WHERE stream_id = $1 AND sink = $2 ON CONFLICT DO NOTHING", args},
				statement{"DELETE FROM " + c.table(table) + " WHERE stream_id = $1 AND sink = $2", args[:2]}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Move puts the cursor to a place, and notes gaps.
func (n *session) Move(ctx context.Context, to row.Position, gaps []row.Damage) error {
	return n.commit(ctx, "move cursor in", func(c *conn, at *sink.Cursor) (func() error, error) {
		at.Position = to
		for some := range slices.Chunk(gaps, 500) {
			var notes []statement
			for _, g := range some {
				notes = append(notes, statement{"INSERT INTO " + c.table("holdfast_gap") + " (stream_id, stream, sink, first_seq, last_seq, reason, noted_at)" +
					" VALUES ($1, $2, $3, $4, $5, $6, now()) ON CONFLICT DO NOTHING",
					[]string{n.id.StreamID, n.id.Stream, n.id.Sink, decimal(g.First), decimal(g.Last), printable(g.What)}})
			}
			if _, err := c.run(ctx, notes...); err != nil {
				return nil, fmt.Errorf("note gap: %w", err)
			}
		}
		return nil, nil
	})
}

// printable returns text that a column of PostgreSQL takes.
func printable(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "?")
}

// Retry writes rows that were refused before, and the seq of each.
func (n *session) Retry(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	return n.commit(ctx, "retry rows in", func(c *conn, _ *sink.Cursor) (func() error, error) {
		u := &unretried{Batch: b, Rejects: rejects, session: n, seen: map[uint64]bool{}}
		l := n.newLoad(ctx, c, u)
		u.load = l
		settle, err := n.gated(ctx, c, l)
		if err != nil {
			return nil, err
		}
		if err := l.all(u); err != nil {
			return nil, err
		}
		if err := u.note(); err != nil {
			return nil, fmt.Errorf("note retried rows: %w", err)
		}
		return settle, nil
	})
}

// unretried is a batch without the rows that were retried before, and its
// rejects: what is refused again is not noted as retried.
type unretried struct {
	sink.Batch
	sink.Rejects
	session *session
	load    *load
	seen    map[uint64]bool // seqs of this batch; false once refused
	err     error
}

// Next advances to the next row that was not retried before.
func (u *unretried) Next() bool {
	for u.err == nil && u.Batch.Next() {
		seq := u.Batch.Row().Seq
		if _, twice := u.seen[seq]; twice {
			continue
		}
		if u.err = u.load.wait(); u.err != nil { // the connection is taken while a COPY runs
			break
		}
		c := u.load.conn
		var results, err = c.run(u.load.ctx, statement{"SELECT 1 FROM " + c.table("holdfast_retry") + " WHERE stream_id = $1 AND sink = $2 AND seq = $3",
			[]string{u.session.id.StreamID, u.session.id.Sink, decimal(seq)}})
		if u.err = err; err == nil && len(results[0].Rows) == 0 {
			u.seen[seq] = true
			return true
		}
	}
	return false
}

// Err returns what ended the batch early.
func (u *unretried) Err() error { return errors.Join(u.err, u.Batch.Err()) }

// Refuse sets r aside again.
func (u *unretried) Refuse(r *row.Row, why *sink.RowError) error {
	u.seen[r.Seq] = false
	return u.Rejects.Refuse(r, why)
}

// note writes the keys of the rows that went in.
func (u *unretried) note() error {
	var seqs []string
	for seq, in := range u.seen {
		if in {
			seqs = append(seqs, decimal(seq))
		}
	}
	c := u.load.conn
	for some := range slices.Chunk(seqs, 10_000) {
		_, err := c.run(u.load.ctx, statement{"INSERT INTO " + c.table("holdfast_retry") + " (stream_id, sink, seq, retried_at) SELECT $1, $2, seq, now() FROM unnest($3::bigint[]) AS seq",
			[]string{u.session.id.StreamID, u.session.id.Sink, "{" + strings.Join(some, ",") + "}"}})
		if err != nil {
			return err
		}
	}
	return nil
}
