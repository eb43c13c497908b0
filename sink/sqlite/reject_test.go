package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
)

// seqsOf returns the seqs of what was set aside.
func seqsOf(j *sinktest.Rejects) []uint64 {
	var all []uint64
	for _, r := range j.Rows {
		all = append(all, r.Seq)
	}
	slices.Sort(all)
	return all
}

// TestStatementsPerBadRow counts what a bad row costs, wherever it stands: at
// most a statement for each halving, and as many for the rows behind it.
func TestStatementsPerBadRow(t *testing.T) {
	const rows = 1000
	s := mustOpen(t, filepath.Join(t.TempDir(), "cost.db"), Options{})
	n := mustAttach(t, s)
	seq := uint64(0)
	run := func(bad int) uint64 {
		var all []row.Row
		one := textRow(0, "t", "v", "", "w", "").Schema
		for i := range rows {
			seq++
			v := row.Text(fmt.Sprint(seq))
			if i == bad {
				v = row.Text("bad")
			}
			all = append(all, row.Row{Seq: seq, Schema: one, Values: []row.Value{v, row.Null}})
		}
		var j sinktest.Rejects
		before := s.conn.statements.Uses()
		if err := n.Apply(context.Background(), sinktest.NewBatch(all, row.Position{Seq: seq}), &j); err != nil {
			t.Fatal(err)
		}
		if bad >= 0 && !slices.Equal(seqsOf(&j), []uint64{all[bad].Seq}) {
			t.Fatalf("bad row %d: set aside %v", bad, seqsOf(&j))
		}
		return s.conn.statements.Uses() - before
	}
	if err := deliver(n, textRow(1, "t", "v", "bad", "w", "")); err != nil {
		t.Fatal(err)
	}
	mustExec(t, other(t, s.path), "CREATE UNIQUE INDEX u ON t (v)")
	clean := run(-1)
	for bad := 0; bad < 2*maxRows; bad++ {
		if extra := run(bad) - clean; extra > 13 {
			t.Fatalf("bad row %d took %d more statements than the %d of a clean batch", bad, extra, clean)
		}
	}
}

// familyTest is rows for tables that refer to each other.
type familyTest struct {
	name, ddl string
	rows      []row.Row
	want      []uint64 // seqs set aside
}

func chain(n int, first string) []row.Row {
	all := []row.Row{textRow(1, "list", "id", "1", "before", first)}
	for i := 2; i <= n; i++ {
		all = append(all, textRow(uint64(i), "list", "id", fmt.Sprint(i), "before", fmt.Sprint(i-1)))
	}
	return all
}

var familyTests = []familyTest{
	{"three generations, youngest first",
		"CREATE TABLE a (id TEXT PRIMARY KEY); CREATE TABLE b (id TEXT PRIMARY KEY, a TEXT REFERENCES a); CREATE TABLE c (b TEXT REFERENCES b, v TEXT)",
		[]row.Row{textRow(1, "c", "b", "b1"), textRow(2, "c", "v", "of nobody"), textRow(3, "c", "b", "b2"), textRow(4, "B", "ID", "b1", "A", "a1"),
			textRow(5, "b", "id", "b2", "a", "a2"), textRow(6, "a", "id", "a1")},
		[]uint64{3, 5}},
	{"three generations, deferred",
		"CREATE TABLE a (id TEXT PRIMARY KEY); CREATE TABLE b (id TEXT PRIMARY KEY, a TEXT REFERENCES a DEFERRABLE INITIALLY DEFERRED); CREATE TABLE c (b TEXT REFERENCES b DEFERRABLE INITIALLY DEFERRED, v TEXT)",
		[]row.Row{textRow(1, "c", "b", "b1"), textRow(2, "c", "v", "of nobody"), textRow(3, "c", "b", "b2"), textRow(4, "b", "id", "b1", "a", "a1"),
			textRow(5, "b", "id", "b2", "a", "a2"), textRow(6, "a", "id", "a1")},
		[]uint64{3, 5}},
	{"a circle, deferred",
		"CREATE TABLE a (id TEXT PRIMARY KEY, b TEXT REFERENCES b DEFERRABLE INITIALLY DEFERRED); CREATE TABLE b (id TEXT PRIMARY KEY, a TEXT REFERENCES a DEFERRABLE INITIALLY DEFERRED)",
		[]row.Row{textRow(1, "a", "id", "a1", "b", "b1"), textRow(2, "b", "id", "b1", "a", "a1"), textRow(3, "a", "id", "a2", "b", "b2"), textRow(4, "b", "id", "b3", "a", "a1")},
		[]uint64{3}},
	{"a circle, checked at once, of rows without the other",
		"CREATE TABLE a (id TEXT PRIMARY KEY, b TEXT REFERENCES b); CREATE TABLE b (id TEXT PRIMARY KEY, a TEXT REFERENCES a)",
		[]row.Row{textRow(1, "a", "id", "a1"), textRow(2, "b", "id", "b1", "a", "a1"), textRow(3, "b", "id", "b2", "a", "a2")},
		[]uint64{3}},
	{"a list in one table", "CREATE TABLE list (id TEXT PRIMARY KEY, before TEXT REFERENCES list)", chain(20, "nobody"),
		[]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}},
	{"a list in one table, deferred", "CREATE TABLE list (id TEXT PRIMARY KEY, before TEXT REFERENCES list DEFERRABLE INITIALLY DEFERRED)", chain(20, "nobody"),
		[]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}},
	{"a ring in one table, deferred", "CREATE TABLE list (id TEXT PRIMARY KEY, before TEXT REFERENCES list DEFERRABLE INITIALLY DEFERRED)", chain(200, "200"), nil},
	{"keys of several columns, and numbers that are written as text",
		"CREATE TABLE a (x INTEGER, y TEXT, PRIMARY KEY (x, y)); CREATE TABLE b (p TEXT, q TEXT, FOREIGN KEY (p, q) REFERENCES a DEFERRABLE INITIALLY DEFERRED)",
		[]row.Row{textRow(1, "b", "p", "7", "q", "k"), textRow(2, "b", "p", "7", "q", "K"), textRow(3, "b", "p", "9"), textRow(4, "a", "x", "7", "y", "k")},
		[]uint64{2}},
	{"rows that the table ignores, deferred",
		"CREATE TABLE a (id TEXT PRIMARY KEY); CREATE TABLE b (u TEXT UNIQUE ON CONFLICT IGNORE, a TEXT REFERENCES a DEFERRABLE INITIALLY DEFERRED)",
		[]row.Row{textRow(1, "b", "u", "1", "a", "a1"), textRow(2, "b", "u", "1", "a", "a2"), textRow(3, "b", "u", "2", "a", "a3"), textRow(4, "a", "id", "a1")},
		[]uint64{3}},
	{"a child in the words of two schemas, one of them bad in itself",
		"CREATE TABLE a (id TEXT PRIMARY KEY); CREATE TABLE b (v TEXT CHECK (v <> 'bad'), a TEXT REFERENCES a DEFERRABLE INITIALLY DEFERRED)",
		[]row.Row{textRow(1, "b", "v", "x", "a", "a1"), textRow(2, "b", "a", "a1", "v", "bad"), textRow(3, "b", "v", "y", "a", "a2"), textRow(4, "b", "a", "a1", "v", "z"), textRow(5, "a", "id", "a1")},
		[]uint64{2, 3}},
}

func TestFamilies(t *testing.T) {
	for _, tt := range familyTests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "family.db")
			db := other(t, path)
			mustExec(t, db, tt.ddl)
			n := mustAttach(t, mustOpen(t, path, Options{}))
			var j sinktest.Rejects
			end := row.Position{Seq: tt.rows[len(tt.rows)-1].Seq}
			if err := n.Apply(context.Background(), sinktest.NewBatch(tt.rows, end), &j); err != nil {
				t.Fatal(err)
			}
			if got := seqsOf(&j); !slices.Equal(got, tt.want) {
				t.Errorf("set aside %v, want %v (%v)", got, tt.want, j.Why)
			}
			for _, why := range j.Why {
				if why.Code != "787" && why.Code != "275" {
					t.Errorf("row %d was set aside with code %s (%v)", why.Seq, why.Code, why)
				}
			}
			var broken int
			if err := db.QueryRow("SELECT count(*) FROM pragma_foreign_key_check").Scan(&broken); err != nil || broken != 0 {
				t.Errorf("%d rows in the file lack a parent (%v)", broken, err)
			}
			if got := cursorOf(t, n); got != end {
				t.Errorf("cursor stands at %+v", got)
			}
		})
	}
}

// TestOrderOfKept writes far more rows of a child than are kept at a time,
// between rows of its parent and in two schemas.
func TestOrderOfKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "order.db")
	db := other(t, path)
	mustExec(t, db, "CREATE TABLE a (id TEXT PRIMARY KEY); CREATE TABLE b (v TEXT, w TEXT, a TEXT REFERENCES a)")
	n := mustAttach(t, mustOpen(t, path, Options{}))
	one, two, up := textRow(0, "b", "v", "", "a", "", "w", "").Schema, textRow(0, "b", "w", "", "a", "", "v", "").Schema, textRow(0, "a", "id", "").Schema
	const rows = 3000
	pad := strings.Repeat("x", 3*maxKept/rows)
	b := sinktest.NewLargeBatch(rows, func(i int) row.Row {
		seq := uint64(i + 1)
		switch id := row.Text(fmt.Sprint(i / 100)); {
		case i%100 == 0:
			return row.Row{Seq: seq, Schema: up, Values: []row.Value{id}}
		case i%7 < 3:
			return row.Row{Seq: seq, Schema: two, Values: []row.Value{row.Text(pad), id, row.Text(fmt.Sprint(seq))}}
		default:
			return row.Row{Seq: seq, Schema: one, Values: []row.Value{row.Text(fmt.Sprint(seq)), id, row.Text(pad)}}
		}
	}, row.Position{Seq: rows})
	var j sinktest.Rejects
	if err := n.Apply(context.Background(), b, &j); err != nil || len(j.Rows) != 0 {
		t.Fatalf("Apply gave %v and set %d rows aside", err, len(j.Rows))
	}
	at := 0
	for _, r := range readRows(t, db, "b", "v") {
		for at++; at%100 == 1; at++ {
		}
		if r[0].String() != fmt.Sprint(at) {
			t.Fatalf("got row %s where %d belongs", r[0], at)
		}
	}
	if at != rows {
		t.Fatalf("the last row is %d, want %d", at, rows)
	}
}

// TestCommitRefuses delivers what only COMMIT refuses, and names no row: a
// table whose rows cannot be found again, and a trigger that writes elsewhere.
func TestCommitRefuses(t *testing.T) {
	for name, ddl := range map[string]string{
		"without rowid": "CREATE TABLE b (k TEXT PRIMARY KEY, a TEXT REFERENCES a DEFERRABLE INITIALLY DEFERRED) WITHOUT ROWID",
		"trigger": "CREATE TABLE b (k TEXT, a TEXT); CREATE TABLE log (a TEXT REFERENCES a DEFERRABLE INITIALLY DEFERRED);" +
			"CREATE TRIGGER r AFTER INSERT ON b BEGIN INSERT INTO log VALUES (NEW.a); END",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "commit.db")
			mustExec(t, other(t, path), "CREATE TABLE a (id TEXT PRIMARY KEY); "+ddl)
			n := mustAttach(t, mustOpen(t, path, Options{}))
			var refused *sink.RowError
			err := deliver(n, textRow(1, "b", "k", "1", "a", "a1"), textRow(2, "b", "k", "2", "a", "a2"), textRow(3, "a", "id", "a1"))
			if !errors.As(err, &refused) || refused.Seq != 0 || errors.Is(err, sink.ErrDoubtful) {
				t.Fatalf("Apply gave %v, want a RowError that names no row", err)
			}
			var got int
			if err := other(t, path).QueryRow("SELECT count(*) FROM b").Scan(&got); err != nil || got != 0 {
				t.Fatalf("table b has %d rows of a batch that was refused (%v)", got, err)
			}
			if err := deliver(n, textRow(1, "b", "k", "1", "a", "a1"), textRow(3, "a", "id", "a1")); err != nil {
				t.Fatalf("Apply without the bad row: %v", err)
			}
		})
	}
}

// TestOrphanRetried holds that an orphan which was refused at the end of a
// retry is not noted as retried.
func TestOrphanRetried(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orphan.db")
	db := other(t, path)
	mustExec(t, db, "CREATE TABLE a (id TEXT PRIMARY KEY); CREATE TABLE b (a TEXT REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
	n := mustAttach(t, mustOpen(t, path, Options{}))
	rows := []row.Row{textRow(1, "b", "a", "a1"), textRow(2, "b", "a", "a2")}
	again := func(want ...uint64) {
		t.Helper()
		var j sinktest.Rejects
		if err := n.Retry(context.Background(), sinktest.NewBatch(rows, row.Position{Seq: 2}), &j); err != nil || !slices.Equal(seqsOf(&j), want) {
			t.Fatalf("Retry gave %v and set %v aside, want %v", err, seqsOf(&j), want)
		}
	}
	again(1, 2)
	mustExec(t, db, "INSERT INTO a VALUES ('a2')")
	again(1)
	mustExec(t, db, "INSERT INTO a VALUES ('a1')")
	again()
	again()
	if got := readRows(t, db, "b", "a"); len(got) != 2 || got[0][0].String() != "a2" || got[1][0].String() != "a1" {
		t.Fatalf("got %v, want a2 and a1, once each", got)
	}
}

func TestParentsFirst(t *testing.T) {
	tests := []struct{ refs, want string }{
		{"a b c", "a b c"},
		{"a>b b c", "b a c"},
		{"c>b b>a a", "a b c"},
		{"a>a b", "a b"},
		{"a>b b>a c", "a b c"},
		{"d>a a>b b>a c>d", "a d b c"},
		{"a>elsewhere b", "a b"},
	}
	for _, tt := range tests {
		var groups []*group
		for _, ref := range strings.Fields(tt.refs) {
			child, parent, is := strings.Cut(ref, ">")
			tab := &table{name: strings.ToUpper(child)}
			if is {
				tab.keys = []foreignKey{{parent: parent}}
			}
			groups = append(groups, &group{plan: &plan{table: tab}}, &group{plan: &plan{table: tab}})
		}
		var got []string
		for _, tab := range parentsFirst(groups) {
			got = append(got, FoldName(tab.name))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: got %v, want %s", tt.refs, got, tt.want)
		}
	}
}

// TestValueErrors holds that a value which a function of the table does not
// like is a bad row, though SQLite's code says no more than "error", and that a
// table which is broken is not.
func TestValueErrors(t *testing.T) {
	for name, ddl := range map[string]string{
		"index":     "CREATE TABLE t (v TEXT); CREATE INDEX i ON t (json_extract(v, '$.a'))",
		"generated": "CREATE TABLE t (v TEXT, a TEXT AS (json_extract(v, '$.a')) STORED)",
		"trigger":   "CREATE TABLE t (v TEXT); CREATE TABLE u (a TEXT); CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO u VALUES (json_extract(NEW.v, '$.a')); END",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "value.db")
			db := other(t, path)
			mustExec(t, db, ddl)
			n := mustAttach(t, mustOpen(t, path, Options{}))
			var rows []row.Row
			for seq := uint64(1); seq <= 100; seq++ {
				rows = append(rows, textRow(seq, "t", "v", fmt.Sprintf(`{"a": %d}`, seq)))
			}
			rows[69].Values[0] = row.Text("{no JSON")
			var refused *sink.RowError
			if err := deliver(n, rows...); !errors.Is(err, errUnguarded) || errors.As(err, &refused) {
				t.Fatalf("the first Apply gave %v, want that it comes again", err)
			}
			var j sinktest.Rejects
			if err := n.Apply(context.Background(), sinktest.NewBatch(rows, row.Position{Seq: 100}), &j); err != nil || !slices.Equal(seqsOf(&j), []uint64{70}) {
				t.Fatalf("the second Apply gave %v and set %v aside, want row 70 alone", err, seqsOf(&j))
			}
			if got := len(readRows(t, db, "t", "v")); got != 99 {
				t.Fatalf("table has %d rows, want 99", got)
			}
		})
	}
	t.Run("a table that a trigger needs is gone", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "broken.db")
		db := other(t, path)
		mustExec(t, db, "CREATE TABLE t (v TEXT); CREATE TABLE u (a TEXT); CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO u VALUES (NEW.v); END")
		n := mustAttach(t, mustOpen(t, path, Options{}))
		if err := deliver(n, textRow(1, "t", "v", "1")); err != nil {
			t.Fatal(err)
		}
		mustExec(t, db, "DROP TABLE u")
		for range 3 {
			var j sinktest.Rejects
			err := n.Apply(context.Background(), sinktest.NewBatch([]row.Row{textRow(2, "t", "v", "2")}, row.Position{Seq: 2}), &j)
			var refused *sink.RowError
			if err == nil || errors.As(err, &refused) || errors.Is(err, errUnguarded) || len(j.Rows) > 0 {
				t.Fatalf("Apply gave %v and set %v aside, want an error about the sink", err, seqsOf(&j))
			}
		}
		mustExec(t, db, "CREATE TABLE u (a TEXT)")
		if err := deliver(n, textRow(2, "t", "v", "2")); err != nil {
			t.Fatal(err)
		}
	})
}
