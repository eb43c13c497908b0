// Package sinktest is the conformance suite that every SQL sink of Holdfast
// runs. Each rule says why it is one, so that whoever writes a sink can tell
// what depends on it.
//
// The suite judges a destination from outside: it opens sinks on it, gives
// them batches, and reads back what is there.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"holdfast/row"
	"holdfast/sink"
)

// Destination is one empty place that rows can be delivered to, as the suite
// sees it. The hooks fail the test themselves where they cannot do their work.
type Destination struct {
	// Open opens another sink on the destination, as another process would.
	// It creates unknown tables and columns.
	Open func(t *testing.T) sink.Sink
	// Rows returns the given columns of all rows of table, as text, in the
	// order in which they were committed. The order does not matter for tables
	// that Family and Deferred made, nor for Holdfast's own.
	Rows func(t *testing.T, table string, columns ...string) [][]row.Value
	// Tables returns how many tables have that name, exactly.
	Tables func(t *testing.T, name string) int
	// ForgetCursor removes the cursor of id.
	ForgetCursor func(t *testing.T, id sink.ID)
	// Refuse makes table, which exists, refuse rows whose column holds value.
	// It is called once for each of several tables.
	Refuse func(t *testing.T, table, column, value string)
	// Family makes two tables of text: parent with the columns id (its key, NOT
	// NULL) and v, and child with the columns parent (NOT NULL, a foreign key to
	// parent's id, checked at once) and v. If nil, the rules about that are skipped.
	Family func(t *testing.T, parent, child string)
	// Deferred makes the same, with a foreign key that is checked at commit. If
	// nil, the rules about that are skipped.
	Deferred func(t *testing.T, parent, child string)
	// Break makes the destination unreachable for all sinks until heal is
	// called. If nil, the rules about that are skipped.
	Break func(t *testing.T) (heal func())
}

// Harness makes destinations, an empty one for each rule.
type Harness struct {
	New func(t *testing.T) Destination
	// Names are more odd names of tables and columns to try, for what is
	// special in this database (a backtick, for one).
	Names []string
	// Never are the odd names of the suite that this database cannot have.
	Never []string
	// Large is how many rows the large batch has. If zero, 100,000.
	Large int
	// Pending names rules that this sink does not hold, or not yet; they are
	// skipped. Say why where they are listed.
	Pending []string
}

// rule is one demand on a sink.
type rule struct {
	name string
	why  string
	test func(t *testing.T, h Harness, d Destination)
}

// names returns the odd names to try.
func (h Harness) names() []string {
	return slices.DeleteFunc(slices.Concat(oddNames, h.Names), func(name string) bool { return slices.Contains(h.Never, name) })
}

// Run runs every rule as a subtest.
func Run(t *testing.T, h Harness) {
	if h.Large == 0 {
		h.Large = 100_000
	}
	all := slices.Concat(cursorRules, contentRules, rejectRules, familyRules, moveRules, retryRules, registryRules, describeRules, yieldRules)
	for _, name := range h.Pending {
		if !slices.ContainsFunc(all, func(r rule) bool { return r.name == name }) {
			t.Errorf("there is no rule %q to be pending", name)
		}
	}
	for _, r := range all {
		t.Run(r.name, func(t *testing.T) {
			if slices.Contains(h.Pending, r.name) {
				t.Skip("PENDING: this sink does not hold this rule")
			}
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("why this is a rule: %s", r.why)
				}
			})
			r.test(t, h, h.New(t))
		})
	}
}

// stream is the id that most rules use.
var stream = sink.ID{StreamID: "0c7c5b6e-7f0f-4a5e-9d3a-1f0f6f0f2a11", Stream: "main", Sink: "default"}

// open opens a sink and closes it with the test.
func open(t *testing.T, d Destination) sink.Sink {
	t.Helper()
	s := d.Open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// attach attaches to id, and fails the test where that fails.
func attach(t *testing.T, s sink.Sink, id sink.ID, instance string, start row.Position) sink.Session {
	t.Helper()
	n, err := s.Attach(context.Background(), id, instance, start, nil)
	if err != nil {
		t.Fatalf("Attach as %q: %v", instance, err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// cursor reads the cursor, and fails the test where that fails.
func cursor(t *testing.T, n sink.Session) sink.Cursor {
	t.Helper()
	c, err := n.Cursor(context.Background())
	if err != nil {
		t.Fatalf("Cursor: %v", err)
	}
	return c
}

// apply applies rows, which end at the last one's seq, with a chain made of it.
func apply(t *testing.T, n sink.Session, rows ...row.Row) {
	t.Helper()
	if err := n.Apply(context.Background(), NewBatch(rows, endOf(rows)), new(Rejects)); err != nil {
		t.Fatalf("Apply %d rows: %v", len(rows), err)
	}
}

func endOf(rows []row.Row) row.Position {
	seq := rows[len(rows)-1].Seq
	return row.Position{Seq: seq, Chain: chain(seq)}
}

// chain is a checksum that uses all of its 32 bits.
func chain(seq uint64) uint32 { return uint32(seq*2654435761) | 1<<31 }

// schema returns a schema whose columns are text.
func schema(table string, columns ...string) *row.Schema {
	s := &row.Schema{Table: table}
	for _, c := range columns {
		s.Columns = append(s.Columns, row.Column{Name: c, Type: "text"})
	}
	return s
}

// numbered returns the rows first to last, whose first column is their seq.
func numbered(s *row.Schema, first, last uint64) []row.Row {
	var rows []row.Row
	for seq := first; seq <= last; seq++ {
		r := row.Row{Seq: seq, Schema: s, Values: make([]row.Value, len(s.Columns))}
		for i := range r.Values {
			r.Values[i] = row.Text(fmt.Sprint(seq))
		}
		rows = append(rows, r)
	}
	return rows
}

// wantNumbered checks that column v of table holds 1 to last, in order.
func wantNumbered(t *testing.T, d Destination, table string, last uint64) {
	t.Helper()
	wantColumn(t, d, table, "v", upTo(last))
}

// upTo returns the numbers 1 to last.
func upTo(last uint64) []string {
	var all []string
	for seq := uint64(1); seq <= last; seq++ {
		all = append(all, fmt.Sprint(seq))
	}
	return all
}

// wantColumn checks one column of all rows of table.
func wantColumn(t *testing.T, d Destination, table, column string, want []string) {
	t.Helper()
	got := d.Rows(t, table, column)
	if len(got) != len(want) {
		t.Fatalf("table %q has %d rows, want %d", table, len(got), len(want))
	}
	for i := range want {
		if got[i][0].Null || string(got[i][0].Text) != want[i] {
			t.Fatalf("table %q row %d: %s is %s, want %s", table, i+1, column, got[i][0], want[i])
		}
	}
}

// wantSet checks one column of all rows of table, in any order.
func wantSet(t *testing.T, d Destination, table, column string, want ...string) {
	t.Helper()
	var got []string
	for _, r := range d.Rows(t, table, column) {
		got = append(got, r[0].String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("table %q: %s holds %.200q, want %.200q", table, column, got, want)
	}
}

// wantCursor checks where the cursor stands.
func wantCursor(t *testing.T, n sink.Session, want row.Position) {
	t.Helper()
	if c := cursor(t, n); c.Position != want {
		t.Fatalf("cursor stands at %+v, want %+v", c.Position, want)
	}
}

// wantError checks that err wraps target.
func wantError(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s: got error %v, want %v", what, err, target)
	}
}
