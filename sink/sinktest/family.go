package sinktest

import (
	"fmt"
	"testing"

	"holdfast/row"
)

var (
	parents  = schema("zz_parent", "id", "v") // by its name it comes behind its child
	children = schema("child", "parent", "v")
)

// parent and child return rows of the two tables that Family makes.
func parent(seq uint64, id string) row.Row {
	return row.Row{Seq: seq, Schema: parents, Values: []row.Value{row.Text(id), row.Text(fmt.Sprint(seq))}}
}

func child(seq uint64, of string) row.Row {
	return row.Row{Seq: seq, Schema: children, Values: []row.Value{row.Text(of), row.Text(fmt.Sprint(seq))}}
}

// pickRows returns the rows at the given seqs; row i of rows has seq i+1.
func pickRows(rows []row.Row, seqs ...uint64) []row.Row {
	var all []row.Row
	for _, seq := range seqs {
		all = append(all, rows[seq-1])
	}
	return all
}

// orphans is a batch with children in front of their parents, behind them, and
// without any. Which of its rows are refused depends on nothing else.
func orphans() (rows []row.Row, refused []uint64) {
	for seq := uint64(1); seq <= 150; seq++ {
		rows = append(rows, child(seq, fmt.Sprint("p", seq%10)))
	}
	rows[69] = child(70, "nobody")
	for seq := uint64(151); seq <= 160; seq++ {
		rows = append(rows, parent(seq, fmt.Sprint("p", seq%10)))
	}
	for seq := uint64(161); seq <= 200; seq++ {
		rows = append(rows, child(seq, fmt.Sprint("p", seq%10)))
	}
	rows[199] = child(200, "nobody else")
	return rows, []uint64{70, 200}
}

// testOrphans delivers orphans into tables that family makes.
func testOrphans(t *testing.T, d Destination, family func(t *testing.T, parent, child string)) {
	if family == nil {
		t.Skip("this destination has no such tables")
	}
	family(t, parents.Table, children.Table)
	n := attach(t, open(t, d), stream, "a", row.Position{})
	rows, refused := orphans()
	wantRefused(t, applyBad(t, n, rows), pickRows(rows, refused...))
	var in, above []string
	for _, r := range rows {
		switch {
		case r.Schema == parents:
			above = append(above, fmt.Sprint(r.Seq))
		case r.Seq != 70 && r.Seq != 200:
			in = append(in, fmt.Sprint(r.Seq))
		}
	}
	wantSet(t, d, parents.Table, "v", above...)
	wantSet(t, d, children.Table, "v", in...)

	// What refers to a refused row is refused with it, and nothing else.
	d.Refuse(t, parents.Table, "v", "202")
	more := []row.Row{child(201, "q2"), parent(202, "q2"), child(203, "q2"), parent(204, "q4"), child(205, "q4"), child(206, "p1"), child(207, "q4")}
	wantRefused(t, applyBad(t, n, more), []row.Row{more[0], more[1], more[2]})
	wantSet(t, d, parents.Table, "v", append(above, "204")...)
	wantSet(t, d, children.Table, "v", append(in, "205", "206", "207")...)
}

// familyRules are about tables that refer to each other.
var familyRules = []rule{
	{"parents go in before children",
		"within a batch a child may stand in front of its parent; only a child without any parent is a bad row",
		func(t *testing.T, h Harness, d Destination) { testOrphans(t, d, d.Family) }},
	{"a constraint checked at commit refuses one row",
		"the database names no row then, and the transaction as a whole is no bad row",
		func(t *testing.T, h Harness, d Destination) { testOrphans(t, d, d.Deferred) }},
	{"a batch with nothing but an orphan moves the cursor",
		"what is refused at the commit alone must not come again for ever",
		func(t *testing.T, h Harness, d Destination) {
			if d.Family == nil && d.Deferred == nil {
				t.Skip("this destination has no such tables")
			}
			for name, family := range map[string]func(*testing.T, string, string){"at once": d.Family, "at commit": d.Deferred} {
				if family == nil {
					continue
				}
				t.Run(name, func(t *testing.T) {
					d := h.New(t)
					if name == "at once" {
						d.Family(t, parents.Table, children.Table)
					} else {
						d.Deferred(t, parents.Table, children.Table)
					}
					n := attach(t, open(t, d), stream, "a", row.Position{})
					rows := []row.Row{child(1, "nobody")}
					wantRefused(t, applyBad(t, n, rows), rows)
					wantSet(t, d, children.Table, "v")
				})
			}
		}},
}
