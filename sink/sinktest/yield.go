package sinktest

import (
	"fmt"
	"testing"

	"holdfast/row"
)

// yieldRules are about rows that say ON CONFLICT DO NOTHING.
var yieldRules = []rule{
	{"a row that yields is left out where its key is there, and is no reject",
		"a client that repeats a statement after a lost answer counts on it; and what is wrong with such a row must show as with any other",
		func(t *testing.T, h Harness, d Destination) {
			if d.Family == nil {
				t.Skip("this destination has no keys")
			}
			d.Family(t, parents.Table, children.Table)
			n := attach(t, open(t, d), stream, "a", row.Position{})
			yields := func(r row.Row) row.Row { r.Flags |= row.Yields; return r }
			without := yields(parent(6, "never"))
			without.Values[0] = row.Null
			first := []row.Row{parent(1, "a"), yields(parent(2, "a")), yields(parent(3, "b\t\\")), yields(parent(4, "b\t\\")), parent(5, "c"), without, yields(parent(7, "c")), parent(8, "c"),
				yields(child(9, "nobody")), yields(child(10, "a"))}
			wantRefused(t, applyBad(t, n, first), pickRows(first, 6, 8, 9))
			wantSet(t, d, parents.Table, "v", "1", "3", "5")
			wantSet(t, d, children.Table, "v", "10")
			var many []row.Row // of which two thirds are there, or come twice
			want := []string{"1", "3", "5"}
			for seq := uint64(11); seq <= 3010; seq++ {
				many = append(many, yields(parent(seq, fmt.Sprint(seq%1000))))
				if seq <= 1010 {
					want = append(want, fmt.Sprint(seq))
				}
			}
			apply(t, n, many...)
			wantSet(t, d, parents.Table, "v", want...)
			apply(t, n, yields(parent(3011, "5")), yields(parent(3012, "new")))
			wantSet(t, d, parents.Table, "v", append(want, "3012")...)
		}},
	{"rows that yield wait for their parents as others do",
		"in one batch children may stand in front of parents, whose key is checked at the end",
		func(t *testing.T, h Harness, d Destination) {
			if d.Deferred == nil {
				t.Skip("this destination has no keys that are checked at commit")
			}
			d.Deferred(t, parents.Table, children.Table)
			n := attach(t, open(t, d), stream, "a", row.Position{})
			rows, refused := orphans()
			for i := range rows {
				rows[i].Flags |= row.Yields
			}
			wantRefused(t, applyBad(t, n, rows), pickRows(rows, refused...))
			if got := len(d.Rows(t, children.Table, "v")); got != 188 {
				t.Fatalf("%d children are there, want 188", got)
			}
		}},
}
