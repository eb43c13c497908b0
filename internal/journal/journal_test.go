package journal

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func real(t testing.TB) disk.FS {
	t.Helper()
	d, err := disk.OpenReal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func open(t testing.TB, d disk.FS, o Options) *Journal {
	t.Helper()
	if o.Name == "" {
		o.Name = "main"
	}
	j, err := Open(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func closeJournal(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// columns of every row in these tests.
var columns = []row.Column{{Name: "who", Type: "text"}, {Name: "n", Type: "numeric"}}

func batch(t testing.TB, j *Journal, values ...string) *row.Batch {
	t.Helper()
	s := j.Intern("t", columns)
	var b row.Batch
	for i, v := range values {
		if err := b.Add(s, 0, []row.Value{row.Text(v), row.Text(fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	return &b
}

// readAll returns the first value of each row from seq from on, after checking
// that the seqs have no gap.
func readAll(t testing.TB, j *Journal, from uint64) []string {
	t.Helper()
	r, err := j.Reader(from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	next := from
	for {
		b, err := r.TryNext()
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			return got
		}
		for _, d := range b.Damage {
			t.Fatalf("damage: %+v", d)
		}
		for _, w := range b.Rows {
			if w.Seq != next {
				t.Fatalf("seq %d follows %d", w.Seq, next-1)
			}
			next++
			got = append(got, string(w.Values[0].Text))
		}
	}
}

func TestAppendReadReopen(t *testing.T) {
	d := real(t)
	var want []string
	for run := range 4 {
		j := open(t, d, Options{SegmentSize: 1 << 20})
		for i := range 50 {
			v := fmt.Sprintf("run %d row %d", run, i)
			last, err := j.Append(t.Context(), batch(t, j, v), i%2 == 0)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, v)
			if last != uint64(len(want)) {
				t.Fatalf("row %d got seq %d", len(want), last)
			}
		}
		if run%2 == 0 {
			if err := j.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		waitDurable(t, j, uint64(len(want)))
		if got := readAll(t, j, 1); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("run %d: got %d rows, want %d", run, len(got), len(want))
		}
		if got := readAll(t, j, 30); len(got) != len(want)-29 {
			t.Fatalf("from 30: %d rows of %d", len(got), len(want))
		}
		closeJournal(t, j)
	}
}

func waitDurable(t testing.TB, j *Journal, seq uint64) {
	t.Helper()
	for range 200 {
		if j.End().Seq >= seq {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("durable up to %d, want %d", j.End().Seq, seq)
}

func TestManyWritersAndAReader(t *testing.T) {
	j := open(t, real(t), Options{SegmentSize: 1 << 20})
	const writers, each = 16, 400
	var wg sync.WaitGroup
	seqs := make([][]uint64, writers)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				last, err := j.Append(context.Background(), batch(t, j, fmt.Sprintf("%d/%d %0200d", w, i, i)), true)
				if err != nil {
					t.Error(err)
					return
				}
				seqs[w] = append(seqs[w], last)
			}
		})
	}
	r, err := j.Reader(1)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]string{}
	for len(seen) < writers*each {
		b, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range b.Rows {
			if w.Seq != uint64(len(seen)+1) {
				t.Fatalf("seq %d is row %d", w.Seq, len(seen)+1)
			}
			seen[w.Seq] = string(w.Values[0].Text)
		}
	}
	wg.Wait()
	for w, ss := range seqs {
		for i, s := range ss {
			if want := fmt.Sprintf("%d/%d %0200d", w, i, i); seen[s] != want {
				t.Fatalf("seq %d is %q, was acked to %q", s, seen[s], want)
			}
		}
	}
	r.Close()
	v, err := j.Verify(t.Context(), func(d row.Damage) { t.Errorf("damage: %+v", d) })
	if err != nil || v.Rows != writers*each {
		t.Fatalf("verify: %+v, %v", v, err)
	}
	closeJournal(t, j)
}

func TestStage(t *testing.T) {
	d := real(t)
	j := open(t, d, Options{SegmentSize: 1 << 20})
	mustAppend(t, j, "before")
	s, err := j.Stage()
	if err != nil {
		t.Fatal(err)
	}
	const n = 20000
	for i := 0; i < n; i += 500 {
		var vs []string
		for k := range 500 {
			vs = append(vs, fmt.Sprintf("staged %0200d", i+k))
		}
		if err := s.Add(batch(t, j, vs...)); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, j, "meanwhile")
	if got := readAll(t, j, 1); len(got) != 2 {
		t.Fatalf("%d rows are visible before the commit", len(got))
	}
	last, err := s.Commit(t.Context())
	if err != nil || last != n+2 {
		t.Fatalf("commit: %d, %v", last, err)
	}
	mustAppend(t, j, "after")
	check := func(j *Journal) {
		t.Helper()
		got := readAll(t, j, 1)
		if len(got) != n+3 || got[1] != "meanwhile" || got[2] != fmt.Sprintf("staged %0200d", 0) || got[n+2] != "after" {
			t.Fatalf("%d rows", len(got))
		}
	}
	check(j)
	a, err := j.Stage()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Add(batch(t, j, "never")); err != nil {
		t.Fatal(err)
	}
	if err := a.Abort(); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	j = open(t, d, Options{SegmentSize: 1 << 20})
	check(j)
	for _, pos := range []uint64{1, 2, n + 2, n + 3} {
		p, err := j.positionAt(pos, j.Oldest())
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Check(p); err != nil {
			t.Errorf("check %+v: %v", p, err)
		}
		p.Chain++
		if err := j.Check(p); err == nil {
			t.Errorf("a wrong chain checksum at %d passes", pos)
		}
	}
	closeJournal(t, j)
}

func mustAppend(t testing.TB, j *Journal, v ...string) uint64 {
	t.Helper()
	last, err := j.Append(t.Context(), batch(t, j, v...), true)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

func TestRetention(t *testing.T) {
	d := real(t)
	j := open(t, d, Options{SegmentSize: 1 << 20, Limits: Limits{KeepDelivered: true}})
	if _, err := j.Register("a"); err != nil {
		t.Fatal(err)
	}
	big := fmt.Sprintf("%0100000d", 7)
	for range 100 {
		mustAppend(t, j, big)
	}
	if s := j.Status(); s.FirstSeq != 1 || s.Segments < 8 {
		t.Fatalf("undelivered rows were removed: %+v", s)
	}
	j.Mark("a", 95)
	for range 100 {
		if j.Status().FirstSeq > 80 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if s := j.Status(); s.FirstSeq <= 80 || s.FirstSeq > 96 {
		t.Fatalf("delivered rows stay: %+v", s)
	}
	if _, err := j.Reader(1); err == nil {
		t.Fatal("rows that are gone can be read")
	}
	j.Mark("a", 100)
	end := j.End()
	closeJournal(t, j)
	for _, e := range must(d.List("")) {
		if e.Name != manifestName && e.Name != checkpointName {
			t.Errorf("%q is left after a clean stop", e.Name)
		}
	}
	j = open(t, d, Options{SegmentSize: 1 << 20})
	if j.End() != end {
		t.Fatalf("the stream ends at %+v, ended at %+v", j.End(), end)
	}
	if last := mustAppend(t, j, "next"); last != 101 {
		t.Fatalf("next seq is %d", last)
	}
	closeJournal(t, j)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestBudget(t *testing.T) {
	j := open(t, real(t), Options{SegmentSize: 1 << 20, Limits: Limits{Budget: 6 << 20, Wait: 50 * time.Millisecond}})
	if _, err := j.Register("dead"); err != nil {
		t.Fatal(err)
	}
	big := fmt.Sprintf("%0100000d", 7)
	var err error
	n := 0
	for ; n < 200; n++ {
		if _, err = j.Append(t.Context(), batch(t, j, big), true); err != nil {
			break
		}
		if s := j.Status(); s.Bytes > s.Limit {
			t.Fatalf("%d bytes of %d", s.Bytes, s.Limit)
		}
	}
	if err == nil || j.Status().State != "full" {
		t.Fatalf("after %d rows: %v, %+v", n, err, j.Status())
	}
	if n < 30 {
		t.Fatalf("only %d rows fit", n)
	}
	j.Mark("dead", uint64(n/2))
	for range 100 {
		if _, err = j.Append(t.Context(), batch(t, j, "heals"), true); err == nil {
			break
		}
	}
	if err != nil || j.Status().State != "ok" {
		t.Fatalf("does not heal: %v", err)
	}
	closeJournal(t, j)
}

// appendBench measures n writers that each wait for their row's flush.
func appendBench(b *testing.B, writers int) {
	j := open(b, real(b), Options{})
	defer closeJournal(b, j)
	s := j.Intern("t", columns)
	value := []row.Value{row.Text(fmt.Sprintf("%0180d", 1)), row.Text("1")}
	b.ReportAllocs()
	b.SetParallelism((writers + 1) / 2)
	b.RunParallel(func(pb *testing.PB) {
		var batch row.Batch
		for pb.Next() {
			batch.Reset()
			if err := batch.Add(s, 0, value); err != nil {
				b.Error(err)
			}
			if _, err := j.Append(context.Background(), &batch, true); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/float64(max(1, j.Status().Flushes)), "rows/flush")
}

func BenchmarkAppend2(b *testing.B)   { appendBench(b, 2) }
func BenchmarkAppend16(b *testing.B)  { appendBench(b, 16) }
func BenchmarkAppend64(b *testing.B)  { appendBench(b, 64) }
func BenchmarkAppend256(b *testing.B) { appendBench(b, 256) }

// BenchmarkAppendLone is one writer that has the journal to itself.
func BenchmarkAppendLone(b *testing.B) {
	j := open(b, real(b), Options{})
	defer closeJournal(b, j)
	one := batch(b, j, fmt.Sprintf("%0180d", 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.Append(context.Background(), one, true); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendSend is one goroutine that has a thousand rows under way, each
// a transaction of its own.
func BenchmarkAppendSend(b *testing.B) {
	j := open(b, real(b), Options{})
	defer closeJournal(b, j)
	one := batch(b, j, fmt.Sprintf("%0180d", 1))
	pending := make([]Pending, 0, 1000)
	b.ReportAllocs()
	for n := range b.N {
		p, err := j.Send(context.Background(), one, true)
		if err != nil {
			b.Fatal(err)
		}
		if pending = append(pending, p); len(pending) < cap(pending) && n+1 < b.N {
			continue
		}
		for _, p := range pending {
			<-p.Done()
			if _, err := p.Result(); err != nil {
				b.Fatal(err)
			}
		}
		pending = pending[:0]
	}
}

func BenchmarkAppendBatch(b *testing.B) {
	j := open(b, real(b), Options{})
	defer closeJournal(b, j)
	var vs []string
	for range 1000 {
		vs = append(vs, fmt.Sprintf("%0180d", 1))
	}
	batch := batch(b, j, vs...)
	b.SetBytes(int64(batch.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.Append(context.Background(), batch, true); err != nil {
			b.Fatal(err)
		}
	}
}

func TestTooManySinks(t *testing.T) {
	j := open(t, disk.NewMem(), Options{SegmentSize: 1 << 20})
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		_, err = j.Register(fmt.Sprintf("sink-%060d", n))
	}
	if fault.Code(err) != fault.LimitExceeded || n < 30 {
		t.Fatalf("sink %d is answered %v", n, err)
	}
	mustAppend(t, j, "still written")
	closeJournal(t, j)
}

// TestFullDiskHealsAlone fills the volume, and frees it while nobody writes.
func TestFullDiskHealsAlone(t *testing.T) {
	mem := disk.NewMem()
	j := open(t, mem, Options{SegmentSize: 1 << 20})
	mem.SetQuota(1536<<10, 0)
	big := fmt.Sprintf("%0100000d", 7)
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		_, err = j.Append(t.Context(), batch(t, j, big), true)
	}
	if fault.Code(err) != fault.DiskFull || j.Status().State != "full" {
		t.Fatalf("row %d: %v, %+v", n, err, j.Status())
	}
	if got := readAll(t, j, 1); len(got) != n-1 {
		t.Fatalf("%d rows are there, %d were acked", len(got), n-1)
	}
	mem.SetQuota(0, 0)
	for range 100 {
		if j.Status().State == "ok" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if s := j.Status(); s.State != "ok" {
		t.Fatalf("does not heal while nobody writes: %+v", s)
	}
	mustAppend(t, j, "again")
	closeJournal(t, j)
}
