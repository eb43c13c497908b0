package rejects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/row"
)

// Edit changes values of a reject that waits, by column; the others stay. The row
// as it was received stays in its own stream as long as that keeps it.
func (s *Store) Edit(ctx context.Context, id uint64, changes map[string]row.Value) (Entry, error) {
	if err := s.lock(ctx); err != nil {
		return Entry{}, err
	}
	defer s.unlock()
	var f, g fetcher
	f.j, g.j = s.j, s.j
	defer f.close()
	defer g.close()
	r, err := s.open(id)
	if err != nil {
		return Entry{}, err
	}
	ev, err := f.event(r.last)
	if err != nil {
		return Entry{}, fmt.Errorf("edit reject %d: %w", id, err)
	}
	s.named(&ev, r)
	values, err := g.values(r.at)
	if err != nil {
		return Entry{}, fmt.Errorf("edit reject %d: its values: %w", id, err)
	}
	if err := change(values, changes); err != nil {
		return Entry{}, err
	}
	ev.kind, ev.state, ev.id, ev.valuesAt, ev.edits, ev.at, ev.note = edited, StateOpen, id, 0, ev.edits+1, s.o.Now().UnixMicro(), ""
	a := appender{s: s}
	if err := a.add(ctx, ev, values); err != nil {
		return Entry{}, err
	}
	if err := a.flush(ctx); err != nil {
		return Entry{}, err
	}
	s.tidy(ctx)
	return s.Show(ctx, id)
}

// open returns where a reject that waits is found.
func (s *Store) open(id uint64) (ref, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.x.byID(id); e != nil {
		return refOf(e), nil
	}
	return ref{}, fault.New(fault.UndefinedObject, "no reject %d waits", id).Because(ErrNoReject).
		WithHint("holdfast rejects list shows those that do")
}

// change puts changes into r.
func change(r *row.Row, changes map[string]row.Value) error {
	columns := r.Schema.Columns
	for name, v := range changes {
		i := slices.IndexFunc(columns, func(c row.Column) bool { return c.Name == name })
		if i < 0 {
			var names []string
			for _, c := range columns {
				names = append(names, c.Name)
			}
			return fault.New(fault.UndefinedColumn, "the row has no column %q", name).WithHint("it has %s", strings.Join(names, ", "))
		}
		if !v.Null && (!utf8.Valid(v.Text) || bytes.IndexByte(v.Text, 0) >= 0) {
			return fault.New(fault.CharacterNotInRepertoire, "the value for column %q is not UTF-8 without NUL bytes", name).WithHint("give it as UTF-8 text")
		}
		r.Values[i] = v
	}
	if n := row.Size(r.Values); n > row.MaxBytes {
		return fault.New(fault.LimitExceeded, "the row would take %d bytes, more than %d", n, row.MaxBytes).WithHint("give shorter values")
	}
	return nil
}

// Discard gives up the rejects that wait and that f means, and returns how many;
// note says who did it and why. They are never written to the sink.
func (s *Store) Discard(ctx context.Context, f Filter, note string) (n int, err error) {
	if f.State != "" && f.State != StateOpen {
		return 0, fault.New(fault.InvalidParameterValue, "rejects that are %s cannot be discarded", f.State).WithHint("only those that wait can")
	}
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.unlock()
	defer s.tidy(ctx)
	words := fetcher{j: s.j}
	defer words.close()
	for more := true; more; {
		var refs []ref
		if refs, more, err = s.page(ctx, &f); err != nil {
			return n, err
		}
		if f.Limit > 0 && n+len(refs) >= f.Limit {
			refs, more = refs[:f.Limit-n], false
		}
		a := appender{s: s}
		for _, r := range refs {
			ev, err := s.told(&words, r)
			if err != nil {
				return n, err
			}
			ev.kind, ev.state, ev.note = discarded, StateDiscarded, note
			if err := a.add(ctx, ev, nil); err != nil {
				return n, err
			}
		}
		if err := a.flush(ctx); err != nil {
			return n, err
		}
		n += len(refs)
		s.mu.Lock()
		s.totals.Discarded += uint64(len(refs))
		s.mu.Unlock()
	}
	return n, nil
}

// told returns the newest event of a reject, ready to be changed into the next.
func (s *Store) told(words *fetcher, r ref) (event, error) {
	ev, err := words.event(r.last)
	if errors.Is(err, errLost) {
		ev, err = s.rest(r), nil
	}
	s.named(&ev, r)
	ev.id, ev.valuesAt, ev.at, ev.note = r.id, r.at, s.o.Now().UnixMicro(), ""
	return ev, err
}

// Pending returns the rejects of one stream and sink that are to be retried, of
// those that f means, by id and with the values that are to be written. passed is
// the seq of the sink's cursor: what lies behind it may still come in a batch, and
// is left out. One whose values are lost comes with Lost set and without a Row, and
// cannot be retried.
func (s *Store) Pending(ctx context.Context, k Key, f Filter) iter.Seq2[Entry, error] {
	f.StreamID, f.Sink, f.State = k.StreamID, k.Sink, StateOpen
	if f.To == 0 || f.To > k.Seq {
		f.To = k.Seq
	}
	if k.Seq == 0 {
		return func(func(Entry, error) bool) {}
	}
	return s.each(ctx, f, true)
}

// Outcome is what became of one reject that was retried.
type Outcome struct {
	ID        uint64
	Edits     uint32 // of the Entry whose row was written or refused
	Delivered bool   // it is in the sink; else Code and Why say why it is not
	Code, Why string
}

// Retried notes what became of rejects; that is durable when it returns nil. A
// delivered one no longer waits, whatever else happened to it meanwhile; one that
// was refused again has one attempt more. Outcomes of what is unknown are passed
// over.
func (s *Store) Retried(ctx context.Context, outcomes []Outcome) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	defer s.tidy(ctx)
	words := fetcher{j: s.j}
	defer words.close()
	a := appender{s: s}
	var delivered, again uint64
	for _, o := range outcomes {
		r, known := s.retriedRef(o)
		if !known {
			continue
		}
		ev, err := s.told(&words, r)
		if err != nil {
			return err
		}
		ev.kind, ev.state = retried, StateOpen
		if o.Delivered {
			ev.state = StateDelivered
			delivered++
		} else {
			ev.code, ev.why = o.Code, o.Why
			ev.attempts++
			again++
		}
		if o.Edits != ev.edits {
			ev.note = "with the values from before the last edit"
		}
		if err := a.add(ctx, ev, nil); err != nil {
			return err
		}
	}
	if err := a.flush(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.totals.Delivered += delivered
	s.totals.Again += again
	s.mu.Unlock()
	return nil
}

// retriedRef returns where the reject of an outcome is found. One that was
// discarded while it was on its way is delivered all the same.
func (s *Store) retriedRef(o Outcome) (ref, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.x.byID(o.ID); e != nil {
		return refOf(e), true
	}
	if !o.Delivered {
		return ref{}, false
	}
	for i := len(s.x.closed) - 1; i >= 0; i-- {
		if e := s.x.closed[i].e; e.id == o.ID && e.state == StateDiscarded {
			return refOf(e), true
		}
	}
	return ref{}, false
}

// Rename makes the rejects of a stream and sink those of the sink called name, as
// sink.Sink does with its cursor. It fails where rejects wait under that name. What
// is closed stays listed under the name that it was closed under, and Reopen finds
// it by that.
func (s *Store) Rename(ctx context.Context, streamID, sink, name string) error {
	if name == "" || words(name, maxWords) != name {
		return fault.New(fault.InvalidName, "%q cannot be the name of a sink", name)
	}
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	s.mu.Lock()
	p, taken := s.x.pairs[pairKey{streamID, sink}], s.x.waits(pairKey{streamID, name})
	stream := ""
	if p != nil {
		stream = p.stream
	}
	s.mu.Unlock()
	if p == nil || name == sink {
		return nil
	}
	if taken {
		return fault.New(fault.InvalidParameterValue, "rejects of a sink %q wait", name).WithHint("retry or discard them first; holdfast rejects list --sink shows them")
	}
	a := appender{s: s}
	if err := a.add(ctx, event{kind: renamed, state: StateOpen, streamID: streamID, stream: stream, sink: sink, at: s.o.Now().UnixMicro(), note: name}, nil); err != nil {
		return err
	}
	return a.flush(ctx)
}

// Reopen makes every reject of a stream and sink wait again that a retry had
// delivered, as far back as the history reaches, and returns how many; lost is
// how many are known and have no values any more. It is for a sink that was put
// back to an older copy: what is in that copy nonetheless, the next retry leaves
// out by its key. It also remembers what was discarded, so that Kept knows it when
// the rows come again. Budgets do not hold for it, but no reject is kept beside
// until what waits is below them.
func (s *Store) Reopen(ctx context.Context, streamID, sink string) (n, lost int, err error) {
	if err := s.lock(ctx); err != nil {
		return 0, 0, err
	}
	defer s.unlock()
	words, rows := fetcher{j: s.j}, fetcher{j: s.j}
	defer words.close()
	defer rows.close()
	f := Filter{StreamID: streamID, Sink: sink, State: StateAll}
	for more := true; more; {
		var refs []ref
		if refs, more, err = s.page(ctx, &f); err != nil {
			return n, lost, err
		}
		a, told := appender{s: s}, 0
		for _, r := range refs {
			if r.state == StateOpen {
				continue
			}
			ev, err := words.event(r.last)
			if errors.Is(err, journal.ErrGone) {
				continue
			}
			if err != nil {
				return n, lost, err
			}
			if r.state == StateDiscarded {
				s.remember(&ev, r)
				continue
			}
			values, err := rows.values(r.at)
			if errors.Is(err, errLost) || errors.Is(err, journal.ErrGone) {
				lost++
				continue
			}
			if err != nil {
				return n, lost, err
			}
			ev.kind, ev.state, ev.id, ev.valuesAt = reopened, StateOpen, r.id, 0
			ev.at, ev.note = s.o.Now().UnixMicro(), "the sink was put back"
			if err := a.add(ctx, ev, values); err != nil {
				return n, lost, err
			}
			told++
		}
		if err := a.flush(ctx); err != nil {
			return n, lost, err
		}
		n += told
	}
	return n, lost, nil
}

// remember enters a reject that was discarded before the index begins.
func (s *Store) remember(ev *event, r ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.x.find(Key{ev.streamID, ev.sink, ev.seq}) == nil {
		s.x.apply(ev, r.last, 0)
	}
}
