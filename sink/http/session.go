package http

import (
	"context"
	"encoding/json"
	"errors"
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
	sink      *Sink
	progress  progress  // what it knows, which may be more than what is on disk
	notBefore time.Time // when the receiver wants to be asked again
}

func (n *session) fail(err error) error { return n.sink.cursors.Fail(err) }

// change calls f with this session's cursor, and writes the state as f leaves
// it.
func (n *session) change(ctx context.Context, f func(b *book, at *local.Cursor) error) error {
	return n.UseThere(ctx, func(b *book, at *local.Cursor) error {
		if err := f(b, at); err != nil {
			return err
		}
		return n.sink.write(b)
	})
}

// save writes progress, and with it the cursor where to says so.
func (n *session) save(ctx context.Context, p progress, to *row.Position) error {
	var now sink.Cursor
	err := n.change(ctx, func(b *book, at *local.Cursor) error {
		p.StreamID, p.Sink = n.ID.StreamID, n.ID.Sink
		*b.of(n.ID) = p
		if to != nil {
			at.Set(*to)
		}
		now = at.Plain()
		return nil
	})
	if err == nil {
		n.At, n.progress = now, p
	}
	return err
}

// Apply posts the rows of b that the receiver does not have, then moves the
// cursor.
func (n *session) Apply(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	// Asked before anything is sent, so that a fenced session sends nothing.
	if err := n.Use(ctx, func(*book, *local.Cursor) error { return nil }); err != nil {
		return n.fail(err)
	}
	d := &delivery{session: n, ctx: ctx, rejects: rejects, taken: n.progress.Taken}
	err := d.all(b)
	if err == nil {
		err = d.settle()
	}
	n.progress.Taken = d.settled()
	if err != nil {
		return n.fail(err)
	}
	end := b.End()
	return n.fail(n.save(ctx, progress{}, &end))
}

// Move puts the cursor to a place, and tells the receiver of gaps. One that
// refuses to be told does not stand in the way: the gap is noted here too.
func (n *session) Move(ctx context.Context, to row.Position, missing []row.Damage) error {
	for _, g := range missing {
		if err := n.tell(ctx, g); err != nil {
			return n.fail(err)
		}
	}
	return n.fail(n.save(ctx, progress{}, &to))
}

// tell posts one gap, once.
func (n *session) tell(ctx context.Context, g row.Damage) error {
	key := local.GapKey(g)
	had, _, err := n.keys(ctx, local.Noted)
	if err != nil || had[key] {
		return err
	}
	line, err := json.Marshal(map[string]any{"gap": map[string]any{"first_seq": g.First, "last_seq": g.Last, "reason": g.What}})
	if err != nil {
		return err
	}
	err = n.post(ctx, request{key: n.key("gap.", g.First, g.Last), first: g.First, last: g.Last, body: append(line, '\n')})
	var refused *refusedError
	if errors.As(err, &refused) {
		n.sink.opts.Log.Warn("receiver refuses to be told of a gap; it is noted in the sink's directory only",
			"sink", n.ID.Sink, "stream", n.ID.Stream, "first", g.First, "last", g.Last, "answer", refused.text)
		err = nil
	}
	if err != nil {
		return err
	}
	return n.addKeys(ctx, local.Noted, []string{key})
}

// keys reads the keys of a file.
func (n *session) keys(ctx context.Context, name string) (had map[string]bool, number uint64, err error) {
	err = n.change(ctx, func(b *book, _ *local.Cursor) (err error) {
		number = b.state.Number(n.ID) // written before anything is numbered by it
		had, err = n.sink.store.ReadKeys(name, b.state, n.ID)
		return err
	})
	return had, number, err
}

func (n *session) addKeys(ctx context.Context, name string, keys []string) error {
	return n.Use(ctx, func(b *book, _ *local.Cursor) error {
		return n.sink.store.AddKeys(name, b.state.Number(n.ID), keys)
	})
}

// Retry posts rows that were refused before, and notes the seq of each that
// is taken.
func (n *session) Retry(ctx context.Context, b sink.Batch, rejects sink.Rejects) error {
	had, _, err := n.keys(ctx, local.Retried)
	if err != nil {
		return n.fail(err)
	}
	d := &delivery{session: n, ctx: ctx, rejects: rejects, retry: true, had: had}
	if err = d.all(b); err == nil {
		err = d.settle()
	}
	return n.fail(err)
}

// delivery is one batch on its way.
type delivery struct {
	session *session
	ctx     context.Context
	rejects sink.Rejects
	retry   bool
	had     map[string]bool // of a retry: what is there already
	chunk   chunk

	taken     uint64 // the receiver has, or refused, all rows up to here
	safe      uint64 // taken before the first refusal that is not settled
	unsettled bool
}

// all posts b, in requests of at most MaxBody bytes. Where the answer of one
// was lost, that one is sent again as it was.
func (d *delivery) all(b sink.Batch) error {
	again := d.session.progress
	for i := 0; b.Next(); i++ {
		if i%256 == 0 && d.ctx.Err() != nil {
			return d.ctx.Err()
		}
		r := b.Row()
		if !d.retry && r.Seq <= d.taken || d.retry && d.had[strconv.FormatUint(r.Seq, 10)] {
			continue
		}
		if strings.HasPrefix(r.Schema.Table, "holdfast_") {
			if err := d.refuse(r, "42602", errReserved); err != nil {
				return err
			}
			continue
		}
		d.chunk.add(r)
		if len(d.chunk.rows) > 1 && len(d.chunk.body) > d.session.sink.opts.MaxBody {
			next := d.chunk.takeLast()
			if err := d.send(0, len(d.chunk.rows)); err != nil {
				return err
			}
			d.chunk = *next
		}
		if !d.retry && again.Last == r.Seq && again.First == d.chunk.rows[0].Seq {
			if err := d.send(0, len(d.chunk.rows)); err != nil {
				return err
			}
			d.chunk.reset()
		}
	}
	if err := b.Err(); err != nil {
		return err
	}
	if len(d.chunk.rows) == 0 {
		return nil
	}
	return d.send(0, len(d.chunk.rows))
}

// send posts the rows from i to before j, and half of them at a time where the
// receiver refuses them together.
func (d *delivery) send(i, j int) error {
	n, rows := d.session, d.chunk.rows
	first, last := rows[i].Seq, rows[j-1].Seq
	what := ""
	if d.retry {
		what = "retry."
	} else if err := d.announce(first, last); err != nil {
		return err
	}
	err := n.post(d.ctx, request{key: n.key(what, first, last), first: first, last: last, rows: j - i, retry: d.retry, body: d.chunk.lines(i, j)})
	var refused *refusedError
	switch {
	case err == nil:
		return d.took(rows[i:j])
	case !errors.As(err, &refused):
		return err
	case j-i > 1:
		if err := d.send(i, (i+j)/2); err != nil {
			return err
		}
		return d.send((i+j)/2, j)
	}
	if err := d.refuse(&rows[i], strconv.Itoa(refused.status), refused); err != nil {
		return err
	}
	if !d.retry {
		d.taken = last
	}
	return nil
}

var errReserved = errors.New("names that begin with holdfast_ are reserved in every sink")

func (d *delivery) refuse(r *row.Row, code string, err error) error {
	if !d.unsettled {
		d.unsettled, d.safe = true, d.taken
	}
	return d.rejects.Refuse(r, &sink.RowError{Seq: r.Seq, Table: r.Schema.Table, Code: code, Err: err})
}

// took notes that the receiver has rows.
func (d *delivery) took(rows []row.Row) error {
	if !d.retry {
		d.taken = rows[len(rows)-1].Seq
		return nil
	}
	keys := make([]string, len(rows))
	for i := range rows {
		keys[i] = strconv.FormatUint(rows[i].Seq, 10)
	}
	return d.session.addKeys(d.ctx, local.Retried, keys)
}

// announce puts on disk which rows the next request has, so that it is the
// same one if its answer is lost, and which rows need not be sent again.
func (d *delivery) announce(first, last uint64) error {
	if p := d.session.progress; p.First == first && p.Last == last {
		return nil
	}
	if err := d.settle(); err != nil {
		return err
	}
	return d.session.save(d.ctx, progress{Taken: d.taken, First: first, Last: last}, nil)
}

// settle returns once what was refused is safe.
func (d *delivery) settle() error {
	if !d.unsettled {
		return nil
	}
	if err := d.rejects.Settle(d.ctx); err != nil {
		return err
	}
	d.unsettled = false
	return nil
}

// settled returns up to where nothing needs to be sent again.
func (d *delivery) settled() uint64 {
	if d.unsettled {
		return d.safe
	}
	return d.taken
}
