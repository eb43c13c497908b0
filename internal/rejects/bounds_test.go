package rejects

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/row"
)

// TestOldReject holds that one reject that waits for ever does not hold all that
// comes and goes behind it.
func TestOldReject(t *testing.T) {
	mem := disk.NewMem()
	p := &place{t: t, d: mem, jo: journal.Options{Name: "rejects", SegmentSize: 64 << 10, Limits: journal.Limits{Budget: 2 << 20, Wait: time.Minute}}}
	p.open()
	t.Cleanup(p.close)
	old := bad("pg", 1, row.Text("1"), row.Text("the old one"), row.Null)
	keep(t, p.s, old)
	for seq := uint64(2); seq < 1500; seq++ { // 6 MiB of blocks
		keep(t, p.s, bad("pg", seq))
		if n, err := p.s.Discard(ctx, Filter{From: seq}, ""); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if seq == 700 {
			p.again()
		}
	}
	if p.j.Oldest().Seq == 0 {
		t.Error("nothing of the log was removed")
	}
	p.again()
	e, err := p.s.Show(ctx, 1)
	if err != nil || e.Key != key(old) || e.Row == nil || !same(e.Row.Values, old.Row.Values) || e.Why != old.Why || e.Attempts != 1 {
		t.Fatalf("%+v, error %v", e, err)
	}
}

// TestFullStream fills the stream of rejects: Keep says so before anything is
// stored, what takes rejects away still works, and then there is room again.
func TestFullStream(t *testing.T) {
	p := &place{t: t, d: disk.NewMem(), jo: journal.Options{Name: "rejects", SegmentSize: 128 << 10, Limits: journal.Limits{Budget: 4 << 20}}}
	p.open()
	t.Cleanup(p.close)
	large := row.Text(strings.Repeat("x", 50_000))
	seq := uint64(0)
	for range 3 {
		kept := 0
		for ; ; kept++ {
			seq++
			err := p.s.Keep(ctx, []Reject{bad("pg", seq, row.Text("1"), large, row.Null)})
			if errors.Is(err, ErrBudget) {
				break
			}
			if err != nil || kept > 1000 {
				t.Fatalf("after %d: %v (%s)", kept, err, fault.Code(err))
			}
		}
		if kept < 30 {
			t.Fatalf("only %d rejects fit", kept)
		}
		if _, err := p.s.Edit(ctx, collect(t, p.s.List(ctx, Filter{Limit: 1}))[0].ID, map[string]row.Value{"who": row.Null}); err != nil {
			t.Fatal(err)
		}
		p.again()
		if n, err := p.s.Discard(ctx, Filter{}, ""); n != kept || err != nil {
			t.Fatalf("discarded %d of %d, error %v", n, kept, err)
		}
	}
}

// TestMany holds what a hundred thousand rejects cost in memory and at start.
func TestMany(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	const many = 100_000
	p := begin(t, disk.NewMem(), Options{PerSink: many})
	var rs []Reject
	for seq := uint64(1); seq <= many; seq++ {
		if rs = append(rs, bad("pg", seq)); len(rs) == 10_000 {
			keep(t, p.s, rs...)
			rs = rs[:0]
		}
	}
	p.again()
	p.s = nil
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	s, err := Open(p.j, Options{PerSink: many, small: 1})
	took := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / many
	t.Logf("read %d rejects in %v; they take %d bytes each", many, took, each)
	if each > 250 {
		t.Errorf("a reject takes %d bytes of memory", each)
	}
	if took > 20*time.Second {
		t.Errorf("reading them took %v", took)
	}
	n := 0
	for e, err := range s.Export(ctx, Filter{After: 2 * (many - 5000)}) {
		if err != nil || e.Row == nil {
			t.Fatal(e, err)
		}
		n++
	}
	if n != 5000 {
		t.Errorf("%d rejects behind an id, want 5000", n)
	}
	const most = 12_000
	if n, err := s.Discard(ctx, Filter{Limit: most}, ""); n != most || err != nil {
		t.Fatalf("discarded %d, error %v", n, err)
	}
	n = 0
	for e, err := range s.List(ctx, Filter{State: StateDiscarded, Limit: 9000}) { // several pages
		if err != nil || e.ID != uint64(2*n+1) {
			t.Fatal(n, e, err)
		}
		n++
	}
	if n != 9000 {
		t.Errorf("%d discarded ones listed, want 9000", n)
	}
}

// TestTogether lets everybody work at once.
func TestTogether(t *testing.T) {
	p := begin(t, disk.NewMem(), Options{})
	const sinks, rounds = 4, 6
	stop, cancel := context.WithCancel(ctx)
	var work, look sync.WaitGroup
	for i := range sinks {
		sink := fmt.Sprint("sink", i)
		work.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			id := bad(sink, 1).StreamID
			for n := range uint64(rounds) {
				if err := p.s.Keep(ctx, []Reject{bad(sink, 3*n+1), bad(sink, 3*n+2), bad(sink, 3*n+3)}); err != nil {
					t.Error(err)
				}
				var out []Outcome
				for e, err := range p.s.Pending(ctx, Key{id, sink, 3*n + 2}, Filter{To: n % 2 * math.MaxUint64}) {
					if err != nil || e.Row == nil || e.Sink != sink || e.Seq > 3*n+2 {
						t.Error(e, err)
						continue
					}
					if rnd.IntN(2) == 0 {
						if _, err := p.s.Edit(ctx, e.ID, map[string]row.Value{"who": row.Text("x")}); err != nil {
							t.Error(err)
						}
					}
					out = append(out, Outcome{ID: e.ID, Edits: e.Edits, Delivered: e.Seq%3 == 1, Code: "x"})
				}
				if err := p.s.Retried(ctx, out); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		look.Go(func() {
			for stop.Err() == nil {
				for e, err := range p.s.Export(ctx, Filter{State: StateAll, Limit: 50}) {
					if err != nil || e.State == StateOpen && e.Row == nil {
						t.Error(e, err)
					}
				}
				p.s.Counts()
				p.s.Oldest()
				if _, err := p.s.Kept(ctx, "x", "sink1", 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	cancel()
	look.Wait()
	p.again()
	for _, c := range p.s.Counts() {
		if c.Code != "x" && c.Open > 1 {
			t.Errorf("%+v", c)
		}
	}
	if n := len(collect(t, p.s.List(ctx, Filter{}))); n != sinks*rounds*2 {
		t.Errorf("%d wait, want %d", n, sinks*rounds*2)
	}
}

// TestCancelled gives up calls while they wait: what happened to them is found
// out, and nothing is there twice.
func TestCancelled(t *testing.T) {
	p := begin(t, disk.NewMem(), Options{})
	for seq := uint64(1); seq <= 300; seq++ {
		c, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(200))*time.Microsecond)
		err := p.s.Keep(c, []Reject{bad("pg", seq)})
		cancel()
		if err != nil && fault.Code(err) != fault.QueryCanceled {
			t.Fatal(err)
		}
		if err != nil && seq%2 == 0 {
			keep(t, p.s, bad("pg", seq))
		}
	}
	for seq := uint64(1); seq <= 300; seq++ {
		keep(t, p.s, bad("pg", seq))
	}
	before := collect(t, p.s.List(ctx, Filter{}))
	p.again()
	after := collect(t, p.s.List(ctx, Filter{}))
	if len(after) != 300 || fmt.Sprint(before) != fmt.Sprint(after) {
		t.Fatalf("%d wait before the start and %d after it, want 300", len(before), len(after))
	}
}
