package sinktest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/row"
	"holdfast/sink"
)

// describe returns what s says of its tables, by name. Where s cannot tell, the
// rule is skipped.
func describe(t *testing.T, s sink.Sink) map[string]sink.Table {
	t.Helper()
	d, ok := s.(sink.Describer)
	if !ok {
		t.Skip("this sink does not describe its tables")
	}
	// Only a call that waits for an Apply takes that long.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	all, err := d.Describe(ctx)
	if err != nil {
		t.Fatalf("Describe: %v", err)
	}
	if !slices.IsSortedFunc(all, func(a, b sink.Table) int { return strings.Compare(a.Name, b.Name) }) {
		t.Fatalf("tables are not in the order of their names: %+v", all)
	}
	by := map[string]sink.Table{}
	for _, table := range all {
		if strings.HasPrefix(strings.ToLower(table.Name), "holdfast_") {
			t.Fatalf("Describe tells of %q, which is Holdfast's own", table.Name)
		}
		if _, twice := by[table.Name]; twice {
			t.Fatalf("Describe tells of %q twice", table.Name)
		}
		by[table.Name] = table
	}
	return by
}

// columnNames returns the names of table's columns.
func columnNames(table sink.Table) string {
	var names []string
	for _, c := range table.Columns {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

// describeRules are about what a sink tells of its tables. The door judges rows
// by that before it acknowledges them.
var describeRules = []rule{
	{"describe tells tables and columns as they are now",
		"a writer is told of a misspelt column when it writes, not a day later by a reject",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			if got := describe(t, s); len(got) != 0 {
				t.Fatalf("an empty destination has tables %v", got)
			}
			n := attach(t, s, stream, "a", row.Position{})
			if got := describe(t, s); len(got) != 0 {
				t.Fatalf("a destination with nothing but Holdfast's own tables has tables %v", got)
			}
			apply(t, n, numbered(schema("zebra", "z", "a"), 1, 1)...)
			apply(t, n, numbered(schema("ant", "v"), 2, 2)...)
			apply(t, n, numbered(schema("zebra", "m", "a"), 3, 3)...)
			got := describe(t, s)
			if len(got) != 2 || columnNames(got["zebra"]) != "z a m" || columnNames(got["ant"]) != "v" {
				t.Fatalf("got %+v, want ant (v) and zebra (z, a, m)", got)
			}
			for _, c := range got["zebra"].Columns {
				if c.Type != "text" || c.NotNull || c.Generated {
					t.Errorf("got column %+v, want text that may be NULL", c)
				}
			}
			if len(got["zebra"].Parents) != 0 {
				t.Errorf("a table without foreign keys has parents %v", got["zebra"].Parents)
			}
		}},
	{"describe takes names as they are",
		"a name comes from a client, and must never be read as SQL or as a pattern",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			n := attach(t, s, stream, "a", row.Position{})
			names := h.names()
			for i, name := range names {
				apply(t, n, numbered(schema(name, name, "v"), uint64(i+1), uint64(i+1))...)
			}
			got := describe(t, s)
			for _, name := range names {
				if columnNames(got[name]) != name+" v" {
					t.Errorf("got %+v for table %q, want its columns %q and v", got[name], name, name)
				}
			}
		}},
	{"describe tells what must not be NULL, and who refers to whom",
		"parents and children belong in one stream, and a row without its key is refused at the door",
		func(t *testing.T, h Harness, d Destination) {
			if d.Family == nil {
				t.Skip("this destination has no foreign keys")
			}
			s := open(t, d)
			describe(t, s)
			d.Family(t, parents.Table, children.Table)
			got := describe(t, s)
			above, below := got[parents.Table], got[children.Table]
			if len(got) != 2 || columnNames(above) != "id v" || columnNames(below) != "parent v" {
				t.Fatalf("got %+v", got)
			}
			if !above.Columns[0].NotNull || above.Columns[1].NotNull || !below.Columns[0].NotNull || below.Columns[1].NotNull {
				t.Errorf("got %+v and %+v, want the first column of each NOT NULL, and no other", above.Columns, below.Columns)
			}
			if len(above.Parents) != 0 || !slices.Equal(below.Parents, []string{parents.Table}) {
				t.Errorf("got parents %q of %q and %q of %q", above.Parents, above.Name, below.Parents, below.Name)
			}
		}},
	{"describe does not wait for an Apply",
		"a writer waits for the answer, and a large transaction takes minutes",
		func(t *testing.T, h Harness, d Destination) {
			s := open(t, d)
			n := attach(t, s, stream, "a", row.Position{})
			apply(t, n, numbered(schema("t", "v"), 1, 1)...)
			describe(t, s)
			rows := numbered(schema("t", "v"), 2, 2000)
			asked := false
			b := NewLargeBatch(len(rows), func(i int) row.Row {
				if i == 1500 {
					asked = columnNames(describe(t, s)["t"]) == "v"
				}
				return rows[i]
			}, endOf(rows))
			if err := n.Apply(context.Background(), b, new(Rejects)); err != nil {
				t.Fatalf("Apply: %v", err)
			}
			if !asked {
				t.Fatal("Describe within an Apply did not tell of table t")
			}
		}},
}
