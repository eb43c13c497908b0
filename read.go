package holdfast

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/row"
)

// ReadOptions say which rows Read gives. The zero value reads all of main.
type ReadOptions struct {
	Stream string // "": main
	Table  string // only its rows; "": all
	From   uint64 // the first seq; 0: the oldest that is kept
	Limit  int    // the most rows; 0: no bound
	Follow bool   // wait for more rows at the end, until the context ends
	CutOff bool   // also rows that rolls have cut off, as far as their segments are there: what a hold keeps

	Where   string          // only rows of Table that match, in the language of docs/index.md; "": all
	Since   time.Time       // only rows received then or later; the zero Time: all
	NoIndex bool            // read every segment, whatever the index says
	Explain func(Explained) // where set, told at the end how it went
}

// DamageError is what Read gives in the place of rows that cannot be read, or,
// where Damage.Gap is set, of rows that Repair gave up.
type DamageError struct{ Damage row.Damage }

// Error names the place and the rows.
func (e *DamageError) Error() string {
	d := e.Damage
	if d.Gap {
		return fmt.Sprintf("rows %d to %d of stream %q are a gap: repair gave them up: %s", d.First, d.Last, d.Stream, d.What)
	}
	return fmt.Sprintf("rows %d to %d of stream %q cannot be read: segment %d, offset %d: %s", d.First, d.Last, d.Stream, d.Segment, d.Offset, d.What)
}

// Read returns the durable rows that o asks for, in the order of their seq,
// each transaction whole. A row is valid until the loop goes on. Where rows
// cannot be read, or were rolled away before it came to them, it gives a
// *DamageError and goes on behind it; any other error is the last thing it
// gives. Without Follow it ends with what was there when it began.
func (db *DB) Read(ctx context.Context, o ReadOptions) iter.Seq2[*row.Row, error] {
	return func(yield func(*row.Row, error) bool) {
		s, err := db.find(o.Stream)
		if err != nil {
			yield(nil, err)
			return
		}
		f := &reading{o: o, end: s.journal.End().Seq, yield: yield, next: o.From}
		if f.sift, err = db.sift(ctx, s, o); err != nil {
			yield(nil, err)
			return
		}
		r, err := s.reader(o.From)
		if errors.Is(err, journal.ErrGone) {
			err = fault.New(fault.UndefinedObject, "row %d of stream %q is no longer kept", o.From, s.Name).
				Because(err).WithHint("leave out where to begin, and it begins with the oldest")
		}
		entered := 0
		for err == nil {
			if f.picker != nil {
				r.Pick = f.pick
			}
			r.CutOff = o.CutOff
			err = f.run(ctx, r)
			entered += r.Entered
			if cerr := r.Close(); err == nil {
				err = cerr
			}
			if !errors.Is(err, journal.ErrGone) {
				break
			}
			if r, err = s.reader(0); err == nil {
				f.overtaken(s.Name, r.At()-1)
			}
		}
		if o.Explain != nil {
			o.Explain(f.explain(entered, f.rows))
		}
		if err != nil && !f.stopped {
			yield(nil, err)
		}
	}
}

// reader opens a reader at from; 0 is the oldest row, which may be removed
// while it is being asked for.
func (s *stream) reader(from uint64) (*journal.Reader, error) {
	for {
		at := from
		if from == 0 {
			at = s.journal.Oldest().Seq + 1
		}
		r, err := s.journal.Reader(at)
		if from == 0 && errors.Is(err, journal.ErrGone) {
			continue
		}
		return r, err
	}
}

// reading is one loop over a stream.
type reading struct {
	sift
	o       ReadOptions
	rows    uint64 // that were looked at
	end     uint64 // last row that is wanted without Follow
	yield   func(*row.Row, error) bool
	given   int
	stopped bool // yield has said that it wants no more
	next    uint64
}

// overtaken says that a roll has removed rows, up to one, before they were
// read.
func (f *reading) overtaken(stream string, last uint64) {
	f.next = max(f.next, 1)
	if !f.o.Follow && last >= f.end { // nothing is left of what there was
		last, f.stopped = f.end, true
	}
	if last < f.next {
		return
	}
	d := row.Damage{Stream: stream, First: f.next, Last: last, What: "rolled away while they were read", Gap: true, Rolled: true}
	f.next = last + 1
	f.stopped = !f.yield(nil, &DamageError{d}) || f.stopped
}

func (f *reading) run(ctx context.Context, r *journal.Reader) error {
	for !f.stopped {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := r.TryNext()
		if b == nil && err == nil && f.o.Follow {
			b, err = r.Next(ctx)
		}
		if err != nil || b == nil {
			return err
		}
		f.block(b)
		f.next = b.End.Seq + 1
		if !f.o.Follow && b.End.Seq >= f.end {
			return nil
		}
	}
	return nil
}

// block gives the rows of one block, and its damage where it stands among them.
func (f *reading) block(b *row.Block) {
	damage := b.Damage
	f.rows += uint64(len(b.Rows))
	for i := range b.Rows {
		r := &b.Rows[i]
		for len(damage) > 0 && damage[0].First < r.Seq {
			f.damage(damage[0])
			damage = damage[1:]
		}
		if r.Seq >= f.o.From && (f.o.Table == "" || r.Schema.Table == f.o.Table) && f.wants(r) {
			f.give(r, nil)
		}
		if f.stopped {
			return
		}
	}
	for _, d := range damage {
		f.damage(d)
	}
}

// damage gives d, unless it is before what is wanted.
func (f *reading) damage(d row.Damage) {
	if d.Rolled { // nothing is wrong, and status tells how far back rows reach
		return
	}
	if !f.stopped && (d.First == 0 || d.Last >= f.o.From) {
		f.stopped = !f.yield(nil, &DamageError{d})
	}
}

func (f *reading) give(r *row.Row, err error) {
	if f.stopped = !f.yield(r, err); f.stopped {
		return
	}
	f.given++
	f.stopped = f.o.Limit > 0 && f.given >= f.o.Limit
}
