package deliver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "the first seed of TestRandom; 0: one of its own")
	roundsFlag = flag.Int("rounds", 300, "how many worlds TestRandom tries")
)

// TestRandom runs random streams into a random sink: blocks and transactions
// of any size come while faults strike anywhere, rows are refused in any manner
// for a while, the server is killed with a local mark of any age, and older
// instances go on beside it. At the end each row is exactly once in the sink, in
// order, or exactly once in the rejects; and whenever the sink commits, what it
// leaves out is in the rejects already. A world that fails prints its
// seed; run it again with -seed and -rounds 1.
func TestRandom(t *testing.T) {
	first, rounds := uint64(time.Now().UnixNano()), *roundsFlag
	if *seedFlag != 0 {
		first = *seedFlag
	}
	t.Logf("seeds %d to %d", first, first+uint64(rounds)-1)
	var faults, aside int
	for seed := first; seed < first+uint64(rounds); seed++ {
		synctest.Test(t, func(t *testing.T) {
			w := &randomWorld{t: t, random: rand.New(rand.NewPCG(seed, 1)), st: newMemStream(), s: newMemSink()}
			if w.dice(4) != 0 {
				w.m = &memRejects{fault: w.strike}
				w.unit = []Unit{UnitRow, UnitTransaction}[w.dice(2)]
				w.s.how = []refusal{"", late, named, nameless}[w.dice(4)]
			}
			w.run()
			faults += w.faults
			aside += w.aside
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if rounds > 1 && (faults < rounds || aside < rounds) {
		t.Errorf("%d faults struck in %d worlds, and %d rows were set aside: the test tries too little", faults, rounds, aside)
	}
}

type randomWorld struct {
	t  *testing.T
	st *memStream
	s  *memSink
	m  *memRejects // nil: a refused row halts

	unit Unit

	mu     sync.Mutex // below: steps of sessions of several instances
	random *rand.Rand
	faults int
	calm   bool
	aside  int

	marks []uint64
}

// strike is the sink's fault: rare among rows, frequent elsewhere.
func (w *randomWorld) strike(step string) error {
	if step == stepReply {
		w.committing()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	chance := map[string]int{stepRow: 200, stepCommit: 6, stepReply: 6, stepAttach: 3, stepCursor: 5, stepBegin: 5, stepKeep: 4, stepKept: 8, stepMove: 4, stepMoved: 4}[step]
	if w.calm || w.random.IntN(chance) != 0 {
		return nil
	}
	w.faults++
	if step == stepReply || step == stepCommit {
		return errReply
	}
	if step == stepKeep || step == stepKept {
		return errDisk
	}
	return []error{errAway, context.DeadlineExceeded, fmt.Errorf("database is locked")}[w.random.IntN(3)]
}

// dice returns a random number below n.
func (w *randomWorld) dice(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

// grow appends some blocks, now and then a transaction of many.
func (w *randomWorld) grow() {
	for range w.dice(12) {
		if w.dice(4) == 0 {
			for range w.dice(20) {
				w.st.add(1+w.dice(9), true)
			}
		}
		w.st.add(1+w.dice(30), false)
	}
}

// instance returns a new server's Deliverer, that knows a mark of any age.
func (w *randomWorld) instance(n int) *Deliverer {
	var mark uint64
	if len(w.marks) > 0 {
		mark = w.marks[w.dice(len(w.marks))]
	}
	cfg := Config{
		Stream: w.st, Sink: w.s, Name: "default", Instance: fmt.Sprint(n), RejectUnit: w.unit, RejectFlood: -1,
		Mark: mark, Rows: 1 + w.dice(60), Most: w.dice(9), Bytes: int64(1 + w.dice(6000)),
		Marked: func(seq uint64) { w.marks = append(w.marks, seq) },
	}
	if w.m != nil {
		cfg.Rejects = w.m
	}
	d := New(cfg)
	d.Start()
	return d
}

func (w *randomWorld) run() {
	w.s.fault = w.strike
	for n := range 1 + w.dice(5) {
		w.grow()
		d := w.instance(n)
		for range w.dice(5) {
			time.Sleep(time.Duration(w.dice(3000)) * time.Millisecond)
			w.grow()
		}
		w.bad()
		time.Sleep(time.Duration(w.dice(3000)) * time.Millisecond)
		if d.Close(); d.Status().State == Halted && d.Status().Reason != BadRow {
			w.t.Fatalf("halted: %+v", d.Status())
		}
	}
	w.mend()
	w.s.fault = func(step string) error { return w.strike(step) }
	d := w.instance(99)
	defer d.Close()
	w.grow()
	time.Sleep(time.Duration(w.dice(10_000)) * time.Millisecond)
	w.mu.Lock()
	w.calm = true
	w.mu.Unlock()
	if err := d.Drain(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.settled()
}

// settled checks the end.
func (w *randomWorld) settled() {
	if w.m == nil {
		wantRows(w.t, w.st, w.s, w.st.End().Seq)
		return
	}
	aside := w.m.seqs()
	rest := slices.DeleteFunc(from(1, w.st.End().Seq), func(seq uint64) bool {
		_, found := slices.BinarySearch(aside, seq)
		return found
	})
	if !slices.Equal(w.s.rows, rest) || len(slices.Compact(slices.Clone(aside))) != len(aside) {
		w.t.Fatalf("rejects are %v, the sink has %v", aside, w.s.rows)
	}
	w.aside += len(aside)
	if w.unit != UnitTransaction {
		return
	}
	for i, seq := range aside { // whole transactions, or none of them
		b := &w.st.blocks[w.st.indexLocked(seq)]
		goesOn := b.First > 1 && w.st.blocks[w.st.indexLocked(b.First-1)].Open
		first, last := seq == b.First && !goesOn, seq == b.End.Seq && !b.Open
		if (b.Open || goesOn) && (!first && (i == 0 || aside[i-1] != seq-1) || !last && (i+1 == len(aside) || aside[i+1] != seq+1)) {
			w.t.Fatalf("row %d is a reject without the rest of its transaction: %v", seq, aside)
		}
	}
}

// committing checks, as the sink commits, that whatever is left out so far is on
// disk.
func (w *randomWorld) committing() {
	if w.m == nil {
		return
	}
	aside := w.m.seqs()
	have := append(slices.Clone(w.s.rows), aside...)
	slices.Sort(have)
	if at := w.s.cursors[theID].Seq; uint64(len(slices.Compact(have))) < at || len(have) > 0 && have[min(int(at), len(have))-1] != at {
		w.t.Errorf("the cursor stands at %d, the sink has %v, and the rejects are %v", at, w.s.rows, aside)
	}
}

// bad makes the sink refuse some rows, of which it may have some, for a while.
func (w *randomWorld) bad() {
	refuse := map[uint64]bool{}
	for range 1 + w.dice(6) {
		refuse[uint64(1+w.dice(400))] = true
	}
	w.s.mu.Lock()
	w.s.refuse = refuse
	w.s.mu.Unlock()
	if w.dice(2) == 0 {
		time.Sleep(time.Minute)
		w.mend()
	}
}

func (w *randomWorld) mend() {
	w.s.mu.Lock()
	w.s.refuse = map[uint64]bool{}
	w.s.mu.Unlock()
}

// TestTwoInstances lets an older server go on beside a newer one.
func TestTwoInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		st.add(5, false)
		old := started(t, Config{Stream: st, Sink: s, Instance: "old"})
		synctest.Wait()
		fresh := started(t, Config{Stream: st, Sink: s, Instance: "fresh", Mark: 5})
		for range 100 {
			st.add(5, false)
			time.Sleep(time.Second)
		}
		if err := fresh.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantRows(t, st, s, 505)
		if got := old.Status(); got.State != Halted || got.Reason != Fenced {
			t.Errorf("the older one is %+v, want it halted by the fence", got)
		}
		if s.attachs != 2 {
			t.Errorf("there were %d attaches, want 2: each one more takes the cursor away", s.attachs)
		}
	})
}

// endless is a stream of n rows that are made when they are read, so that only
// what delivery keeps takes memory.
type endless struct {
	*memStream
	n uint64
}

func (e endless) End() row.Position             { return row.Position{Seq: e.n} }
func (e endless) Check(row.Position) error      { return nil }
func (e endless) BytesAfter(uint64) int64       { return 0 }
func (e endless) Reader(uint64) (Reader, error) { return &endlessReader{e: e}, nil }

type endlessReader struct {
	e  endless
	at uint64
}

func (r *endlessReader) Close() error { return nil }
func (r *endlessReader) TryNext() (*row.Block, error) {
	if r.at >= r.e.n {
		return nil, nil
	}
	b := &row.Block{First: r.at + 1, End: row.Position{Seq: r.at + 1000}, Bytes: 250_000, Open: r.at < r.e.n/2}
	for range 1000 {
		r.at++
		b.Rows = append(b.Rows, row.Row{Seq: r.at, Schema: calls, Values: []row.Value{{Text: make([]byte, 200)}}})
	}
	return b, nil
}
func (r *endlessReader) Next(ctx context.Context) (*row.Block, error) {
	if b, err := r.TryNext(); b != nil || err != nil {
		return b, err
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// counting is a sink that keeps nothing, and measures while rows pass.
type counting struct {
	*memSink
	rows uint64
	peak uint64
}

func (c *counting) Attach(ctx context.Context, id sink.ID, instance string, start row.Position, sound func(sink.Cursor) error) (sink.Session, error) {
	n, err := c.memSink.Attach(ctx, id, instance, start, sound)
	if err != nil {
		return nil, err
	}
	return &countingSession{n.(*memSession), c}, nil
}

type countingSession struct {
	*memSession
	c *counting
}

func (n *countingSession) Apply(ctx context.Context, b sink.Batch, _ sink.Rejects) error {
	for b.Next() {
		n.c.rows++
		if n.c.rows%100_000 == 1 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			n.c.peak = max(n.c.peak, m.HeapAlloc)
		}
	}
	return errors.Join(b.Err(), ctx.Err())
}

// TestMemory delivers 120 MiB, half of it one transaction, in a few.
func TestMemory(t *testing.T) {
	c := &counting{memSink: newMemSink()}
	const rows = 500_000
	d := started(t, Config{Stream: endless{newMemStream(), rows}, Sink: c})
	if err := d.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.rows != rows || c.peak > 8<<20 {
		t.Errorf("delivered %d rows with %d bytes on the heap, want %d in less than 8 MiB", c.rows, c.peak, rows)
	}
}
