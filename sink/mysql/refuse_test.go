package mysql

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdfast/row"
	"holdfast/sink/sinktest"
)

// TestRefused puts one bad row of each kind first, in the middle and last, and
// counts what finding it costs.
func TestRefused(t *testing.T) {
	u := database(t)
	db := other(t, u)
	mustExec(t, db, "CREATE TABLE parent (id INT PRIMARY KEY) ENGINE=InnoDB")
	mustExec(t, db, "INSERT INTO parent VALUES (1)")
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	seq := uint64(0)
	for i, k := range []struct{ column, good, bad, code string }{
		{"INT NOT NULL", "1", "NULL", "1048"},
		{"INT", "1", "x", "1366"},
		{"INT", "1", "", "1366"},
		{"INT", "1", "99999999999", "1264"},
		{"INT", "1", "1.5", "value"},
		{"DECIMAL(4,2)", "1", "100", "1264"},
		{"DATE", "2026-11-21", "2026-13-01", "1292"},
		{"DATETIME", "2026-11-21 00:00:00", "0000-00-00 00:00:00", "1292"},
		{"DATE", "2026-11-21", "2026-11-00", "1292"},
		{"VARCHAR(3)", "abc", "abcd", "1406"},
		{"ENUM('a','b')", "a", "c", "1265"},
		{"JSON", "{}", "{", "4025"},
		{"INT CHECK (v < 10)", "1", "10", "4025"},
		{"INT, FOREIGN KEY (v) REFERENCES parent (id)", "1", "2", "1452"},
		{"VARCHAR(10) CHARACTER SET latin1", "é", "中", "1366"},
		{"UUID", "123e4567-e89b-12d3-a456-426614174000", "no", "1292"},
	} {
		table := fmt.Sprintf("t%d", i)
		mustExec(t, db, "CREATE TABLE "+table+" (n INT, v "+k.column+") ENGINE=InnoDB")
		const batch = 500
		for _, at := range []int{0, 1, batch / 2, batch - 2, batch - 1} {
			var rows []row.Row
			for j := range batch {
				seq++
				r := textRow(seq, table, "n", fmt.Sprint(seq), "v", k.good)
				if j == at {
					if r.Values[1] = row.Text(k.bad); k.bad == "NULL" {
						r.Values[1] = row.Null
					}
				}
				rows = append(rows, r)
			}
			bad := rows[at]
			before := 0
			if n.conn != nil {
				before = n.conn.count
			}
			rejects := deliver(t, n, rows...)
			if len(rejects.Rows) != 1 || rejects.Rows[0].Seq != bad.Seq || fmt.Sprint(rejects.Rows[0].Values) != fmt.Sprint(bad.Values) || !rejects.Settled {
				t.Fatalf("%s with %q at %d: refused %v, want only row %d, settled", k.column, k.bad, at, rejects.Rows, bad.Seq)
			}
			if why := rejects.Why[0]; why.Code != k.code || why.Table != table || why.Seq != bad.Seq || why.Err == nil {
				t.Errorf("%s with %q: refused for %+v, want code %s", k.column, k.bad, why, k.code)
			}
			// Two for each 500 rows of 250, and the logarithm of one of them.
			if cost := n.conn.count - before - batch/maxRows; cost > bits.Len(maxRows)+2 {
				t.Errorf("%s with %q at %d: %d statements more than without it", k.column, k.bad, at, cost)
			}
			if got := len(texts(t, db, table, "n")); got != batch-1 {
				t.Fatalf("%s with %q at %d: table has %d rows, want %d", k.column, k.bad, at, got, batch-1)
			}
			mustExec(t, db, "DELETE FROM "+table)
		}
	}
}

// TestManyRefused refuses every third row, and all of them, and rows that come
// twice in one batch.
func TestManyRefused(t *testing.T) {
	u := database(t)
	db := other(t, u)
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	mustExec(t, db, "CREATE TABLE t (n INT AUTO_INCREMENT PRIMARY KEY, v INT UNIQUE) ENGINE=InnoDB")
	var rows []row.Row
	var want []string
	for seq := uint64(1); seq <= 300; seq++ {
		r := textRow(seq, "t", "v", fmt.Sprint(seq))
		switch {
		case seq%3 == 0:
			r = textRow(seq, "t", "v", "x")
		case seq%10 == 1 && seq > 1:
			r = textRow(seq, "t", "v", "1") // there already
		default:
			want = append(want, fmt.Sprint(seq))
		}
		rows = append(rows, r)
	}
	rejects := deliver(t, n, rows...)
	if len(rejects.Rows) != 300-len(want) {
		t.Errorf("%d rows were refused, want %d", len(rejects.Rows), 300-len(want))
	}
	var got []string
	for _, r := range readRows(t, db, "t", "n", "v") {
		got = append(got, r[1].String())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("table has\n%v, want\n%v", got, want)
	}
	var bad []row.Row
	for seq := uint64(301); seq <= 400; seq++ {
		bad = append(bad, textRow(seq, "t", "v", "y"))
	}
	if rejects := deliver(t, n, bad...); len(rejects.Rows) != 100 || n.cursor.Seq != 400 {
		t.Errorf("%d rows were refused, cursor at %d", len(rejects.Rows), n.cursor.Seq)
	}
}

// TestRefusedBehind refuses rows of a batch that is sent in many pieces, while
// the next ones are gathered and tables come that need the connection: children
// behind their parents, each table's rows in order, and a bad one now and then.
func TestRefusedBehind(t *testing.T) {
	u := database(t)
	db := other(t, u)
	mustExec(t, db, "CREATE TABLE parent (n INT, v INT PRIMARY KEY) ENGINE=InnoDB")
	mustExec(t, db, "CREATE TABLE child (n INT AUTO_INCREMENT UNIQUE, v INT, CHECK (v % 100 <> 7), FOREIGN KEY (v) REFERENCES parent (v)) ENGINE=InnoDB")
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	var rows []row.Row
	var bad []uint64
	for seq := uint64(1); seq <= 12_000; seq++ {
		v := fmt.Sprint((seq + 1) / 2)
		switch {
		case seq%2000 == 0:
			rows = append(rows, textRow(seq, fmt.Sprint("late", seq), "n", "1", "v", "x")) // a table that must be made first
		case seq%2 == 0:
			rows = append(rows, textRow(seq, "child", "v", v))
			if (seq+1)/2%100 == 7 {
				bad = append(bad, seq)
			}
		default:
			rows = append(rows, textRow(seq, "parent", "n", v, "v", v))
		}
	}
	rejects := new(sinktest.Rejects)
	err := tryDeliver(n, rejects, rows...)
	for tries := 0; err != nil && tries < 9; tries++ { // a table that was made late
		rejects = new(sinktest.Rejects)
		err = tryDeliver(n, rejects, rows...)
	}
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, r := range rejects.Rows {
		got = append(got, r.Seq)
	}
	if slices.Sort(got); !slices.Equal(got, bad) || !rejects.Settled {
		t.Errorf("refused %v, want %v, settled", got, bad)
	}
	last := 0
	for _, v := range texts(t, db, "child", "v") {
		if now, err := strconv.Atoi(v); err != nil || now <= last {
			t.Fatalf("child %q comes behind %d", v, last)
		} else {
			last = now
		}
	}
	if got, want := len(texts(t, db, "child", "v"))+len(texts(t, db, "parent", "v")), 12_000-6-len(bad); got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
}

// TestNames gives tables and columns names that cannot be one.
func TestNames(t *testing.T) {
	u := database(t)
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	seq := uint64(0)
	for _, name := range []string{"été中文🙂", strings.Repeat("n", 65), "ends in a blank ", "", "a\x00b", "\xff"} {
		for _, r := range []row.Row{textRow(1, name, "v", "x"), textRow(1, "t", name, "x")} {
			r.Seq, seq = seq+2, seq+2
			good := textRow(seq-1, "t", "v", "x")
			if rejects := deliver(t, n, good, r); len(rejects.Rows) != 1 || rejects.Why[0].Code != "schema" || rejects.Rows[0].Seq != r.Seq {
				t.Errorf("name %q: refused %v, want one row, for its schema", name, rejects.Why)
			}
		}
	}
	for _, r := range []row.Row{textRow(seq+1, "holdfast_cursor", "v", "x"), textRow(seq+1, strings.Repeat("中", 60), "v", "x"), textRow(seq+1, "t", "v", "1", "V", "2")} {
		if rejects := deliver(t, n, r); len(rejects.Rows) != 1 || rejects.Why[0].Code != "schema" {
			t.Errorf("%q: refused %v, want one row, for its schema", r.Schema.Table, rejects.Why)
		}
	}
	if got := len(texts(t, other(t, u), "t", "v")); got != int(seq)/2 {
		t.Errorf("table has %d rows, want %d", got, seq/2)
	}
}

// TestTooLarge has a server whose packets are smaller than a batch, and a row
// that is larger than a packet.
func TestTooLarge(t *testing.T) {
	u := database(t)
	db := other(t, u)
	var was int
	if err := db.QueryRow("SELECT @@global.max_allowed_packet").Scan(&was); err != nil {
		t.Fatal(err)
	}
	mustExec(t, db, "SET GLOBAL max_allowed_packet = 262144")
	t.Cleanup(func() { mustExec(t, db, fmt.Sprintf("SET GLOBAL max_allowed_packet = %d", was)) })
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	var rows []row.Row
	for seq := uint64(1); seq <= 100; seq++ {
		rows = append(rows, textRow(seq, "t", "v", fmt.Sprint(seq), "quotes", strings.Repeat("'", 40_000)))
	}
	rows[40] = textRow(41, "t", "v", "41", "quotes", strings.Repeat("'", 200_000))
	rows[50].Values[1] = row.Text(strings.Repeat("x", 300_000))
	rejects := deliver(t, n, rows...)
	if len(rejects.Rows) != 1 || rejects.Rows[0].Seq != 51 || !strings.Contains(rejects.Why[0].Error(), "max_allowed_packet") {
		t.Fatalf("refused %v, want row 51 for max_allowed_packet", rejects.Why)
	}
	if got := texts(t, db, "t", "v"); len(got) != 99 {
		t.Fatalf("table has %d rows, want 99", len(got))
	}
	var sum int
	if err := db.QueryRow("SELECT sum(length(quotes)) FROM t").Scan(&sum); err != nil || sum != 98*40_000+200_000 {
		t.Errorf("%d bytes arrived, %v", sum, err)
	}
}
