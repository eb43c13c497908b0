package holdfast_test

import (
	"fmt"
	"strings"
	"testing"

	"holdfast"
	"holdfast/internal/fault"
	"holdfast/row"
)

// TestRollbackTo holds that what a transaction goes back to is as if the rows
// behind had never been, on disk too; and that it says so where it cannot.
func TestRollbackTo(t *testing.T) {
	db := open(t, t.TempDir(), holdfast.Options{})
	s := schema(t, db, "t", "n", "b")
	insert := func(tx *holdfast.Tx, from, to, size int) {
		t.Helper()
		for i := from; i < to; i++ {
			if err := tx.Insert(s, []row.Value{row.Text(fmt.Sprint(i)), row.Text(strings.Repeat("x", size))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	total := 0
	for _, c := range []struct {
		rows, back, more, size int
	}{{5, 3, 0, 10}, {5, 3, 2, 10}, {2, 1, 0, 10}, {2, 1, 1, 10}, {5, 0, 1, 10}, {5, 0, 0, 10}, {3, 3, 0, 10}, {20, 18, 3, 70_000}, {20, 0, 2, 70_000}} {
		tx := db.Begin()
		insert(tx, 0, c.rows, c.size)
		if err := tx.RollbackTo(c.back); err != nil || tx.Rows() != c.back {
			t.Fatalf("%+v: %d rows, %v", c, tx.Rows(), err)
		}
		insert(tx, c.back, c.back+c.more, c.size)
		if err := tx.Commit(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		got := flagsFrom(t, db, total+1)
		if len(got) != c.back+c.more {
			t.Fatalf("%+v left %d rows", c, len(got))
		}
		for i, r := range got {
			want := row.Flags(0)
			if len(got) > 1 && i == 0 {
				want = row.TxBegin
			}
			if len(got) > 1 && i == len(got)-1 {
				want = row.TxEnd
			}
			if r.flags != want || r.n != fmt.Sprint(i) {
				t.Fatalf("%+v: row %d has flags %d and value %s, want %d", c, i, r.flags, r.n, want)
			}
		}
		total += len(got)
	}
	tx := db.Begin()
	insert(tx, 0, 20, 200_000)
	for range 2 {
		if err := tx.RollbackTo(2); fault.Code(err) != fault.LimitExceeded {
			t.Fatalf("going back to a row on disk: %v", err)
		}
	}
	if err := tx.Insert(s, []row.Value{row.Null, row.Null}); fault.Code(err) != fault.LimitExceeded {
		t.Fatalf("a row behind that: %v", err)
	}
	if err := tx.Commit(t.Context(), true); fault.Code(err) != fault.LimitExceeded {
		t.Fatalf("its commit: %v", err)
	}
	if got := flagsFrom(t, db, total+1); len(got) > 0 {
		t.Fatalf("it left %d rows", len(got))
	}
}

// TestYields holds that a row keeps that it yields, and the next one does not.
func TestYields(t *testing.T) {
	db := open(t, t.TempDir(), holdfast.Options{})
	s := schema(t, db, "t", "n", "b")
	tx := db.Begin()
	for i := range 4 {
		tx.Treat(nil, i%2 == 0)
		if err := tx.Insert(s, []row.Value{row.Text(fmt.Sprint(i)), row.Null}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	tx.Treat(nil, true)
	if err := tx.Insert(s, []row.Value{row.Text("4"), row.Null}); err != nil {
		t.Fatal(err)
	}
	tx.Rollback()
	if err := tx.Insert(s, []row.Value{row.Text("5"), row.Null}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	want := []mark{{row.TxBegin | row.Yields, "0"}, {0, "1"}, {row.Yields, "2"}, {row.TxEnd, "3"}, {0, "5"}}
	if got := flagsFrom(t, db, 1); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("rows are %v, want %v", got, want)
	}
}
