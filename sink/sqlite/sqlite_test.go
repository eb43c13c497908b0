package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// other is another program's connection to the same file.
func other(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// readRows reads columns of table in the order of insertion, as text.
func readRows(t *testing.T, db *sql.DB, table string, columns ...string) [][]row.Value {
	t.Helper()
	var list []string
	for _, c := range columns {
		list = append(list, "CAST("+quote(c)+" AS TEXT)")
	}
	rows, err := db.Query("SELECT " + strings.Join(list, ",") + " FROM " + quote(table) + " ORDER BY rowid")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all [][]row.Value
	for rows.Next() {
		texts := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range texts {
			into[i] = &texts[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		one := make([]row.Value, len(columns))
		for i, v := range texts {
			one[i] = row.Value{Text: []byte(v.String), Null: !v.Valid}
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// mustOpen opens a sink that does not wait long for locks.
func mustOpen(t *testing.T, path string, opts Options) *Sink {
	t.Helper()
	if opts.Busy == 0 {
		opts.Busy = 50 * time.Millisecond
	}
	s, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustAttach(t *testing.T, s *Sink) sink.Session {
	t.Helper()
	n, err := s.Attach(context.Background(), sink.ID{StreamID: "id", Stream: "main", Sink: "default"}, "a", row.Position{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// deliver applies rows as one batch.
func deliver(n sink.Session, rows ...row.Row) error {
	return n.Apply(context.Background(), sinktest.NewBatch(rows, row.Position{Seq: rows[len(rows)-1].Seq}), new(sinktest.Rejects))
}

// makeFamily makes the two tables that the suite's families have.
func makeFamily(t *testing.T, db *sql.DB, parent, child, when string) {
	t.Helper()
	mustExec(t, db, fmt.Sprintf("CREATE TABLE %s (id TEXT NOT NULL PRIMARY KEY, v TEXT)", quote(parent)))
	mustExec(t, db, fmt.Sprintf("CREATE TABLE %s (parent TEXT NOT NULL REFERENCES %s (id) %s, v TEXT)", quote(child), quote(parent), when))
}

func TestConformance(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		Names: []string{"main.t", "temp", "rowid_", "main"},
		New: func(t *testing.T) sinktest.Destination {
			path := filepath.Join(t.TempDir(), "odd ?#%41 name.db")
			db := func(t *testing.T) *sql.DB {
				return other(t, "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path))
			}
			return sinktest.Destination{
				Open: func(t *testing.T) sink.Sink {
					s, err := Open(path, Options{Busy: 5 * time.Second})
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Rows: func(t *testing.T, table string, columns ...string) [][]row.Value {
					return readRows(t, db(t), table, columns...)
				},
				Tables: func(t *testing.T, name string) (n int) {
					if err := db(t).QueryRow("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?", name).Scan(&n); err != nil {
						t.Fatal(err)
					}
					return n
				},
				ForgetCursor: func(t *testing.T, id sink.ID) {
					mustExec(t, db(t), "DELETE FROM holdfast_cursor WHERE stream_id = ? AND sink = ?", id.StreamID, id.Sink)
				},
				Refuse: func(t *testing.T, table, column, value string) {
					mustExec(t, db(t), fmt.Sprintf("CREATE TRIGGER %s BEFORE INSERT ON %s WHEN NEW.%s = '%s' BEGIN SELECT RAISE(ABORT, 'not this one'); END",
						quote("refuse "+table), quote(table), quote(column), value))
				},
				Family: func(t *testing.T, parent, child string) { makeFamily(t, db(t), parent, child, "") },
				Deferred: func(t *testing.T, parent, child string) {
					makeFamily(t, db(t), parent, child, "DEFERRABLE INITIALLY DEFERRED")
				},
				Break: func(t *testing.T) func() {
					away := path + ".away"
					for _, suffix := range []string{"", "-wal"} {
						if err := os.Rename(path+suffix, away+suffix); err != nil {
							t.Fatal(err)
						}
					}
					if err := os.Mkdir(path, 0o700); err != nil {
						t.Fatal(err)
					}
					return func() {
						if err := os.Remove(path); err != nil {
							t.Fatal(err)
						}
						for _, suffix := range []string{"-wal", ""} {
							if err := os.Rename(away+suffix, path+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
								t.Fatal(err)
							}
						}
					}
				},
			}
		},
	})
}
