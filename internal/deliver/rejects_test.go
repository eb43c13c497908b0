package deliver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/row"
)

// refusing returns a sink that refuses seqs.
func refusing(how refusal, seqs ...uint64) *memSink {
	s := newMemSink()
	s.how = how
	for _, seq := range seqs {
		s.refuse[seq] = true
	}
	return s
}

// from returns the seqs from first to last.
func from(first, last uint64) (seqs []uint64) {
	for ; first <= last; first++ {
		seqs = append(seqs, first)
	}
	return seqs
}

// wantApart checks that the rejects are these rows, each as it was written,
// that the sink has all others, once and in order, and that delivery is idle.
func wantApart(t *testing.T, d *Deliverer, s *memSink, m *memRejects, want []uint64) {
	t.Helper()
	if got := m.seqs(); !slices.Equal(got, want) {
		t.Fatalf("rejects are %v, want %v", got, want)
	}
	end := d.cfg.Stream.End().Seq
	rest := from(1, end)
	rest = slices.DeleteFunc(rest, func(seq uint64) bool { return slices.Contains(want, seq) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.rows, rest) {
		t.Fatalf("the sink has rows %v, want %v", s.rows, rest)
	}
	for _, r := range m.list {
		if r.StreamID != "journal" || r.Stream != "main" || r.Sink != "default" || r.Row.Schema != calls ||
			r.Row.Received != int64(r.Row.Seq)*1e6 || len(r.Row.Values) != 1 || r.Row.Values[0].String() != fmt.Sprint(r.Row.Seq) {
			t.Errorf("a reject is %+v, want it as it is in the stream", r)
		}
	}
	if got := d.Status(); got.State != Idle || got.LastError != "" || got.Rejects != uint64(len(want)) || got.Rows != uint64(len(rest)) {
		t.Errorf("got %+v, want it idle with %d rejects and %d rows", got, len(want), len(rest))
	}
}

// TestRefused checks that a bad row costs one row, however the sink says so.
func TestRefused(t *testing.T) {
	tests := []struct {
		how   refusal
		rows  int // in each block
		bad   []uint64
		aside []uint64
	}{
		{"", 5, []uint64{3, 33, 34, 100}, []uint64{3, 33, 34, 100}},
		{late, 5, []uint64{3, 33, 34, 100}, []uint64{3, 33, 34, 100}},
		{named, 5, []uint64{3, 33, 34, 100}, []uint64{3, 33, 34, 100}},
		{nameless, 1, []uint64{3, 33, 34, 100}, []uint64{3, 33, 34, 100}},
		{nameless, 5, []uint64{33}, from(31, 35)}, // a block is as far as it can be told apart
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.how, tt.rows), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, s, m := newMemStream(), refusing(tt.how, tt.bad...), &memRejects{}
				for range 100 / tt.rows {
					st.add(tt.rows, false)
				}
				d := started(t, Config{Stream: st, Sink: s, Rejects: m, Rows: 20})
				settle(time.Minute)
				wantApart(t, d, s, m, tt.aside)
				for _, r := range m.list {
					if r.Code != "23505" || !strings.Contains(r.Why, "duplicate key") {
						t.Errorf("a reject is %q for %q, want the database's own words", r.Code, r.Why)
					}
				}
				if got := d.Status(); got.Retries != 0 {
					t.Errorf("%d attempts failed, want none: a refused row is no failure", got.Retries)
				}
			})
		})
	}
}

// TestRejectTransaction checks that a refused row takes its transaction along,
// where that was asked for, and no other.
func TestRejectTransaction(t *testing.T) {
	for _, how := range []refusal{"", late, named} {
		t.Run(string(how), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, s, m := newMemStream(), refusing(how, 2, 18, 25, 26, 41), &memRejects{}
				st.add(5, false)
				st.add(5, true) // 6 to 20
				st.add(5, true)
				st.add(5, false)
				st.add(3, true) // 21 to 27
				st.add(4, false)
				st.add(8, false)
				st.change(30, func(b *row.Block) { // two transactions in one block: 29 to 30, 32 to 35
					b.Rows[1].Flags, b.Rows[2].Flags = row.TxBegin, row.TxEnd
					b.Rows[4].Flags, b.Rows[7].Flags = row.TxBegin, row.TxEnd
				})
				st.add(6, false)
				s.refuse[33] = true
				d := started(t, Config{Stream: st, Sink: s, Rejects: m, RejectUnit: UnitTransaction})
				settle(time.Minute)
				wantApart(t, d, s, m, slices.Concat([]uint64{2}, from(6, 27), from(32, 35), []uint64{41}))
				for _, r := range m.list {
					if r.Row.Seq == 7 && (r.Code != CodeTransaction || !strings.Contains(r.Why, "row 18")) {
						t.Errorf("row 7 is rejected with %q, %q, want it to name row 18", r.Code, r.Why)
					}
					if r.Row.Seq == 18 && r.Code != "23505" {
						t.Errorf("row 18 is rejected with %q, want its own code", r.Code)
					}
				}
			})
		})
	}
}

// TestStaysAside sets rows aside by a batch whose commit fails, or by a server
// that is killed then; whether or not the sink would take them the second time,
// they are in the rejects and not in the sink.
func TestStaysAside(t *testing.T) {
	for _, unit := range []Unit{UnitRow, UnitTransaction} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprint(unit, killed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					st, s, m := newMemStream(), refusing("", 8), &memRejects{}
					st.add(5, false)
					st.add(5, true)
					st.add(5, false)
					s.fault = func(step string) error {
						if step == stepCommit && len(m.seqs()) > 0 {
							s.refuse = map[uint64]bool{}
							return errAway
						}
						return nil
					}
					cfg := Config{Stream: st, Sink: s, Rejects: m, RejectUnit: unit, Rows: 1, MinWait: time.Hour, MaxWait: time.Hour}
					d := started(t, cfg)
					settle(time.Minute)
					if got := d.Status(); got.State != Waiting || got.Seq != 5 || got.Rejects != 0 {
						t.Fatalf("got %+v, want it waiting behind row 5", got)
					}
					s.mu.Lock()
					s.fault = nil
					s.mu.Unlock()
					if killed {
						d.Close()
						d = started(t, Config{Stream: st, Sink: s, Rejects: m, RejectUnit: unit})
					}
					settle(2 * time.Hour)
					want := []uint64{8}
					if unit == UnitTransaction {
						want = from(6, 15)
					}
					if killed {
						d.update(func(s *Status) { s.Rows += 5 })
					}
					wantApart(t, d, s, m, want)
				})
			})
		}
	}
}

// TestTornReject lets a server die when it has kept half of a transaction. The
// rest of it follows.
func TestTornReject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s, m := newMemStream(), refusing("", 4), &memRejects{}
		st.add(6, true)
		st.add(6, false)
		m.fault = scripted(stepKeep, errDisk)
		d := started(t, Config{Stream: st, Sink: s, Rejects: m, RejectUnit: UnitTransaction, MinWait: time.Hour, MaxWait: time.Hour})
		settle(time.Minute)
		if got := d.Status(); got.State != Waiting || !strings.Contains(got.LastError, "input/output error") || len(m.seqs()) != 6 {
			t.Fatalf("got %+v, want it waiting for the disk, with half of the rows kept", got)
		}
		d.Close()
		s.mu.Lock()
		s.refuse = nil
		s.mu.Unlock()
		d = started(t, Config{Stream: st, Sink: s, Rejects: m, RejectUnit: UnitTransaction})
		settle(time.Minute)
		wantApart(t, d, s, m, from(1, 12))
	})
}

// TestKeptFirst checks the order of things: what is refused is on disk before
// the sink commits without it, and where it cannot be, nothing is committed.
func TestKeptFirst(t *testing.T) {
	for _, how := range []refusal{"", late, named} {
		synctest.Test(t, func(t *testing.T) {
			st, s, m := newMemStream(), refusing(how, 3), &memRejects{}
			st.add(5, false)
			s.fault = func(step string) error {
				if got := m.seqs(); step == stepCommit && !slices.Equal(got, []uint64{3}) {
					t.Errorf("%q: it commits while the rejects on disk are %v", how, got)
				}
				return nil
			}
			m.fault = func(step string) error { return map[string]error{stepKeep: errDisk}[step] }
			d := started(t, Config{Stream: st, Sink: s, Rejects: m})
			settle(time.Hour)
			if got := d.Status(); got.State != Waiting || len(s.rows) != 0 || !strings.Contains(got.LastError, "row 3") {
				t.Errorf("%q: got %+v with rows %v, want it waiting for the rejects' disk", how, got, s.rows)
			}
			m.mu.Lock()
			m.fault = scripted(stepKept, errDisk)
			m.mu.Unlock()
			settle(2 * time.Minute)
			wantApart(t, d, s, m, []uint64{3})
		})
	}
}

// TestRejectBudget checks that a sink stops in front of the row that is one too
// many, and goes on by itself when there is room.
func TestRejectBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s, m := newMemStream(), refusing("", 3, 23, 33, 43), &memRejects{budget: 2}
		for range 10 {
			st.add(5, false)
		}
		d := started(t, Config{Stream: st, Sink: s, Rejects: m})
		settle(time.Hour)
		if got := d.Status(); got.State != Halted || got.Reason != Budget || got.Seq != 30 {
			t.Errorf("got %+v, want it halted in front of the block of row 33", got)
		}
		m.mu.Lock()
		m.budget = 0
		m.mu.Unlock()
		settle(time.Minute)
		wantApart(t, d, s, m, []uint64{3, 23, 33, 43})
	})
}

// TestFlood checks that many refused rows halt before they are set aside, that
// few never do, and that Resume lets one window of them pass.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s, m := newMemStream(), refusing("", from(1, 100)...), &memRejects{}
		st.add(100, false)
		d := started(t, Config{Stream: st, Sink: s, Rejects: m})
		settle(time.Minute)
		wantApart(t, d, s, m, from(1, 100))
		s.mu.Lock()
		s.refuse = map[uint64]bool{}
		for _, seq := range slices.Concat(from(101, 300), from(20_000, 20_200)) {
			s.refuse[seq] = true
		}
		s.mu.Unlock()
		st.add(500, false)
		settle(time.Hour)
		if got := d.Status(); got.State != Halted || got.Reason != Flood || got.Seq != 100 || len(m.list) != 100 || !strings.Contains(got.LastError, "duplicate key") {
			t.Fatalf("got %+v with %d rejects, want it halted before it sets more aside", got, len(m.list))
		}
		if s.applies > 3 {
			t.Errorf("the batch came %d times while nobody looked", s.applies)
		}
		d.Resume(Resumption{})
		settle(time.Hour)
		wantApart(t, d, s, m, from(1, 300))
		if s.attachs != 1 {
			t.Errorf("attached %d times, want once", s.attachs)
		}
		for range 300 {
			st.add(100, false)
		}
		settle(time.Hour)
		if got := d.Status(); got.Reason != Flood || len(m.list) != 300 {
			t.Errorf("got %+v, want a flood in a later window to halt it again", got)
		}
	})
}

// TestFloodCountsOnce checks that a batch that is rolled back and comes again
// does not count its rejects again.
func TestFloodCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s, m := newMemStream(), refusing("", from(1, 60)...), &memRejects{}
		st.add(100, false)
		s.fault = scripted(stepCommit, errAway, errAway, errAway, errAway)
		m.fault = scripted(stepKeep, errDisk, errDisk)
		d := started(t, Config{Stream: st, Sink: s, Rejects: m})
		settle(time.Hour)
		wantApart(t, d, s, m, from(1, 60))
	})
}

// TestKeepsEarly checks that much that is set aside does not wait in memory.
func TestKeepsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s, m := newMemStream(), refusing("", from(1, 100)...), &memRejects{}
		st.add(100, false)
		big := []byte(strings.Repeat("x", 100<<10))
		st.change(1, func(b *row.Block) {
			for i := range b.Rows {
				b.Rows[i].Values = []row.Value{{Text: big}, row.Null}
			}
		})
		d := started(t, Config{Stream: st, Sink: s, Rejects: m})
		if err := d.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if m.keeps < 9 || m.keeps > 11 || len(m.list) != 100 {
			t.Errorf("10 MiB of %d rejects were kept in %d pieces, want about 10", len(m.list), m.keeps)
		}
		if v := m.list[99].Row.Values; len(v[0].Text) != len(big) || v[0].Null || !v[1].Null {
			t.Error("a reject's values are not those of the row")
		}
	})
}

// TestBadRow checks that, where nobody keeps rejects, what stands in front of a
// refused row is delivered, the row is named and never skipped, and that mending
// the table heals it.
func TestBadRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		for range 20 {
			st.add(5, false)
		}
		s.refuse[33] = true
		d := started(t, Config{Stream: st, Sink: s})
		settle(time.Hour)
		got := d.Status()
		if got.State != Halted || got.Reason != BadRow || got.Seq != 30 || got.LagRows != 70 || got.Oldest != time.UnixMicro(31e6) {
			t.Errorf("got %+v, want it halted in front of the block of row 33", got)
		}
		for _, part := range []string{"row 33", "calls", "duplicate key"} {
			if !strings.Contains(got.LastError, part) {
				t.Errorf("the error %q does not say %q", got.LastError, part)
			}
		}
		if since := time.Since(got.Since); since < 59*time.Minute {
			t.Errorf("halted since %v, want about an hour", since)
		}
		s.mu.Lock()
		s.refuse = map[uint64]bool{}
		s.mu.Unlock()
		settle(time.Minute)
		wantRows(t, st, s, 100)
	})
}

// TestMalformed checks that a line that no source could parse is no row to
// commit, and is named.
func TestMalformed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		st.add(5, false)
		st.add(5, false)
		st.change(8, func(b *row.Block) { b.Rows[2].Flags = row.Malformed })
		d := started(t, Config{Stream: st, Sink: s})
		settle(time.Minute)
		if got := d.Status(); got.Reason != BadRow || got.Seq != 5 || !strings.Contains(got.LastError, "row 8") {
			t.Errorf("got %+v, want it halted at row 8", got)
		}
		d.Close()
		m := &memRejects{}
		d = started(t, Config{Stream: st, Sink: s, Rejects: m, Instance: "b"})
		settle(time.Minute)
		d.update(func(s *Status) { s.Rows += 5 })
		wantApart(t, d, s, m, []uint64{8})
		if m.list[0].Code != CodeMalformed || m.list[0].Row.Flags != row.Malformed {
			t.Errorf("the reject is %+v, want it called malformed", m.list[0])
		}
	})
}
