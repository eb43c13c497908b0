package holdfast_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast"
	"holdfast/internal/fault"
	"holdfast/row"
)

// callsOnce drops repeats of calls that agree in id and at.
var callsOnce = []holdfast.Dedupe{{Table: "calls", Key: []string{"id", "at"}, Window: time.Hour}}

func openOnce(t *testing.T, dir string, rules []holdfast.Dedupe) *holdfast.DB {
	t.Helper()
	db, err := holdfast.Open(dir, holdfast.Options{Dedupe: rules})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func schemaOf(t testing.TB, db *holdfast.DB, table string, columns ...string) *row.Schema {
	t.Helper()
	cols := make([]row.Column, len(columns))
	for i, c := range columns {
		cols[i] = row.Column{Name: c, Type: "text"}
	}
	s, err := db.Schema(table, cols)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func texts(all ...string) []row.Value {
	out := make([]row.Value, len(all))
	for i, v := range all {
		if out[i] = row.Text(v); v == "NULL" {
			out[i] = row.Null
		}
	}
	return out
}

// storedIn returns the rows of a table with their flags as words.
func storedIn(t testing.TB, db *holdfast.DB, table string) (out []string) {
	t.Helper()
	for r, err := range db.Read(t.Context(), holdfast.ReadOptions{Table: table}) {
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, v := range r.Values {
			text += " " + v.String()
		}
		if r.Flags&row.TxBegin != 0 {
			text += " begin"
		}
		if r.Flags&row.TxEnd != 0 {
			text += " end"
		}
		out = append(out, text[1:])
	}
	return out
}

// TestRepeats puts rows in transactions and looks what is stored of them.
func TestRepeats(t *testing.T) {
	for _, c := range []struct {
		name string
		txs  [][]string // each row: id at more
		want string
	}{
		{"one again", [][]string{{"1 a x"}, {"1 a y"}}, "1 a x"},
		{"other keys", [][]string{{"1 a x"}, {"1 b x"}, {"2 a x"}}, "1 a x,1 b x,2 a x"},
		{"NULL is a value", [][]string{{"NULL a x"}, {"NULL a y"}, {"NULL NULL x"}}, "NULL a x,NULL NULL x"},
		{"NULL is not empty", [][]string{{"NULL a x"}, {" a x"}}, "NULL a x, a x"},
		{"where one value ends", [][]string{{"1 11 x"}, {"11 1 x"}}, "1 11 x,11 1 x"},
		{"within a transaction", [][]string{{"1 a x", "1 a y", "2 a x"}}, "1 a x begin,2 a x end"},
		{"within one, of one key", [][]string{{"1 a x", "1 a y", "1 a z"}}, "1 a x"},
		{"the first of several", [][]string{{"1 a x"}, {"1 a y", "2 a x", "3 a x"}}, "1 a x,2 a x begin,3 a x end"},
		{"the last of several", [][]string{{"1 a x"}, {"2 a x", "3 a x", "1 a y"}}, "1 a x,2 a x begin,3 a x end"},
		{"the middle", [][]string{{"1 a x"}, {"2 a x", "1 a y", "3 a x"}}, "1 a x,2 a x begin,3 a x end"},
		{"all but one", [][]string{{"1 a x", "2 a x"}, {"2 a y", "3 a x", "1 a y"}}, "1 a x begin,2 a x end,3 a x"},
		{"all", [][]string{{"1 a x", "2 a x"}, {"2 a y", "1 a y"}, {"3 a x"}}, "1 a x begin,2 a x end,3 a x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := openOnce(t, t.TempDir(), callsOnce)
			s := schemaOf(t, db, "calls", "id", "at", "more")
			sent := 0
			for _, rows := range c.txs {
				tx := db.Begin()
				for _, r := range rows {
					if err := tx.Insert(s, texts(strings.Split(r, " ")...)); err != nil {
						t.Fatal(err)
					}
				}
				if tx.Rows() != len(rows) {
					t.Errorf("%d rows were taken, and %d are told", len(rows), tx.Rows())
				}
				sent += len(rows)
				if err := tx.Commit(t.Context(), true); err != nil {
					t.Fatal(err)
				}
			}
			got := storedIn(t, db, "calls")
			if strings.Join(got, ",") != c.want {
				t.Errorf("stored %q, want %q", strings.Join(got, ","), c.want)
			}
			if d := db.Status().Dedupe; len(d) != 1 || int(d[0].Repeats) != sent-len(got) || d[0].Known != len(got) || d[0].Unknown != "" {
				t.Errorf("of %d rows %d are stored, and the status tells %+v", sent, len(got), d)
			}
		})
	}
}

// TestOtherTablesRepeat holds that rules are of one table, and that a column
// which a row does not name is NULL.
func TestOtherTablesRepeat(t *testing.T) {
	db := openOnce(t, t.TempDir(), callsOnce)
	ctx := t.Context()
	for range 2 {
		for _, table := range []string{"calls", "other"} {
			if err := db.Insert(ctx, table, []string{"id", "at"}, "1", nil); err != nil {
				t.Fatal(err)
			}
			if err := db.Insert(ctx, table, []string{"more", "id"}, "x", "1"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if calls, other := storedIn(t, db, "calls"), storedIn(t, db, "other"); len(calls) != 1 || len(other) != 4 {
		t.Errorf("stored %q and %q, want one of calls and all four of the other", calls, other)
	}
}

// TestFailedFirst holds that only a row that is stored makes a repeat.
func TestFailedFirst(t *testing.T) {
	db := openOnce(t, t.TempDir(), callsOnce)
	s := schemaOf(t, db, "calls", "id", "at")
	tx := db.Begin()
	insert := func(id string) {
		t.Helper()
		if err := tx.Insert(s, texts(id, "a")); err != nil {
			t.Fatal(err)
		}
	}
	insert("1")
	tx.Rollback()
	insert("1")
	insert("2")
	insert("1")
	if err := tx.RollbackTo(1); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	insert("2")
	insert("3")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tx.Commit(gone, true); err == nil {
		t.Log("the commit was done before it could be cancelled")
	}
	insert("2")
	insert("3")
	if err := tx.Commit(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, r := range storedIn(t, db, "calls") {
		count[r[:1]]++
	}
	if fmt.Sprint(count) != "map[1:1 2:1 3:1]" {
		t.Errorf("stored %v, want each once", count)
	}
}

// TestSameMoment has many sessions send the same rows at once, in transactions
// of several that overlap: each is stored once, all commits end.
func TestSameMoment(t *testing.T) {
	db := openOnce(t, t.TempDir(), callsOnce)
	s := schemaOf(t, db, "calls", "id", "at")
	const sessions, keys = 16, 400
	var wg sync.WaitGroup
	var sent atomic.Int64
	for n := range sessions {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			for _, at := range r.Perm(keys) {
				tx := db.Begin()
				for i := range 1 + r.IntN(4) {
					if err := tx.Insert(s, texts(fmt.Sprint((at+i)%keys), "a")); err != nil {
						t.Error(err)
					}
					sent.Add(1)
				}
				if r.IntN(8) == 0 {
					sent.Add(-int64(tx.Rows()))
					tx.Rollback()
				} else if err := tx.Commit(t.Context(), r.IntN(2) == 0); err != nil {
					t.Error(err)
				}
			}
			for k := range keys { // those of which every bringer rolled back
				if err := db.Insert(t.Context(), "calls", []string{"id", "at"}, fmt.Sprint(k), "a"); err != nil {
					t.Error(err)
				}
				sent.Add(1)
			}
		})
	}
	wg.Wait()
	if got := storedIn(t, db, "calls"); len(got) != keys {
		t.Errorf("%d rows are stored of %d keys", len(got), keys)
	}
	if d := db.Status().Dedupe[0]; d.Repeats != uint64(sent.Load())-keys {
		t.Errorf("%d repeats are counted of %d rows sent", d.Repeats, sent.Load())
	}
}

// TestLargeTransactionRepeats stages rows on disk: each is judged when it comes,
// and none is lost with the transaction.
func TestLargeTransactionRepeats(t *testing.T) {
	db := openOnce(t, t.TempDir(), callsOnce)
	s := schemaOf(t, db, "calls", "id", "at", "more")
	const n = 6000
	pad := strings.Repeat("x", 400)
	fill := func(tx *holdfast.Tx, first int) (err error) {
		for i := first; i < first+n && err == nil; i++ {
			err = tx.Insert(s, texts(fmt.Sprint(i%(n*3/2)), "a", pad))
		}
		return err
	}
	tx := db.Begin()
	if err := fill(tx, 0); err != nil {
		t.Fatal(err)
	}
	small := make(chan error)
	go func() { small <- db.Insert(t.Context(), "calls", []string{"id", "at"}, "7", "a") }()
	if err := <-small; fault.Code(err) != fault.SerializationFailure {
		t.Errorf("a row whose key an open transaction has on disk gets %v, want 40001", err)
	}
	tx.Rollback()
	for _, first := range []int{0, n / 2, 0} {
		tx := db.Begin()
		if err := fill(tx, first); err != nil {
			t.Fatal(err)
		}
		if tx.Rows() != n {
			t.Errorf("%d rows are told of %d", tx.Rows(), n)
		}
		if err := tx.Commit(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	got := storedIn(t, db, "calls")
	seen, open := map[string]bool{}, false
	for _, r := range got {
		id, marks := strings.Fields(r)[0], strings.Fields(r)[3:]
		if seen[id] {
			t.Fatalf("row %s is stored twice", id)
		}
		seen[id] = true
		if len(marks) == 1 && (marks[0] == "begin") == open {
			t.Fatalf("row %s: %s of a transaction that is open: %v", id, marks[0], open)
		} else if len(marks) == 1 {
			open = !open
		}
	}
	if len(got) != n*3/2 || open {
		t.Errorf("%d rows are stored, want %d; transaction left open: %v", len(got), n*3/2, open)
	}
}

// TestRepeatsAfterRestart holds that keys are known again, whatever ended the
// run before, and that the window ends all the same.
func TestRepeatsAfterRestart(t *testing.T) {
	dir := t.TempDir()
	insert := func(db *holdfast.DB, ids ...string) {
		t.Helper()
		for _, id := range ids {
			if err := db.Insert(t.Context(), "calls", []string{"id", "at"}, id, "a"); err != nil {
				t.Fatal(err)
			}
		}
	}
	db := openOnce(t, dir, callsOnce)
	insert(db, "1", "2")
	if err := db.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	insert(db, "3")
	db.Close()
	db = openOnce(t, dir, callsOnce)
	insert(db, "1", "2", "3", "4")
	db.Close()
	short := []holdfast.Dedupe{{Table: "calls", Key: []string{"id"}, Window: time.Nanosecond}}
	db = openOnce(t, dir, short)
	insert(db, "4")
	db.Close()
	other := []holdfast.Dedupe{{Table: "calls", Key: []string{"at"}, Window: time.Hour}}
	db = openOnce(t, dir, other)
	insert(db, "5")
	if got := strings.Join(storedIn(t, db, "calls"), ","); got != "1 a,2 a,3 a,4 a,4 a" {
		t.Errorf("stored %q, want each once, the last twice since its window had ended, and none of which the key is another's", got)
	}
}

// TestFewKeys holds that no more keys are remembered than are allowed, and that
// this is told.
func TestFewKeys(t *testing.T) {
	db := openOnce(t, t.TempDir(), []holdfast.Dedupe{{Table: "calls", Key: []string{"id"}, Window: time.Hour, Keys: 80}})
	s := schemaOf(t, db, "calls", "id")
	insert := func(id int) {
		t.Helper()
		tx := db.Begin()
		if err := tx.Insert(s, texts(fmt.Sprint(id))); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		insert(i)
	}
	d := db.Status().Dedupe[0]
	if d.Known > 80 || d.Known < 70 || d.Early != uint64(200-d.Known) {
		t.Errorf("with room for 80 keys the status tells %+v", d)
	}
	insert(199)
	if err := db.Insert(t.Context(), "calls", []string{"id"}, "0"); err != nil {
		t.Fatal(err)
	}
	if got := len(storedIn(t, db, "calls")); got != 201 {
		t.Errorf("%d rows are stored, want 201", got)
	}
	if again := db.Status().Dedupe[0]; again.Repeats != 1 {
		t.Errorf("%d repeats, want the newest alone", again.Repeats)
	}
	tx := db.Begin()
	var err error
	for i := range 81 {
		if err = tx.Insert(s, texts(fmt.Sprint("more", i))); err != nil {
			break
		}
	}
	if fault.Code(err) != fault.LimitExceeded {
		t.Errorf("a transaction with more keys than there is room for: %v, want 54000", err)
	}
	tx.Rollback()
}
