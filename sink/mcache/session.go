package mcache

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/local"
)

const (
	retried = "retried" // keys of the rows that were retried
	noted   = "gaps"    // keys of the gaps that were told
)

// session delivers one stream. What it knows of the cursor is a copy; the
// cursor itself is read under the lock each time.
type session struct {
	sink   *Sink
	id     sink.ID
	cursor sink.Cursor // as of the last call that read or moved it
	closed bool
}

// use calls f with this session's cursor, under the lock.
func (n *session) use(ctx context.Context, f func(b *book, at *local.Cursor) error) error {
	if n.closed {
		return errors.New("session is closed")
	}
	err := n.sink.use(ctx, func(b *book) error {
		at, err := b.state.Check(n.id, n.cursor)
		if err != nil {
			return err
		}
		return f(b, at)
	})
	if err != nil {
		return fmt.Errorf("message cache %q: %w", n.sink.path, err)
	}
	return nil
}

// Cursor reads the cursor back.
func (n *session) Cursor(ctx context.Context) (sink.Cursor, error) {
	err := n.use(ctx, func(_ *book, at *local.Cursor) error {
		n.cursor = at.Plain()
		return nil
	})
	if err != nil {
		return sink.Cursor{}, err
	}
	return n.cursor, nil
}

// commit calls f with a batch of records, and commits those together with the
// cursor at the place that f returns.
func (n *session) commit(ctx context.Context, rejects sink.Rejects, f func(w *writer) (row.Position, error)) error {
	var to sink.Cursor
	err := n.use(ctx, func(b *book, at *local.Cursor) error {
		if at.Position() != n.cursor.Position {
			return fmt.Errorf("cursor stands at seq %d, expected it at %d", at.Seq, n.cursor.Seq)
		}
		w := &writer{ctx: ctx, sink: n.sink, rejects: rejects, number: b.state.Number(n.id), state: b.state}
		defer w.close()
		end, err := f(w)
		if err == nil {
			err = w.settle()
		}
		if err != nil {
			return err
		}
		at.Set(end)
		to = at.Plain()
		if w.plan != nil || len(w.keys) > 0 {
			b.extra.Pending = w.pending()
		}
		if err := n.sink.write(b); err != nil || b.extra.Pending == nil {
			return err
		}
		if err := n.sink.finish(ctx, b); err != nil {
			return fmt.Errorf("%w: the batch is committed and not in the cache yet: %w", sink.ErrDoubtful, err)
		}
		return nil
	})
	if err == nil {
		n.cursor = to
	}
	return err
}

// Apply commits b and the cursor.
func (n *session) Apply(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	return n.commit(ctx, rejects, func(w *writer) (row.Position, error) {
		if err := w.all(b, nil); err != nil {
			return row.Position{}, err
		}
		return b.End(), nil
	})
}

// Retry writes rows that were refused before, and the key of each.
func (n *session) Retry(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	return n.commit(ctx, rejects, func(w *writer) (row.Position, error) {
		seen, err := n.sink.store.ReadKeys(retried, w.state, n.id)
		if err != nil {
			return row.Position{}, err
		}
		w.keyFile = retried
		return n.cursor.Position, w.all(b, seen)
	})
}

// gapTable is the table that gaps are told as, and its columns.
const gapTable = "holdfast_gap"

var gapColumns = []row.Column{{Name: "stream_id"}, {Name: "stream"}, {Name: "sink"}, {Name: "first_seq"}, {Name: "last_seq"}, {Name: "reason"}, {Name: "noted_at"}}

// Move puts the cursor to a place, and tells of gaps.
func (n *session) Move(ctx context.Context, to row.Position, missing []row.Damage) error {
	return n.commit(ctx, nil, func(w *writer) (row.Position, error) {
		seen, err := n.sink.store.ReadKeys(noted, w.state, n.id)
		if err != nil {
			return to, err
		}
		w.keyFile = noted
		schema := &row.Schema{Table: gapTable, Columns: gapColumns}
		for _, g := range missing {
			key := fmt.Sprintf("%d-%d", g.First, g.Last)
			if seen[key] {
				continue
			}
			seen[key] = true
			r := &row.Row{Schema: schema, Values: []row.Value{
				row.Text(n.id.StreamID), row.Text(n.id.Stream), row.Text(n.id.Sink), row.Text(strconv.FormatUint(g.First, 10)),
				row.Text(strconv.FormatUint(g.Last, 10)), row.Text(strings.ToValidUTF8(g.What, "?")), row.Text(time.Now().UTC().Format(time.RFC3339)),
			}}
			if err := w.put(r); err != nil {
				return to, err
			}
			w.keys = append(w.keys, key)
		}
		return to, nil
	})
}

// Close gives the session up.
func (n *session) Close() error {
	n.closed = true
	return nil
}
