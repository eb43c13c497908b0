package deliver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "run TestRandom with this seed alone")
	roundsFlag = flag.Int("rounds", 300, "how many worlds TestRandom tries")
)

// TestRandom runs random streams into a random sink: blocks and transactions
// of any size come while faults strike anywhere, the server is killed with a
// local mark of any age, and older instances go on beside it. At the end the
// sink has each row exactly once and in order. A world that fails prints its
// seed; run it again with -seed.
func TestRandom(t *testing.T) {
	first, rounds := uint64(time.Now().UnixNano()), *roundsFlag
	if *seedFlag != 0 {
		first, rounds = *seedFlag, 1
	}
	t.Logf("seeds %d to %d", first, first+uint64(rounds)-1)
	var faults int
	for seed := first; seed < first+uint64(rounds); seed++ {
		synctest.Test(t, func(t *testing.T) {
			w := &randomWorld{t: t, random: rand.New(rand.NewPCG(seed, 1)), st: newMemStream(), s: newMemSink()}
			w.run()
			faults += w.faults
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if faults < rounds {
		t.Errorf("%d faults struck in %d worlds: the test tries too little", faults, rounds)
	}
}

type randomWorld struct {
	t  *testing.T
	st *memStream
	s  *memSink

	mu     sync.Mutex // below: steps of sessions of several instances
	random *rand.Rand
	faults int
	calm   bool

	marks []uint64
}

// strike is the sink's fault: rare among rows, frequent elsewhere.
func (w *randomWorld) strike(step string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	chance := map[string]int{stepRow: 200, stepCommit: 6, stepReply: 6, stepAttach: 3, stepCursor: 5, stepBegin: 5}[step]
	if w.calm || w.random.IntN(chance) != 0 {
		return nil
	}
	w.faults++
	if step == stepReply || step == stepCommit {
		return errReply
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
	d := New(Config{
		Stream: w.st, Sink: w.s, Name: "default", Instance: fmt.Sprint(n),
		Mark: mark, Rows: 1 + w.dice(60), Bytes: int64(1 + w.dice(6000)),
		Marked: func(seq uint64) { w.marks = append(w.marks, seq) },
	})
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
	wantRows(w.t, w.st, w.s, w.st.End().Seq)
}

// bad makes the sink refuse a row that it has not, for a while.
func (w *randomWorld) bad() {
	seq := uint64(1 + w.dice(400))
	w.s.mu.Lock()
	w.s.refuse = map[uint64]bool{seq: true}
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

func (c *counting) Attach(ctx context.Context, id sink.ID, instance string, start row.Position) (sink.Session, error) {
	n, err := c.memSink.Attach(ctx, id, instance, start)
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
