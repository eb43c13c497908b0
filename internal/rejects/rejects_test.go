package rejects

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// place is a disk with a stream of rejects on it, and what is open of it.
type place struct {
	t    testing.TB
	d    disk.FS
	jo   journal.Options
	o    Options
	j    *journal.Journal
	s    *Store
	live bool
}

// begin opens a store on d, and closes it when the test ends.
func begin(t testing.TB, d disk.FS, o Options) *place {
	t.Helper()
	p := &place{t: t, d: d, o: o, jo: journal.Options{Name: "rejects", SegmentSize: 256 << 10}}
	p.open()
	t.Cleanup(p.close)
	return p
}

func (p *place) open() {
	p.t.Helper()
	j, err := journal.Open(p.d, p.jo)
	if err != nil {
		p.t.Fatal(err)
	}
	p.j, p.live = j, true
	if p.s, err = Open(j, p.o); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) close() {
	if p.live {
		p.live = false
		if err := p.j.Close(); err != nil {
			p.t.Error(err)
		}
	}
}

// again closes the stream and opens it as the next start does.
func (p *place) again() {
	p.t.Helper()
	p.close()
	p.open()
}

// schema is the table that rejects in these tests are of.
var schema = &row.Schema{Stream: "main", Table: "acc", Columns: []row.Column{{Name: "id", Type: "integer"}, {Name: "who", Type: "text"}, {Name: "at"}}}

// bad returns a row that sink refused.
func bad(sink string, seq uint64, values ...row.Value) Reject {
	if len(values) == 0 {
		values = []row.Value{row.Text(fmt.Sprint(seq)), row.Null, row.Text("")}
	}
	return Reject{
		StreamID: "11111111-2222-3333-4444-555555555555", Stream: "main", Sink: sink,
		Row:  row.Row{Seq: seq, Received: 1_700_000_000_000_001 + int64(seq), Flags: row.TxEnd, Schema: schema, Values: values},
		Code: "23505", Why: fmt.Sprintf("duplicate key %d", seq),
	}
}

func key(r Reject) Key { return Key{r.StreamID, r.Sink, r.Row.Seq} }

// collect returns all of a list, and fails on an error.
func collect(t testing.TB, all iter.Seq2[Entry, error]) []Entry {
	t.Helper()
	var es []Entry
	for e, err := range all {
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
	}
	return es
}

func keep(t testing.TB, s *Store, rejects ...Reject) {
	t.Helper()
	if err := s.Keep(ctx, rejects); err != nil {
		t.Fatal(err)
	}
}

// TestLife leads one reject through everything that can happen to it, with a
// start after each step.
func TestLife(t *testing.T) {
	p := begin(t, disk.NewMem(), Options{})
	r := bad("pg", 7)
	keep(t, p.s, r)
	p.again()
	keep(t, p.s, r, r) // the batch comes again
	es := collect(t, p.s.Export(ctx, Filter{}))
	if len(es) != 1 {
		t.Fatalf("%d rejects wait, want 1: %+v", len(es), es)
	}
	e := es[0]
	if e.ID != 1 || e.Key != key(r) || e.Stream != "main" || e.Table != "acc" || e.State != StateOpen || e.Code != r.Code || e.Why != r.Why || e.Attempts != 1 || e.Edits != 0 {
		t.Fatalf("kept as %+v", e)
	}
	if got := *e.Row; got.Seq != 7 || got.Received != r.Row.Received || got.Flags != r.Row.Flags || got.Schema.Stream != "main" || got.Schema.Key() != schema.Key() || !same(got.Values, r.Row.Values) {
		t.Fatalf("the row came back as %+v", got)
	}

	if _, err := p.s.Edit(ctx, e.ID, map[string]row.Value{"who": row.Text("me"), "id": row.Null}); err != nil {
		t.Fatal(err)
	}
	p.again()
	want := []row.Value{row.Null, row.Text("me"), row.Text("")}
	e, err := p.s.Show(ctx, 1)
	if err != nil || e.Edits != 1 || e.Why != r.Why || !same(e.Row.Values, want) {
		t.Fatalf("after the edit: %+v, error %v", e, err)
	}

	if err := p.s.Retried(ctx, []Outcome{{ID: 1, Edits: 1, Code: "23502", Why: "null value"}}); err != nil {
		t.Fatal(err)
	}
	p.again()
	e = collect(t, p.s.Pending(ctx, Key{r.StreamID, "pg", 7}, Filter{}))[0]
	if e.Attempts != 2 || e.Code != "23502" || e.Why != "null value" || !same(e.Row.Values, want) || e.Note != "" {
		t.Fatalf("after a retry that was refused: %+v", e)
	}

	if err := p.s.Retried(ctx, []Outcome{{ID: 1, Edits: 0, Delivered: true}}); err != nil {
		t.Fatal(err)
	}
	p.again()
	if n := len(collect(t, p.s.List(ctx, Filter{}))); n != 0 {
		t.Fatalf("%d rejects wait after the delivery", n)
	}
	if e, err = p.s.Show(ctx, 1); err != nil || e.State != StateDelivered || e.Attempts != 2 || !same(e.Row.Values, want) || e.Note == "" {
		t.Fatalf("after the delivery: %+v, error %v", e, err)
	}
	if kept, err := p.s.Kept(ctx, r.StreamID, "pg", 1); err != nil || len(kept) != 0 {
		t.Fatalf("kept %v, error %v: what is delivered may come again", kept, err)
	}

	keep(t, p.s, r) // the sink was put back
	p.again()
	if e, err = p.s.Show(ctx, 1); err != nil || e.State != StateOpen || e.Attempts != 1 || !same(e.Row.Values, r.Row.Values) {
		t.Fatalf("kept again: %+v, error %v", e, err)
	}
	if n, err := p.s.Discard(ctx, Filter{IDs: []uint64{1}}, "operator: a test"); err != nil || n != 1 {
		t.Fatalf("discarded %d, error %v", n, err)
	}
	p.again()
	keep(t, p.s, r)
	if kept, err := p.s.Kept(ctx, r.StreamID, "pg", 7); err != nil || !slices.Equal(kept, []uint64{7}) {
		t.Fatalf("kept %v, error %v: what was discarded must not come again", kept, err)
	}
	es = collect(t, p.s.List(ctx, Filter{State: StateAll}))
	if len(es) != 1 || es[0].State != StateDiscarded || es[0].Note != "operator: a test" {
		t.Fatalf("after the discard: %+v", es)
	}
	if d := p.s.Damage(); len(d) != 0 {
		t.Fatalf("damage %+v on a disk without any", d)
	}
}

func same(a, b []row.Value) bool {
	return slices.EqualFunc(a, b, func(a, b row.Value) bool { return a.Null == b.Null && (a.Null || string(a.Text) == string(b.Text)) })
}

// TestOddValues holds that a row comes back byte for byte.
func TestOddValues(t *testing.T) {
	p := begin(t, disk.NewMem(), Options{})
	wide := &row.Schema{Table: "wide"}
	var nulls []row.Value
	for i := range row.MaxValues {
		wide.Columns = append(wide.Columns, row.Column{Name: fmt.Sprint("c", i), Type: "text"})
		nulls = append(nulls, row.Null)
	}
	one := &row.Schema{Table: "a \"table\"\t", Columns: []row.Column{{Name: "event"}}}
	none := &row.Schema{Table: "none"}
	largest := make([]byte, row.MaxBytes-row.RecordHead-4)
	for i := range largest {
		largest[i] = "\x01\n\"é"[i%4]
	}
	cases := []struct {
		name   string
		schema *row.Schema
		values []row.Value
		why    string
	}{
		{"nulls", wide, nulls, ""},
		{"no columns", none, nil, "x"},
		{"empty", one, []row.Value{row.Text("")}, ""},
		{"the word NULL", one, []row.Value{row.Text("NULL")}, "NULL"},
		{"controls", one, []row.Value{row.Text("\x01\t\n\r\\N\"{}")}, "line 1\nline 2"},
		{"bytes that are no text", one, []row.Value{{Text: []byte{0xff, 0, 0xfe}}}, "\xff\x00words"},
		{"1 MiB", one, []row.Value{row.Text(strings.Repeat("é", 512<<10))}, strings.Repeat("é", 100_000)},
		{"as large as a row can be", one, []row.Value{{Text: largest}}, ""},
		{"an event's own columns", &row.Schema{Table: eventTable, Columns: eventColumns}, make([]row.Value, len(eventColumns)), ""},
	}
	for i, c := range cases {
		r := bad("pg", uint64(i+1))
		r.Row.Schema, r.Row.Values, r.Why = c.schema, c.values, c.why
		keep(t, p.s, r)
	}
	p.again()
	if n := len(collect(t, p.s.List(ctx, Filter{}))); n != len(cases) {
		t.Fatalf("%d rejects wait, want %d", n, len(cases))
	}
	for e, err := range p.s.Export(ctx, Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		c := cases[e.Seq-1]
		if e.Lost != "" || e.Row == nil || !same(e.Row.Values, c.values) || e.Row.Schema.Key() != c.schema.Key() || e.Table != c.schema.Table {
			t.Errorf("%s: came back otherwise; lost %q", c.name, e.Lost)
		}
		if len(e.Why) > maxWords || strings.ContainsAny(e.Why, "\x00") || len(c.why) < maxWords && len(e.Why) < len(c.why) {
			t.Errorf("%s: words came back as %d bytes", c.name, len(e.Why))
		}
	}
	if len(p.s.Damage()) != 0 {
		t.Errorf("damage %+v on a disk without any", p.s.Damage())
	}
}

// TestBudget holds that nothing of a call that is refused is stored, and that
// room comes back when rejects go.
func TestBudget(t *testing.T) {
	p := begin(t, disk.NewMem(), Options{PerSink: 3, Total: 5})
	p.s.SetBudget("large", 10)
	keep(t, p.s, bad("a", 1), bad("a", 2))
	refusedAll := func(rs ...Reject) {
		t.Helper()
		end := p.j.End().Seq
		err := p.s.Keep(ctx, rs)
		if !errors.Is(err, ErrBudget) || fault.Of(err).Hint == "" {
			t.Fatalf("error %v, want the budget", err)
		}
		if p.j.End().Seq != end {
			t.Fatal("something of it was stored")
		}
	}
	refusedAll(bad("a", 3), bad("a", 4))
	keep(t, p.s, bad("a", 1), bad("a", 2), bad("a", 3)) // two of them are there
	p.again()
	p.s.SetBudget("large", 10)
	refusedAll(bad("a", 4))
	keep(t, p.s, bad("large", 4), bad("large", 5))
	refusedAll(bad("large", 6)) // of all sinks
	if n, err := p.s.Discard(ctx, Filter{Sink: "a", From: 2, To: 2}, ""); n != 1 || err != nil {
		t.Fatalf("discarded %d, error %v", n, err)
	}
	keep(t, p.s, bad("large", 6))
	if c := p.s.Counts(); len(c) != 2 || c[0].Open != 2 || c[1].Open != 3 || c[1].Sink != "large" {
		t.Fatalf("counts %+v", c)
	}
	if got, want := p.s.Totals(), (Totals{Kept: 3, Discarded: 1, Full: 2}); got != want {
		t.Fatalf("totals %+v, want %+v", got, want)
	}
}
