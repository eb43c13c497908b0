package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"holdfast/row"
)

// A Ledger is what a comparison found once nothing was different: how many rows
// each table of the sink held, and a digest of them. It outlives the segments of
// the stream: a later comparison adds the rows that came since, and so knows what
// the tables must hold, rows included that the stream does not store any more.
type Ledger struct {
	StreamID string    `json:"stream_id"`
	Stream   string    `json:"stream"`
	Sink     string    `json:"sink"`
	To       uint64    `json:"to"` // the last seq that was in it
	At       time.Time `json:"at"`
	Accounts []Account `json:"tables"`
	// Waiting is the seqs up to To that were rejects then: a retry may bring them.
	Waiting []uint64 `json:"waiting,omitempty"`
	// Unproved is the seqs that were gone from the stream before they were
	// compared: their rows are in the digests as they were found.
	Unproved []Range `json:"unproved,omitempty"`
}

// Range is seqs one behind the other.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Account is what a table of the sink held.
type Account struct {
	Table   string   `json:"table"`
	All     []string `json:"all"`     // its columns
	Columns []string `json:"columns"` // of those, what the digests are of
	Sum     `json:"sum"`
	Places  []PlaceSum `json:"places"`
}

// PlaceSum is what one of its places held: the current table, or an archive.
type PlaceSum struct {
	Name string `json:"name"`
	Sum  `json:"sum"`
}

// Sum is a number of rows, and a digest of them that does not depend on their
// order.
type Sum struct {
	Rows   uint64 `json:"rows"`
	Digest uint64 `json:"digest,string"`
}

func (s *Sum) add(digest uint64) { s.Rows++; s.Digest += digest }

func (s Sum) plus(other Sum) Sum { return Sum{s.Rows + other.Rows, s.Digest + other.Digest} }

// Proof is what became of the rows that the stream does not store any more.
type Proof struct {
	First    uint64    `json:"first"`
	Last     uint64    `json:"last"`
	Since    time.Time `json:"since"`              // when the ledger was written that they were held against
	Why      []string  `json:"why,omitempty"`      // why some of them were not; none: all were, and are as they were
	Unproved []Range   `json:"unproved,omitempty"` // that no comparison has ever seen
}

// account returns what the ledger says of a table; nothing is an empty one.
func (l *Ledger) account(table string) (Account, bool) {
	if l != nil {
		for _, a := range l.Accounts {
			if a.Table == table {
				return a, true
			}
		}
	}
	return Account{Table: table}, false
}

// since reports whether a row has come since the ledger was written.
func (l *Ledger) since(seq uint64) bool {
	if l == nil || seq > l.To {
		return true
	}
	_, waited := slices.BinarySearch(l.Waiting, seq)
	return waited
}

// recall has the tables of the ledger compared too, by the columns that its digests
// are of.
func (r *run) recall(ctx context.Context) error {
	if r.o.Ledger == nil {
		return nil
	}
	for _, a := range r.o.Ledger.Accounts {
		t, err := r.table(ctx, &row.Schema{Table: a.Table})
		if err != nil {
			return err
		}
		if t.seen == nil || !slices.Equal(t.seen.All, a.All) || slices.Equal(t.seen.Columns, a.Columns) {
			continue
		}
		for _, c := range t.seen.Columns {
			if !slices.Contains(a.Columns, c) { // it is left out again
				if r.dropped[t.name] == nil {
					r.dropped[t.name] = map[string]bool{}
				}
				r.dropped[t.name][c] = true
			}
		}
		delete(r.tables, t.name)
		r.order = r.order[:len(r.order)-1]
		if _, err := r.table(ctx, &row.Schema{Table: a.Table}); err != nil {
			return err
		}
	}
	return nil
}

// prove holds what the tables have against the ledger and what came since, and
// writes the next ledger where nothing is different.
func (r *run) prove() {
	p := Proof{First: 1, Last: r.report.From - 1}
	old := r.o.Ledger
	if old != nil {
		p.Since, p.Unproved = old.At, slices.Clone(old.Unproved)
	}
	switch {
	case r.report.From <= 1:
		p.Unproved = nil
	case old == nil:
		p.Unproved = []Range{{1, r.report.From - 1}}
		p.Why = []string{"there was no ledger yet"}
	case r.report.From > old.To+1:
		p.Unproved = append(p.Unproved, Range{old.To + 1, r.report.From - 1})
		p.Why = []string{fmt.Sprintf("seq %d to %d were gone before they were compared", old.To+1, r.report.From-1)}
	case r.report.To < old.To:
		p.Why = []string{fmt.Sprintf("the sink has rows up to seq %d, and the ledger was written at %d: it was restored", r.report.To, old.To)}
	default:
		p.Why = r.proveTables(old)
		if len(p.Why) > 0 { // what is found now is taken for true from now on
			p.Unproved = []Range{{1, r.report.From - 1}}
		}
	}
	if r.report.From > 1 {
		r.report.Proof = &p
	}
	if r.report.Equal() {
		r.report.Ledger = r.next(p.Unproved)
	}
}

// proveTables tells of tables that do not hold what they must, and returns why
// some cannot be judged.
func (r *run) proveTables(old *Ledger) (why []string) {
	for _, seq := range old.Waiting {
		if seq < r.report.From && r.noted.Retried[seq] {
			return []string{fmt.Sprintf("the reject of seq %d, which is not stored any more, was brought by a retry", seq)}
		}
	}
	differs := map[string]bool{}
	for _, d := range r.report.Differences {
		differs[d.Table] = true
	}
	for _, t := range r.order {
		a, known := old.account(t.name)
		switch {
		case differs[t.name] || r.report.More > 0:
			why = append(why, fmt.Sprintf("table %s has differences", t.name))
			continue
		case t.seen == nil:
			if a.Rows > 0 {
				r.tell(Difference{Kind: Older, Table: t.name, First: 1, Last: r.report.From - 1, Rows: a.Rows, Note: "the sink has no such table"})
			}
			continue
		case known && (!slices.Equal(a.All, t.seen.All) || !slices.Equal(a.Columns, t.seen.Columns)):
			why = append(why, fmt.Sprintf("table %s is compared by other columns than when the ledger was written", t.name))
			continue
		}
		low := a.Sum.plus(t.came)
		high := low.plus(t.yielded)
		switch has := t.sum(); {
		case has == low || has == high:
		case has.Rows > low.Rows && has.Rows < high.Rows:
			why = append(why, fmt.Sprintf("table %s has rows like those that came with ON CONFLICT DO NOTHING: which of them were there before cannot be told", t.name))
		default:
			r.older(t, a, low, has)
		}
	}
	return why
}

// older tells of a table whose older rows are not as they were, and where, as far
// as archives tell.
func (r *run) older(t *table, a Account, want, has Sum) {
	d := Difference{Kind: Older, Table: t.name, First: 1, Last: r.report.From - 1}
	d.Note = fmt.Sprintf("%d rows with digest %016x, and %d with %016x are there", want.Rows, want.Digest, has.Rows, has.Digest)
	if d.Rows = want.Rows - has.Rows; has.Rows > want.Rows {
		d.Rows = has.Rows - want.Rows
	}
	for _, was := range a.Places[min(1, len(a.Places)):] { // the first is the current table
		at := slices.IndexFunc(t.places, func(p Place) bool { return p.Name == was.Name })
		if at < 0 || t.sums[at] != was.Sum {
			d.Place = was.Name
			break
		}
	}
	r.tell(d)
}

// sum is what all places of a table hold.
func (t *table) sum() (s Sum) {
	for _, one := range t.sums {
		s = s.plus(one)
	}
	return s
}

// next is the ledger to hold the next comparison against.
func (r *run) next(unproved []Range) *Ledger {
	l := &Ledger{Stream: r.o.Name, Sink: r.o.Sink, To: r.report.To, At: time.Now().UTC().Truncate(time.Second), Accounts: []Account{}, Unproved: unproved}
	for _, t := range r.order {
		if t.seen == nil {
			continue
		}
		a := Account{Table: t.name, All: t.seen.All, Columns: t.seen.Columns, Sum: t.sum()}
		for i, p := range t.places {
			a.Places = append(a.Places, PlaceSum{p.Name, t.sums[i]})
		}
		l.Accounts = append(l.Accounts, a)
	}
	for seq, reject := range r.o.Rejects {
		if seq <= l.To && reject.State != "delivered" && !r.noted.Retried[seq] {
			l.Waiting = append(l.Waiting, seq)
		}
	}
	slices.Sort(l.Waiting)
	return l
}
