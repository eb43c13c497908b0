package rejects

import (
	"errors"
	"fmt"
	"sort"

	"holdfast/internal/journal"
	"holdfast/row"
)

// folding is how far the log has been folded into the index.
type folding struct {
	to     uint64 // seq of the last row of the log that is in the index
	schema *row.Schema
	at     []int  // layout of schema
	want   *entry // its values are in the next row
	n      int    // how many values it has
	// headless are rejects that wait and whose values were not met yet: they
	// come in a later event, unless that is what damage took.
	headless map[Key]ID
}

// catchUp folds what the index does not have yet: all of the log at start,
// later only what was appended without its outcome being known. Who calls it
// holds writing.
func (s *Store) catchUp() (err error) {
	end := s.j.End().Seq
	if end <= s.fold.to {
		return nil
	}
	r, err := s.j.Reader(s.fold.to + 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for s.fold.to < end {
		b, err := r.TryNext()
		if err != nil {
			return err
		}
		if b == nil {
			return fmt.Errorf("stream of rejects ends at seq %d, not at %d", s.fold.to, end)
		}
		s.foldBlock(b)
	}
	s.settle()
	return nil
}

func (s *Store) foldBlock(b *row.Block) {
	for _, d := range b.Damage {
		if d.Last > s.fold.to {
			s.hurt(Damage{First: max(d.First, s.fold.to+1), Last: d.Last, What: d.What, Gap: d.Gap})
		}
	}
	for i := range b.Rows {
		if r := &b.Rows[i]; r.Seq > s.fold.to {
			s.foldRow(r)
		}
	}
	s.fold.to = max(s.fold.to, b.End.Seq)
}

// foldRow folds one row of the log.
func (s *Store) foldRow(r *row.Row) {
	f := &s.fold
	if f.want != nil && r.Seq == f.want.at+1 && r.Schema.Table == valuesTable && len(r.Values) == f.n {
		s.mu.Lock()
		f.want.size += uint32(row.Size(r.Values))
		s.x.bytes += int64(row.Size(r.Values))
		s.mu.Unlock()
		f.want = nil
		return
	}
	s.settle()
	if r.Schema.Table != eventTable {
		return // values of an event that is damaged, or a row that is none of ours
	}
	if f.schema != r.Schema {
		f.schema, f.at = r.Schema, layout(r.Schema)
	}
	ev, err := decode(f.at, r.Values)
	if err != nil {
		s.hurt(Damage{First: r.Seq, Last: r.Seq, What: err.Error()})
		return
	}
	k := Key{ev.streamID, ev.sink, ev.seq}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.x.apply(&ev, r.Seq, row.Size(r.Values))
	if e != nil && ev.columns >= 0 {
		f.want, f.n = e, ev.columns
	}
	switch {
	case ev.kind == renamed:
		for k, id := range f.headless {
			if k.StreamID == ev.streamID && k.Sink == ev.sink {
				delete(f.headless, k)
				id.Sink = ev.note
				f.headless[id.Key] = id
			}
		}
	case ev.kind.brings() || ev.state != StateOpen:
		delete(f.headless, k)
	case s.x.find(k) == nil:
		if f.headless == nil {
			f.headless = map[Key]ID{}
		}
		f.headless[k] = ID{ev.id, k, ev.table}
	}
}

// settle names an entry whose values did not come.
func (s *Store) settle() {
	e := s.fold.want
	if e == nil {
		return
	}
	s.fold.want = nil
	s.mu.Lock()
	e.lost = true
	id := ID{e.id, Key{e.p.streamID, e.p.sink, e.seq}, e.l.table}
	s.mu.Unlock()
	s.hurt(Damage{First: e.at + 1, Last: e.at + 1, What: "the values cannot be read", IDs: []ID{id}})
}

// foldEnds names, after the start, what waits and has no values.
func (s *Store) foldEnds() {
	for _, id := range s.fold.headless {
		s.hurt(Damage{First: id.ID, Last: id.ID, What: "the event that refused it cannot be read", IDs: []ID{id}})
	}
	s.fold.headless = nil
}

// fetcher reads events by their seq. It is quick where they come in order.
type fetcher struct {
	j      *journal.Journal
	r      *journal.Reader
	rows   []row.Row // of the block that was read last
	row    *row.Row  // what was sought
	next   uint64    // seq that the reader goes on with
	schema *row.Schema
	at     []int
}

// near is how many rows are rather passed over than sought.
const near = 4096

// errLost says that an event cannot be read.
var errLost = errors.New("cannot be read: the stream of rejects is damaged there")

// close gives the reader up.
func (f *fetcher) close() {
	if f.r != nil {
		_ = f.r.Close() // it was only read
		f.r = nil
	}
	f.rows, f.row = nil, nil
}

// seek puts row to the one with a seq. It returns errLost where that is not
// there.
func (f *fetcher) seek(seq uint64) error {
	for fresh := false; ; {
		i := sort.Search(len(f.rows), func(i int) bool { return f.rows[i].Seq >= seq })
		if i < len(f.rows) && f.rows[i].Seq == seq {
			f.row = &f.rows[i]
			return nil
		}
		if f.r != nil && f.next <= seq && seq <= f.next+near {
			b, err := f.r.TryNext()
			if err != nil {
				return err
			}
			if b == nil {
				return errLost
			}
			f.rows, f.next = b.Rows, b.End.Seq+1
			continue
		}
		if fresh {
			return errLost
		}
		f.close()
		r, err := f.j.Reader(seq)
		if err != nil {
			return err
		}
		f.r, f.next, fresh = r, seq, true
	}
}

// event returns the event at a seq.
func (f *fetcher) event(seq uint64) (event, error) {
	if err := f.seek(seq); err != nil {
		return event{}, err
	}
	r := f.row
	if r.Schema.Table != eventTable {
		return event{}, errLost
	}
	if f.schema != r.Schema {
		f.schema, f.at = r.Schema, layout(r.Schema)
	}
	return decode(f.at, r.Values)
}

// values returns the row that the event at a seq brought.
func (f *fetcher) values(seq uint64) (*row.Row, error) {
	ev, err := f.event(seq)
	if err != nil {
		return nil, err
	}
	if ev.columns < 0 {
		return nil, errLost
	}
	if err := f.seek(seq + 1); err != nil {
		return nil, err
	}
	r := f.row
	if r.Schema.Table != valuesTable || len(r.Values) != ev.columns || len(r.Schema.Columns) != ev.columns {
		return nil, errLost
	}
	out := &row.Row{
		Seq: ev.seq, Received: ev.received, Flags: ev.flags,
		Schema: &row.Schema{Stream: ev.stream, Table: ev.table, Columns: append([]row.Column(nil), r.Schema.Columns...)},
		Values: make([]row.Value, len(r.Values)),
	}
	for i, v := range r.Values {
		out.Values[i] = row.Value{Null: v.Null}
		if !v.Null {
			out.Values[i].Text = append([]byte{}, v.Text...)
		}
	}
	return out, nil
}
