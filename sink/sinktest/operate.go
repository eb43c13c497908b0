package sinktest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"holdfast/row"
	"holdfast/sink"
)

func move(t *testing.T, n sink.Session, to row.Position, gaps ...row.Damage) {
	t.Helper()
	if err := n.Move(context.Background(), to, gaps); err != nil {
		t.Fatalf("Move to %+v: %v", to, err)
	}
	wantCursor(t, n, to)
}

// wantGaps checks what is noted as gone: "first-last reason", in any order.
func wantGaps(t *testing.T, d Destination, want ...string) {
	t.Helper()
	got := map[string]int{}
	for _, r := range d.Rows(t, "holdfast_gap", "first_seq", "last_seq", "reason") {
		got[fmt.Sprintf("%s-%s %s", r[0], r[1], r[2])]++
	}
	if len(got) != len(want) {
		t.Fatalf("holdfast_gap holds %v, want %q", got, want)
	}
	for _, w := range want {
		if got[w] != 1 {
			t.Fatalf("holdfast_gap holds %v, want %q once", got, w)
		}
	}
}

// moveRules are about a cursor that an operator, or a gap, puts elsewhere.
var moveRules = []rule{
	{"move puts the cursor forwards and backwards",
		"an operator skips what he does not want, or has rows sent again; delivery goes on from there",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			n := attach(t, s, stream, "a", row.Position{})
			apply(t, n, numbered(schema("t", "v"), 1, 2)...)
			move(t, n, row.Position{Seq: 1 << 62, Chain: chain(5)})
			move(t, n, row.Position{Seq: 5, Chain: chain(5)})
			apply(t, n, numbered(schema("t", "v"), 6, 7)...)
			move(t, n, row.Position{Seq: 2, Chain: chain(2)})
			move(t, n, row.Position{Seq: 2, Chain: chain(2)})
			apply(t, n, numbered(schema("t", "v"), 3, 4)...)
			wantColumn(t, d, "t", "v", []string{"1", "2", "6", "7", "3", "4"})
			move(t, n, row.Position{})
			wantCursor(t, attach(t, open(t, d), stream, "b", row.Position{Seq: 9}), row.Position{})
		}},
	{"a gap is noted where a reader of the rows finds it, once",
		"whoever counts the rows in the sink must be able to tell which are missing, and why; a move may be tried again",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			apply(t, n, numbered(schema("t", "v"), 1, 2)...)
			first := row.Damage{Stream: "main", First: 3, Last: 5, What: "rolled away, it's gone"}
			second := row.Damage{Stream: "main", First: 8, Last: 8, What: "checksum"}
			move(t, n, row.Position{Seq: 5, Chain: chain(5)}, first)
			move(t, n, row.Position{Seq: 8, Chain: chain(8)}, first, second)
			move(t, n, row.Position{Seq: 8, Chain: chain(8)}, first, second, second)
			wantGaps(t, d, "3-5 rolled away, it's gone", "8-8 checksum")
			apply(t, n, numbered(schema("t", "v"), 9, 9)...)
			wantColumn(t, d, "t", "v", []string{"1", "2", "9"})
		}},
	{"move is fenced",
		"an instance that lost the cursor must not move it under the one that has it",
		func(t *testing.T, h Harness, d Destination) {
			old := attach(t, open(t, d), stream, "a", row.Position{})
			fresh := attach(t, open(t, d), stream, "b", row.Position{})
			err := old.Move(context.Background(), row.Position{Seq: 7}, []row.Damage{{First: 1, Last: 7, What: "x"}})
			wantError(t, "Move of the older session", err, sink.ErrFenced)
			wantCursor(t, fresh, row.Position{})
			wantGaps(t, d)
		}},
	{"move without a cursor",
		"a cursor that was retired is not brought back by a session that lives on",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			d.ForgetCursor(t, stream)
			err := n.Move(context.Background(), row.Position{Seq: 7}, []row.Damage{{First: 1, Last: 7, What: "x"}})
			wantError(t, "Move", err, sink.ErrNoCursor)
			wantGaps(t, d)
		}},
}

// retry retries rows and checks that the cursor stays.
func retry(t *testing.T, n sink.Session, rows ...row.Row) *Rejects {
	t.Helper()
	before := cursor(t, n).Position
	var j Rejects
	if err := n.Retry(context.Background(), NewBatch(rows, endOf(rows)), &j); err != nil {
		t.Fatalf("Retry %d rows: %v", len(rows), err)
	}
	wantCursor(t, n, before)
	return &j
}

// retryRules are about rows that were refused before.
var retryRules = []rule{
	{"retry writes rows, and leaves the cursor",
		"a row that was mended goes in late; what was delivered since stays delivered",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			apply(t, n, numbered(schema("t", "v"), 7, 9)...)
			wantRefused(t, retry(t, n, numbered(schema("t", "v"), 2, 3)...), nil)
			wantRefused(t, retry(t, n, numbered(schema("fresh", "v"), 4, 4)...), nil)
			apply(t, n, numbered(schema("t", "v"), 10, 10)...)
			wantColumn(t, d, "t", "v", []string{"7", "8", "9", "2", "3", "10"})
			wantColumn(t, d, "fresh", "v", []string{"4"})
		}},
	{"a row is retried once",
		"whoever retries cannot know whether the last attempt was committed: the sink does",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			retry(t, n, numbered(schema("t", "v"), 2, 3)...)
			retry(t, n, numbered(schema("t", "v"), 2, 3)...)
			n = attach(t, open(t, d), stream, "b", row.Position{})
			retry(t, n, append(numbered(schema("t", "v"), 1, 2), numbered(schema("t", "v"), 3, 4)...)...)
			wantColumn(t, d, "t", "v", []string{"2", "3", "1", "4"})
			other := stream
			other.StreamID = "another journal"
			retry(t, attach(t, open(t, d), other, "b", row.Position{}), numbered(schema("t", "v"), 2, 2)...)
			wantColumn(t, d, "t", "v", []string{"2", "3", "1", "4", "2"})
		}},
	{"a row that is refused again can be retried again",
		"what was noted as retried, without being there, could never be brought in",
		func(t *testing.T, h Harness, d Destination) {
			n := refusing(t, d, "t")
			for range 2 {
				rows := judged("t", 11, 99, only(12, 50, 99))
				_, bad := split(rows)
				wantRefused(t, retry(t, n, rows...), bad)
			}
			fine, _ := split(judged("t", 11, 99, only(12, 50, 99)))
			wantColumn(t, d, "t", "v", append([]string{"1"}, seqs(fine)...))
			rows := judged("t", 11, 99, only(99))
			wantRefused(t, retry(t, n, rows...), rows[len(rows)-1:])
			wantRefused(t, retry(t, n, judged("t", 11, 99, only())...), nil)
			wantRefused(t, retry(t, n, judged("t", 11, 99, only())...), nil)
			wantColumn(t, d, "t", "v", append(append([]string{"1"}, seqs(fine)...), "12", "50", "99"))
		}},
	{"a retry that fails leaves nothing",
		"a key without its row says that a row is there which is not",
		func(t *testing.T, h Harness, d Destination) {
			n := refusing(t, d, "t")
			broken := errors.New("no more for now")
			rows := judged("t", 11, 99, only(50))
			for name, try := range map[string]func() error{
				"batch": func() error {
					return n.Retry(context.Background(), NewBatch(rows, endOf(rows)).FailAfter(88, broken), new(Rejects))
				},
				"Refuse": func() error {
					return n.Retry(context.Background(), NewBatch(rows, endOf(rows)), &Rejects{Fail: broken})
				},
				"Settle": func() error {
					return n.Retry(context.Background(), NewBatch(rows, endOf(rows)), &Rejects{Unsafe: broken})
				},
			} {
				wantError(t, "Retry whose "+name+" fails", try(), broken)
				wantColumn(t, d, "t", "v", []string{"1"})
			}
			fine, bad := split(rows)
			wantRefused(t, retry(t, n, rows...), bad)
			wantColumn(t, d, "t", "v", append([]string{"1"}, seqs(fine)...))
		}},
	{"retry is fenced, and needs the cursor",
		"an instance that lost the cursor writes nothing at all",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			old := attach(t, s, stream, "a", row.Position{})
			fresh := attach(t, s, stream, "b", row.Position{})
			rows := numbered(schema("t", "v"), 1, 2)
			wantError(t, "Retry of the older session", old.Retry(context.Background(), NewBatch(rows, endOf(rows)), new(Rejects)), sink.ErrFenced)
			d.ForgetCursor(t, stream)
			wantError(t, "Retry without a cursor", fresh.Retry(context.Background(), NewBatch(rows, endOf(rows)), new(Rejects)), sink.ErrNoCursor)
			again := attach(t, s, stream, "c", row.Position{})
			retry(t, again, rows...)
			wantNumbered(t, d, "t", 2)
		}},
}

// second is stream in a sink of another name.
var second = sink.ID{StreamID: stream.StreamID, Stream: stream.Stream, Sink: "second"}

// registryRules are about cursors that end, and those that change their name.
var registryRules = []rule{
	{"retire removes the cursor, and nothing else",
		"retiring ends a registration: rows, gaps and keys of retried rows are the user's, and other cursors are others'",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			if err := s.Retire(context.Background(), stream); err != nil {
				t.Fatalf("Retire where nothing is: %v", err)
			}
			n := attach(t, s, stream, "a", row.Position{})
			other := attach(t, s, second, "a", row.Position{})
			apply(t, n, numbered(schema("t", "v"), 3, 4)...)
			retry(t, n, numbered(schema("t", "v"), 1, 1)...)
			move(t, n, row.Position{Seq: 6, Chain: 6}, row.Damage{First: 5, Last: 6, What: "x"})
			for range 2 {
				if err := s.Retire(context.Background(), stream); err != nil {
					t.Fatalf("Retire: %v", err)
				}
				_, err := n.Cursor(context.Background())
				wantError(t, "Cursor of a retired sink", err, sink.ErrNoCursor)
				err = n.Apply(context.Background(), NewBatch(numbered(schema("t", "v"), 7, 7), row.Position{Seq: 7}), new(Rejects))
				wantError(t, "Apply to a retired sink", err, sink.ErrNoCursor)
			}
			wantColumn(t, d, "t", "v", []string{"3", "4", "1"})
			wantGaps(t, d, "5-6 x")
			apply(t, other, numbered(schema("u", "v"), 1, 1)...)
			n = attach(t, s, stream, "a", row.Position{Seq: 2, Chain: 2})
			wantCursor(t, n, row.Position{Seq: 2, Chain: 2})
			retry(t, n, numbered(schema("t", "v"), 1, 2)...)
			wantColumn(t, d, "t", "v", []string{"3", "4", "1", "2"})
		}},
	{"rename keeps position and keys",
		"a sink that gets another name has the rows that it has: none may come again",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			n := attach(t, s, stream, "a", row.Position{})
			apply(t, n, numbered(schema("t", "v"), 3, 4)...)
			retry(t, n, numbered(schema("t", "v"), 1, 1)...)
			if err := s.Rename(context.Background(), stream, second.Sink); err != nil {
				t.Fatalf("Rename: %v", err)
			}
			_, err := n.Cursor(context.Background())
			wantError(t, "Cursor under the old name", err, sink.ErrNoCursor)
			n = attach(t, s, second, "a", row.Position{Seq: 77})
			if c := cursor(t, n); c.Position != endOf(numbered(schema("t", "v"), 4, 4)) || c.Epoch < 2 {
				t.Fatalf("under the new name the cursor is %+v, want it behind row 4, in an epoch behind the old one's", c)
			}
			retry(t, n, numbered(schema("t", "v"), 1, 2)...)
			apply(t, n, numbered(schema("t", "v"), 5, 5)...)
			wantColumn(t, d, "t", "v", []string{"3", "4", "1", "2", "5"})
		}},
	{"rename says where there is nothing to rename, and where the name is taken",
		"an operator's typing error must not merge two sinks, nor make one from nothing",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			wantError(t, "Rename where nothing is", s.Rename(context.Background(), stream, "x"), sink.ErrNoCursor)
			one := attach(t, s, stream, "a", row.Position{Seq: 1, Chain: 1})
			two := attach(t, s, second, "a", row.Position{Seq: 2, Chain: 2})
			unknown := stream
			unknown.Sink = "third"
			wantError(t, "Rename of an unknown sink", s.Rename(context.Background(), unknown, "x"), sink.ErrNoCursor)
			if err := s.Rename(context.Background(), stream, second.Sink); err == nil || errors.Is(err, sink.ErrNoCursor) {
				t.Fatalf("Rename to a name that is taken gave %v, want an error that says so", err)
			}
			wantCursor(t, one, row.Position{Seq: 1, Chain: 1})
			wantCursor(t, two, row.Position{Seq: 2, Chain: 2})
			// Whoever has lost the answer says it again.
			wantError(t, "Rename of an unknown sink to a name that is taken", s.Rename(context.Background(), unknown, second.Sink), sink.ErrNoCursor)
		}},
	{"rename takes the name of a retired sink",
		"what a retired sink left behind (gaps, keys of retried rows) must not stand in the way of its name",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			for _, id := range []sink.ID{stream, second} {
				n := attach(t, s, id, "a", row.Position{})
				retry(t, n, numbered(schema("t", "v"), 1, 1)...)
				move(t, n, row.Position{Seq: 5, Chain: 5}, row.Damage{First: 2, Last: 5, What: "x"})
			}
			if err := s.Retire(context.Background(), second); err != nil {
				t.Fatalf("Retire: %v", err)
			}
			if err := s.Rename(context.Background(), stream, second.Sink); err != nil {
				t.Fatalf("Rename to the name of a retired sink: %v", err)
			}
			n := attach(t, s, second, "a", row.Position{})
			wantCursor(t, n, row.Position{Seq: 5, Chain: 5})
			retry(t, n, numbered(schema("t", "v"), 1, 1)...)
			wantColumn(t, d, "t", "v", []string{"1", "1"})
		}},
}
