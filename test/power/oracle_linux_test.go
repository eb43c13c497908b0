package power

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"holdfast/internal/journal"
	"holdfast/row"
)

// columns of every row in these tests.
var columns = []row.Column{{Name: "who", Type: "text"}}

// attempt is one transaction that a writer hands over.
type attempt struct {
	name string // nobody else's
	n    int    // rows
	size int    // bytes of each value, about
}

// value is the text of row i. It says which transaction the row is of, where
// it stands in it, and how many there are.
func (a attempt) value(i int) string {
	v := fmt.Sprintf("%s %d/%d ", a.name, i, a.n)
	return v + strings.Repeat(".", max(0, a.size-len(v)))
}

// rows appends rows from to to of the transaction to b.
func (a attempt) rows(b *row.Batch, s *row.Schema, from, to int) error {
	for i := from; i < to; i++ {
		if err := b.Add(s, 0, []row.Value{row.Text(a.value(i))}); err != nil {
			return err
		}
	}
	return nil
}

// oracle stands outside of the volume and knows what was promised of it.
type oracle struct {
	mu      sync.Mutex
	kept    map[uint64]string  // by seq: acked after a flush, or shown to a reader
	off     map[uint64]string  // acked before the flush: there, or not
	tried   map[string]attempt // what may be there, by the value of the first row
	inside  map[string]string  // the value in front, of all other rows of those
	flushed uint64             // last seq acked after a flush
	marked  uint64             // last seq that the sink has committed
	acks    int
	dark    bool              // the cut has begun: what anybody says from now on is no promise
	late    map[uint64]string // what was acked as flushed, or shown, after that, by seq
	lates   int
	untrue  int // of those rows, not there after the start
}

func newOracle() *oracle {
	return &oracle{late: map[uint64]string{}, kept: map[uint64]string{}, off: map[uint64]string{}, tried: map[string]attempt{}, inside: map[string]string{}}
}

func (o *oracle) try(a attempt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tried[a.value(0)] = a
	for i := 1; i < a.n; i++ {
		o.inside[a.value(i)] = a.value(i - 1)
	}
}

// goDark says whether the cut has begun. A machine without power says nothing
// more; this one does, and what it says then is counted apart.
func (o *oracle) goDark(dark bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dark = dark
}

// ack notes that a was acked with last as the seq of its last row. Whatever
// was acked before a flushed row is flushed with it.
func (o *oracle) ack(a attempt, last uint64, flushed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dark {
		for i := range a.n {
			if flushed {
				o.late[last+1+uint64(i)-uint64(a.n)] = a.value(i)
			}
		}
		return
	}
	o.acks++
	for i := range a.n {
		o.off[last+1+uint64(i)-uint64(a.n)] = a.value(i)
	}
	if flushed {
		o.flushed = max(o.flushed, last)
	}
	for seq, v := range o.off {
		if seq <= o.flushed {
			o.kept[seq] = v
			delete(o.off, seq)
		}
	}
}

// append commits a through j and notes what comes of it.
func (o *oracle) append(j *journal.Journal, a attempt, flushed bool) error {
	o.try(a)
	var b row.Batch
	if err := a.rows(&b, j.Intern("t", columns), 0, a.n); err != nil {
		return err
	}
	last, err := j.Append(context.Background(), &b, flushed)
	if err == nil {
		o.ack(a, last, flushed)
	}
	return err
}

// stage commits a as a large transaction, in files of its own.
func (o *oracle) stage(j *journal.Journal, a attempt) error {
	o.try(a)
	s, err := j.Stage()
	if err != nil {
		return err
	}
	for i := range a.n {
		var b row.Batch
		err := a.rows(&b, j.Intern("t", columns), i, i+1)
		if err == nil {
			err = s.Add(&b)
		}
		if err != nil {
			return errors.Join(err, s.Abort())
		}
	}
	last, err := s.Commit(context.Background())
	if err == nil {
		o.ack(a, last, true)
	}
	return err
}

// show notes rows that a reader was given.
func (o *oracle) show(rows []row.Row) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range rows {
		v := string(r.Values[0].Text)
		if want, known := o.kept[r.Seq]; known && want != v {
			return fmt.Errorf("a reader is shown %.60q as seq %d, which is %.60q", v, r.Seq, want)
		}
		if o.dark {
			o.late[r.Seq] = v
		} else {
			o.kept[r.Seq] = v
		}
	}
	return nil
}

// read returns every row of j, by the seq of the first. What is removed while
// it reads makes it begin anew.
func read(j *journal.Journal) (first uint64, values []string, err error) {
	for {
		if first, values, err = readOnce(j); !errors.Is(err, journal.ErrGone) {
			return first, values, err
		}
	}
}

func readOnce(j *journal.Journal) (first uint64, values []string, err error) {
	first = j.Oldest().Seq + 1
	r, err := j.Reader(first)
	if err != nil {
		return 0, nil, err
	}
	defer r.Close()
	for {
		b, err := r.TryNext()
		if err != nil || b == nil {
			return first, values, err
		}
		for _, d := range b.Damage {
			return 0, nil, fmt.Errorf("lost: a reader is told of damage: %+v", d)
		}
		for _, w := range b.Rows {
			if want := first + uint64(len(values)); w.Seq != want {
				return 0, nil, fmt.Errorf("seq %d stands where %d is due", w.Seq, want)
			}
			values = append(values, string(w.Values[0].Text))
		}
	}
}

// remembered is for how many seqs behind the oldest the oracle knows the rows: more
// than the removals that one cut can undo.
const remembered = 50_000

// judge holds what j has after a start against what was promised: every row
// that was acked after a flush, or shown, is there at its seq; every other one
// was at least tried, is there once, and its transaction whole. What it finds
// is shown thereby, and what it does not find must never come up.
func (o *oracle) judge(j *journal.Journal) error {
	if found := j.Recovery().Damage; len(found) > 0 {
		if found[0].First != 0 {
			return fmt.Errorf("lost: the start says so: %+v", found)
		}
		return fmt.Errorf("the start calls it damage: %+v", found)
	}
	first, values, err := read(j)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if first > o.marked+1 {
		return fmt.Errorf("rows up to %d are removed, the sink has committed up to %d", first-1, o.marked)
	}
	for seq, want := range o.kept {
		if seq < first { // removed; a cut may undo the removal, and the rows are back
			if first-seq > remembered {
				delete(o.kept, seq)
			}
		} else if seq >= first+uint64(len(values)) {
			return fmt.Errorf("lost: seq %d, %.60q, was acked or shown before the cut began; %d rows from %d on are left, the last that was acked as flushed is %d; %s", seq, want, len(values), first, o.flushed, found(j))
		} else if got := values[seq-first]; got != want {
			return fmt.Errorf("lost: seq %d was %.60q, is %.60q", seq, want, got)
		}
	}
	if err := o.whole(first, values); err != nil {
		return err
	}
	for seq, v := range o.late {
		if o.lates++; seq < first || seq >= first+uint64(len(values)) || values[seq-first] != v {
			o.untrue++
		}
	}
	clear(o.late)
	for i, v := range values {
		o.kept[first+uint64(i)] = v
	}
	clear(o.off)
	clear(o.tried)
	clear(o.inside)
	return nil
}

// found tells what a start has made of what it found, for a failure's message.
func found(j *journal.Journal) string { return fmt.Sprintf("recovery %+v", j.Recovery()) }

// whole checks the rows that nobody was promised.
func (o *oracle) whole(first uint64, values []string) error {
	found := map[string]bool{}
	for i := 0; i < len(values); i++ {
		if o.kept[first+uint64(i)] != "" {
			continue // it stands where it was acked or shown
		}
		if i > 0 && o.inside[values[i]] == values[i-1] {
			continue // its transaction was shown in part before the cut
		}
		a, known := o.tried[values[i]]
		if !known {
			return fmt.Errorf("invented: seq %d is %.60q, which nobody wrote, or it begins no transaction", first+uint64(i), values[i])
		}
		if found[values[i]] {
			return fmt.Errorf("twice: seq %d is %.60q again", first+uint64(i), values[i])
		}
		found[values[i]] = true
		if i+a.n > len(values) {
			return fmt.Errorf("in part: %d rows of transaction %q are the last", len(values)-i, a.name)
		}
		for k := range a.n {
			if got := values[i+k]; got != a.value(k) {
				return fmt.Errorf("in part: seq %d is row %d of transaction %q, but is %.60q", first+uint64(i+k), k, a.name, got)
			}
		}
		i += a.n - 1
	}
	return nil
}

// mark notes that the sink has committed everything up to seq.
func (o *oracle) mark(seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.dark {
		o.marked = max(o.marked, seq)
	}
}
