package e2e

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// arrived is a row of one writer as the sink has it.
type arrived struct {
	table string
	n     int64
	body  string
}

// summary counts what became of a writer's statements.
type summary struct {
	acked    int // acknowledged
	doubtful int // neither acknowledged nor rolled back
	found    int // of the doubtful ones, those that arrived
}

// verify holds the default sink against what the writers were told.
func verify(t *testing.T, db *sql.DB, writers []*writer) {
	t.Helper()
	verifyIn(t, destination{"default", func(t *testing.T, table, columns string) [][]string {
		return query(t, db, "SELECT "+columns+" FROM "+table+" ORDER BY rowid")
	}}, writers)
}

// report holds a sink's rows of one writer against what it was told.
func report(t *testing.T, w *writer, rows []arrived) {
	t.Helper()
	if w.err != nil {
		t.Errorf("writer %d (%s): %v", w.id, w.mode.name, w.err)
	}
	problems, sum := w.judge(rows)
	for _, p := range problems[:min(len(problems), 10)] {
		t.Errorf("writer %d (%s): %s", w.id, w.mode.name, p)
	}
	if sum.acked == 0 {
		t.Errorf("writer %d (%s): nothing was acknowledged, so nothing was tested", w.id, w.mode.name)
	}
	t.Logf("writer %d %-11s: %5d statements acknowledged; %3d cut off, of which %3d arrived whole; slowest answer %v; %d problems",
		w.id, w.mode.name, sum.acked, sum.doubtful, sum.found, w.slowest.Round(time.Millisecond), len(problems))
}

// judge finds what is wrong with rows, which are in the order of the sink
// within each table: an acknowledged row must be there once, a statement whole
// or absent, one that was rolled back absent, and each table in order.
func (w *writer) judge(rows []arrived) (problems []string, sum summary) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	last, present := map[string]int64{}, map[int64]bool{}
	for _, r := range rows {
		if present[r.n] {
			bad("row %d is there twice", r.n)
		} else if r.n <= last[r.table] {
			bad("row %d stands behind row %d in %s", r.n, last[r.table], r.table)
		}
		if r.table != w.table(r.n) || r.body != body(w.id, r.n) {
			bad("row %d is not what was written: %q in %s", r.n, r.body, r.table)
		}
		present[r.n], last[r.table] = true, max(last[r.table], r.n)
	}
	for _, s := range w.statements {
		here, size := int64(0), s.last-s.first+1
		for n := s.first; n <= s.last; n++ {
			if present[n] {
				here++
				delete(present, n)
			}
		}
		switch {
		case s.undone && here > 0:
			bad("rows %d to %d were rolled back, and %d of them are there", s.first, s.last, here)
		case s.acked && here < size:
			bad("rows %d to %d were acknowledged, and only %d are there", s.first, s.last, here)
		case here > 0 && here < size:
			bad("of rows %d to %d only %d are there: neither whole nor absent", s.first, s.last, here)
		}
		switch {
		case s.acked:
			sum.acked++
		case !s.undone:
			sum.doubtful++
			sum.found += int(min(here, 1))
		}
	}
	for n := range present {
		bad("row %d was never written", n)
	}
	return problems, sum
}

// TestJudge holds that the judge finds each kind of wrong: a test of crashes
// is worth what its judge sees.
func TestJudge(t *testing.T) {
	w := &writer{id: 1, mode: modes[3], statements: []statement{
		{first: 1, last: 3, acked: true},
		{first: 4, last: 6},               // cut off
		{first: 7, last: 8, undone: true}, // rolled back
		{first: 9, last: 9, acked: true},
	}}
	row := func(n int64) arrived { return arrived{w.table(n), n, body(w.id, n)} }
	rows := func(numbers ...int64) (all []arrived) {
		for _, n := range numbers {
			all = append(all, row(n))
		}
		return all
	}
	for _, c := range []struct {
		name string
		rows []arrived
		says string // "" where all is well
	}{
		{"cut off absent", rows(1, 2, 3, 9), ""},
		{"cut off whole", rows(1, 2, 3, 4, 5, 6, 9), ""},
		{"tables interleaved otherwise", rows(1, 3, 9, 2), ""},
		{"acknowledged row lost", rows(1, 2, 3), "were acknowledged, and only 0"},
		{"acknowledged statement half there", rows(1, 2, 9), "were acknowledged, and only 2"},
		{"cut off half there", rows(1, 2, 3, 4, 5, 9), "neither whole nor absent"},
		{"twice", rows(1, 2, 3, 9, 9), "row 9 is there twice"},
		{"cut off twice", rows(1, 2, 3, 4, 5, 6, 4, 5, 6, 9), "row 4 is there twice"},
		{"out of order", rows(3, 2, 1, 9), "row 1 stands behind row 3"},
		{"rolled back there", rows(1, 2, 3, 7, 8, 9), "were rolled back, and 2"},
		{"invented", rows(1, 2, 3, 9, 10), "row 10 was never written"},
		{"changed", append(rows(1, 2, 3), arrived{w.table(9), 9, "other"}), "is not what was written"},
		{"wrong table", append(rows(1, 2, 3), arrived{w.table(8), 9, body(1, 9)}), "is not what was written"},
	} {
		problems, sum := w.judge(c.rows)
		found := slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, c.says) })
		if c.says == "" && len(problems) > 0 || c.says != "" && !found {
			t.Errorf("%s: the judge says %q, want %q", c.name, problems, c.says)
		}
		if sum.acked != 2 || sum.doubtful != 1 {
			t.Errorf("%s: counted %+v", c.name, sum)
		}
	}
}
