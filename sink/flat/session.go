package flat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/local"
)

// session delivers one stream.
type session struct {
	*local.Held[*book]
	sink *Sink
}

// commit calls f with a batch of lines, and commits those together with the
// cursor at the place that f returns. The cursor moves when all lines are on
// disk and not before: the state is also written on the way.
func (n *session) commit(ctx context.Context, rejects sink.Rejects, f func(w *writer) (row.Position, error)) error {
	var to sink.Cursor
	err := n.UseThere(ctx, func(b *book, at *local.Cursor) error {
		l := b.lock
		if err := l.Begin(); err != nil {
			return fmt.Errorf("mark the lock: %w", err)
		}
		// Until Settle, an error or a crash leaves the mark, and whoever comes
		// next cuts the files back. Readers are spared the wait where it can be
		// done at once.
		err := n.write(ctx, b, at, rejects, f)
		if err == nil {
			to = at.Plain()
			if err := l.Settle(); err != nil {
				n.sink.opts.Log.Warn("lock keeps its mark; the files are looked at once more", "error", err)
			}
		} else if !errors.Is(err, sink.ErrDoubtful) {
			if _, err := n.sink.repair(l); err != nil {
				n.sink.opts.Log.Info("uncommitted lines stay in flat files until the next attempt", "error", err)
			}
		}
		return err
	})
	if err != nil {
		return n.sink.cursors.Fail(err)
	}
	n.At = to
	return nil
}

// write appends what f adds, and writes the state with the cursor moved.
func (n *session) write(ctx context.Context, b *book, at *local.Cursor, rejects sink.Rejects, f func(w *writer) (row.Position, error)) error {
	w := newWriter(ctx, n.sink, b)
	end, err := f(w)
	if err != nil {
		return err
	}
	if err := w.finish(); err != nil {
		return err
	}
	if rejects != nil && w.refused {
		if err := rejects.Settle(ctx); err != nil {
			return err
		}
	}
	at.Set(end)
	return n.sink.write(b)
}

// Apply commits b and the cursor.
func (n *session) Apply(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	return n.commit(ctx, rejects, func(w *writer) (row.Position, error) {
		if err := w.all(b, rejects, nil); err != nil {
			return row.Position{}, err
		}
		return b.End(), nil
	})
}

// Retry writes rows that were refused before, and the key of each.
func (n *session) Retry(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	return n.commit(ctx, rejects, func(w *writer) (row.Position, error) {
		seen, err := n.sink.keys(w.book, retried, n.ID)
		if err != nil {
			return row.Position{}, err
		}
		number := w.book.state.Number(n.ID)
		return n.At.Position, w.all(b, rejects, func(r *row.Row) (fresh bool, mark func() error) {
			key := fmt.Sprint(r.Seq)
			if seen[key] {
				return false, nil
			}
			return true, func() error {
				seen[key] = true
				return w.own(retried, row.Text(fmt.Sprint(number)), row.Text(key))
			}
		})
	})
}

// gapColumns are those of the table of gaps in a database.
var gapColumns = []string{"stream_id", "stream", "sink", "first_seq", "last_seq", "reason", "noted_at"}

// Move puts the cursor to a place, and notes gaps.
func (n *session) Move(ctx context.Context, to row.Position, missing []row.Damage) error {
	return n.commit(ctx, nil, func(w *writer) (row.Position, error) {
		if len(missing) == 0 {
			return to, nil
		}
		seen, err := n.sink.keys(w.book, noted, n.ID)
		if err != nil {
			return to, err
		}
		if w.book.extra.Tables[gaps] == nil {
			w.tell(gaps, gapColumns)
		}
		number := row.Text(fmt.Sprint(w.book.state.Number(n.ID)))
		now := row.Text(time.Now().UTC().Format(time.RFC3339))
		for _, g := range missing {
			key := local.GapKey(g)
			if seen[key] {
				continue
			}
			seen[key] = true
			if err := w.own(noted, number, row.Text(key)); err != nil {
				return to, err
			}
			if err := w.own(n.sink.names.gapFile(), row.Text(n.ID.StreamID), row.Text(n.ID.Stream), row.Text(n.ID.Sink),
				row.Text(fmt.Sprint(g.First)), row.Text(fmt.Sprint(g.Last)), row.Text(g.What), now); err != nil {
				return to, err
			}
		}
		return to, nil
	})
}
