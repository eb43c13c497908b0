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

// TestHalts lists what stops delivery until somebody resumes, and checks that
// it neither goes on nor tries on by itself.
func TestHalts(t *testing.T) {
	type world struct {
		st *memStream
		s  *memSink
	}
	tests := []struct {
		name   string
		break_ func(w world)
		mark   uint64
		want   Reason
		text   string
	}{
		{"fenced", func(w world) { w.s.fault = scripted(stepBegin, sink.ErrFenced, sink.ErrFenced) }, 0, Fenced, "taken over"},
		{"fenced at the cursor", func(w world) { w.s.fault = scripted(stepCursor, sink.ErrFenced) }, 0, Fenced, "taken over"},
		{"cursor gone", func(w world) { w.s.fault = scripted(stepCursor, sink.ErrNoCursor) }, 0, NoCursor, "gone"},
		{"restored", func(w world) { w.s.cursors[theID] = sink.Cursor{Position: w.st.blocks[1].End} }, 15, Restored, "seq 10, but seq 15"},
		{"emptied", func(w world) {}, 15, Restored, "seq 0, but seq 15"},
		{"chain differs", func(w world) { w.s.cursors[theID] = sink.Cursor{Position: row.Position{Seq: 10, Chain: 1}} }, 0, OtherJournal, "not of this journal"},
		{"chain differs, behind the mark", func(w world) { w.s.cursors[theID] = sink.Cursor{Position: row.Position{Seq: 10, Chain: 1}} }, 15, OtherJournal, "not of this journal"},
		{"beyond the end", func(w world) { w.s.cursors[theID] = sink.Cursor{Position: row.Position{Seq: 21}} }, 0, OtherJournal, "beyond the last row 20"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := world{newMemStream(), newMemSink()}
				for range 4 {
					w.st.add(5, false)
				}
				tt.break_(w)
				d := started(t, Config{Stream: w.st, Sink: w.s, Mark: tt.mark})
				settle(time.Hour)
				got := d.Status()
				if got.State != Halted || got.Reason != tt.want || !strings.Contains(got.LastError, tt.text) || got.Retries != 1 {
					t.Fatalf("got %+v, want it halted once, for %q, saying %q", got, tt.want, tt.text)
				}
				if len(w.s.rows) != 0 {
					t.Fatalf("%d rows were delivered", len(w.s.rows))
				}
				if err := d.Drain(t.Context()); err == nil || !strings.Contains(err.Error(), "rows") {
					t.Errorf("Drain gave %v, want what is left", err)
				}
				settle(time.Hour)
				if w.s.attachs != 1 || d.Status().State != Halted {
					t.Errorf("after Drain it attached %d times and is %q, want it still halted", w.s.attachs, d.Status().State)
				}
			})
		})
	}
}

// TestResume resumes after a fence, and gives a restored sink its rows again.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		for range 4 {
			st.add(5, false)
		}
		var marks []uint64
		d := started(t, Config{Stream: st, Sink: s, Marked: func(seq uint64) { marks = append(marks, seq) }})
		synctest.Wait()
		s.mu.Lock() // the sink is put back to an older copy
		s.rows, s.commits = s.rows[:10], nil
		s.cursors[theID] = sink.Cursor{Position: st.blocks[1].End, Epoch: 1, Instance: "a"}
		s.fault = scripted(stepBegin, errAway)
		s.mu.Unlock()
		st.add(5, false)
		settle(time.Minute)
		if got := d.Status(); got.Reason != Restored {
			t.Fatalf("got %+v, want it halted as restored", got)
		}
		d.Resume(false)
		settle(time.Minute)
		if got := d.Status(); got.Reason != Restored || s.attachs != 2 {
			t.Fatalf("without replay: got %+v after %d attaches, want it halted again", got, s.attachs)
		}
		d.Resume(true)
		settle(time.Minute)
		wantRows(t, st, s, 25)
		if got := d.Status(); got.State != Idle || got.LastError != "" || got.Reason != "" {
			t.Errorf("got %+v, want it idle and without an error", got)
		}
		if got := fmt.Sprint(marks); got != "[0 20 10 25]" {
			t.Errorf("marks were %s, want [0 20 10 25]", got)
		}
		d.Resume(true) // nobody needed to look
		st.add(5, false)
		settle(time.Minute)
		wantRows(t, st, s, 30)
		if s.attachs != 3 {
			t.Errorf("attached %d times, want 3: Resume of a healthy delivery must not take the cursor", s.attachs)
		}
	})
}

// TestReplay checks that a configuration can answer a restored sink beforehand.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		for range 4 {
			st.add(5, false)
		}
		d := started(t, Config{Stream: st, Sink: s, Mark: 15, Replay: true})
		if settle(time.Minute); d.Status().State != Idle {
			t.Errorf("got %+v, want all rows delivered again", d.Status())
		}
		wantRows(t, st, s, 20)
		if got := d.Status(); got.Rows != 20 {
			t.Errorf("counted %d rows, want 20", got.Rows)
		}
	})
}

// TestBadRow checks that what stands in front of a refused row is delivered,
// the row is named and never skipped, and that mending the table heals it.
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
	})
}

// TestDamage checks that delivery stops in front of what cannot be read,
// delivers all before it, and goes on once it was repaired.
func TestDamage(t *testing.T) {
	lost := func(b *row.Block) {
		b.Damage = []row.Damage{{Stream: "main", Segment: 3, Offset: 4096, First: b.First + 1, Last: b.First + 1, What: "checksum differs"}}
		b.Rows = append(b.Rows[:1:1], b.Rows[2:]...)
	}
	tests := []struct {
		name string
		hurt func(b *row.Block)
		want Reason
		text string
		seq  uint64 // delivered up to here
	}{
		{"a row lost", lost, Damage, "rows 52 to 52", 50},
		{"no row lost", func(b *row.Block) { b.Damage = []row.Damage{{What: "padding"}} }, "", "", 100},
		{"fewer rows than said", func(b *row.Block) { b.Rows = b.Rows[1:] }, Damage, "holds 4 rows", 50},
		{"rows missing before it", func(b *row.Block) { b.First += 2; b.Rows = b.Rows[2:] }, Gap, "rows 51 to 52 are missing", 50},
		{"in a transaction", func(b *row.Block) { lost(b); b.Rows[0].Seq = 51 }, Damage, "rows 52 to 52", 50},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, s := newMemStream(), newMemSink()
				for range 20 {
					st.add(5, false)
				}
				if tt.name == "in a transaction" { // which begins in front of the damage
					st.change(46, func(b *row.Block) { b.Open = true })
					tt.seq = 45
				}
				whole := st.blocks[st.indexLocked(51)]
				st.change(51, tt.hurt)
				d := started(t, Config{Stream: st, Sink: s})
				settle(time.Hour)
				got := d.Status()
				if got.Seq != tt.seq || got.Reason != tt.want || !strings.Contains(got.LastError, tt.text) {
					t.Fatalf("got %+v, want seq %d, reason %q, saying %q", got, tt.seq, tt.want, tt.text)
				}
				if got.Retries > 3600/15+5 {
					t.Errorf("read damage again %d times in an hour", got.Retries)
				}
				st.change(55, func(b *row.Block) { *b = whole })
				settle(time.Minute)
				wantRows(t, st, s, 100)
			})
		})
	}
}

// TestGone checks the sink that was away for longer than rows are kept.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := newMemStream(), newMemSink()
		st.add(5, false)
		st.add(5, false)
		st.first = 6
		d := started(t, Config{Stream: st, Sink: s})
		settle(time.Hour)
		if got := d.Status(); got.State != Halted || got.Reason != Gap || !strings.Contains(got.LastError, "no longer kept") {
			t.Errorf("got %+v, want it halted at a gap", got)
		}
		if len(s.rows) != 0 {
			t.Errorf("rows behind the gap were delivered: %v", s.rows)
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
		b := newBatch(t.Context(), nil, &st.blocks[1], row.Position{Seq: 8})
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

func (c careless) Attach(ctx context.Context, id sink.ID, instance string, start row.Position) (sink.Session, error) {
	n, err := c.memSink.Attach(ctx, id, instance, start)
	return carelessSession{n}, err
}

type carelessSession struct{ sink.Session }

func (carelessSession) Apply(context.Context, sink.Batch, sink.Rejects) error { return nil }
