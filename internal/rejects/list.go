package rejects

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/row"
)

// StateAll is, in a Filter, every state.
const StateAll State = "all"

// Filter says which rejects are meant. A zero in any field leaves all of them.
type Filter struct {
	IDs      []uint64
	StreamID string
	Stream   string
	Sink     string
	Table    string
	Code     string
	From, To uint64 // seqs of the refused rows, both included
	State    State  // "": those that wait
	After    uint64 // ids behind this one
	Limit    int
}

// facts are what a Filter looks at.
type facts struct {
	id                     uint64
	streamID, stream, sink string
	table, code            string
	seq                    uint64
}

// fits reports whether f means a reject, whatever its state is.
func (f *Filter) fits(x facts) bool {
	same := func(want, is string) bool { return want == "" || want == is }
	return x.id > f.After && (len(f.IDs) == 0 || slices.Contains(f.IDs, x.id)) && x.seq >= f.From && (f.To == 0 || x.seq <= f.To) &&
		same(f.StreamID, x.streamID) && same(f.Stream, x.stream) && same(f.Sink, x.sink) && same(f.Table, x.table) && same(f.Code, x.code)
}

// ref is where a reject is found in the log. It is a copy: the reject may have
// moved on since.
type ref struct {
	id, at, last uint64
	size         uint32
	state        State
}

func refOf(e *entry) ref { return ref{e.id, e.at, e.last, e.size, e.state} }

func factsOf(e *entry) facts {
	return facts{id: e.id, streamID: e.p.streamID, stream: e.p.stream, sink: e.p.sink, table: e.l.table, code: e.l.code, seq: e.seq}
}

// pageSize is how many rejects are looked up at once. They cost 32 bytes each.
const pageSize = 4096

// List returns the rejects that f means, by id, without their values. What is
// delivered or discarded is found as long as the history of the stream of rejects
// reaches. An error ends it, unless it is about one reject: see Entry.Lost.
func (s *Store) List(ctx context.Context, f Filter) iter.Seq2[Entry, error] {
	return s.each(ctx, f, false)
}

// Export is List with the values of each.
func (s *Store) Export(ctx context.Context, f Filter) iter.Seq2[Entry, error] {
	return s.each(ctx, f, true)
}

func (s *Store) each(ctx context.Context, f Filter, values bool) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		words, rows := fetcher{j: s.j}, fetcher{j: s.j}
		defer words.close()
		defer rows.close()
		for n := 0; ; {
			refs, more, err := s.page(ctx, &f)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, r := range refs {
				e, there, err := s.entry(&words, &rows, r, values)
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					yield(Entry{}, err)
					return
				}
				if !there {
					continue
				}
				if !yield(e, nil) {
					return
				}
				if n++; n == f.Limit {
					return
				}
			}
			if !more {
				return
			}
		}
	}
}

// page returns the next rejects that f means, by id, and puts f.After behind
// them. more says whether there may be others.
func (s *Store) page(ctx context.Context, f *Filter) (refs []ref, more bool, err error) {
	after := uint64(0)
	if f.State == "" || f.State == StateOpen || f.State == StateAll {
		refs = s.waiting(f)
		if more = len(refs) == pageSize; more {
			after = refs[len(refs)-1].id
		}
	}
	if f.State == StateDelivered || f.State == StateDiscarded || f.State == StateAll {
		closed, bound, err := s.closedRefs(ctx, f)
		if err != nil {
			return nil, false, err
		}
		if bound > 0 {
			after, more = min(cmp.Or(after, bound), bound), true
		}
		refs = append(refs, closed...)
		slices.SortFunc(refs, func(a, b ref) int { return cmp.Compare(a.id, b.id) })
	}
	if more {
		refs = slices.DeleteFunc(refs, func(r ref) bool { return r.id > after })
		f.After = after
	}
	return refs, more, nil
}

// waiting returns the next rejects that wait and that f means.
func (s *Store) waiting(f *Filter) []ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	var refs []ref
	for _, e := range s.x.order[s.x.from(f.After+1):] {
		if e.state != StateOpen || !f.fits(factsOf(e)) {
			continue
		}
		if refs = append(refs, refOf(e)); len(refs) == pageSize {
			break
		}
	}
	return refs
}

// closedRefs reads the log for the next rejects that f means and that do not
// wait. bound, if not 0, is the id up to which they are all of them.
func (s *Store) closedRefs(ctx context.Context, f *Filter) (refs []ref, bound uint64, err error) {
	found := map[uint64]ref{}
	err = s.scan(ctx, func(ev *event, seq uint64) error {
		id := cmp.Or(ev.id, seq)
		if ev.state == StateOpen {
			delete(found, id)
			return nil
		}
		x := facts{id: id, streamID: ev.streamID, stream: ev.stream, sink: ev.sink, table: ev.table, code: ev.code, seq: ev.seq}
		if !f.fits(x) || bound > 0 && id > bound {
			return nil
		}
		found[id] = ref{id: id, at: ev.valuesAt, last: seq, state: ev.state}
		if len(found) > 2*pageSize {
			ids := slices.Sorted(maps.Keys(found))
			bound = ids[pageSize-1]
			for _, id := range ids[pageSize:] {
				delete(found, id)
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range found {
		if (f.State == StateAll || f.State == r.state) && s.x.byID(id) == nil {
			refs = append(refs, r)
		}
	}
	return refs, bound, nil
}

// scan reads every event that is kept.
func (s *Store) scan(ctx context.Context, each func(ev *event, seq uint64) error) error {
	from, end := s.j.Oldest().Seq+1, s.j.End().Seq
	var r *journal.Reader
	defer func() {
		if r != nil {
			_ = r.Close() // it was only read
		}
	}()
	var schema *row.Schema
	var at []int
	for from <= end {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r == nil {
			var err error
			if r, err = s.j.Reader(from); err != nil && !errors.Is(err, journal.ErrGone) {
				return err
			}
		}
		b, err := (*row.Block)(nil), journal.ErrGone
		if r != nil {
			b, err = r.TryNext()
		}
		if errors.Is(err, journal.ErrGone) { // removed meanwhile: nothing that waits was there
			if r != nil {
				_ = r.Close()
				r = nil
			}
			from = max(from, s.j.Oldest().Seq+1)
			continue
		}
		if err != nil || b == nil {
			return err
		}
		for i := range b.Rows {
			w := &b.Rows[i]
			if w.Seq < from || w.Schema.Table != eventTable {
				continue
			}
			if schema != w.Schema {
				schema, at = w.Schema, layout(w.Schema)
			}
			if ev, err := decode(at, w.Values); err == nil { // else it is named as damage, at start
				if err := each(&ev, w.Seq); err != nil {
					return err
				}
			}
		}
		from = b.End.Seq + 1
	}
	return nil
}

// entry reads one reject. there is false where it is gone, or no longer in the
// state that it was found in.
func (s *Store) entry(words, rows *fetcher, r ref, values bool) (e Entry, there bool, err error) {
	for {
		ev, err := words.event(r.last)
		var cells *row.Row
		var verr error
		if err == nil && values {
			cells, verr = rows.values(r.at)
		}
		again, moved := s.moved(r)
		if moved { // what was read may be another's, or gone
			if again == nil {
				return Entry{}, false, nil
			}
			r = *again
			continue
		}
		if errors.Is(err, journal.ErrGone) {
			return Entry{}, false, nil
		}
		if err != nil && !errors.Is(err, errLost) {
			return Entry{}, false, err
		}
		lost := ""
		if err != nil {
			lost = err.Error()
			ev = s.rest(r)
		}
		s.named(&ev, r)
		switch {
		case verr == nil:
		case errors.Is(verr, errLost) || errors.Is(verr, journal.ErrGone):
			lost = verr.Error()
		default:
			return Entry{}, false, verr
		}
		e = Entry{
			ID: r.id, Key: Key{ev.streamID, ev.sink, ev.seq}, Stream: ev.stream, Table: ev.table, State: r.state,
			Code: ev.code, Why: ev.why, Attempts: ev.attempts, Edits: ev.edits, Note: ev.note,
			Refused: time.UnixMicro(ev.refusedAt).UTC(), Changed: time.UnixMicro(ev.at).UTC(), Row: cells, Lost: lost,
		}
		return e, true, nil
	}
}

// moved reports whether a reject that waited has moved on since r was taken, and
// where to; nil where it no longer waits.
func (s *Store) moved(r ref) (*ref, bool) {
	if r.state != StateOpen {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.x.byID(r.id)
	if e == nil {
		return nil, true
	}
	now := refOf(e)
	return &now, now != r
}

// named gives the event of a reject that waits the name that its sink has now.
func (s *Store) named(ev *event, r ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.x.byID(r.id); e != nil {
		ev.sink = e.p.sink
	}
}

// rest returns what memory knows of a reject whose event cannot be read.
func (s *Store) rest(r ref) event {
	s.mu.Lock()
	defer s.mu.Unlock()
	ev := event{id: r.id, state: r.state, valuesAt: r.at, columns: -1}
	if e := s.x.byID(r.id); e != nil {
		ev.streamID, ev.stream, ev.sink, ev.seq = e.p.streamID, e.p.stream, e.p.sink, e.seq
		ev.table, ev.code, ev.refusedAt, ev.attempts = e.l.table, e.l.code, e.refused, 1
	}
	return ev
}

// Show returns one reject with its values.
func (s *Store) Show(ctx context.Context, id uint64) (Entry, error) {
	s.mu.Lock()
	waits := s.x.byID(id) != nil
	s.mu.Unlock()
	f := Filter{IDs: []uint64{id}, After: max(id, 1) - 1, Limit: 1}
	if !waits {
		f.State = StateAll
	}
	for e, err := range s.Export(ctx, f) {
		return e, err
	}
	return Entry{}, noReject(id)
}

func noReject(id uint64) error {
	return fault.New(fault.UndefinedObject, "there is no reject %d", id).Because(ErrNoReject).
		WithHint("holdfast rejects list shows those that wait; --state all, the others too")
}
