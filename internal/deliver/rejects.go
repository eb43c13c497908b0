package deliver

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"holdfast/internal/mutant"
	"holdfast/row"
	"holdfast/sink"
)

// Rejects keeps the rows that a sink refuses for what they are. Its methods
// must be safe for concurrent use.
//
// Between them, a sink and its rejects hold each row once. A reject is on disk
// before the sink commits without its row, so that no row is lost in between;
// and where that commit then fails, the row does not come to the sink again,
// since each attempt begins by asking what is kept. So it is never in both,
// though the sink might take it the second time.
type Rejects interface {
	// Keep returns nil once each of rejects is on disk. One whose stream id,
	// sink and seq are those of a reject that waits, or was discarded, is not
	// kept twice; one that a retry had brought into the sink waits again, since
	// a sink that was put back may refuse it again. An error says that some of
	// them may not be on disk; one that wraps ErrBudget, that the sink has as
	// many as it may have.
	Keep(ctx context.Context, rejects []Reject) error
	// Kept returns the seqs from the seq from on of what Keep has kept for a
	// stream and sink, discarded ones included; without those that a retry has
	// brought into the sink.
	Kept(ctx context.Context, streamID, sink string, from uint64) ([]uint64, error)
}

// Reject is a row that was set aside. It shares no memory with a batch.
type Reject struct {
	StreamID, Stream, Sink string

	Row  row.Row // as it is in the stream, whatever Shape makes of it
	Code string  // the database's own, or CodeMalformed, or CodeTransaction
	Why  string  // in the database's own words
}

// Codes of rows that no sink has refused by themselves.
const (
	CodeMalformed   = "malformed"   // its source could not parse the line
	CodeTransaction = "transaction" // another row of its transaction was refused
)

// ErrBudget says that a sink has as many rejects as it may have.
var ErrBudget = errors.New("budget of rejects is used up")

// Unit says what goes where one row is refused.
type Unit string

// The units.
const (
	UnitRow         Unit = "row"         // the row; the default
	UnitTransaction Unit = "transaction" // the client's whole transaction
)

// asideBytes is how much is collected before it is kept, about.
const asideBytes = 1 << 20

// errAgain ends an attempt that is to be made again at once: what is to be
// left out became known in the middle of it.
var errAgain = errors.New("what is to be left out became known")

// cause is why something is set aside.
type cause struct {
	seq       uint64 // of the row that was refused
	code, why string
}

// leaveOut is what the batches to come leave out, found by batches that were
// rolled back because of it. It is forgotten when an attempt fails otherwise.
type leaveOut struct {
	rows         map[uint64]cause // by seq
	transactions map[uint64]cause // by seq of their first row
	whole        uint64           // the batch that begins with this seq, all of it; 0: none
	why          cause            // of whole
}

func (l *leaveOut) row(seq uint64, c cause) {
	if l.rows == nil {
		l.rows = map[uint64]cause{}
	}
	l.rows[seq] = c
}

func (l *leaveOut) transaction(first uint64, c cause) {
	if l.transactions == nil {
		l.transactions = map[uint64]cause{}
	}
	l.transactions[first] = c
}

// forget drops what lies behind a commit.
func (l *leaveOut) forget(seq uint64) {
	behind := func(s uint64, _ cause) bool { return s <= seq }
	maps.DeleteFunc(l.rows, behind)
	maps.DeleteFunc(l.transactions, behind)
	if l.whole <= seq {
		l.whole = 0
	}
}

// span is a transaction of several rows.
type span struct{ first, last uint64 }

// aside sets rows of one batch aside: those that the sink refuses, as its
// sink.Rejects, and those that never reach it.
type aside struct {
	d      *Deliverer
	ctx    context.Context
	window window // as it is once the batch is committed

	list  []Reject
	bytes int
	seqs  map[uint64]struct{} // of what is set aside by this batch
	late  uint64              // of these, the rows that the sink had been given
	count uint64              // rows that the sink will not have, those kept before included
	err   error               // what Refuse or take said; for good

	whole *cause // every row goes
	tx    uint64 // first seq of the transaction of several rows that is open; 0: none
	going *cause // that transaction goes
	spans []span // transactions that ended; only with UnitTransaction
}

var _ sink.Rejects = (*aside)(nil)

// newAside begins with the batch whose first row is first.
func (d *Deliverer) newAside(ctx context.Context, first uint64) *aside {
	a := &aside{d: d, ctx: ctx, window: d.window}
	if d.out.whole == first {
		a.whole = &d.out.why
	}
	return a
}

// Refuse implements sink.Rejects.
func (a *aside) Refuse(r *row.Row, why *sink.RowError) error {
	if a.d.cfg.Rejects == nil {
		return why
	}
	if a.err != nil {
		return a.err
	}
	c := cause{r.Seq, why.Code, why.Error()}
	if first := a.transaction(r.Seq); first != 0 {
		if _, known := a.d.out.transactions[first]; known {
			return why // of a row that it was not given
		}
		a.d.out.transaction(first, c)
		a.err = fmt.Errorf("%w: row %d takes its transaction along: %s", errAgain, r.Seq, c.why)
		return a.err
	}
	if _, twice := a.seqs[r.Seq]; !twice {
		a.late++
	}
	o, err := a.d.mold.original(r)
	if err == nil {
		err = a.add(o, c)
	}
	a.err = err
	return a.err
}

// Settle implements sink.Rejects.
func (a *aside) Settle(ctx context.Context) error {
	if mutant.On(28) {
		return a.err
	}
	return a.settle(ctx)
}

func (a *aside) settle(ctx context.Context) error {
	if a.err == nil && len(a.list) > 0 {
		if err := a.d.cfg.Rejects.Keep(ctx, a.list); err != nil {
			a.err = fmt.Errorf("keep %d rejects, the first of them row %d (%s): %w", len(a.list), a.list[0].Row.Seq, a.list[0].Why, err)
			return a.err
		}
		a.list, a.bytes = a.list[:0], 0
	}
	return a.err
}

// add sets r aside, and keeps what was collected once it is much.
func (a *aside) add(r *row.Row, c cause) error {
	if _, twice := a.seqs[r.Seq]; twice {
		return nil
	}
	a.window.refused++
	if a.window.floods(a.d.cfg.RejectFlood) {
		return halt(Flood, "%d of the last %d rows were refused, and are not set aside before somebody has looked; the last is row %d: %s",
			a.window.refused, max(a.window.rows, a.window.refused), c.seq, c.why)
	}
	if a.seqs == nil {
		a.seqs = map[uint64]struct{}{}
	}
	a.seqs[r.Seq] = struct{}{}
	a.count++
	id := a.d.cfg.id()
	a.list = append(a.list, Reject{StreamID: id.StreamID, Stream: id.Stream, Sink: id.Sink, Row: clone(r), Code: c.code, Why: c.why})
	if a.bytes += row.Size(r.Values) + len(c.why); a.bytes > asideBytes && !mutant.On(28) {
		return a.settle(a.ctx)
	}
	return nil
}

// clone copies a row. Its schema is immutable.
func clone(r *row.Row) row.Row {
	c := *r
	c.Values = make([]row.Value, len(r.Values))
	var all []byte
	for _, v := range r.Values {
		all = append(all, v.Text...)
	}
	for i, v := range r.Values {
		n := len(v.Text)
		c.Values[i] = row.Value{Text: all[:n:n], Null: v.Null}
		all = all[n:]
	}
	return c
}

// begin sees that block comes next; goesOn says that a transaction goes on
// from the block before it.
func (a *aside) begin(goesOn bool) {
	if !goesOn { // its last row may be lost to damage
		a.tx, a.going = 0, nil
	}
}

// take reports whether r goes to the sink. It sees every row of the batch, in
// order, so that it knows where transactions begin and end.
func (a *aside) take(r *row.Row) (bool, error) {
	if r.Flags&row.TxBegin != 0 {
		a.tx, a.going = r.Seq, nil
	}
	goes, err := a.sift(r)
	if r.Flags&row.TxEnd != 0 {
		if a.tx != 0 && a.d.cfg.RejectUnit == UnitTransaction {
			a.spans = append(a.spans, span{a.tx, r.Seq})
		}
		a.tx, a.going = 0, nil
	}
	return goes, err
}

// sift is take within a transaction.
func (a *aside) sift(r *row.Row) (bool, error) {
	out := &a.d.out
	if t, ok := out.transactions[a.tx]; ok && a.tx == r.Seq {
		a.going = &t
	}
	if !a.d.mold.takes(r) {
		return false, nil
	}
	a.window.rows++
	malformed := r.Flags&row.Malformed != 0
	if a.d.cfg.Rejects == nil {
		if malformed {
			return false, &sink.RowError{Seq: r.Seq, Table: r.Schema.Table, Code: CodeMalformed, Err: errors.New(whyMalformed(r))}
		}
		return true, nil
	}
	c, own := out.rows[r.Seq]
	if _, kept := a.d.kept[r.Seq]; kept {
		c, own = cause{r.Seq, CodeTransaction, "it was set aside before"}, true
	} else if malformed {
		c, own = cause{r.Seq, CodeMalformed, whyMalformed(r)}, true
	}
	if own && a.going == nil && a.whole == nil {
		if first := a.transaction(r.Seq); first != 0 {
			if _, known := out.transactions[first]; !known {
				out.transaction(first, c)
			}
			if first != r.Seq {
				return false, fmt.Errorf("%w: row %d takes its transaction along", errAgain, r.Seq)
			}
			a.going = &c
		}
	}
	switch {
	case a.whole != nil:
		c = *a.whole
	case a.going != nil:
		if c = *a.going; c.seq != r.Seq {
			c.code, c.why = CodeTransaction, fmt.Sprintf("its transaction was set aside because of row %d: %s", c.seq, c.why)
		}
	case !own:
		return true, nil
	}
	if _, kept := a.d.kept[r.Seq]; kept {
		a.count++
		return false, nil
	}
	return false, a.add(r, c)
}

// whyMalformed tells why a line is no row, and where it stood, as far as its
// source has said so.
func whyMalformed(r *row.Row) string {
	why := "its source could not parse this line"
	if len(r.Values) < len(row.MalformedColumns) || len(r.Schema.Columns) != len(row.MalformedColumns) || r.Schema.Columns[0].Name != row.MalformedColumns[0].Name {
		return why
	}
	return fmt.Sprintf("%s: %s; it stands in file %q at byte %s", why, r.Values[1], r.Values[2].Text, r.Values[3])
}

// transaction returns the first seq of the transaction of several rows that
// seq goes with, 0 where it goes alone.
func (a *aside) transaction(seq uint64) uint64 {
	if a.d.cfg.RejectUnit != UnitTransaction {
		return 0
	}
	if a.tx != 0 && seq >= a.tx {
		return a.tx
	}
	for i := len(a.spans) - 1; i >= 0 && a.spans[i].last >= seq; i-- {
		if a.spans[i].first <= seq {
			return a.spans[i].first
		}
	}
	return 0
}

// The window in which rejects are counted. A hundred refused rows are few
// enough to set aside and look at later, whatever share of a small stream.
const (
	floodWindow = 10_000 // rows that it has at least
	floodLeast  = 100    // rejects that are never too many
	floodShare  = 0.01   // of the rows in it, unless told
)

// window counts rows that the sink was to get, and those that it refused.
type window struct {
	rows, refused uint64
	accepted      bool // whatever comes in it
}

// floods reports whether too many were refused.
func (w window) floods(share float64) bool {
	return share >= 0 && !w.accepted && w.refused > floodLeast && float64(w.refused) > share*float64(max(w.rows, floodWindow))
}

// next returns the window for the batch to come.
func (w window) next() window {
	if w.rows >= floodWindow {
		return window{}
	}
	return w
}
