package mysql

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
	"holdfast/test/servers"
)

// numbers returns rows first to last of table t, whose column v is their seq.
func numbers(table string, first, last uint64) (rows []row.Row) {
	for seq := first; seq <= last; seq++ {
		rows = append(rows, textRow(seq, table, "v", fmt.Sprint(seq)))
	}
	return rows
}

// wantNumbers checks that t holds 1 to last, each once, in order.
func wantNumbers(t *testing.T, got []string, last uint64) {
	t.Helper()
	for i, v := range got {
		if v != fmt.Sprint(i+1) {
			t.Fatalf("row %d is %s", i+1, v)
		}
	}
	if uint64(len(got)) != last {
		t.Fatalf("there are %d rows, want %d", len(got), last)
	}
}

// wantAboutSink checks that err is about the sink, so that rows come again.
func wantAboutSink(t *testing.T, err error) {
	t.Helper()
	var refused *sink.RowError
	if err == nil || errors.As(err, &refused) || errors.Is(err, sink.ErrFenced) || errors.Is(err, sink.ErrNoCursor) {
		t.Fatalf("got %v, want an error about the sink", err)
	}
}

// TestCutAtCommit cuts the wire in front of COMMIT, right behind it, and in
// front of its answer. Whatever was committed, the cursor knows.
func TestCutAtCommit(t *testing.T) {
	for when, committed := range map[string]string{"before": "no", "behind": "maybe", "answer": "yes"} {
		t.Run(when, func(t *testing.T) {
			u := database(t)
			p, err := url.Parse(u)
			if err != nil {
				t.Fatal(err)
			}
			proxy := newProxy(t, p.Host)
			p.Host = proxy.addr
			n := mustAttach(t, mustOpen(t, Options{URL: p.String()}))
			last := uint64(0)
			for range 5 {
				rows := numbers("t", last+1, last+100)
				proxy.cutCommit(when)
				if err := tryDeliver(n, new(sinktest.Rejects), rows...); !errors.Is(err, sink.ErrDoubtful) {
					t.Fatalf("Apply gave %v, want ErrDoubtful", err)
				}
				c, err := n.Cursor(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if moved := c.Seq == last+100; moved && committed == "no" || !moved && committed == "yes" {
					t.Fatalf("cursor stands at %d, and the COMMIT got through: %s", c.Seq, committed)
				}
				if c.Seq == last {
					deliver(t, n, rows...)
				}
				last += 100
			}
			if n.cursor.Epoch != 1 {
				t.Fatalf("the session attached anew: epoch %d", n.cursor.Epoch)
			}
			wantNumbers(t, texts(t, other(t, u), "t", "v"), last)
		})
	}
}

// TestServerKilled kills the server in the middle of an Apply, and stops it
// between two of them. Nothing is there of what was not committed.
func TestServerKilled(t *testing.T) {
	s := servers.MariaDB(t)
	u := databaseOn(t, s)
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	deliver(t, n, numbers("t", 1, 100)...)
	const last = 30_000 // some of them are written when it is killed
	pad := strings.Repeat("x", 100)
	batch := func(each func(i int)) *sinktest.Batch {
		return sinktest.NewLargeBatch(last-100, func(i int) row.Row {
			each(i)
			return textRow(uint64(i)+101, "t", "v", fmt.Sprint(i+101), "pad", pad)
		}, row.Position{Seq: last})
	}
	err := n.Apply(context.Background(), batch(func(i int) {
		if i == 25_000 {
			s.Kill()
		}
	}), new(sinktest.Rejects))
	wantAboutSink(t, err)
	if errors.Is(err, sink.ErrDoubtful) {
		t.Fatalf("no COMMIT was sent, so nothing is in doubt: %v", err)
	}
	_, err = n.Cursor(context.Background())
	wantAboutSink(t, err)
	s.Start()
	db := other(t, u)
	if c, err := n.Cursor(context.Background()); err != nil || c.Seq != 100 {
		t.Fatalf("cursor %+v, %v after the kill, want seq 100", c, err)
	}
	wantNumbers(t, texts(t, db, "t", "v"), 100)
	if err := n.Apply(context.Background(), batch(func(int) {}), new(sinktest.Rejects)); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Start()
	if err := tryDeliver(n, new(sinktest.Rejects), numbers("t", last+1, last+5)...); err != nil {
		t.Fatalf("Apply on a connection that a restart of the server ended: %v", err)
	}
	wantNumbers(t, texts(t, db, "t", "v"), last+5)
}

// TestKilledConnections has an administrator kill connections at any statement.
func TestKilledConnections(t *testing.T) {
	u := database(t)
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	db := other(t, u)
	deliver(t, n, numbers("t", 1, 10)...)
	at, err := n.conn.query(context.Background(), "SELECT connection_id()")
	if err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat("x", 2000)
	err = n.Apply(context.Background(), sinktest.NewLargeBatch(2000, func(i int) row.Row {
		if i == 1500 {
			mustExec(t, db, "KILL "+at[0][0].text)
		}
		return textRow(uint64(i)+11, "t", "v", fmt.Sprint(i+11), "pad", pad)
	}, row.Position{Seq: 2010}), new(sinktest.Rejects))
	wantAboutSink(t, err)
	if c, err := n.Cursor(context.Background()); err != nil || c.Seq != 10 {
		t.Fatalf("cursor %+v, %v", c, err)
	}
	deliver(t, n, numbers("t", 11, 20)...)
	wantNumbers(t, texts(t, db, "t", "v"), 20)
}

// TestLocked holds locks from another connection: on the cursor, on a row's
// key, and on a whole table.
func TestLocked(t *testing.T) {
	u := database(t)
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	db := other(t, u)
	db.SetMaxOpenConns(1)
	mustExec(t, db, "CREATE TABLE t (v VARCHAR(20) PRIMARY KEY)")
	for i, lock := range [][]string{
		{"BEGIN", "SELECT * FROM holdfast_cursor FOR UPDATE", "COMMIT"},
		{"BEGIN", "INSERT INTO t VALUES ('%d')", "ROLLBACK"},
		{"LOCK TABLES t WRITE", "UNLOCK TABLES"},
	} {
		seq := uint64(i + 1)
		for _, q := range lock[:len(lock)-1] {
			mustExec(t, db, strings.ReplaceAll(q, "%d", fmt.Sprint(seq)))
		}
		err := tryDeliver(n, new(sinktest.Rejects), numbers("t", seq, seq)...)
		wantAboutSink(t, err)
		if errors.Is(err, sink.ErrDoubtful) {
			t.Fatalf("under a lock nothing is in doubt: %v", err)
		}
		mustExec(t, db, lock[len(lock)-1])
		deliver(t, n, numbers("t", seq, seq)...)
	}
	wantNumbers(t, texts(t, db, "t", "v"), 3)
}

// TestTableChanged changes tables between two batches, on the same session.
func TestTableChanged(t *testing.T) {
	u := database(t)
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	db := other(t, u)
	deliver(t, n, textRow(1, "t", "v", "1", "w", "x"))
	for i, change := range []string{
		"DROP TABLE t",
		"ALTER TABLE t DROP COLUMN w",
		"DROP TABLE t; CREATE TABLE t (v INT, w BOOL)",
	} {
		for _, q := range strings.Split(change, "; ") {
			mustExec(t, db, q)
		}
		r := textRow(uint64(i+2), "t", "v", fmt.Sprint(i+2), "w", "t")
		rejects, tries := new(sinktest.Rejects), 0
		for err := errors.New(""); err != nil; tries++ { // as delivery does
			if err = tryDeliver(n, rejects, r); err != nil && tries > 2 {
				t.Fatalf("after %q: %v", change, err)
			}
		}
		if len(rejects.Rows) > 0 {
			t.Fatalf("after %q a row was refused: %v", change, rejects.Why[0])
		}
	}
	if got := texts(t, db, "t", "w"); len(got) != 1 || got[0] != "1" {
		t.Errorf("table has %q, want 1", got)
	}
}

// TestLateColumn lets a column turn up when rows of its table were written in
// the same transaction already.
func TestLateColumn(t *testing.T) {
	u := database(t)
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	pad := strings.Repeat("x", 1000)
	batch := func() *sinktest.Batch {
		return sinktest.NewLargeBatch(3000, func(i int) row.Row {
			r := textRow(uint64(i)+1, "t", "v", fmt.Sprint(i+1), "pad", pad)
			if i > 2500 {
				r = textRow(uint64(i)+1, "t", "v", fmt.Sprint(i+1), "late", "x")
			}
			return r
		}, row.Position{Seq: 3000})
	}
	db := other(t, u)
	err := n.Apply(context.Background(), batch(), new(sinktest.Rejects))
	wantAboutSink(t, err)
	if got := texts(t, db, "t", "v"); len(got) != 0 {
		t.Fatalf("%d rows of the batch are there", len(got))
	}
	if err := n.Apply(context.Background(), batch(), new(sinktest.Rejects)); err != nil {
		t.Fatalf("the second time: %v", err)
	}
	wantNumbers(t, texts(t, db, "t", "v"), 3000)
}

// TestLateParent lets a parent's column turn up when its children were written
// in the same transaction already: their foreign key may lock the parent.
func TestLateParent(t *testing.T) {
	u := database(t)
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	db := other(t, u)
	mustExec(t, db, "CREATE TABLE p (v INT PRIMARY KEY)")
	mustExec(t, db, "INSERT INTO p VALUES (1)")
	mustExec(t, db, "CREATE TABLE c (v INT, pad TEXT, FOREIGN KEY (v) REFERENCES p (v))")
	pad := strings.Repeat("x", 1000)
	for tries := 1; ; tries++ { // as delivery does
		err := n.Apply(context.Background(), sinktest.NewLargeBatch(2000, func(i int) row.Row {
			if i < 1999 {
				return textRow(uint64(i)+1, "c", "v", "1", "pad", pad)
			}
			return textRow(uint64(i)+1, "p", "v", "2", "late", "x")
		}, row.Position{Seq: 2000}), new(sinktest.Rejects))
		if err == nil {
			break
		}
		if wantAboutSink(t, err); tries == 3 {
			t.Fatal(err)
		}
	}
	if got := len(texts(t, db, "c", "v")); got != 1999 {
		t.Errorf("%d children are there, want 1999", got)
	}
	wantNumbers(t, texts(t, db, "p", "v"), 2)
}

// TestNoTransactions has tables that cannot keep a transaction whole.
func TestNoTransactions(t *testing.T) {
	u := database(t)
	n := mustAttach(t, mustOpen(t, Options{URL: u}))
	db := other(t, u)
	mustExec(t, db, "CREATE TABLE t (v VARCHAR(20)) ENGINE=MyISAM")
	mustExec(t, db, "CREATE TABLE b (v VARCHAR(20))")
	mustExec(t, db, "CREATE VIEW w AS SELECT v FROM b")
	for table, want := range map[string]string{"t": "InnoDB", "w": "view"} {
		err := tryDeliver(n, new(sinktest.Rejects), append(numbers("b", 1, 1), numbers(table, 2, 2)...)...)
		wantAboutSink(t, err)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("table %s: %v does not say %q", table, err, want)
		}
	}
	mustExec(t, db, "ALTER TABLE t ENGINE=InnoDB")
	n.tables.read = n.tables.read.Add(-2 * maxAge) // a while later
	deliver(t, n, numbers("t", 1, 2)...)
	wantNumbers(t, texts(t, db, "t", "v"), 2)
	if got := texts(t, db, "b", "v"); len(got) != 0 {
		t.Errorf("%d rows of batches that were rolled back are there", len(got))
	}
}

// TestOwnNoTransactions has a cursor that would move without its rows.
func TestOwnNoTransactions(t *testing.T) {
	u := database(t)
	s := mustOpen(t, Options{URL: u})
	mustAttach(t, s)
	mustExec(t, other(t, u), "ALTER TABLE holdfast_cursor DROP PRIMARY KEY, ENGINE=MyISAM")
	_, err := s.Attach(context.Background(), testID, "b", row.Position{}, nil)
	wantAboutSink(t, err)
	if !strings.Contains(err.Error(), "InnoDB") {
		t.Errorf("%v does not say InnoDB", err)
	}
}

// TestFixed creates nothing, and waits until somebody else does.
func TestFixed(t *testing.T) {
	u := database(t)
	n := mustAttach(t, mustOpen(t, Options{URL: u, Fixed: true}))
	db := other(t, u)
	wantAboutSink(t, tryDeliver(n, new(sinktest.Rejects), numbers("t", 1, 1)...))
	mustExec(t, db, "CREATE TABLE t (w INT)")
	n.tables.read = n.tables.read.Add(-2 * maxAge)
	wantAboutSink(t, tryDeliver(n, new(sinktest.Rejects), numbers("t", 1, 1)...))
	mustExec(t, db, "ALTER TABLE t ADD COLUMN v INT")
	n.tables.read = n.tables.read.Add(-2 * maxAge)
	deliver(t, n, numbers("t", 1, 1)...)
	wantNumbers(t, texts(t, db, "t", "v"), 1)
}
