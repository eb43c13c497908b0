package blocks

import (
	"fmt"
	"strings"
	"sync"

	"holdfast/internal/journal"
	"holdfast/row"
)

// columns of every row in these tests.
var columns = []row.Column{{Name: "who", Type: "text"}}

// attempt is one transaction that a writer handed over. Times are lengths of
// the log.
type attempt struct {
	Name  string // nobody else's
	N     int    // rows
	Size  int    // bytes of each value, about
	Began int64  // before it was handed over
	Acked int64  // after its ack; 0: not acked
	Last  uint64 // seq of its last row
	Off   bool   // acked before its flush
}

// value is the text of row i: which transaction it is of, and where it stands
// in it.
func (a *attempt) value(i int) string {
	v := fmt.Sprintf("%s %d/%d ", a.Name, i, a.N)
	return v + strings.Repeat(".", max(0, a.Size-len(v)))
}

// note says that something holds, or may hold, up to seq from a time on.
type note struct {
	At  int64
	Seq uint64
}

// call is one call to the disk, from before it to behind it.
type call struct {
	From, To int64
	Phase    string
}

// history is all that happened outside of the disk.
type history struct {
	now func() int64

	mu    sync.Mutex
	Tries []*attempt
	Shown []note // a reader had the rows up to here
	Marks []note // a sink was about to say that it has them
	Calls []call
	Lives int
	rows  []placed // by seq, from 1
}

// placed is a row where it was acked.
type placed struct {
	of *attempt
	i  int
}

func (h *history) try(a attempt) *attempt {
	a.Began = h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Tries = append(h.Tries, &a)
	return &a
}

func (h *history) ack(a *attempt, last uint64) {
	at := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	a.Acked, a.Last = at, last
}

func (h *history) show(seq uint64) {
	at := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Shown = append(h.Shown, note{at, seq})
}

func (h *history) mark(seq uint64) {
	at := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Marks = append(h.Marks, note{at, seq})
}

func (h *history) call(phase string, do func() error) error {
	from := h.now()
	err := do()
	to := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Calls = append(h.Calls, call{from, to, phase})
	return err
}

// upTo is the history of a disk on which f is left by a power cut at a time:
// what is there has been promised from now on, what is not never was.
func (h *history) upTo(f found, at int64) *history {
	next := &history{Lives: h.Lives, Marks: []note{{0, upTo(h.Marks, at)}}}
	for _, a := range h.Tries {
		if a.Last <= f.last() {
			next.Tries = append(next.Tries, &attempt{Name: a.Name, N: a.N, Size: a.Size, Acked: before, Last: a.Last})
		}
	}
	return next
}

// before is a time before the log began.
const before = -1

// settle puts every row in its place once all are acked.
func (h *history) settle() error {
	h.rows = []placed{{}}
	for _, a := range h.Tries {
		if a.Acked == 0 {
			return fmt.Errorf("transaction %q was not acked, so its place is unknown", a.Name)
		}
		for i := range a.N {
			seq := a.Last + 1 - uint64(a.N) + uint64(i)
			for uint64(len(h.rows)) <= seq {
				h.rows = append(h.rows, placed{})
			}
			if h.rows[seq].of != nil {
				return fmt.Errorf("seq %d was given to %q and to %q", seq, h.rows[seq].of.Name, a.Name)
			}
			h.rows[seq] = placed{a, i}
		}
	}
	for seq := 1; seq < len(h.rows); seq++ {
		if h.rows[seq].of == nil {
			return fmt.Errorf("seq %d was given to nobody", seq)
		}
	}
	return nil
}

// promised returns the last seq that must outlive a power cut at a time: acked
// after a flush, which covers all rows before it, or shown to a reader.
func (h *history) promised(at int64) uint64 {
	last := uint64(0)
	for _, a := range h.Tries {
		if a.Acked <= at && !a.Off {
			last = max(last, a.Last)
		}
	}
	return max(last, upTo(h.Shown, at))
}

func upTo(notes []note, at int64) uint64 {
	last := uint64(0)
	for _, n := range notes {
		if n.At <= at {
			last = max(last, n.Seq)
		}
	}
	return last
}

// found is what a journal has.
type found struct {
	first  uint64 // seq of the first row
	values []string
}

func (f found) last() uint64 { return f.first + uint64(len(f.values)) - 1 }

// read reads all that a journal has, and lets no damage and no gap pass.
func read(j *journal.Journal) (found, error) {
	f := found{first: j.Oldest().Seq + 1}
	r, err := j.Reader(f.first)
	if err != nil {
		return f, err
	}
	defer r.Close()
	for {
		b, err := r.TryNext()
		if err != nil {
			return f, err
		}
		if b == nil {
			break
		}
		for _, w := range b.Rows {
			if w.Seq != f.last()+1 {
				return f, fmt.Errorf("gap: seq %d stands where %d is due", w.Seq, f.last()+1)
			}
			f.values = append(f.values, string(w.Values[0].Text))
		}
	}
	for _, d := range append(j.Recovery().Damage, j.Status().Damage...) {
		return f, fmt.Errorf("a power cut is called damage: %+v", d)
	}
	if end := j.End().Seq; end != f.last() {
		return f, fmt.Errorf("the last row is seq %d, the journal says %d", f.last(), end)
	}
	return f, nil
}

// judge holds what a journal has after a power cut against what was promised
// by then: each row stands where it was acked, or, not acked yet, was going to
// be; none that was promised is missing; no transaction is there in part; and
// only what the sink had is removed.
func (h *history) judge(f found, at int64) error {
	if had := upTo(h.Marks, at); f.first > had+1 {
		return fmt.Errorf("lost: rows up to %d are removed, the sink had those up to %d", f.first-1, had)
	}
	for i, got := range f.values {
		seq := f.first + uint64(i)
		if seq >= uint64(len(h.rows)) {
			return fmt.Errorf("invented: seq %d is %.60q, and only %d were ever given", seq, got, len(h.rows)-1)
		}
		p := h.rows[seq]
		if want := p.of.value(p.i); got != want {
			return fmt.Errorf("lost or altered: seq %d is %.60q, was acked as %.60q", seq, got, want)
		}
		if p.of.Began > at {
			return fmt.Errorf("invented: seq %d is %.60q, which nobody had written by then", seq, got)
		}
	}
	last := f.last()
	if promised := h.promised(at); last < promised {
		return fmt.Errorf("lost: the last row is seq %d, those up to %d were acked or shown", last, promised)
	}
	if p := h.rows[last]; last > 0 && p.i != p.of.N-1 {
		return fmt.Errorf("in part: the last row, seq %d, is row %d of transaction %q, which has %d", last, p.i, p.of.Name, p.of.N)
	}
	return nil
}
