package deliver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

// theID is the cursor that all of these tests deliver under.
var theID = sink.ID{StreamID: "journal", Stream: "main", Sink: "default"}

// scripted returns a fault that strikes at the given step, once for each error.
func scripted(step string, errs ...error) func(string) error {
	return func(s string) error {
		if s != step || len(errs) == 0 {
			return nil
		}
		err := errs[0]
		errs = errs[1:]
		return err
	}
}

// TestFaults lets one fault after the other strike at each step, and expects
// every row exactly once, without anybody's help.
func TestFaults(t *testing.T) {
	tests := map[string]func(string) error{
		"none":                     nil,
		"attach fails":             scripted(stepAttach, errAway, errAway, errAway),
		"cursor cannot be read":    scripted(stepCursor, errAway, errAway),
		"locked":                   scripted(stepBegin, errAway, errAway, errAway),
		"lost among the rows":      scripted(stepRow, errAway, nil, nil, errAway),
		"doubtful, not committed":  scripted(stepCommit, errReply, errReply),
		"doubtful, committed":      scripted(stepReply, errReply, errReply, errReply),
		"committed, plain error":   scripted(stepReply, errAway),
		"doubtful at every commit": func(s string) error { return map[string]error{stepReply: errReply}[s] },
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, s := newMemStream(), newMemSink()
				s.fault = fault
				for range 30 {
					st.add(7, false)
				}
				d := started(t, Config{Stream: st, Sink: s, Rows: 20})
				if err := d.Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
				wantRows(t, st, s, 210)
				if got := d.Status(); got.Seq != 210 || got.LagRows != 0 || got.LagBytes != 0 || !got.Oldest.IsZero() || got.Rows != 210 {
					t.Errorf("got status %+v, want seq 210, 210 rows and no lag", got)
				}
				if s.attachs > 1 && name != "attach fails" {
					t.Errorf("attached %d times: that takes the cursor from whoever has it", s.attachs)
				}
			})
		})
	}
}

// TestWholeTransactions checks that a transaction over many blocks goes in one
// commit, far beyond the size of a batch, and that others end at a block.
func TestWholeTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		st.add(3, false)
		for range 50 {
			st.add(10, true)
		}
		st.add(1, false)
		st.add(4, false)
		d := started(t, Config{Stream: st, Sink: s, Rows: 10})
		if err := d.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantRows(t, st, s, 508)
		if got := fmt.Sprint(s.commits); got != "[504 508]" {
			t.Errorf("commits end at %s, want [504 508]", got)
		}
	})
}

// TestBatchSizes checks what ends a batch.
func TestBatchSizes(t *testing.T) {
	tests := []struct {
		rows  int
		bytes int64
		want  string
	}{
		{1, 0, "[5 10 15 20]"}, {6, 0, "[10 20]"}, {10, 0, "[10 20]"}, {0, 1, "[5 10 15 20]"}, {0, 600, "[10 20]"}, {0, 0, "[20]"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			st, s := newMemStream(), newMemSink()
			for range 4 {
				st.add(5, false)
			}
			d := started(t, Config{Stream: st, Sink: s, Rows: tt.rows, Bytes: tt.bytes})
			if err := d.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(s.commits); got != tt.want {
				t.Errorf("%d rows, %d bytes: commits end at %s, want %s", tt.rows, tt.bytes, got, tt.want)
			}
		})
	}
}

// TestGrowth checks that batches grow while rows wait and the sink is quick, as
// far as they may, and that anything in their way makes them small again.
func TestGrowth(t *testing.T) {
	tests := []struct {
		name string
		most int
		slow time.Duration // of each commit
		away int           // the commit that fails once; 0: none
		want string
	}{
		{"not wanted", 0, 0, 0, "[10 20 30 40 50 60 70 80 90 100]"},
		{"quick", 4, 0, 0, "[10 30 70 100]"},
		{"odd", 3, 0, 0, "[10 30 50 70 90 100]"},
		{"neither", 8, 300 * time.Millisecond, 0, "[10 20 30 40 50 60 70 80 90 100]"},
		{"away", 4, 0, 3, "[10 30 40 60 100]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, s := newMemStream(), newMemSink()
				for range 20 {
					st.add(5, false)
				}
				commits := 0
				s.fault = func(step string) error {
					if step != stepCommit {
						return nil
					}
					time.Sleep(tt.slow)
					if commits++; commits == tt.away {
						return errAway
					}
					return nil
				}
				d := started(t, Config{Stream: st, Sink: s, Rows: 10, Most: tt.most})
				if err := d.Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprint(s.commits); got != tt.want {
					t.Errorf("commits end at %s, want %s", got, tt.want)
				}
				wantRows(t, st, s, 100)
			})
		})
	}
}

// TestGrowsLess checks that batches which take long become smaller again.
func TestGrowsLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		for range 40 {
			st.add(5, false)
		}
		s.fault = func(step string) error {
			if step == stepCommit && len(s.commits) >= 2 {
				time.Sleep(time.Second)
			}
			return nil
		}
		d := started(t, Config{Stream: st, Sink: s, Rows: 10, Most: 8})
		if err := d.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(s.commits[:6]), "[10 30 70 90 100 110]"; got != want {
			t.Errorf("commits end at %s, want %s", got, want)
		}
	})
}

// TestLinger checks that a trickle of rows costs few commits, that a backlog
// does not wait, and that no row waits for long.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		d := started(t, Config{Stream: st, Sink: s, Rows: 100})
		for range 1000 {
			st.add(1, false)
			settle(time.Millisecond)
		}
		settle(50 * time.Millisecond)
		wantRows(t, st, s, 1000)
		if got := len(s.commits); got < 10 || got > 25 {
			t.Errorf("a second of one row each millisecond took %d commits, want about 20", got)
		}
		for range 100 {
			st.add(100, false)
		}
		begin := time.Now()
		if err := d.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("a backlog of 100 batches lingered for %v", took)
		}
	})
}

// TestReaderErrors checks that rows in front of a reading error arrive.
func TestReaderErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		for range 4 {
			st.add(5, false)
		}
		st.broken[11] = errors.New("input/output error")
		d := started(t, Config{Stream: st, Sink: s})
		settle(time.Minute)
		if got := d.Status(); got.State != Waiting || got.Seq != 10 || !strings.Contains(got.LastError, "input/output error") {
			t.Errorf("got %+v, want it waiting at seq 10", got)
		}
		st.mu.Lock()
		delete(st.broken, 11)
		st.mu.Unlock()
		settle(time.Minute)
		wantRows(t, st, s, 20)
	})
}

// TestBackoff checks the waits between attempts over a day without the sink.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		st.add(5, false)
		var at []time.Time
		s.fault = func(step string) error {
			if step == stepAttach {
				at = append(at, time.Now())
				return errAway
			}
			return nil
		}
		d := started(t, Config{Stream: st, Sink: s})
		settle(24 * time.Hour)
		limit := 100 * time.Millisecond
		same := 0
		for i := 1; i < len(at); i++ {
			wait := at[i].Sub(at[i-1])
			if wait < limit/2 || wait > limit {
				t.Fatalf("wait %d took %v, want %v to %v", i, wait, limit/2, limit)
			}
			if i > 1 && wait == at[i-1].Sub(at[i-2]) {
				same++
			}
			limit = min(2*limit, 30*time.Second)
		}
		if len(at) < 2880 || same > len(at)/10 {
			t.Errorf("%d attempts in a day, %d after the same wait as before: want more than 2880, and jitter", len(at), same)
		}
		got := d.Status()
		if got.State != Waiting || got.LastError == "" || got.LagRows != 5 || got.Oldest != time.UnixMicro(1e6) || time.Since(got.Since) < 23*time.Hour {
			t.Errorf("got %+v, want it waiting for a day with 5 rows of known age", got)
		}
		s.mu.Lock()
		s.fault = nil
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := d.Drain(ctx); err != nil {
			t.Errorf("Drain waited out the pause: %v", err)
		}
	})
}

// TestDrain checks both of its ends, and that Close is no verdict.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		st.add(5, false)
		s.fault = func(string) error { return errAway }
		d := started(t, Config{Stream: st, Sink: s})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begin := time.Now()
		err := d.Drain(ctx)
		if err == nil || !strings.Contains(err.Error(), "rows 1 to 5") || !strings.Contains(err.Error(), errAway.Error()) {
			t.Errorf("Drain gave %v, want what is left and why", err)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("Drain took %v, want 10 s", took)
		}
		for range 2 {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		if got := d.Status(); got.State == Halted {
			t.Errorf("shutdown halted it: %+v", got)
		}
		if err := d.Drain(t.Context()); err == nil {
			t.Error("Drain after Close said that all was delivered")
		}
		s.fault = nil
		d = started(t, Config{Stream: st, Sink: s, Instance: "b"})
		if err := d.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		wantRows(t, st, s, 5)
	})
}

// TestStart begins at a position that is not zero, and in the middle of a
// block, where somebody moved the cursor by hand.
func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		for range 4 {
			st.add(5, false)
		}
		d := started(t, Config{Stream: st, Sink: s, Start: st.blocks[1].End})
		if err := d.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(s.rows); got != "[11 12 13 14 15 16 17 18 19 20]" {
			t.Errorf("got rows %s, want 11 to 20", got)
		}
		b := New(Config{Stream: st, Sink: s}).batch(t.Context(), nil, &st.blocks[1], row.Position{Seq: 8})
		b.rows, b.bytes = 0, 0
		var seqs []uint64
		for b.Next() {
			seqs = append(seqs, b.Row().Seq)
		}
		if fmt.Sprint(seqs) != "[9 10]" || b.Err() != nil || b.End().Seq != 10 {
			t.Errorf("from the middle of a block: rows %v, error %v, end %v", seqs, b.Err(), b.End())
		}
	})
}

// TestCareless checks that a sink that does not read its batch is found out
// before rows are taken for delivered.
func TestCareless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newMemStream()
		st.add(5, false)
		d := started(t, Config{Stream: st, Sink: careless{newMemSink()}})
		settle(time.Minute)
		if got := d.Status(); got.Seq != 0 || !strings.Contains(got.LastError, "without reading") {
			t.Errorf("got %+v, want nothing delivered", got)
		}
	})
}

// careless says yes to every batch.
type careless struct{ *memSink }

func (c careless) Attach(ctx context.Context, id sink.ID, instance string, start row.Position, sound func(sink.Cursor) error) (sink.Session, error) {
	n, err := c.memSink.Attach(ctx, id, instance, start, sound)
	return carelessSession{n}, err
}

type carelessSession struct{ sink.Session }

func (carelessSession) Apply(context.Context, sink.Batch, sink.Rejects) error { return nil }
