package mcache

import (
	"context"
	"fmt"
	"strconv"
	"strings"
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

// commit calls f with a batch of records, and commits those together with the
// cursor at the place that f returns.
func (n *session) commit(ctx context.Context, rejects sink.Rejects, f func(w *writer) (row.Position, error)) error {
	var to sink.Cursor
	err := n.UseThere(ctx, func(b *book, at *local.Cursor) error {
		w := &writer{ctx: ctx, sink: n.sink, rejects: rejects, number: b.state.Number(n.ID), state: b.state}
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
	if err != nil {
		return n.sink.cursors.Fail(err)
	}
	n.At = to
	return nil
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
		seen, err := n.sink.store.ReadKeys(local.Retried, w.state, n.ID)
		if err != nil {
			return row.Position{}, err
		}
		w.keyFile = local.Retried
		return n.At.Position, w.all(b, seen)
	})
}

// gapTable is the table that gaps are told as, and its columns.
const gapTable = "holdfast_gap"

var gapColumns = []row.Column{{Name: "stream_id"}, {Name: "stream"}, {Name: "sink"}, {Name: "first_seq"}, {Name: "last_seq"}, {Name: "reason"}, {Name: "noted_at"}}

// Move puts the cursor to a place, and tells of gaps.
func (n *session) Move(ctx context.Context, to row.Position, missing []row.Damage) error {
	return n.commit(ctx, nil, func(w *writer) (row.Position, error) {
		seen, err := n.sink.store.ReadKeys(local.Noted, w.state, n.ID)
		if err != nil {
			return to, err
		}
		w.keyFile = local.Noted
		schema := &row.Schema{Table: gapTable, Columns: gapColumns}
		for _, g := range missing {
			key := local.GapKey(g)
			if seen[key] {
				continue
			}
			seen[key] = true
			r := &row.Row{Schema: schema, Values: []row.Value{
				row.Text(n.ID.StreamID), row.Text(n.ID.Stream), row.Text(n.ID.Sink), row.Text(strconv.FormatUint(g.First, 10)),
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
