package journal

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/row"
)

var (
	crashSeed   = flag.Uint64("seed", 0, "seed of the crash tests; 0: a new one")
	crashStates = flag.Int("states", 400, "how many crash states are tried")
)

// attempt is one transaction that a writer handed over.
type attempt struct {
	writer, first, n int
	durable          bool
	last             uint64 // seq it was acked with; 0: not acked
}

func (a attempt) value(i int) string {
	return fmt.Sprintf("w%d/%d/%d/%d%s", a.writer, a.first, a.n, i, strings.Repeat(".", a.first%7*150))
}

// oracle knows what was attempted, acked and seen.
type oracle struct {
	mu    sync.Mutex
	tries map[string]*attempt // by value(0)
	seen  uint64              // last seq that a reader was given
}

// snapshot is a crashed disk and what had been promised by then.
type snapshot struct {
	d     *disk.Mem
	tries map[string]attempt
	seen  uint64
	cut   bool // a power cut; else a process kill
}

func (o *oracle) snapshot(d *disk.Mem, cut bool) snapshot {
	s := snapshot{d: d, tries: map[string]attempt{}, seen: o.seen, cut: cut}
	for k, a := range o.tries {
		s.tries[k] = *a
	}
	return s
}

// work runs writers, a stager, a reader and a sink on j until every writer has
// done its share or the journal fails.
func (o *oracle) work(t *testing.T, j *Journal, rnd *rand.Rand, share int) {
	var wg sync.WaitGroup
	schema := j.Intern("t", columns)
	stop := make(chan struct{})
	var follow sync.WaitGroup
	idle := rnd.IntN(6) == 0
	for w := range 3 {
		r := rand.New(rand.NewPCG(rnd.Uint64(), uint64(w)))
		wg.Go(func() {
			for i := range share {
				if idle && i == share/2 { // long enough for a marker
					time.Sleep(silence + 20*time.Millisecond)
				}
				o.transaction(j, table(j, r.IntN(5)), r, attempt{writer: w + 10*int(j.epoch), first: i, n: 1 + r.IntN(4), durable: r.IntN(4) != 0})
			}
		})
	}
	wg.Go(func() { o.staged(j, schema, attempt{writer: 9 + 10*int(j.epoch), first: 0, n: 60, durable: true}) })
	sealing := rnd.IntN(3) == 0
	follow.Go(func() {
		for sealing && j.Seal(context.Background()) == nil {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	follow.Go(func() { o.follow(t, j, stop) })
	wg.Wait()
	close(stop)
	follow.Wait()
}

// table returns one of several tables, each with other columns.
func table(j *Journal, n int) *row.Schema {
	cols := append([]row.Column(nil), columns...)
	for c := range n {
		cols = append(cols, row.Column{Name: fmt.Sprintf("c%d", c), Type: "text"})
	}
	return j.Intern(fmt.Sprintf("t%d", n), cols)
}

func (o *oracle) enter(a *attempt) {
	o.mu.Lock()
	o.tries[a.value(0)] = a
	o.mu.Unlock()
}

func (o *oracle) ack(a *attempt, last uint64) {
	o.mu.Lock()
	a.last = last
	o.mu.Unlock()
}

func (o *oracle) transaction(j *Journal, schema *row.Schema, r *rand.Rand, a attempt) {
	o.enter(&a)
	var b row.Batch
	for i := range a.n {
		values := make([]row.Value, len(schema.Columns))
		for c := range values {
			values[c] = row.Null
		}
		values[0] = row.Text(a.value(i))
		_ = b.Add(schema, 0, values)
	}
	if last, err := j.Append(context.Background(), &b, a.durable); err == nil {
		o.ack(&a, last)
	}
	if r.IntN(20) == 0 {
		time.Sleep(time.Millisecond)
	}
}

func (o *oracle) staged(j *Journal, schema *row.Schema, a attempt) {
	o.enter(&a)
	s, err := j.Stage()
	if err != nil {
		return
	}
	for i := range a.n {
		var b row.Batch
		_ = b.Add(schema, 0, []row.Value{row.Text(a.value(i) + strings.Repeat("s", 2000)), row.Null})
		if s.Add(&b) != nil {
			_ = s.Abort()
			return
		}
	}
	if last, err := s.Commit(context.Background()); err == nil {
		o.ack(&a, last)
	}
}

// follow reads as a sink does, and commits what it reads.
func (o *oracle) follow(t *testing.T, j *Journal, stop chan struct{}) {
	r, err := j.Reader(o.seen + 1)
	if err != nil {
		if !errors.Is(err, ErrGone) {
			t.Error(err)
		}
		return
	}
	defer r.Close()
	for {
		b, err := r.TryNext()
		if err != nil {
			return
		}
		if b == nil {
			select {
			case <-stop:
				return
			default:
				runtime.Gosched()
				continue
			}
		}
		o.mu.Lock()
		o.seen = b.End.Seq
		o.mu.Unlock()
		if !b.Open { // a sink commits whole transactions
			j.Mark("sink", b.End.Seq)
		}
	}
}

// check opens the journal as it is after a crash and compares it with what was
// promised. It returns the journal.
func (s snapshot) check(t *testing.T, seed uint64) *Journal {
	t.Helper()
	j, err := Open(s.d, Options{Name: "main", SegmentSize: 24 << 10})
	if err != nil {
		t.Fatalf("seed %d: does not start: %v", seed, err)
	}
	for _, d := range j.Recovery().Damage {
		t.Fatalf("seed %d: a crash is called damage: %+v", seed, d)
	}
	oldest := j.Oldest().Seq + 1
	rows := readAll(t, j, oldest)
	if end := j.End().Seq; end < s.seen || oldest+uint64(len(rows)) != end+1 {
		t.Fatalf("seed %d: ends at %d with %d rows from %d; a reader had seen %d %s", seed, end, len(rows), oldest, s.seen, dump(j))
	}
	found := map[string]int{}
	for i := s.partOfRemoved(rows, oldest); i < len(rows); {
		name := strings.TrimRight(rows[i], "s")
		a, ok := s.tries[name]
		if !ok {
			t.Fatalf("seed %d: seq %d is %.40q, which nobody wrote, or no transaction starts so %q %s", seed, oldest+uint64(i), name, rows, dump(j))
		}
		found[name]++
		if i+a.n > len(rows) {
			t.Fatalf("seed %d: transaction %.40q is there in part", seed, name)
		}
		for k := range a.n {
			if got := strings.TrimRight(rows[i+k], "s"); got != a.value(k) {
				t.Fatalf("seed %d: row %d of transaction %.40q is %.40q", seed, k, name, got)
			}
		}
		if want := oldest + uint64(i+a.n) - 1; a.last != 0 && a.last != want && (a.durable || !s.cut) {
			t.Fatalf("seed %d: %.40q was acked with seq %d, has %d", seed, name, a.last, want)
		}
		i += a.n
	}
	for name, a := range s.tries {
		n := found[name]
		must := a.last >= oldest+uint64(a.n)-1 && (a.durable || !s.cut)
		if n > 1 || must && n == 0 {
			t.Fatalf("seed %d: %.40q (seq %d, durable %v) is there %d times %s", seed, name, a.last, a.durable, n, dump(j))
		}
	}
	return j
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

// partOfRemoved returns how many rows at the start belong to a transaction
// that was delivered and whose first rows were rolled away with their segment.
func (s snapshot) partOfRemoved(rows []string, oldest uint64) int {
	n := 0
	for oldest > 1 && oldest+uint64(n) <= s.seen && n < len(rows) {
		if _, ok := s.tries[strings.TrimRight(rows[n], "s")]; ok {
			break
		}
		n++
	}
	return n
}

// world runs one history and collects crashed disks from it.
func world(t *testing.T, seed uint64, most int) (states []snapshot) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	mem := disk.NewMem()
	o := &oracle{tries: map[string]*attempt{}}
	for range 2 { // a second life on the same disk
		f := disk.NewFaulty(mem)
		var hm sync.Mutex
		hr := rand.New(rand.NewPCG(rnd.Uint64(), 2))
		f.OnCall(func(c disk.Call) {
			hm.Lock()
			defer hm.Unlock()
			if len(states) >= most || hr.IntN(12) != 0 {
				return
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			if hr.IntN(5) == 0 {
				states = append(states, o.snapshot(mem.Kill(), false))
			} else {
				states = append(states, o.snapshot(mem.Crash(hr.Uint64()), true))
			}
		})
		limits := Limits{History: 100 << 10}
		if rnd.IntN(2) == 0 { // segments are used again, and writers refused
			limits = Limits{Budget: 320 << 10}
		}
		j, err := Open(f, Options{Name: "main", SegmentSize: 24 << 10, Limits: limits})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if _, err := j.Register("sink"); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		o.work(t, j, rnd, 25)
		if err := j.Close(); err != nil {
			t.Fatalf("seed %d: close: %v", seed, err)
		}
		f.OnCall(nil)
	}
	return states
}

// TestCrash cuts the power, or kills the process, at random disk calls, and
// holds what is found against what was promised; then it starts a second time,
// writes on, and crashes while it recovers.
func TestCrash(t *testing.T) {
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -run TestCrash -seed %d", seed)
	tried, deeper := 0, 0
	for ; tried < *crashStates; seed++ {
		for i, s := range world(t, seed, 60) {
			tried++
			if i%10 == 0 {
				deeper += recoverCrashed(t, seed, s)
			}
			before := s.d.Kill()
			j := s.check(t, seed)
			first := readAll(t, j, j.Oldest().Seq+1)
			shown, upTo := s.d.Crash(seed), j.End() // what was shown after the start must outlive a power cut
			mustAppend(t, j, "goes on")
			end := j.End().Seq
			closeJournal(t, j)
			s.d = before
			j = s.check(t, seed) // recovering twice gives the same
			if again := readAll(t, j, j.Oldest().Seq+1); len(again) != len(first) || end != j.End().Seq+1 {
				t.Fatalf("seed %d: recovered %d rows, then %d", seed, len(first), len(again))
			}
			closeJournal(t, j)
			j = open(t, shown, Options{SegmentSize: 24 << 10})
			readAll(t, j, j.Oldest().Seq+1) // no row of them may be missing
			if j.End() != upTo {
				t.Fatalf("seed %d: showed rows up to %+v, after a power cut there are rows up to %+v", seed, upTo, j.End())
			}
			closeJournal(t, j)
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d crash states, %d of them crashed again while recovering", tried, deeper)
}

// recoverCrashed crashes s again while it recovers, up to three deep.
func recoverCrashed(t *testing.T, seed uint64, s snapshot) int {
	rnd := rand.New(rand.NewPCG(seed, 3))
	n := 0
	for range 3 {
		f := disk.NewFaulty(s.d)
		at, calls := 1+rnd.IntN(40), 0
		var crashed *disk.Mem
		var mu sync.Mutex
		f.OnCall(func(disk.Call) {
			mu.Lock()
			defer mu.Unlock()
			if calls++; calls == at {
				crashed = s.d.Crash(rnd.Uint64())
			}
		})
		j, err := Open(f, Options{Name: "main", SegmentSize: 24 << 10})
		if err != nil {
			t.Fatalf("seed %d: does not start: %v", seed, err)
		}
		closeJournal(t, j)
		if crashed == nil {
			return n
		}
		n++
		s.d, s.cut = crashed, true
		next := s
		next.d = crashed.Kill()
		closeJournal(t, next.check(t, seed))
	}
	return n
}

// TestFaults lets each disk call of a history fail once, or from then on, and
// checks that an ack is never taken back, that a refusal says what is true,
// and that the journal goes on, or starts again, with every acked row.
func TestFaults(t *testing.T) {
	errs := []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EMFILE}
	tried := 0
	for n := 1; ; n += 1 + n/60 {
		err := errs[n%len(errs)]
		for _, forever := range []bool{false, true} {
			mem := disk.NewMem()
			f := disk.NewFaulty(mem)
			f.Fail(disk.Fault{N: n, Err: err, Forever: forever, Short: n % 3 * disk.Align, Late: n%5 == 0})
			hit := faultedLife(t, f, n)
			f.Fail()
			tried++
			if !hit {
				t.Logf("%d faults", tried)
				return
			}
			checkAfterFault(t, mem, n, forever)
			if t.Failed() {
				return
			}
		}
	}
}

var lifeOracle *oracle

func faultedLife(t *testing.T, f *disk.Faulty, n int) (hit bool) {
	o := &oracle{tries: map[string]*attempt{}}
	lifeOracle = o
	j, err := Open(f, Options{Name: "main", SegmentSize: 24 << 10})
	if err != nil {
		return true
	}
	if _, err := j.Register("sink"); err == nil {
		o.work(t, j, rand.New(rand.NewPCG(uint64(n), 4)), 8)
	}
	_ = j.Close()
	return f.Count(disk.AnyCall) >= n
}

// checkAfterFault holds the disk against the promises. On a disk that failed
// for good, rows acked before their flush had nowhere to go: as in a power cut.
func checkAfterFault(t *testing.T, mem *disk.Mem, n int, forever bool) {
	for _, cut := range []bool{false, true} {
		d := mem.Kill()
		if cut {
			d = mem.Crash(uint64(n))
		}
		s := lifeOracle.snapshot(d, cut || forever)
		j := s.check(t, uint64(n))
		mustAppend(t, j, "goes on")
		closeJournal(t, j)
	}
}

// awaitMarker waits for the marker block behind the last row, so that it does
// not meet the fault that is meant for the next row.
func awaitMarker(t *testing.T, f *disk.Faulty) {
	t.Helper()
	for before := -1; ; {
		n := f.Count(disk.CallWriteSync)
		if n == before {
			return
		}
		before = n
		time.Sleep(5 * silence)
	}
}
