package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/row"
)

// attempt is one transaction that a writer handed over.
type attempt struct {
	id      int
	values  []string // of its rows; no other row has one of them
	durable bool
}

// place is where a value belongs.
type place struct {
	a *attempt
	k int
}

// oracle knows what was attempted, acked and seen.
type oracle struct {
	mu    sync.Mutex
	tries []*attempt
	acked []uint64 // by attempt: the seq of its last row; 0: not acked, or refused
	where map[string]place
	seen  uint64 // last seq that a reader was given
}

func newOracle() *oracle { return &oracle{where: map[string]place{}} }

// enter notes an attempt of n rows, called name, with pad more bytes each.
func (o *oracle) enter(name string, n, pad int, durable bool) *attempt {
	a := &attempt{values: make([]string, n), durable: durable}
	o.mu.Lock()
	defer o.mu.Unlock()
	a.id = len(o.tries)
	for k := range a.values {
		a.values[k] = fmt.Sprintf("%s/%d/%d%s", name, n, k, strings.Repeat(".", pad))
		o.where[a.values[k]] = place{a, k}
	}
	o.tries, o.acked = append(o.tries, a), append(o.acked, 0)
	return a
}

// refused is the answer to an attempt that must not be found: its error said
// that nothing was stored.
const refused = ^uint64(0)

// answer notes what a writer was told.
func (o *oracle) answer(a *attempt, last uint64, err error) {
	if code := fault.Code(err); code == fault.OutcomeUnknown || code == fault.QueryCanceled {
		return
	}
	if err != nil {
		last = refused
	}
	o.mu.Lock()
	o.acked[a.id] = last
	o.mu.Unlock()
}

// snapshot is a crashed disk and what had been promised by then.
type snapshot struct {
	o     *oracle
	d     *disk.Mem
	tries int // how many attempts there were
	acked []uint64
	seen  uint64
	cut   bool // a power cut; else a process kill
}

// snapshot returns what was promised so far. o.mu is held.
func (o *oracle) snapshot(d *disk.Mem, cut bool) snapshot {
	return snapshot{o: o, d: d, tries: len(o.tries), acked: append([]uint64(nil), o.acked...), seen: o.seen, cut: cut}
}

// survivor returns an oracle that holds what must outlast a power cut now. Of
// rows that were acked before their flush only those that a reader was given
// must. o.mu is held.
func (o *oracle) survivor() *oracle {
	n := &oracle{tries: slices.Clone(o.tries), acked: slices.Clone(o.acked), where: maps.Clone(o.where), seen: o.seen}
	for i, a := range n.tries {
		if !a.durable && n.acked[i] != refused && n.acked[i] > o.seen {
			n.acked[i] = 0
		}
	}
	return n
}

// crashed opens the journal that a crash left. It is small, as it was.
func crashed(d disk.FS) (*Journal, error) {
	return Open(d, wide(d, Options{Name: "main", SegmentSize: 24 << 10}))
}

// abandon ends a journal's goroutines and leaves the disk alone: what Close
// does beside is not what is tried, and takes longer than all the rest.
func abandon(j *Journal) {
	j.mu.Lock()
	j.closed = true
	j.changedLocked()
	j.mu.Unlock()
	close(j.stop)
	<-j.ended
	<-j.kept
	<-j.hashed
}

// check opens the journal as it is after a crash and compares it with what was
// promised. It returns the journal, open, and how many rows are there.
func (s snapshot) check() (*Journal, uint64, error) {
	j, err := crashed(s.d)
	if err != nil {
		return nil, 0, fmt.Errorf("does not start: %w", err)
	}
	n, err := s.hold(j)
	if err != nil {
		err = fmt.Errorf("%w %s", err, dump(j))
		abandon(j)
		return nil, 0, err
	}
	return j, n, nil
}

// hold compares an open journal with what was promised (I1 to I4).
func (s snapshot) hold(j *Journal) (uint64, error) {
	for _, d := range j.Recovery().Damage {
		return 0, fmt.Errorf("a crash is called damage: %+v", d)
	}
	oldest := j.Oldest().Seq + 1
	c := comparison{s: s, oldest: oldest, next: oldest, found: make([]int, s.tries)}
	if err := eachRow(j, oldest, c.row); err != nil {
		return 0, err
	}
	return c.next - oldest, c.end(j.End().Seq)
}

// eachRow hands over all rows from seq from on. Damage is an error.
func eachRow(j *Journal, from uint64, do func(row.Row) error) error {
	r, err := j.Reader(from)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		b, err := r.TryNext()
		if b == nil || err != nil {
			return err
		}
		for _, d := range b.Damage {
			return fmt.Errorf("damage where there was a crash: %+v", d)
		}
		for _, w := range b.Rows {
			if err := do(w); err != nil {
				return err
			}
		}
	}
}

// comparison goes through the rows that were found.
type comparison struct {
	s            snapshot
	oldest, next uint64
	at           place // of the row before; a is nil in front of a transaction
	found        []int // by attempt
}

func (c *comparison) row(w row.Row) error {
	if w.Seq != c.next {
		return fmt.Errorf("seq %d follows %d", w.Seq, c.next-1)
	}
	p, ok := c.s.o.where[string(w.Values[0].Text)]
	if !ok || p.a.id >= c.s.tries {
		return fmt.Errorf("seq %d is %.40q, which nobody wrote", w.Seq, w.Values[0].Text)
	}
	// A transaction that was delivered may have lost its first rows with the
	// segment that was rolled away.
	rolled := w.Seq == c.oldest && c.oldest > 1 && c.oldest <= c.s.seen
	want := place{p.a, 0}
	if c.at.a != nil {
		want = place{c.at.a, c.at.k + 1}
	}
	if p != want && !rolled {
		return fmt.Errorf("seq %d is row %d of %.40q, where row %d of %.40q belongs", w.Seq, p.k, p.a.values[0], want.k, want.a.values[0])
	}
	c.next++
	if c.at = p; p.k < len(p.a.values)-1 {
		return nil
	}
	c.at.a = nil
	c.found[p.a.id]++
	acked := c.s.acked[p.a.id]
	if acked == refused {
		return fmt.Errorf("%.40q was refused, and is there with seq %d", p.a.values[0], w.Seq)
	}
	if acked != 0 && acked != w.Seq && (p.a.durable || !c.s.cut) {
		return fmt.Errorf("%.40q was acked with seq %d, has %d", p.a.values[0], acked, w.Seq)
	}
	return nil
}

// end is called behind the last row.
func (c *comparison) end(last uint64) error {
	if c.at.a != nil {
		return fmt.Errorf("transaction %.40q is there in part", c.at.a.values[0])
	}
	if last < c.s.seen || c.next != last+1 {
		return fmt.Errorf("ends at %d with rows from %d to %d; a reader had seen %d", last, c.oldest, c.next-1, c.s.seen)
	}
	for i, n := range c.found {
		a, acked := c.s.o.tries[i], c.s.acked[i]
		must := acked >= c.oldest+uint64(len(a.values))-1 && acked != 0 && acked != refused && (a.durable || !c.s.cut)
		if n > 1 || must && n == 0 {
			return fmt.Errorf("%.40q (seq %d, durable %v) is there %d times", a.values[0], acked, a.durable, n)
		}
	}
	return nil
}

// dump lists the segments, for a failure's message.
func dump(j *Journal) string {
	s := ""
	for _, g := range j.segs {
		s += fmt.Sprintf("\n#%d: rows %d from %d, end %d, size %d, sealed %v, part %d/%d, %+v before it",
			g.number, g.rows, g.first, g.end, g.size, g.sealed, g.header.Part, g.header.Parts, g.header.Before)
	}
	return s
}

// consistent holds, of a closed stream, that the MANIFEST and the files say
// the same, and that nothing lies about (I10).
func consistent(d disk.FS) error {
	m, err := readManifest(d)
	if err != nil {
		return err
	}
	sizes := map[string]int64{}
	for _, s := range m.Segments {
		sizes[path.Join(s.Directory, segmentName(s.Number))] = s.Size
	}
	entries, err := widely(d)
	if err != nil {
		return err
	}
	spares := 0
	for _, e := range entries {
		size, known := sizes[e.Name]
		switch {
		case known && size == e.Size:
			delete(sizes, e.Name)
		case strings.HasSuffix(e.Name, spareSuffix):
			spares++
		case e.Name != manifestName && e.Name != checkpointName:
			return fmt.Errorf("%q of %d bytes is not what the MANIFEST describes: %+v", e.Name, e.Size, m.Segments)
		}
	}
	if len(sizes) > 0 || spares > 1 {
		return fmt.Errorf("%d spare files are there, and segments are missing: %v", spares, sizes)
	}
	return nil
}

// work runs writers, a stager, a reader and a sink on j until every writer has
// done its share or the journal fails.
func (o *oracle) work(t *testing.T, j *Journal, rnd *rand.Rand, share int) {
	var writers, others sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	idle := rnd.IntN(12) == 0
	for w := range 3 {
		r := rand.New(rand.NewPCG(rnd.Uint64(), uint64(w)))
		writers.Go(func() {
			for i := range share {
				if idle && i == share/2 { // long enough for a marker
					time.Sleep(silence + 20*time.Millisecond)
				}
				n := 1 + r.IntN(4)
				o.transaction(j, table(j, r.IntN(5)), o.enter(fmt.Sprintf("w%d.%d/%d", j.epoch, w, i), n, i%7*150, r.IntN(4) != 0))
				if r.IntN(20) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	if rows := 1 + rnd.IntN(30); rnd.IntN(3) != 0 {
		writers.Go(func() { o.staged(j, o.enter(fmt.Sprintf("s%d", j.epoch), rows, 2000, true)) })
	}
	sealing := rnd.IntN(3) == 0
	others.Go(func() {
		for sealing && j.Seal(ctx) == nil && ctx.Err() == nil {
			time.Sleep(2 * time.Millisecond)
		}
	})
	others.Go(func() { o.follow(ctx, t, j) })
	writers.Wait()
	stop()
	others.Wait()
}

// table returns one of several tables, each with other columns.
func table(j *Journal, n int) *row.Schema {
	cols := append([]row.Column(nil), columns...)
	for c := range n {
		cols = append(cols, row.Column{Name: fmt.Sprintf("c%d", c), Type: "text"})
	}
	return j.Intern(fmt.Sprintf("t%d", n), cols)
}

// rowsOf puts rows of an attempt into a batch.
func rowsOf(schema *row.Schema, values ...string) *row.Batch {
	b := new(row.Batch)
	cells := make([]row.Value, len(schema.Columns))
	for c := range cells {
		cells[c] = row.Null
	}
	for _, v := range values {
		cells[0] = row.Text(v)
		_ = b.Add(schema, 0, cells)
	}
	return b
}

func (o *oracle) transaction(j *Journal, schema *row.Schema, a *attempt) {
	last, err := j.Append(context.Background(), rowsOf(schema, a.values...), a.durable)
	o.answer(a, last, err)
}

// staged writes a as a large transaction, each row a batch.
func (o *oracle) staged(j *Journal, a *attempt) {
	s, err := j.Stage()
	schema := table(j, 0)
	for _, v := range a.values {
		if err == nil {
			err = s.Add(rowsOf(schema, v))
		}
	}
	if err != nil {
		_ = s.Abort()
		o.answer(a, 0, err)
		return
	}
	last, err := s.Commit(context.Background())
	o.answer(a, last, err)
}

// follow reads as a sink does, and commits what it reads.
func (o *oracle) follow(ctx context.Context, t *testing.T, j *Journal) {
	r, err := j.Reader(o.seen + 1)
	if err != nil {
		if !errors.Is(err, ErrGone) {
			t.Error(err)
		}
		return
	}
	defer r.Close()
	for {
		b, err := r.Next(ctx)
		if err != nil {
			return
		}
		o.mu.Lock()
		o.seen = b.End.Seq
		o.mu.Unlock()
		if !b.Open { // a sink commits whole transactions
			j.Mark("sink", b.End.Seq)
		}
	}
}
