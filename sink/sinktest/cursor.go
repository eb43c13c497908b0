package sinktest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"holdfast/row"
	"holdfast/sink"
)

// cursorRules are about what makes delivery exactly once.
var cursorRules = []rule{
	{"attach creates the cursor at start",
		"a sink that is added to a stream begins where the operator said, not at zero",
		func(t *testing.T, h Harness, d Destination) {
			start := row.Position{Seq: 41, Chain: chain(41)}
			n := attach(t, open(t, d), stream, "a", start)
			c := cursor(t, n)
			if c.Position != start || c.Instance != "a" || c.Epoch != 1 {
				t.Fatalf("got cursor %+v, want position %+v, epoch 1, instance a", c, start)
			}
		}},
	{"attach again continues, in a higher epoch",
		"a restart continues behind the last commit, whatever start says; the epoch is what fences the older instance",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			apply(t, attach(t, s, stream, "a", row.Position{}), numbered(schema("t", "v"), 1, 3)...)
			for i, instance := range []string{"b", "b", "c"} { // one instance may attach twice
				c := cursor(t, attach(t, s, stream, instance, row.Position{Seq: 99, Chain: 5}))
				want := sink.Cursor{Position: row.Position{Seq: 3, Chain: chain(3)}, Epoch: uint64(i + 2), Instance: instance}
				if c != want {
					t.Fatalf("got cursor %+v, want %+v", c, want)
				}
			}
			s2 := open(t, d)
			n := attach(t, s2, stream, "d", row.Position{})
			apply(t, n, numbered(schema("t", "v"), 4, 5)...)
			wantNumbered(t, d, "t", 5)
		}},
	{"an older session is fenced",
		"two instances of one stream must not both deliver: each row would arrive twice",
		func(t *testing.T, h Harness, d Destination) {
			old := attach(t, open(t, d), stream, "a", row.Position{})
			apply(t, old, numbered(schema("t", "v"), 1, 2)...)
			fresh := attach(t, open(t, d), stream, "b", row.Position{})
			err := old.Apply(context.Background(), NewBatch(numbered(schema("t", "v"), 3, 4), row.Position{Seq: 4, Chain: 4}), new(Rejects))
			wantError(t, "Apply of the older session", err, sink.ErrFenced)
			if errors.Is(err, sink.ErrDoubtful) {
				t.Fatalf("a fenced session writes nothing, so nothing is in doubt: %v", err)
			}
			_, err = old.Cursor(context.Background())
			wantError(t, "Cursor of the older session", err, sink.ErrFenced)
			wantNumbered(t, d, "t", 2)
			apply(t, fresh, numbered(schema("t", "v"), 3, 5)...)
			wantNumbered(t, d, "t", 5)
		}},
	{"one instance fences itself",
		"a session that its own daemon gave up may still have a batch under way",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			old := attach(t, s, stream, "a", row.Position{})
			attach(t, s, stream, "a", row.Position{})
			err := old.Apply(context.Background(), NewBatch(numbered(schema("t", "v"), 1, 1), row.Position{Seq: 1}), new(Rejects))
			wantError(t, "Apply of the older session", err, sink.ErrFenced)
		}},
	{"a batch that fails leaves nothing",
		"rows without their cursor would come again: rows and cursor commit together or not at all",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			apply(t, n, numbered(schema("t", "v"), 1, 2)...)
			before := cursor(t, n)
			broken := errors.New("the journal is damaged here")
			for _, after := range []int{0, 1, 150, 299} {
				rows := append(numbered(schema("t", "v"), 3, 200), numbered(schema("fresh", "v"), 201, 302)...)
				err := n.Apply(context.Background(), NewBatch(rows, row.Position{Seq: 302}).FailAfter(after, broken), new(Rejects))
				wantError(t, "Apply", err, broken)
				if got := cursor(t, n); got != before {
					t.Fatalf("cursor moved to %+v from %+v", got, before)
				}
			}
			wantNumbered(t, d, "t", 2)
			if n := d.Tables(t, "fresh"); n != 0 && len(d.Rows(t, "fresh", "v")) != 0 {
				t.Fatal("table fresh has rows of a batch that was rolled back")
			}
			apply(t, n, numbered(schema("t", "v"), 3, 200)...)
			wantNumbered(t, d, "t", 200)
		}},
	{"a cursor that is not sound is taken from nobody",
		"an old server that comes back, or a copy of one, must not stop the server that is in charge",
		func(t *testing.T, h Harness, d Destination) {
			wrong := errors.New("of another journal")
			var seen []sink.Cursor
			refuse := func(c sink.Cursor) error { seen = append(seen, c); return wrong }
			s := open(t, d)
			_, err := s.Attach(context.Background(), stream, "old", row.Position{Seq: 7, Chain: 7}, refuse)
			wantError(t, "Attach where there is no cursor", err, wrong)
			n := attach(t, s, stream, "a", row.Position{})
			apply(t, n, numbered(schema("t", "v"), 1, 2)...)
			was := cursor(t, n)
			_, err = open(t, d).Attach(context.Background(), stream, "old", row.Position{}, refuse)
			wantError(t, "Attach", err, wrong)
			if len(seen) != 2 || seen[0].Epoch != 0 || seen[0].Position != (row.Position{Seq: 7, Chain: 7}) || seen[1].Position != was.Position || seen[1].Epoch != was.Epoch {
				t.Fatalf("it was asked about %+v, want one at the start with epoch 0, then %+v", seen, was)
			}
			if now := cursor(t, n); now != was {
				t.Fatalf("the cursor is %+v, was %+v", now, was)
			}
			apply(t, n, numbered(schema("t", "v"), 3, 3)...)
			wantNumbered(t, d, "t", 3)
		}},
	{"an ended context leaves nothing, or all",
		"shutdown strikes at any moment, and must not be a verdict on the rows",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			ctx, cancel := context.WithCancel(context.Background())
			rows := numbered(schema("t", "v"), 1, 500)
			err := n.Apply(ctx, NewLargeBatch(500, func(i int) row.Row {
				if i == 250 {
					cancel()
				}
				return rows[i]
			}, endOf(rows)), new(Rejects))
			switch c := cursor(t, n); {
			case c.Seq == 500 && err == nil:
				wantNumbered(t, d, "t", 500)
			case c.Seq == 0 && err != nil:
				apply(t, n, rows...)
				wantNumbered(t, d, "t", 500)
			default:
				t.Fatalf("Apply gave error %v, and the cursor stands at %d", err, c.Seq)
			}
		}},
	{"a cursor that is gone is said to be gone",
		"a new cursor at zero would send every kept row again",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			apply(t, n, numbered(schema("t", "v"), 1, 2)...)
			d.ForgetCursor(t, stream)
			_, err := n.Cursor(context.Background())
			wantError(t, "Cursor", err, sink.ErrNoCursor)
			err = n.Apply(context.Background(), NewBatch(numbered(schema("t", "v"), 3, 3), row.Position{Seq: 3}), new(Rejects))
			wantError(t, "Apply", err, sink.ErrNoCursor)
			wantNumbered(t, d, "t", 2)
		}},
	{"cursors are apart per stream and per sink",
		"several streams, several sinks and several servers may deliver into one database",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			ids := []sink.ID{
				stream,
				{StreamID: stream.StreamID, Stream: "main", Sink: "second"},
				{StreamID: "another journal of the same name", Stream: "main", Sink: "default"},
				{StreamID: "x\" OR '1'='1", Stream: "'; DROP TABLE t; --", Sink: "ü`\"'"},
			}
			var sessions []sink.Session
			for _, id := range ids {
				sessions = append(sessions, attach(t, s, id, "a", row.Position{}))
			}
			for i, n := range sessions {
				apply(t, n, numbered(schema("t", "v"), 1, uint64(i+1))...)
			}
			for i, n := range sessions {
				if c := cursor(t, n); c.Seq != uint64(i+1) || c.Epoch != 1 {
					t.Fatalf("cursor of %+v stands at %+v, want seq %d in epoch 1", ids[i], c, i+1)
				}
			}
		}},
	{"streams deliver at the same time",
		"a sink is safe for concurrent use by several streams",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			names := []string{"one", "two", "three"}
			var wg sync.WaitGroup
			for _, name := range names {
				n := attach(t, s, sink.ID{StreamID: name, Stream: name, Sink: "default"}, "a", row.Position{})
				wg.Go(func() {
					for at := uint64(1); at <= 200; at += 20 {
						rows := numbered(schema(name, "v"), at, at+19)
						if err := n.Apply(context.Background(), NewBatch(rows, endOf(rows)), new(Rejects)); err != nil {
							t.Errorf("Apply of stream %q: %v", name, err)
							return
						}
					}
				})
			}
			wg.Wait()
			for _, name := range names {
				wantNumbered(t, d, name, 200)
			}
		}},
	{"a session outlives an outage",
		"delivery tries again for ever on the session it has: attaching anew could take the cursor from an instance that rightly has it",
		func(t *testing.T, h Harness, d Destination) {
			if d.Break == nil {
				t.Skip("this destination cannot be made unreachable")
			}
			n := attach(t, open(t, d), stream, "a", row.Position{})
			apply(t, n, numbered(schema("t", "v"), 1, 2)...)
			heal := d.Break(t)
			rows := numbered(schema("t", "v"), 3, 4)
			err := n.Apply(context.Background(), NewBatch(rows, endOf(rows)), new(Rejects))
			var refused *sink.RowError
			if err == nil || errors.As(err, &refused) || errors.Is(err, sink.ErrFenced) || errors.Is(err, sink.ErrNoCursor) {
				t.Fatalf("Apply during an outage gave %v, want an error about the sink", err)
			}
			heal()
			if c := cursor(t, n); c.Seq != 2 {
				t.Fatalf("cursor stands at %d after the outage, want 2", c.Seq)
			}
			apply(t, n, rows...)
			wantNumbered(t, d, "t", 4)
		}},
	{"close ends the sessions, twice if need be",
		"a reload closes a sink while its streams go on with another",
		func(t *testing.T, h Harness, d Destination) {
			s := d.Open(t)
			n := attach(t, s, stream, "a", row.Position{})
			for range 2 {
				if err := s.Close(); err != nil {
					t.Fatalf("Close: %v", err)
				}
			}
			if err := n.Apply(context.Background(), NewBatch(numbered(schema("t", "v"), 1, 1), row.Position{Seq: 1}), new(Rejects)); err == nil {
				t.Fatal("Apply through a closed sink gave no error")
			}
			if _, err := s.Attach(context.Background(), stream, "b", row.Position{}, nil); err == nil {
				t.Fatal("Attach to a closed sink gave no error")
			}
			if d.Tables(t, "t") != 0 {
				t.Fatal("a closed sink created a table")
			}
		}},
}
