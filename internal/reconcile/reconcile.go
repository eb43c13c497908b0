// Package reconcile holds what a sink has against what its stream had: each row
// of the stream is in a current table of the sink, or in one of its archives, or
// among the rejects, once; or it is told where it went.
//
// A row in a sink does not say which row of the stream it was. So the database
// is given the rows once more, into temporary tables of the same types, and asked
// for a digest of what it made of them; the same is asked about the rows that it
// has. What is equal on both sides is paired, in any order and in bounded memory;
// what is left over is a difference, and the stream's side of it has a seq.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"holdfast/internal/deliver"
	"holdfast/row"
	"holdfast/sink"
)

// Stream is the rows of a stream.
type Stream interface {
	// Rows calls emit for each row from a seq on that is stored, and damage for
	// places on the way that cannot be read, gaps marked as such, in seq order.
	Rows(ctx context.Context, from uint64, emit func(*row.Row) error, damage func(row.Damage) error) error
}

// Reject is a row that the sink refused.
type Reject struct {
	State string   // "open", "delivered" or "discarded"
	Row   *row.Row // as it was delivered, where it was edited; nil: as it is in the stream
}

// Options say what is compared.
type Options struct {
	Name, Sink string // of the stream and of the sink
	Stream     Stream
	Shape      deliver.Shape     // what the sink gets of the rows
	Rejects    map[uint64]Reject // by seq
	From       uint64            // the first seq; 0: the oldest that is stored
	Dir        string            // for temporary files; "": the system's
	Most       int               // differences that are told one by one; 0: 1,000
	Ledger     *Ledger           // of an earlier comparison; nil: none
	Progress   func(done, all uint64)
}

// Kind says what is different.
type Kind string

// The kinds of differences.
const (
	Missing Kind = "missing" // a row of the stream is nowhere in the sink
	Changed Kind = "changed" // the sink has other values under its key
	Doubled Kind = "doubled" // the sink has it more than once
	Strange Kind = "strange" // the sink has rows that no seq explains
	Older   Kind = "older"   // rows that the stream does not store any more are not as they were
)

// Difference is rows that are not the same on both sides, one behind the other.
type Difference struct {
	Kind  Kind   `json:"kind"`
	Table string `json:"table"`
	First uint64 `json:"first,omitempty"` // seqs; 0: not known
	Last  uint64 `json:"last,omitempty"`
	Rows  uint64 `json:"rows"`
	Place string `json:"place,omitempty"` // the table of the sink that it is in
	Note  string `json:"note,omitempty"`
}

// Place is a table of the sink.
type Place struct {
	Name string `json:"name"`
	Rows uint64 `json:"rows"`
}

// Table is what became of the rows of one table.
type Table struct {
	Table    string   `json:"table"`
	Expected uint64   `json:"expected"`         // rows of the stream that must be there
	Digest   string   `json:"digest"`           // of them, whatever their order
	Found    uint64   `json:"found"`            // rows that are there, of those
	Places   []Place  `json:"places,omitempty"` // the table, and its archives
	Ignored  []string `json:"ignored,omitempty"`
}

// Report is what Run found. Each row from From to To is counted in one of the
// numbers from Gaps to Expected.
type Report struct {
	Stream string `json:"stream"`
	Sink   string `json:"sink"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"` // the sink's cursor: what lies behind it was not compared

	Gaps      uint64 `json:"gaps"`      // seqs that the stream has lost or rolled away
	Passed    uint64 `json:"passed"`    // seqs that the sink was told to pass over (holdfast_gap)
	States    uint64 `json:"states"`    // seqs of what is no row of a client
	Elsewhere uint64 `json:"elsewhere"` // rows that the sink does not take
	Malformed uint64 `json:"malformed"` // lines that were no rows
	Waiting   uint64 `json:"waiting"`   // rejects that wait
	Discarded uint64 `json:"discarded"` // rejects that were given up
	LeftOut   uint64 `json:"left_out"`  // ON CONFLICT DO NOTHING: their key was taken
	Retried   uint64 `json:"retried"`   // rejects that a retry brought; they are among Expected
	Expected  uint64 `json:"expected"`
	Older     uint64 `json:"older"` // rows of the sink from before From, or of others

	Tables      []Table      `json:"tables"`
	Differences []Difference `json:"differences"`
	More        uint64       `json:"more,omitempty"`  // differences that are not told one by one
	Proof       *Proof       `json:"proof,omitempty"` // of the rows before From; nil where there are none

	Ledger *Ledger `json:"-"` // to hold the next comparison against; nil where something is different
}

// Equal reports whether nothing is different.
func (r *Report) Equal() bool { return len(r.Differences) == 0 && r.More == 0 }

// batch is how many rows the database is given at once.
const batch = 2000

// Run compares. k stays open.
func Run(ctx context.Context, k sink.Comparison, o Options) (*Report, error) {
	if o.Most == 0 {
		o.Most = 1000
	}
	dir, err := os.MkdirTemp(o.Dir, "holdfast-reconcile-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for temporary files: %w", err)
	}
	dropped := map[string]map[string]bool{}
	for {
		r := &run{o: o, k: k, noted: k.Noted(), dir: dir, form: o.Shape.Former(o.Name), tables: map[string]*table{}, dropped: dropped}
		err := r.all(ctx)
		err = errors.Join(err, r.made.close(), r.held.close())
		if errors.Is(err, errNarrower) {
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				return nil, err
			}
			continue
		}
		if gone := os.RemoveAll(dir); err == nil {
			err = gone
		}
		if err != nil {
			return nil, err
		}
		return &r.report, nil
	}
}

// errNarrower says that a row was met which leaves out a column that the
// database fills: nobody can know what is in it, so all is compared without it.
var errNarrower = errors.New("a column cannot be compared")

// run is one comparison under way.
type run struct {
	o      Options
	k      sink.Comparison
	noted  sink.Noted
	dir    string
	form   func(*row.Row) *row.Row
	report Report

	tables     map[string]*table          // by name in the sink
	order      []*table                   // in the order in which their first rows came
	dropped    map[string]map[string]bool // columns that are not compared, by table
	made, held *pile
}

// all makes, reads and judges.
func (r *run) all(ctx context.Context) error {
	to := r.noted.Cursor.Seq
	r.report = Report{Stream: r.o.Name, Sink: r.o.Sink, From: max(1, r.o.From), To: to, Tables: []Table{}, Differences: []Difference{}}
	var err error
	parts := partsFor(to + 1 - min(to, r.report.From))
	if r.made, err = newPile(r.dir, "made", parts); err != nil {
		return err
	}
	if r.held, err = newPile(r.dir, "held", parts); err != nil {
		return err
	}
	if err := r.recall(ctx); err != nil {
		return err
	}
	if err := r.stream(ctx); err != nil {
		return err
	}
	for _, t := range r.order {
		if err := r.read(ctx, t); err != nil {
			return err
		}
	}
	return r.judge()
}

// errPast ends the reading of a stream at the cursor.
var errPast = errors.New("behind the cursor")

// stream reads the rows of the stream up to the cursor.
func (r *run) stream(ctx context.Context) error {
	next, began := r.report.From, r.o.From != 0
	begin := func(seq uint64) { // nothing in front of it is stored
		if !began {
			began, r.report.From, next = true, seq, seq
		}
	}
	err := r.o.Stream.Rows(ctx, r.o.From, func(one *row.Row) error {
		if one.Seq > r.report.To {
			return errPast
		}
		if one.Seq < r.report.From && began {
			return nil
		}
		begin(one.Seq)
		r.report.States += one.Seq - next
		next = one.Seq + 1
		if r.o.Progress != nil && one.Seq%batch == 0 {
			r.o.Progress(one.Seq-r.report.From, r.report.To-r.report.From+1)
		}
		return r.row(ctx, one)
	}, func(d row.Damage) error {
		switch {
		case d.First == 0:
			return nil
		case !d.Gap:
			return fmt.Errorf("rows %d to %d cannot be read: %s (holdfast verify, holdfast repair)", d.First, d.Last, d.What)
		case d.First > r.report.To:
			return errPast
		case !began && d.Rolled: // rows that are not kept any more: it begins behind them
			begin(d.Last + 1)
			return nil
		case d.Last < next:
			return nil
		}
		begin(d.First)
		from, to := max(d.First, next), min(d.Last, r.report.To)
		r.report.States += from - next
		r.report.Gaps += to + 1 - from
		next = to + 1
		return nil
	})
	if err != nil && !errors.Is(err, errPast) {
		return err
	}
	if !began { // the stream has nothing: all of it is older
		r.report.From = r.report.To + 1
	} else if r.report.To >= next {
		r.report.States += r.report.To + 1 - next
	}
	for _, t := range r.order {
		if err := r.flush(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// row accounts for one row of the stream.
func (r *run) row(ctx context.Context, one *row.Row) error {
	reject, refused := r.o.Rejects[one.Seq]
	formed := r.form(one)
	switch {
	case formed == nil:
		r.report.Elsewhere++
		return nil
	case r.passed(one.Seq):
		r.report.Passed++
		return nil
	case r.noted.Retried[one.Seq]:
		r.report.Retried++
		if reject.Row != nil {
			if formed = r.form(reject.Row); formed == nil {
				r.report.Elsewhere++
				return nil
			}
		}
	case one.Flags&row.Malformed != 0:
		r.report.Malformed++
		return nil
	case refused && reject.State == "discarded":
		r.report.Discarded++
		return nil
	case refused:
		r.report.Waiting++
		return nil
	}
	return r.expect(ctx, formed)
}

// passed reports whether the sink was told that it never gets a row.
func (r *run) passed(seq uint64) bool {
	return slices.ContainsFunc(r.noted.Gaps, func(g row.Damage) bool { return g.First <= seq && seq <= g.Last })
}
