package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

// TestShape checks what a sink gets of a row, and that it can be had back.
func TestShape(t *testing.T) {
	acc := &row.Schema{ID: 7, Stream: "main", Table: "acc", Columns: []row.Column{{Name: "src", Type: "text"}, {Name: "host"}}}
	missed := &row.Schema{Table: "missed_calls", Columns: acc.Columns}
	full := Shape{
		Tables: []string{"acc", "missed_*"}, Rename: map[string]string{"acc": "calls"},
		Columns: map[string]string{"acc.src": "source", "missed_calls.host": "machine"},
		Add:     []Added{{"seq_no", Seq, ""}, {"host", Fixed, "gate1"}, {"at", ReceivedAt, ""}, {"stream", FromStream, ""}},
	}
	tests := []struct {
		name  string
		shape Shape
		in    *row.Schema
		want  string // "": not taken
	}{
		{"plain", Shape{}, acc, "acc: src text=a, host =NULL"},
		{"renamed, with a column of its own", full, acc, "calls: source text=a, host =NULL, seq_no bigint=41, at timestamptz=1970-01-01 00:00:01.500000+00, stream text=main"},
		{"a pattern", full, missed, "missed_calls: src text=a, machine =NULL, seq_no bigint=41, host text=gate1, at timestamptz=1970-01-01 00:00:01.500000+00, stream text=main"},
		{"another table", full, calls, ""},
		{"only taken", Shape{Tables: []string{"acc"}}, acc, "acc: src text=a, host =NULL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMold(tt.shape, "main")
			for range 2 * mostMappings { // a reader makes schemas anew
				s := *tt.in
				r := row.Row{Seq: 41, Received: 1_500_000, Flags: row.TxBegin, Schema: &s, Values: []row.Value{row.Text("a"), row.Null}}
				m.begin()
				if !m.takes(&r) {
					if tt.want != "" {
						t.Fatal("the row is not taken")
					}
					continue
				}
				got := *m.shaped(&r)
				var parts []string
				for i, c := range got.Schema.Columns {
					parts = append(parts, fmt.Sprintf("%s %s=%s", c.Name, c.Type, got.Values[i]))
				}
				if text := got.Schema.Table + ": " + strings.Join(parts, ", "); text != tt.want {
					t.Fatalf("got  %s\nwant %s", text, tt.want)
				}
				if got.Seq != 41 || got.Received != 1_500_000 || got.Flags != row.TxBegin || len(r.Values) != 2 || len(got.Values) != len(got.Schema.Columns) {
					t.Fatalf("got %+v of %+v", got, r)
				}
				back, err := m.original(&got)
				if err != nil || back.Schema.Key() != s.Key() || len(back.Values) != 2 || !back.Values[1].Null || back.Flags != r.Flags {
					t.Fatalf("back is %+v, %v", back, err)
				}
			}
			if len(m.byAddress) > mostMappings+1 || len(m.byKey) > 1 {
				t.Errorf("it remembers %d schemas", len(m.byAddress))
			}
			if _, err := m.original(&row.Row{Seq: 1, Schema: &row.Schema{Table: "x"}}); err == nil && !tt.shape.plain() {
				t.Error("a row that was never sent is taken for one")
			}
		})
	}
}

// TestShapeAllocatesNothing holds that a shape costs no allocation per row.
func TestShapeAllocatesNothing(t *testing.T) {
	m := newMold(Shape{Rename: map[string]string{"calls": "c"}, Add: []Added{{"seq", Seq, ""}, {"at", ReceivedAt, ""}}}, "main")
	r := row.Row{Seq: 41, Schema: calls, Values: []row.Value{row.Text("a")}}
	if n := testing.AllocsPerRun(100, func() { m.shaped(&r) }); n != 0 {
		t.Errorf("%v allocations for a row", n)
	}
}

var other = &row.Schema{Table: "other", Columns: calls.Columns}

// otherwise makes the rows of the block that holds seq those of another table.
func (s *memStream) otherwise(seq uint64) {
	s.change(seq, func(b *row.Block) {
		for i := range b.Rows {
			b.Rows[i].Schema = other
		}
	})
}

// TestShapedRejects checks that a refused row is kept as it is in the stream,
// that a table not taken is no part of a transaction that is set aside, and that
// a retry gives rows their shape again.
func TestShapedRejects(t *testing.T) {
	for _, how := range []refusal{"", late, named} {
		synctest.Test(t, func(t *testing.T) {
			st, s, m := tens(1), refusing(how, 3, 25), &memRejects{}
			st.add(10, true)
			st.add(10, true)
			st.add(10, false)
			st.otherwise(11)
			st.otherwise(31)
			st.add(10, false)
			d := started(t, Config{Stream: st, Sink: s, Rejects: m, RejectUnit: UnitTransaction, Shape: Shape{
				Tables: []string{"calls"}, Rename: map[string]string{"calls": "c"}, Columns: map[string]string{"calls.n": "m"}, Add: []Added{{"seq", Seq, ""}},
			}})
			settle(time.Minute)
			if got := d.Status(); got.State != Idle || got.Seq != 50 || got.Rejects != 11 || got.Rows != 19 {
				t.Errorf("%q: got %+v", how, got)
			}
			if got := m.seqs(); !slices.Equal(got, append([]uint64{3}, from(21, 30)...)) {
				t.Fatalf("%q: rejects are %v", how, got)
			}
			for _, r := range m.list {
				if r.Row.Schema.Key() != calls.Key() || len(r.Row.Values) != 1 || r.Row.Values[0].String() != fmt.Sprint(r.Row.Seq) {
					t.Errorf("%q: a reject is %+v, want it as it is in the stream", how, r.Row)
				}
			}
			s.mu.Lock()
			s.refuse = map[uint64]bool{21: true}
			s.mu.Unlock()
			refused, err := d.Retry(t.Context(), m.list)
			if err != nil || len(refused) != 1 || refused[0].Row.Schema.Table != "calls" || !strings.Contains(refused[0].Why, "table c:") || len(s.retried) != 10 {
				t.Errorf("%q: retry gave %+v, %v", how, refused, err)
			}
		})
	}
}

// TestPassesOver checks that the cursor moves over rows that the sink does not
// take, with few commits, soon, and only to where it may stand.
func TestPassesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		d := started(t, Config{Stream: st, Sink: s, Shape: Shape{Tables: []string{"calls"}}})
		st.schema = other
		for range 2000 {
			st.add(10, false)
			settle(5 * time.Millisecond)
		}
		settle(time.Second)
		if got := d.Status(); got.Seq != 20_000 || len(s.rows) != 0 || len(s.commits) < 5 || len(s.commits) > 12 {
			t.Fatalf("got %+v after %d commits, want about one in each of 10 seconds", got, len(s.commits))
		}
		before := len(s.commits)
		for range 1000 { // a backlog of them
			st.add(1000, false)
		}
		st.add(10, true)
		st.schema = calls
		st.add(10, false)
		begin := time.Now()
		if err := d.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := len(s.commits) - before; got < 9 || got > 12 || len(s.rows) != 10 || time.Since(begin) > time.Second {
			t.Errorf("%d commits and %d rows in %v, want about one for each 100,000 rows passed over", got, len(s.rows), time.Since(begin))
		}
		for _, at := range s.commits {
			if b := st.blocks[st.indexLocked(at)]; b.End.Seq != at || b.Open {
				t.Errorf("the cursor stood at %d, where it must not", at)
			}
		}
	})
}

// slowError is what a sink says whose statement took too long.
type slowError struct{ state string }

func (e slowError) Error() string    { return "canceling statement due to statement timeout" }
func (e slowError) SQLState() string { return e.state }

// TestShrinks checks that batches become smaller as long as the sink is too slow
// for them, down to a block, and grow back.
func TestShrinks(t *testing.T) {
	for _, slow := range []error{context.DeadlineExceeded, fmt.Errorf("apply: %w", slowError{"57014"}), slowError{"08006"}, errAway} {
		synctest.Test(t, func(t *testing.T) {
			st, s := tens(2000), newMemSink()
			var rows, largest int
			limit := 25
			s.fault = func(step string) error {
				switch {
				case step == stepBegin:
					rows = 0
				case step == stepRow:
					if rows++; rows > limit {
						return slow
					}
				case step == stepReply && limit < 1<<20:
					largest = max(largest, rows)
				}
				return nil
			}
			d := started(t, Config{Stream: st, Sink: s, Rows: 1000})
			settle(time.Hour)
			shrinks := errors.Is(slow, context.DeadlineExceeded) || errors.As(slow, &slowError{}) && strings.HasPrefix(slow.Error(), "apply")
			if got := d.Status(); (got.State == Idle) != shrinks || shrinks && (largest > 25 || got.Seq != 20_000) {
				t.Fatalf("%v: got %+v, largest batch %d", slow, got, largest)
			}
			if !shrinks {
				return
			}
			d.Pause()
			synctest.Wait()
			s.mu.Lock()
			limit = 1 << 30
			s.commits = nil
			s.mu.Unlock()
			for range 10_000 {
				st.add(10, false)
			}
			d.Resume(Resumption{})
			settle(time.Minute)
			wantRows(t, st, s, 120_000)
			if n := len(s.commits); s.commits[n-2]-s.commits[n-3] != 1000 {
				t.Errorf("%v: batches did not grow back: %d to %d", slow, s.commits[n-3], s.commits[n-2])
			}
		})
	}
}

// TestRates checks how fast a backlog is said to shrink, and until when.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := tens(100_000), newMemSink() // a million rows
		var away atomic.Bool
		s.fault = func(step string) error {
			if away.Load() {
				return errAway
			}
			if step == stepCommit {
				time.Sleep(time.Second) // 1,000 rows a second
			}
			return nil
		}
		d := started(t, Config{Stream: st, Sink: s, Rows: 1000})
		if got := d.Status(); got.DrainRate != 0 || got.ETA != 0 {
			t.Errorf("at the start: %+v", got)
		}
		for range 300 {
			settle(time.Second)
			for range 50 { // 500 come in
				st.add(10, false)
			}
		}
		got := d.Status()
		if eta := got.ETA.Seconds(); got.DrainRate < 950 || got.DrainRate > 1050 || eta < 0.9*float64(got.LagRows)/500 || eta > 1.1*float64(got.LagRows)/500 {
			t.Errorf("got rate %v, %v for %d rows, want about 1000 out and 500 in", got.DrainRate, got.ETA, got.LagRows)
		}
		away.Store(true)
		settle(10 * time.Minute)
		if got := d.Status(); got.DrainRate != 0 || got.ETA != 0 {
			t.Errorf("while the sink is away: %v, %v", got.DrainRate, got.ETA)
		}
		if len(d.pace) > 63 {
			t.Errorf("%d steps are remembered for a minute", len(d.pace))
		}
	})
}

var _ sink.Batch = (*retryBatch)(nil)
