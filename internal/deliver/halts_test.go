package deliver

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

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

// TestSeekClaims puts a cursor of another journal where an operator says, as
// behind a data directory that was restored. Until then nothing is delivered, and
// an operator who gives up leaves it as it was.
func TestSeekClaims(t *testing.T) {
	for _, foreign := range []row.Position{{Seq: 10, Chain: 1}, {Seq: 900}} {
		synctest.Test(t, func(t *testing.T) {
			st, s := newMemStream(), newMemSink()
			for range 4 {
				st.add(5, false)
			}
			s.cursors[theID] = sink.Cursor{Position: foreign}
			d := started(t, Config{Stream: st, Sink: s, Mark: 3})
			settle(time.Hour)
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			for name, give := range map[string]func() error{
				"beyond the end": func() error { _, err := d.Seek(t.Context(), 21); return err },
				"given up":       func() error { _, err := d.Seek(gone, 15); return err },
				"resumed":        func() error { d.Resume(Resumption{Replay: true}); return errAway },
			} {
				if give() == nil {
					t.Errorf("%s: it says that it was done", name)
				}
				settle(time.Hour)
				if got := d.Status(); got.State != Halted || got.Reason != OtherJournal || len(s.rows) != 0 || s.cursors[theID].Position != foreign {
					t.Fatalf("%s: %+v, %d rows, cursor %+v", name, got, len(s.rows), s.cursors[theID])
				}
			}
			to, err := d.Seek(t.Context(), 15)
			if err != nil || to != st.blocks[2].End {
				t.Fatalf("at %+v: %v", to, err)
			}
			settle(time.Hour)
			if got := d.Status(); got.State == Halted || got.Seq != 20 || len(s.rows) != 5 {
				t.Errorf("in the end %+v, %d rows", got, len(s.rows))
			}
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
		d.Resume(Resumption{})
		settle(time.Minute)
		if got := d.Status(); got.Reason != Restored || s.attachs != 2 {
			t.Fatalf("without replay: got %+v after %d attaches, want it halted again", got, s.attachs)
		}
		d.Resume(Resumption{Replay: true})
		settle(time.Minute)
		wantRows(t, st, s, 25)
		if got := d.Status(); got.State != Idle || got.LastError != "" || got.Reason != "" {
			t.Errorf("got %+v, want it idle and without an error", got)
		}
		if got := fmt.Sprint(marks); got != "[0 20 10 25]" {
			t.Errorf("marks were %s, want [0 20 10 25]", got)
		}
		d.Resume(Resumption{Replay: true}) // nobody needed to look
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
