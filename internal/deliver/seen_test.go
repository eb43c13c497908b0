package deliver

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/sink"
)

// TestDrainedIsMarked checks that whoever sees by Drain that rows are delivered
// finds them marked, and what was set aside counted, however slow that is.
func TestDrainedIsMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s, m := newMemStream(), refusing("", 3), &memRejects{}
		var mark atomic.Uint64
		d := started(t, Config{Stream: st, Sink: s, Rejects: m, Marked: func(seq uint64) {
			time.Sleep(time.Second)
			mark.Store(seq)
		}})
		for range 5 {
			st.add(5, false)
			if err := d.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, end := mark.Load(), st.End().Seq; got != end {
				t.Errorf("drained up to %d, the mark says %d", end, got)
			}
			if got := d.Status().Rejects; got != 1 {
				t.Errorf("drained, and %d rejects are counted, want 1", got)
			}
		}
	})
}

// TestResumedThenDrained resumes what is halted or paused, and drains at once:
// that the goroutine has not come to it yet must not be told as a halt.
func TestResumedThenDrained(t *testing.T) {
	for _, tt := range []struct {
		name  string
		halt  func(s *memSink, m *memRejects)
		want  State
		how   Resumption
		twice bool // and first in a way that does not help
	}{
		{"fenced", func(s *memSink, _ *memRejects) { s.fault = scripted(stepBegin, sink.ErrFenced) }, Halted, Resumption{}, false},
		{"restored", func(s *memSink, _ *memRejects) {
			s.cursors[theID] = sink.Cursor{Epoch: 1, Instance: "a"}
			s.rows, s.commits, s.fault = nil, nil, scripted(stepBegin, errAway)
		}, Halted, Resumption{Replay: true}, true},
		{"budget", func(s *memSink, m *memRejects) {
			s.refuse = map[uint64]bool{7: true}
			m.fault = scripted(stepKeep, ErrBudget)
		}, Halted, Resumption{}, false},
		{"paused", nil, Paused, Resumption{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, s, m := newMemStream(), newMemSink(), &memRejects{}
				st.add(5, false)
				d := started(t, Config{Stream: st, Sink: s, Rejects: m})
				synctest.Wait()
				s.mu.Lock()
				if tt.halt == nil {
					d.Pause()
				} else {
					tt.halt(s, m)
				}
				s.mu.Unlock()
				st.add(5, false)
				settle(5 * time.Second)
				if got := d.Status(); got.State != tt.want {
					t.Fatalf("got %+v, want it %s", got, tt.want)
				}
				if tt.twice {
					d.Resume(Resumption{})
				}
				d.Resume(tt.how)
				if got := d.Status(); got.State == Halted || got.State == Paused || got.Reason != "" {
					t.Errorf("resumed, and told as %+v", got)
				}
				if err := d.Drain(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
