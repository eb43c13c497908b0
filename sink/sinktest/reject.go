package sinktest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"holdfast/row"
	"holdfast/sink"
)

// judged returns the rows first to last of table, of which bad is refused once
// d.Refuse was called for column w and "bad". They hold what is easily lost on
// the way to the rejects: NULL, the empty string, what looks like a number.
func judged(table string, first, last uint64, bad func(seq uint64) bool) []row.Row {
	s := &row.Schema{Table: table, Columns: []row.Column{{Name: "v", Type: "text"}, {Name: "w", Type: "text"},
		{Name: "n", Type: "numeric"}, {Name: "x", Type: "text"}, {Name: "y", Type: "text"}}}
	var rows []row.Row
	for seq := first; seq <= last; seq++ {
		r := row.Row{Seq: seq, Received: 1_700_000_000_000_000 + int64(seq), Schema: s}
		w := "fine"
		if bad(seq) {
			w = "bad"
		}
		if seq%3 == 0 {
			r.Flags = row.TxBegin
		}
		r.Values = []row.Value{row.Text(fmt.Sprint(seq)), row.Text(w), row.Text(fmt.Sprintf("%d.50", seq)), row.Null, row.Text("")}
		if seq%2 == 0 {
			r.Values[3], r.Values[4] = row.Text("007 é🙂\n"), row.Null
		}
		rows = append(rows, r)
	}
	return rows
}

// split returns the rows that are fine and those that are bad.
func split(rows []row.Row) (fine, bad []row.Row) {
	for _, r := range rows {
		if string(r.Values[1].Text) == "bad" {
			bad = append(bad, r)
		} else {
			fine = append(fine, r)
		}
	}
	return fine, bad
}

func only(seqs ...uint64) func(uint64) bool {
	return func(seq uint64) bool { return slices.Contains(seqs, seq) }
}

func always(uint64) bool { return true }

// seqs returns the numbers of rows as text, which is what their column v holds.
func seqs(rows []row.Row) []string {
	var all []string
	for _, r := range rows {
		all = append(all, fmt.Sprint(r.Seq))
	}
	return all
}

// refusing opens d and prepares tables which refuse what judged calls bad.
func refusing(t *testing.T, d Destination, tables ...string) sink.Session {
	t.Helper()
	n := attach(t, open(t, d), stream, "a", row.Position{})
	for _, table := range tables {
		rows := judged(table, 1, 1, only())
		if err := n.Apply(context.Background(), NewBatch(rows, row.Position{}), new(Rejects)); err != nil {
			t.Fatalf("Apply the first row of %q: %v", table, err)
		}
		d.Refuse(t, table, "w", "bad")
	}
	return n
}

// applyBad applies rows of which some are refused, and returns those.
func applyBad(t *testing.T, n sink.Session, rows []row.Row) *Rejects {
	t.Helper()
	var j Rejects
	if err := n.Apply(context.Background(), NewBatch(rows, endOf(rows)), &j); err != nil {
		t.Fatalf("Apply %d rows, some of them bad: %v", len(rows), err)
	}
	wantCursor(t, n, endOf(rows))
	return &j
}

// wantRefused checks that exactly the rows want were set aside, as they came,
// each with the database's verdict, and safely.
func wantRefused(t *testing.T, j *Rejects, want []row.Row) {
	t.Helper()
	at := make([]int, len(j.Rows))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(a, b int) int { return cmp.Compare(j.Rows[a].Seq, j.Rows[b].Seq) })
	if len(at) != len(want) {
		t.Fatalf("%d rows were set aside (%.200v), want %d (%.200v)", len(at), seqs(j.Rows), len(want), seqs(want))
	}
	for i, w := range want {
		got, why := j.Rows[at[i]], j.Why[at[i]]
		if got.Seq != w.Seq || got.Received != w.Received || got.Flags != w.Flags || got.Schema == nil || got.Schema.Key() != w.Schema.Key() {
			t.Fatalf("set aside %+v of schema %+v, want %+v of %+v", got, got.Schema, w, w.Schema)
		}
		if !slices.EqualFunc(got.Values, w.Values, func(a, b row.Value) bool {
			return a.Null == b.Null && (a.Null || string(a.Text) == string(b.Text))
		}) {
			t.Fatalf("row %d was set aside with values %q, want %q", w.Seq, got.Values, w.Values)
		}
		if why == nil || why.Seq != w.Seq || why.Table != w.Schema.Table || why.Code == "" || why.Err == nil || why.Err.Error() == "" {
			t.Fatalf("row %d was set aside because of %+v, want its seq, table %q, the database's code and words", w.Seq, why, w.Schema.Table)
		}
	}
	if len(want) > 0 && !j.Settled {
		t.Fatal("rows were set aside, and committed around, without Settle behind the last one")
	}
}

// rejectRules are about rows that the destination refuses for what they are.
var rejectRules = []rule{
	{"a refused row goes to rejects, and costs the others nothing",
		"one bad row costs one row: it is set aside as it came, with the database's words, and everything else flows",
		func(t *testing.T, h Harness, d Destination) {
			for name, bad := range map[string]func(uint64) bool{
				"first": only(1), "second": only(2), "middle": only(150), "last": only(300), "neighbours": only(149, 150, 151),
				"both ends": only(1, 300), "all but one": func(seq uint64) bool { return seq != 77 },
			} {
				t.Run(name, func(t *testing.T) {
					d := h.New(t)
					n := refusing(t, d, "t")
					rows := judged("t", 1, 300, bad)
					fine, refused := split(rows)
					wantRefused(t, applyBad(t, n, rows), refused)
					wantColumn(t, d, "t", "v", append([]string{"1"}, seqs(fine)...))
				})
			}
		}},
	{"a batch whose rows are all refused moves the cursor",
		"otherwise it would come again for ever, and hold up what follows",
		func(t *testing.T, h Harness, d Destination) {
			n := refusing(t, d, "t")
			for _, last := range []uint64{1, 100} {
				rows := judged("t", 1, last, always)
				wantRefused(t, applyBad(t, n, rows), rows)
			}
			next := judged("t", 101, 102, only())
			wantRefused(t, applyBad(t, n, next), nil)
			wantColumn(t, d, "t", "v", []string{"1", "101", "102"})
		}},
	{"many refused rows in several tables",
		"bad rows come in crowds, from one broken client among many",
		func(t *testing.T, h Harness, d Destination) {
			tables := []string{"a", "b", "c"}
			n := refusing(t, d, tables...)
			var rows []row.Row
			want := map[string][]string{"a": {"1"}, "b": {"1"}, "c": {"1"}}
			for seq := uint64(1); seq <= 2000; seq++ {
				table := tables[seq*seq%7%3]
				r := judged(table, seq, seq, func(seq uint64) bool { return seq%100 == 50 })[0]
				if r.Values[1].String() != "bad" {
					want[table] = append(want[table], fmt.Sprint(seq))
				}
				rows = append(rows, r)
			}
			_, refused := split(rows)
			if len(refused) != 20 {
				t.Fatalf("the rule is wrong: %d rows are bad", len(refused))
			}
			wantRefused(t, applyBad(t, n, rows), refused)
			for table, column := range want {
				wantColumn(t, d, table, "v", column)
			}
		}},
	{"a row of a kind that no table can take goes to rejects too",
		"a table that cannot be created, for what a client called it, must not stop the stream",
		func(t *testing.T, h Harness, d Destination) {
			n := attach(t, open(t, d), stream, "a", row.Position{})
			rows := numbered(schema("t", "v"), 1, 3)
			rows[1].Schema = schema("holdfast_cursor", "v") // it is Holdfast's own in every sink
			wantRefused(t, applyBad(t, n, rows), rows[1:2])
			wantColumn(t, d, "t", "v", []string{"1", "3"})
		}},
	{"rejects are settled before the commit",
		"a cursor that stands behind a row which is neither in the sink nor safe in the rejects has lost it",
		func(t *testing.T, h Harness, d Destination) {
			n := refusing(t, d, "t")
			before := cursor(t, n).Position
			full := errors.New("the disk of the rejects is full")
			rows := judged("t", 1, 100, only(40))
			err := n.Apply(context.Background(), NewBatch(rows, endOf(rows)), &Rejects{Unsafe: full})
			wantError(t, "Apply whose Settle failed", err, full)
			wantCursor(t, n, before)
			wantColumn(t, d, "t", "v", []string{"1"})
			fine, refused := split(rows)
			wantRefused(t, applyBad(t, n, rows), refused)
			wantColumn(t, d, "t", "v", append([]string{"1"}, seqs(fine)...))
		}},
	{"an error of Refuse rolls everything back, and comes out",
		"the rejects say when a row may not be left out by itself: its transaction goes as a whole, or a budget is used up",
		func(t *testing.T, h Harness, d Destination) {
			n := refusing(t, d, "t")
			before := cursor(t, n).Position
			no := errors.New("the whole transaction has to go")
			for _, bad := range []uint64{1, 50, 100} {
				rows := judged("t", 1, 100, only(bad))
				err := n.Apply(context.Background(), NewBatch(rows, endOf(rows)), &Rejects{Fail: no})
				wantError(t, "Apply whose Refuse failed", err, no)
				wantCursor(t, n, before)
				wantColumn(t, d, "t", "v", []string{"1"})
			}
			fine, _ := split(judged("t", 1, 100, only(50)))
			wantRefused(t, applyBad(t, n, fine), nil)
			wantColumn(t, d, "t", "v", append([]string{"1"}, seqs(fine)...))
		}},
	{"a batch that ends early sets nothing aside for good",
		"rows of a batch that was rolled back come again, and are judged again",
		func(t *testing.T, h Harness, d Destination) {
			n := refusing(t, d, "t")
			broken := errors.New("the journal is damaged here")
			var j Rejects
			err := n.Apply(context.Background(), NewBatch(judged("t", 1, 300, only(2)), row.Position{}).FailAfter(299, broken), &j)
			wantError(t, "Apply", err, broken)
			if j.Settled {
				t.Fatal("Settle was called for a batch that is rolled back")
			}
			wantColumn(t, d, "t", "v", []string{"1"})
		}},
}
