package deliver

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

// TestRetry retries rejects once their cause is gone, or is not, whatever the
// commit's answer was.
func TestRetry(t *testing.T) {
	tests := []struct {
		name  string
		how   refusal
		bad   []uint64 // still
		fault func(string) error
		want  []uint64 // in the sink by retry
		text  string   // of the error
	}{
		{"mended", "", nil, nil, []uint64{3, 13, 14}, ""},
		{"one still bad", "", []uint64{13}, nil, []uint64{3, 14}, ""},
		{"one still bad, late", late, []uint64{13}, nil, []uint64{3, 14}, ""},
		{"one still bad, named", named, []uint64{13}, nil, []uint64{3, 14}, ""},
		{"one still bad, nameless", nameless, []uint64{13}, nil, []uint64{3, 14}, ""},
		{"in doubt", "", []uint64{13}, scripted(stepReply, errReply, errReply), []uint64{3, 14}, ""},
		{"away", "", nil, scripted(stepCommit, errAway), nil, "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, s, m := tens(4), refusing("", 3, 13, 14), &memRejects{}
				d := started(t, Config{Stream: st, Sink: s, Rejects: m})
				settle(time.Minute)
				s.mu.Lock()
				s.how, s.refuse, s.fault = tt.how, map[uint64]bool{}, tt.fault
				for _, seq := range tt.bad {
					s.refuse[seq] = true
				}
				s.mu.Unlock()
				slices.Reverse(m.list)
				given := slices.Clone(m.list)
				for range 2 { // the second time changes nothing
					refused, err := d.Retry(t.Context(), m.list)
					if tt.text != "" {
						if err == nil || !strings.Contains(err.Error(), tt.text) || len(s.retried) != 0 {
							t.Fatalf("got error %v with rows %v, want it to say %q", err, s.retried, tt.text)
						}
						tt.text = ""
						tt.want = []uint64{3, 13, 14}
						continue
					}
					var again []uint64
					for _, r := range refused {
						again = append(again, r.Row.Seq)
						if r.Code != "23505" || !strings.Contains(r.Why, "duplicate key") {
							t.Errorf("refused again for %q, %q", r.Code, r.Why)
						}
					}
					if err != nil || !slices.Equal(again, tt.bad) || !slices.Equal(s.retried, tt.want) {
						t.Errorf("error %v, refused %v, in the sink %v; want %v and %v", err, again, s.retried, tt.bad, tt.want)
					}
				}
				for i := range given {
					if m.list[i].Why != given[i].Why || m.list[i].Row.Seq != given[i].Row.Seq {
						t.Error("what was given was changed")
					}
				}
				st.add(5, false)
				settle(time.Minute)
				if got := d.Status(); got.Seq != 45 || got.State != Idle {
					t.Errorf("after it: %+v, want it to go on", got)
				}
			})
		})
	}
}

// TestRetryRefuses lists what cannot be retried.
func TestRetryRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := tens(2), newMemSink()
		d := started(t, Config{Stream: st, Sink: s})
		settle(time.Minute)
		good := Reject{StreamID: "journal", Stream: "main", Sink: "default", Row: st.blocks[0].Rows[0]}
		for text, spoil := range map[string]func(r *Reject){
			"cursor stands at seq 20": func(r *Reject) { r.Row.Seq = 21 },
			"edit it first":           func(r *Reject) { r.Row.Flags = row.Malformed },
			`sink "other"`:            func(r *Reject) { r.Sink = "other" },
			`stream "main"`:           func(r *Reject) { r.StreamID = "another journal" },
		} {
			bad := good
			spoil(&bad)
			if _, err := d.Retry(t.Context(), []Reject{good, bad}); err == nil || !strings.Contains(err.Error(), text) || len(s.retried) != 0 {
				t.Errorf("got error %v, want it to say %q, and nothing written", err, text)
			}
		}
	})
}

// TestLostCursor takes the cursor away, and holds that nothing is delivered
// before an operator has said so, however often the server is started again, and
// wherever a new cursor would begin.
func TestLostCursor(t *testing.T) {
	for name, cfg := range map[string]Config{
		"at the front":      {Mark: 40},
		"at the end":        {Mark: 20, Attached: true, Start: row.Position{Seq: 40, Chain: 40}},
		"where it stood":    {Mark: 20, Attached: true, Start: row.Position{Seq: 20, Chain: 20}},
		"nothing committed": {Attached: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, s, m := tens(4), newMemSink(), &memRejects{}
				if cfg.Start.Seq > 0 {
					cfg.Start = st.blocks[cfg.Start.Seq/10-1].End
				}
				var rewound []uint64
				cfg.Rewound = func(_ context.Context, to row.Position) error {
					rewound = append(rewound, to.Seq)
					return nil
				}
				cfg.Stream, cfg.Sink, cfg.Rejects = st, s, m
				for range 3 {
					d := started(t, cfg)
					settle(time.Hour)
					if got := d.Status(); got.State != Halted || got.Reason != Restored || len(s.rows) != 0 || got.Seq != cfg.Mark {
						t.Fatalf("got %+v, want it halted", got)
					}
					if cfg.Mark == 0 {
						break // nothing was lost, so the next start is a first one
					}
					d.Close()
				}
				d := started(t, cfg)
				settle(time.Minute)
				d.Resume(Resumption{Replay: true})
				settle(time.Minute)
				wantRows(t, st, s, 40)
				if got := d.Status(); got.State != Idle || len(rewound) != min(1, int(cfg.Mark)) {
					t.Errorf("got %+v, told of %v, want every row again", got, rewound)
				}
			})
		})
	}
}

// TestRewound holds that rejects hear of a restored sink before a row comes.
func TestRewound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s := tens(4), newMemSink()
		s.cursors[theID] = sink.Cursor{Position: st.blocks[1].End, Epoch: 3}
		s.rows = from(1, 20)
		errs := []error{errDisk, nil}
		cfg := Config{Stream: st, Sink: s, Mark: 40, Replay: true, Rewound: func(_ context.Context, to row.Position) error {
			if to.Seq != 20 || len(s.rows) != 20 {
				t.Errorf("told of seq %d with %d rows in the sink, want 20", to.Seq, len(s.rows))
			}
			err := errs[0]
			errs = errs[1:]
			return err
		}}
		d := started(t, cfg)
		settle(time.Minute)
		wantRows(t, st, s, 40)
		if got := d.Status(); got.Retries != 1 || len(errs) != 0 {
			t.Errorf("got %+v, want it told twice, since once failed", got)
		}
	})
}

// TestShutdownIsNoVerdict stops in the middle of a batch, and holds that no row
// is blamed for it.
func TestShutdownIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, s, m := tens(4), newMemSink(), &memRejects{}
		hang := make(chan struct{})
		s.fault = func(step string) error {
			if step == stepRow {
				<-hang
			}
			return nil
		}
		d := started(t, Config{Stream: st, Sink: s, Rejects: m})
		synctest.Wait()
		go d.Close()
		synctest.Wait()
		close(hang)
		settle(time.Minute)
		if got := d.Status(); got.State != Delivering || got.LastError != "" || got.Retries != 0 || got.Seq != 0 || len(m.list) != 0 || len(s.rows) != 0 {
			t.Errorf("got %+v with rejects %v, want nothing blamed for the stop", got, m.list)
		}
		s.fault = nil
		_ = started(t, Config{Stream: st, Sink: s, Rejects: m, Instance: "b"})
		settle(time.Minute)
		wantRows(t, st, s, 40)
	})
}
