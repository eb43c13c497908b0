package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

// tens returns a stream of n blocks of ten rows.
func tens(n int) *memStream {
	st := newMemStream()
	for range n {
		st.add(10, false)
	}
	return st
}

// TestPause pauses delivery in each of its states, and resumes it.
func TestPause(t *testing.T) {
	for name, fault := range map[string]func(string) error{
		"idle": nil, "waiting": func(step string) error { return map[string]error{stepBegin: errAway}[step] },
		"halted": scripted(stepCursor, sink.ErrFenced),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, s := tens(2), newMemSink()
				s.fault = fault
				d := started(t, Config{Stream: st, Sink: s})
				settle(time.Minute)
				before := d.Status()
				if string(before.State) != name {
					t.Fatalf("it is %q before the pause", before.State)
				}
				d.Pause()
				synctest.Wait()
				s.mu.Lock()
				s.fault = nil
				s.mu.Unlock()
				st.add(10, false)
				settle(time.Hour)
				if got := d.Status(); got.State != Paused || got.Seq != before.Seq || got.Reason != before.Reason || time.Since(got.Since) < time.Hour {
					t.Fatalf("got %+v, want it paused for an hour", got)
				}
				if err := d.Drain(t.Context()); err == nil || !strings.Contains(err.Error(), "to 30") {
					t.Errorf("Drain gave %v, want what is left", err)
				}
				d.Resume(Resumption{})
				settle(time.Minute)
				wantRows(t, st, s, 30)
				if got := d.Status(); got.State != Idle || got.Reason != "" || s.attachs != 1 && name != "halted" {
					t.Errorf("got %+v after %d attaches, want it idle", got, s.attachs)
				}
			})
		})
	}
}

// TestPausedFromTheStart checks a pause that the configuration remembers.
func TestPausedFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := tens(2), newMemSink()
		d := started(t, Config{Stream: st, Sink: s, Paused: true})
		settle(time.Hour)
		if got := d.Status(); got.State != Paused || s.attachs != 0 {
			t.Errorf("got %+v after %d attaches, want it paused before it touches the sink", got, s.attachs)
		}
		d.Resume(Resumption{})
		settle(time.Minute)
		wantRows(t, st, s, 20)
	})
}

// TestPauseFinishes checks that a pause does not break a commit.
func TestPauseFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := tens(20), newMemSink()
		var d *Deliverer
		s.fault = func(step string) error {
			if step == stepCommit {
				d.Pause()
				time.Sleep(time.Second)
			}
			return nil
		}
		d = New(Config{Stream: st, Sink: s, Name: "default", Rows: 10})
		d.Start()
		defer d.Close()
		settle(time.Minute)
		if got := d.Status(); got.State != Paused || got.Seq != 10 || len(s.rows) != 10 || got.Retries != 0 {
			t.Errorf("got %+v, want one batch and a pause", got)
		}
	})
}

// TestSeek moves the cursor both ways, to where it may stand, in every state in
// which that is allowed.
func TestSeek(t *testing.T) {
	tests := []struct {
		seq  uint64
		want uint64
		text string // of the error; "": none
		gap  string // "": none
		rows string // in the sink, behind the 60 that were there
	}{
		{80, 80, "", "61-80", "81-90"},
		{90, 90, "", "61-90", ""},
		{75, 70, "", "61-70", "71-90"},
		{60, 60, "", "", "61-90"},
		{30, 30, "", "", "31-90"},
		{29, 20, "", "", "21-90"},
		{50, 40, "", "", "41-90"}, // rows 41 to 60 are a transaction
		{59, 40, "", "", "41-90"},
		{10, 10, "", "", "11-90"},
		{9, 0, "no longer kept", "", "61-90"},
		{91, 0, "ends at seq 90", "", "61-90"},
	}
	for _, tt := range tests {
		for _, paused := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.seq, paused), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					st, s := tens(4), newMemSink()
					st.add(10, true)
					st.add(10, false)
					var marks []uint64
					d := started(t, Config{Stream: st, Sink: s, Marked: func(seq uint64) { marks = append(marks, seq) }})
					settle(time.Minute)
					d.Pause()
					synctest.Wait()
					for range 3 {
						st.add(10, false)
					}
					st.first = 11
					if !paused {
						s.mu.Lock()
						s.refuse[61] = true // halted as a bad row
						s.mu.Unlock()
						d.Resume(Resumption{})
						settle(time.Minute)
					}
					to, err := d.Seek(t.Context(), tt.seq)
					if got := fmt.Sprint(err); tt.text == "" && err != nil || !strings.Contains(got, tt.text) {
						t.Fatalf("got error %v, want %q", err, tt.text)
					}
					if to.Seq != tt.want {
						t.Errorf("the cursor went to %d, want %d", to.Seq, tt.want)
					}
					s.mu.Lock()
					s.refuse = nil
					s.mu.Unlock()
					d.Resume(Resumption{})
					settle(time.Minute)
					gap := ""
					for _, g := range s.gaps {
						gap += fmt.Sprintf("%d-%d", g.First, g.Last)
					}
					var rows string
					if more := s.rows[60:]; len(more) > 0 {
						rows = fmt.Sprintf("%d-%d", more[0], more[len(more)-1])
					}
					if gap != tt.gap || rows != tt.rows || d.Status().State != Idle || s.attachs != 1 {
						t.Errorf("gap %q, rows %q, %+v; want gap %q, rows %q", gap, rows, d.Status(), tt.gap, tt.rows)
					}
					if tt.text == "" && !slices.Contains(marks, tt.want) {
						t.Errorf("marks were %v, want %d among them", marks, tt.want)
					}
				})
			})
		}
	}
}

// TestSeekInDoubt loses the answer of a move backwards: the cursor counts, and
// nothing is taken for a restored sink.
func TestSeekInDoubt(t *testing.T) {
	for _, step := range []string{stepMove, stepMoved} {
		synctest.Test(t, func(t *testing.T) {
			st, s := tens(4), newMemSink()
			d := started(t, Config{Stream: st, Sink: s})
			settle(time.Minute)
			s.fault = scripted(step, errReply)
			if _, err := d.Seek(t.Context(), 20); !errors.Is(err, sink.ErrDoubtful) {
				t.Errorf("got error %v, want it in doubt", err)
			}
			settle(time.Minute)
			want := map[string]int{stepMove: 40, stepMoved: 60}[step]
			if got := d.Status(); got.State != Idle || len(s.rows) != want {
				t.Errorf("%s: got %+v with %d rows, want it idle with %d", step, got, len(s.rows), want)
			}
		})
	}
}

// TestCommandsWait checks how long a command waits, and what forbids it.
func TestCommandsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := tens(4), newMemSink()
		s.fault = func(string) error { return errAway }
		d := started(t, Config{Stream: st, Sink: s})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		_, err := d.Seek(ctx, 20)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), errAway.Error()) || time.Since(begin) != time.Minute {
			t.Errorf("while the sink is away: %v after %v, want a minute, and why", err, time.Since(begin))
		}
		time.AfterFunc(time.Hour, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.fault = nil
		})
		if to, err := d.Seek(t.Context(), 20); err != nil || to.Seq != 20 {
			t.Errorf("once it is back: %v, %v", to, err)
		}
		settle(time.Minute)
		s.mu.Lock()
		s.cursors[theID] = sink.Cursor{Epoch: 7}
		s.mu.Unlock()
		if _, err := d.Seek(t.Context(), 20); err == nil || !strings.Contains(err.Error(), "taken over") {
			t.Errorf("noticing the fence: %v", err)
		}
		settle(time.Minute)
		if _, err := d.Retry(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "fenced") {
			t.Errorf("halted by the fence: %v", err)
		}
		d.Close()
		if _, err := d.Seek(t.Context(), 20); err == nil {
			t.Error("a command was done after Close")
		}
	})
}

// TestAcceptGap checks that rows that are gone are stepped over when an operator
// says so, and that the sink has it in writing.
func TestAcceptGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := tens(4), newMemSink()
		st.first = 21
		s.fault = scripted(stepMoved, errReply)
		d := started(t, Config{Stream: st, Sink: s})
		settle(time.Hour)
		if got := d.Status(); got.Reason != Gap || len(s.gaps) != 0 {
			t.Fatalf("got %+v, want it halted at a gap", got)
		}
		d.Resume(Resumption{})
		settle(time.Hour)
		if got := d.Status(); got.Reason != Gap || got.Seq != 0 {
			t.Fatalf("got %+v, want it still halted: nobody accepted anything", got)
		}
		d.Resume(Resumption{AcceptGap: true})
		settle(time.Hour)
		if got := d.Status(); got.State != Idle || got.Seq != 40 || !slices.Equal(s.rows, from(21, 40)) {
			t.Fatalf("got %+v with rows %v, want what is kept", got, s.rows)
		}
		if len(s.gaps) != 1 || s.gaps[0].First != 1 || s.gaps[0].Last != 20 || s.attachs != 1 {
			t.Errorf("gaps in the sink are %+v after %d attaches, want rows 1 to 20", s.gaps, s.attachs)
		}
	})
}

// TestGapsAreNoted checks that a gap that repair made is in the sink before the
// rows behind it, once, in front of a block, within, and within a transaction.
func TestGapsAreNoted(t *testing.T) {
	for _, open := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			st, s := tens(2), newMemSink()
			st.add(10, open)
			st.add(10, open)
			st.add(10, false)
			for _, seq := range []uint64{1, 25, 35} {
				st.change(seq, func(b *row.Block) {
					b.Damage = []row.Damage{{Stream: "main", First: seq, Last: seq + 1, What: "lost", Gap: true}}
					b.Rows = slices.DeleteFunc(slices.Clone(b.Rows), func(r row.Row) bool { return r.Seq == seq || r.Seq == seq+1 })
				})
			}
			s.fault = func(step string) error {
				if step == stepReply {
					for _, seq := range s.rows {
						for i, lost := range []uint64{1, 25, 35} {
							if seq > lost && len(s.gaps) <= i {
								t.Errorf("row %d is in the sink, the gap at %d is not", seq, lost)
							}
						}
					}
				}
				return scripted(stepMoved, errAway)(step)
			}
			d := started(t, Config{Stream: st, Sink: s, Rows: 100})
			settle(time.Hour)
			s.mu.Lock()
			s.fault = nil
			s.mu.Unlock()
			settle(time.Hour)
			if got := d.Status(); got.Seq != 50 || len(s.rows) != 44 || got.GapRows != 6 || len(s.gaps) != 3 {
				t.Errorf("open %v: got %+v, rows %v, gaps %v", open, got, s.rows, s.gaps)
			}
		})
	}
}
