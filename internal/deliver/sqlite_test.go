package deliver

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"holdfast/row"
	"holdfast/sink/sqlite"
)

// TestLockedSQLite delivers into a real file while another connection holds an
// exclusive lock on it, under load: nothing is lost, nothing comes twice, and
// nobody has to help.
func TestLockedSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sink.db")
	s, err := sqlite.Open(path, sqlite.Options{Busy: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	st := newMemStream()
	st.add(100, false)
	d := started(t, Config{Stream: st, Sink: s, Rows: 500, MaxWait: 200 * time.Millisecond})
	defer d.Close()
	if err := d.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	lock, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, q := range []string{"PRAGMA busy_timeout = 5000", "BEGIN EXCLUSIVE"} {
		if _, err := lock.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		st.add(100, false)
		time.Sleep(5 * time.Millisecond)
	}
	waitFor(t, "a failure because of the lock", func() bool { return d.Status().Retries >= 3 })
	if got := d.Status(); got.State != Waiting || got.Seq != 100 || got.LagRows != 20_000 {
		t.Errorf("under the lock: %+v, want it waiting with 20,000 rows to go", got)
	}
	if _, err := lock.ExecContext(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := d.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query("SELECT rowid, n FROM calls ORDER BY rowid")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var count, number, n int64
	for rows.Next() {
		if err := rows.Scan(&number, &n); err != nil {
			t.Fatal(err)
		}
		if count++; n != count {
			t.Fatalf("row %d of the file is %d", count, n)
		}
	}
	if err := rows.Err(); err != nil || count != 20_100 {
		t.Fatalf("the file holds %d rows (%v), want 20100", count, err)
	}
}

// TestRestartsSQLite stops and starts delivery at random moments, each time as
// a new instance with a new sink on the same file.
func TestRestartsSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sink.db")
	st := newMemStream()
	for i := range 30 {
		for range 20 {
			st.add(50, i%3 == 0)
			st.add(5, false)
		}
		s, err := sqlite.Open(path, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		d := New(Config{Stream: st, Sink: s, Name: "default", Instance: fmt.Sprint(i), Rows: 200})
		d.Start()
		time.Sleep(time.Duration(i%7) * time.Millisecond)
		if i == 29 {
			if err := d.Drain(t.Context()); err != nil {
				t.Error(err)
			}
		}
		d.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var count, distinct, last int64
	if err := db.QueryRow("SELECT count(*), count(DISTINCT n), max(n) FROM calls").Scan(&count, &distinct, &last); err != nil {
		t.Fatal(err)
	}
	if end := int64(st.End().Seq); count != end || distinct != end || last != end {
		t.Errorf("the file holds %d rows, %d different, up to %d; want %d", count, distinct, last, end)
	}
	var at row.Position
	if err := db.QueryRow("SELECT seq, chain FROM holdfast_cursor").Scan(&at.Seq, &at.Chain); err != nil || at != st.End() {
		t.Errorf("cursor stands at %+v (%v), want %+v", at, err, st.End())
	}
}
