package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
)

// tree returns row seq, from 1, of a table whose rows refer to each other.
func tree(s *row.Schema, seq, parent int) row.Row {
	r := values(uint64(seq), s, fmt.Sprint(seq), fmt.Sprint(parent), strings.Repeat("x", 200))
	if parent == 0 {
		r.Values[1] = row.Null
	}
	return r
}

// applied delivers rows until they are in, as delivery does, and returns the
// seqs that were set aside and how often it was tried.
func applied(t *testing.T, n *session, count int, each func(i int) row.Row) (aside []uint64, attempts int) {
	t.Helper()
	for attempts = 1; ; attempts++ {
		j := new(sinktest.Rejects)
		err := n.Apply(context.Background(), sinktest.NewLargeBatch(count, each, row.Position{Seq: each(count - 1).Seq}), j)
		var refused *sink.RowError
		switch {
		case err == nil:
			for _, r := range j.Rows {
				aside = append(aside, r.Seq)
			}
			slices.Sort(aside)
			return aside, attempts
		case attempts == 4 || errors.As(err, &refused) || errors.Is(err, sink.ErrDoubtful):
			t.Fatalf("attempt %d: %v", attempts, err)
		}
	}
}

// TestDeferred has one row in a transaction break a constraint that is checked
// at COMMIT, where the tables make it hard to tell which: the transaction is
// larger than what is kept of one, parents come long after their children, or
// tables refer to each other in a circle.
func TestDeferred(t *testing.T) {
	const child = "CREATE TABLE t (id bigint PRIMARY KEY, p bigint REFERENCES %s DEFERRABLE INITIALLY DEFERRED, pad text)"
	s, other := text("t", "id", "p", "pad"), text("o", "id", "p", "pad")
	large := 2 * maxKept / 200
	for _, test := range []struct {
		name  string
		setup []string
		rows  int
		each  func(i int) (parent int, s *row.Schema) // of row i, from 1
		bad   []uint64
	}{
		{"larger than what is kept", []string{"CREATE TABLE p (id bigint PRIMARY KEY)", "INSERT INTO p VALUES (1)", fmt.Sprintf(child, "p")}, large,
			func(i int) (int, *row.Schema) {
				if i == 2 || i == large/2 || i == large {
					return 2, s
				}
				return 1, s
			}, []uint64{2, uint64(large / 2), uint64(large)}},
		{"children first", []string{fmt.Sprintf(child, "t")}, 30_000,
			func(i int) (int, *row.Schema) {
				switch {
				case i == 77:
					return 99_999_999, s
				case i%1000 == 0 && i <= 15_000:
					return 30_000, s
				}
				return 0, s
			}, []uint64{77}},
		{"circle", []string{fmt.Sprintf(child, "t"), strings.Replace(fmt.Sprintf(child, "t"), "TABLE t", "TABLE o", 1),
			"ALTER TABLE t DROP CONSTRAINT t_p_fkey; ALTER TABLE t ADD FOREIGN KEY (p) REFERENCES o DEFERRABLE INITIALLY DEFERRED"}, 20_000,
			func(i int) (int, *row.Schema) {
				switch {
				case i == 77:
					return 99_999_999, s
				case i%2 == 0:
					return i - 1, other
				}
				return i + 1, s
			}, []uint64{77, 78}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, url := start(t, test.setup...)
			for again := range 2 { // a session that knows nothing yet, and one that met a bad row
				first := again * test.rows
				aside, attempts := applied(t, n, test.rows, func(i int) row.Row {
					parent, of := test.each(i + 1)
					if parent > 1 && parent <= test.rows {
						parent += first
					}
					return tree(of, first+i+1, parent)
				})
				for i := range aside {
					aside[i] -= uint64(first)
				}
				t.Logf("set aside %d at attempt %d", aside, attempts)
				if !slices.Equal(aside, test.bad) {
					t.Fatalf("set aside %d, want %d", aside, test.bad)
				}
			}
			if got, want := column(t, url, "SELECT count(*) FROM "+map[bool]string{false: "t", true: "(SELECT FROM t UNION ALL SELECT FROM o) x"}[test.name == "circle"]),
				fmt.Sprint(2*(test.rows-len(test.bad))); got != want {
				t.Errorf("%s rows are in, want %s", got, want)
			}
		})
	}
}
