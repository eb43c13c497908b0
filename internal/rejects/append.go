package rejects

import (
	"context"
	"fmt"

	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/row"
)

// appendBytes is how much is appended at once, about: large enough that flushes
// are few, small enough that several may be under way in memory.
const appendBytes = 1 << 20

// appender collects events and appends them. Who uses it holds writing.
type appender struct {
	s      *Store
	events []event
	rows   []*row.Row // the values of each event, nil for none
	bytes  int
}

// add takes an event, with its values where it brings some.
func (a *appender) add(ctx context.Context, ev event, values *row.Row) error {
	ev.columns = -1
	if values != nil {
		if len(values.Values) != len(values.Schema.Columns) {
			return fmt.Errorf("keep reject %d of table %q: %d values for %d columns", ev.seq, ev.table, len(values.Values), len(values.Schema.Columns))
		}
		ev.columns = len(values.Values)
	}
	ev.code, ev.why, ev.note = words(ev.code, maxCode), words(ev.why, maxWords), words(ev.note, maxWords)
	size := row.Size(ev.values())
	if values != nil {
		size += row.Size(values.Values)
	}
	if a.bytes+size > appendBytes {
		if err := a.flush(ctx); err != nil {
			return err
		}
	}
	a.events, a.rows, a.bytes = append(a.events, ev), append(a.rows, values), a.bytes+size
	return nil
}

// flush makes durable what was added, and part of the index.
func (a *appender) flush(ctx context.Context) error {
	if len(a.events) == 0 {
		return nil
	}
	events, rows := a.events, a.rows
	a.events, a.rows, a.bytes = nil, nil, 0
	n := uint64(len(events))
	for _, r := range rows {
		if r != nil {
			n++
		}
	}
	last, err := a.s.commit(ctx, events, rows, n)
	if err != nil {
		return err
	}
	defer a.s.release()
	if last != a.s.fold.to+n { // something came in between whose outcome nobody learned
		return a.s.catchUp()
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	seq := a.s.fold.to
	for i := range events {
		seq++
		size := row.Size(events[i].values())
		if rows[i] != nil {
			size += row.Size(rows[i].Values)
		}
		a.s.x.apply(&events[i], seq, size)
		if rows[i] != nil {
			seq++
		}
	}
	a.s.fold.to = last
	return nil
}

// commit appends events, whole or not at all, and returns the seq of the last
// row. n is how many rows they are.
func (s *Store) commit(ctx context.Context, events []event, rows []*row.Row, n uint64) (uint64, error) {
	var b, large row.Batch // large is the values that do not fit into one batch with their event
	left := n
	add := func(to *row.Batch, schema *row.Schema, values []row.Value) error {
		var flags row.Flags
		if n > 1 && left == n {
			flags |= row.TxBegin
		}
		left--
		if n > 1 && left == 0 {
			flags |= row.TxEnd
		}
		return to.Add(schema, flags, values)
	}
	for i := range events {
		if err := add(&b, s.event, events[i].values()); err != nil {
			return 0, err
		}
		r := rows[i]
		if r == nil {
			continue
		}
		to := &b
		if len(events) == 1 && b.Len()+row.Size(r.Values) > journal.MaxBatch {
			to = &large
		}
		if err := add(to, s.j.Intern(valuesTable, r.Schema.Columns), r.Values); err != nil {
			return 0, err
		}
	}
	if large.Rows() == 0 {
		return s.j.Append(ctx, &b, true)
	}
	stage, err := s.j.Stage()
	if err != nil {
		return 0, err
	}
	for _, part := range []*row.Batch{&b, &large} {
		if err := stage.Add(part); err != nil {
			_ = stage.Abort() // what it leaves behind, the next start removes
			return 0, err
		}
	}
	return stage.Commit(ctx)
}

// Keep stores rows that a sink refused; they are on disk when it returns nil. A
// row that waits already, or was discarded, is not stored again; one that a retry
// had brought into the sink waits again, as it is in the stream. An error that
// wraps ErrBudget says that nothing was stored; after any other some may be.
func (s *Store) Keep(ctx context.Context, rejects []Reject) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	fresh, ids, bytes := s.fresh(rejects)
	if len(fresh) == 0 {
		return nil
	}
	if err := s.room(ctx, fresh, bytes); err != nil {
		s.mu.Lock()
		s.totals.Full++
		s.mu.Unlock()
		return err
	}
	a, now := appender{s: s}, s.o.Now().UnixMicro()
	for i, r := range fresh {
		ev := event{
			kind: refused, state: StateOpen, id: ids[i], streamID: r.StreamID, stream: r.Stream, sink: r.Sink,
			seq: r.Row.Seq, received: r.Row.Received, flags: r.Row.Flags, table: r.Row.Schema.Table,
			code: r.Code, why: r.Why, attempts: 1, refusedAt: now, at: now,
		}
		if err := a.add(ctx, ev, &r.Row); err != nil {
			return err
		}
	}
	if err := a.flush(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.totals.Kept += uint64(len(fresh))
	s.mu.Unlock()
	return nil
}

// fresh returns what of rejects is to be stored, the id of each where it had one
// before, and about how many bytes it takes.
func (s *Store) fresh(rejects []Reject) (fresh []*Reject, ids []uint64, bytes int64) {
	seen := map[Key]bool{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range rejects {
		r := &rejects[i]
		k := Key{r.StreamID, r.Sink, r.Row.Seq}
		e := s.x.find(k)
		if seen[k] || e != nil && e.state != StateDelivered {
			continue
		}
		seen[k] = true
		id := uint64(0)
		if e != nil {
			id = e.id
		}
		fresh, ids = append(fresh, r), append(ids, id)
		bytes += int64(row.Size(r.Row.Values)) + int64(len(r.Why)) + 512
	}
	return fresh, ids, bytes
}

// room returns why rejects cannot be kept, nil where they can.
func (s *Store) room(ctx context.Context, fresh []*Reject, bytes int64) error {
	bySink := map[string]int{}
	for _, r := range fresh {
		bySink[r.Sink]++
	}
	s.mu.Lock()
	total := s.x.open + len(fresh)
	var full error
	for sink, n := range bySink {
		limit := s.o.PerSink
		if b, ok := s.budgets[sink]; ok {
			limit = b
		}
		if n += s.x.openOf(sink); n > limit {
			full = budget("sink %q would have %d rejects that wait, its budget is %d", sink, n, limit)
		}
	}
	s.mu.Unlock()
	if full == nil && total > s.o.Total {
		full = budget("%d rejects would wait in all, the limit is %d", total, s.o.Total)
	}
	if full != nil {
		return full
	}
	return s.bytesFor(ctx, bytes)
}

func budget(message string, args ...any) error {
	return fault.New(fault.LimitExceeded, message, args...).Because(ErrBudget).
		WithHint("nothing of these was stored, and the sink stops; holdfast rejects list shows what waits: mend the cause, then retry, edit or discard it")
}

// bytesFor makes sure that the stream has room, and that a quarter of it stays
// free for what takes rejects away: that, too, can only be appended.
func (s *Store) bytesFor(ctx context.Context, bytes int64) error {
	limit := s.j.Status().Limit
	if limit <= 0 {
		return nil
	}
	most := limit / 4 * 3
	if s.takes()+bytes <= most {
		return nil
	}
	if err := s.carry(ctx, limit); err != nil {
		return err
	}
	if takes := s.takes(); takes+bytes > most {
		return budget("rejects take %d bytes and need %d more; the stream of rejects is kept below %d", takes, bytes, most)
	}
	return nil
}

// takes returns about how many bytes of files may not go: what the journal says of
// rows, with the share of the files that is not rows.
func (s *Store) takes() int64 {
	held, all := s.held(), s.j.BytesAfter(s.j.Oldest().Seq)
	if all <= 0 {
		return held
	}
	return int64(float64(held) * float64(s.j.Status().Bytes) / float64(all))
}

// Kept returns the seqs, from from on, that were set aside for a sink and are not
// to come to it again: those that wait or were discarded, in order. Discarded ones
// are known back to the newest 65,536 that were closed.
func (s *Store) Kept(ctx context.Context, streamID, sink string, from uint64) ([]uint64, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.x.kept(pairKey{streamID, sink}, from), nil
}
