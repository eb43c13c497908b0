package reconcile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/row"
)

// roll takes rows up to a seq out of the stream.
func (m *memory) roll(to uint64) {
	m.rows = slices.DeleteFunc(m.rows, func(r row.Row) bool { return r.Seq <= to })
	m.damage[0] = row.Damage{First: 1, Last: to, Gap: true, Rolled: true}
}

// come has n more rows arrive, in the stream and in the sink.
func (m *memory) come(n int) {
	for range n {
		m.noted.Cursor.Seq++
		name := fmt.Sprintf("n%d", m.noted.Cursor.Seq)
		m.rows = append(m.rows, row.Row{Seq: m.noted.Cursor.Seq, Schema: m.rows[0].Schema, Values: []row.Value{row.Text(name)}})
		m.held["calls"] = append(m.held["calls"], []string{name, strings.ToUpper(name)})
	}
}

// TestLedger compares, has segments go and rows come, breaks one thing among the
// rows that only the ledger knows, and compares again.
func TestLedger(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(m *memory, o *Options)
		want  string // differences
		why   string
		check func(r *Report) bool
	}{
		{"nothing", func(*memory, *Options) {}, "", "", func(r *Report) bool { return r.Proof.First == 1 && r.Proof.Last == 150 && len(r.Ledger.Unproved) == 0 }},
		{"archived since", func(m *memory, _ *Options) {
			m.held["calls_1795264402"] = append(m.held["calls_1795264402"], m.take("calls", 0))
		}, "", "", nil},
		{"a row of an archive gone", func(m *memory, _ *Options) { m.take("calls_1795264402", 7) }, "older 1-150 of 1 in calls_1795264402", "", nil},
		{"a row of an archive changed", func(m *memory, _ *Options) { m.held["calls_1795264402"][7][1] = "OTHER" }, "older 1-150 of 0 in calls_1795264402", "", nil},
		{"a row of the current table gone", func(m *memory, _ *Options) { m.take("calls", 0) }, "older 1-150 of 1 in ", "", nil},
		{"two rows for one", func(m *memory, _ *Options) { m.held["calls"] = append(m.held["calls"], []string{"1", "N120"}) }, "older 1-150 of 1 in ", "", nil},
		{"a row missing that is stored", func(m *memory, _ *Options) { m.take("calls", 149) }, "missing 250-250", "table calls has differences", nil},
		{"the ledger is too old", func(m *memory, _ *Options) { m.roll(230) }, "", "seq 201 to 230 were gone before", func(r *Report) bool { return r.Ledger.Unproved[0] == Range{201, 230} }},
		{"no ledger", func(_ *memory, o *Options) { o.Ledger = nil }, "", "there was no ledger yet", func(r *Report) bool { return r.Ledger.Unproved[0] == Range{1, 150} }},
		{"a column that was added", func(m *memory, _ *Options) {
			m.all = append(m.all, "more")
			for place := range m.held {
				for i := range m.held[place] {
					m.held[place][i] = append(m.held[place][i], "")
				}
			}
		}, "", "table calls is compared by other columns", nil},
		{"a restored sink", func(m *memory, _ *Options) {
			m.noted.Cursor.Seq = 199
			m.held["calls"] = m.held["calls"][:99]
		}, "", "it was restored", nil},
		{"a row like an older one was left out", func(m *memory, _ *Options) {
			m.noted.Cursor.Seq++
			m.rows = append(m.rows, row.Row{Seq: m.noted.Cursor.Seq, Flags: row.Yields, Schema: m.rows[0].Schema, Values: []row.Value{row.Text("n3")}})
		}, "", "", nil},
		{"no rows are stored", func(m *memory, _ *Options) {
			m.rows = nil
			m.noted.Cursor.Seq = 200
			m.held["calls"] = m.held["calls"][:100]
		}, "", "", func(r *Report) bool { return r.Proof.Last == 200 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, o := filledIn(200), Options{Name: "main", Sink: "k", Dir: t.TempDir()}
			o.Stream = m
			r, err := Run(t.Context(), m, o)
			if err != nil || r.Ledger == nil || r.Proof != nil {
				t.Fatalf("got %+v, %v", r, err)
			}
			text, err := json.Marshal(r.Ledger)
			if err != nil {
				t.Fatal(err)
			}
			o.Ledger = &Ledger{}
			if err := json.Unmarshal(text, o.Ledger); err != nil {
				t.Fatal(err)
			}
			m.come(100)
			m.roll(150)
			test.spoil(m, &o)
			r, err = Run(t.Context(), m, o)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range r.Differences {
				one := fmt.Sprintf("%s %d-%d", d.Kind, d.First, d.Last)
				if d.Kind == Older {
					one += fmt.Sprintf(" of %d in %s", d.Rows, d.Place)
				}
				got = append(got, one)
			}
			if strings.Join(got, ", ") != test.want || (r.Ledger != nil) != (test.want == "") {
				t.Errorf("got %v, want %q, ledger %v", got, test.want, r.Ledger)
			}
			if why := strings.Join(r.Proof.Why, "; "); !strings.Contains(why, test.why) || test.why == "" && why != "" {
				t.Errorf("got %q, want %q", why, test.why)
			}
			if test.check != nil && !test.check(r) {
				t.Errorf("got %+v, %+v", r, r.Proof)
			}
			if r.Ledger == nil {
				return
			}
			// What was found is what the next comparison is held against.
			o.Ledger = r.Ledger
			if again, err := Run(t.Context(), m, o); err != nil || !again.Equal() || len(again.Proof.Why) > 0 {
				t.Errorf("again: %+v, %v", again, err)
			}
		})
	}
}

// TestLedgerRetried has a retry bring a reject that waited when the ledger was
// written: while it is stored it counts, and else nothing can be judged.
func TestLedgerRetried(t *testing.T) {
	for _, rolled := range []uint64{100, 180} {
		m, o := filledIn(200), Options{Name: "main", Sink: "k", Dir: t.TempDir(), Rejects: map[uint64]Reject{170: {State: "open"}}}
		o.Stream = m
		at := slices.IndexFunc(m.held["calls"], func(v []string) bool { return v[1] == "N170" })
		gone := m.take("calls", at)
		r, err := Run(t.Context(), m, o)
		if err != nil || r.Ledger == nil || len(r.Ledger.Waiting) != 1 {
			t.Fatalf("got %+v, %v", r, err)
		}
		o.Ledger, o.Rejects = r.Ledger, map[uint64]Reject{170: {State: "delivered"}}
		m.noted.Retried = map[uint64]bool{170: true}
		m.held["calls"] = append(m.held["calls"], gone)
		m.roll(rolled)
		r, err = Run(t.Context(), m, o)
		if err != nil || !r.Equal() || (len(r.Proof.Why) > 0) != (rolled > 170) {
			t.Errorf("%d: got %+v, %+v, %v", rolled, r, r.Proof, err)
		}
	}
}
