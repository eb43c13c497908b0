package clients

import (
	"context"
	"database/sql"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/lib/pq"
)

// pqClients are lib/pq behind database/sql.
func pqClients() []client {
	return []client{{
		name: "lib/pq", needs: has(), run: runPq, ddl: zoo("pq"), tables: []string{"pq"},
		known: map[string]string{"RETURNING": noReturning, "UPDATE": noChanging},
	}}
}

func bigInt(s string) *big.Int {
	n, _ := new(big.Int).SetString(s, 10)
	return n
}

func runPq(t *testing.T, p place) seen {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := seen{version: moduleVersion(t, "github.com/lib/pq")}
	db, err := sql.Open("postgres", p.params())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	do := func(name string, got any, err error) { s.steps = append(s.steps, step{name, told(got, err)}) }
	exec := func(name, text string, args ...any) {
		t.Helper()
		got := any(nil)
		r, err := db.ExecContext(ctx, text, args...)
		if err == nil {
			n, e := r.RowsAffected()
			got, err = n, e
		}
		do(name, got, err)
	}
	do("Ping", "", db.PingContext(ctx))
	for _, v := range []struct {
		column string
		value  any
	}{
		{"b", true}, {"i2", int16(-7)}, {"i4", 2147483647}, {"i8", int64(-1 << 63)}, {"f4", float32(1.25)}, {"f8", 1e-300}, {"n", 12.5}, {"nn", "0.1000"},
		{"t", "it's \\ \"x\"\t\n\u00e9"}, {"c", "ab"}, {"by", []byte{0, 1, 255, '\\'}}, {"t", []byte("bytes")}, {"d", time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC)},
		{"ts", time.Date(2026, 11, 21, 0, 47, 52, 123456789, time.UTC)}, {"tz", time.Date(2026, 11, 21, 0, 47, 52, 5e8, time.FixedZone("", 19800))},
		{"iv", "90 minutes"}, {"u", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}, {"jb", []byte(`{"a": 1}`)}, {"ip", "10.0.0.0/8"}, {"ai", pq.Array([]int64{1, -2})},
		{"at", pq.Array([]string{"a", "b c", `"`})}, {"t", nil}, {"t", sql.NullString{}}, {"Mixed Case", "x"},
		{"i2", 40000}, {"i4", "seven"}, {"d", "2026-02-30"}, {"c", "too long"}, {"nothing", 1},
	} {
		exec(fmt.Sprintf("%T into %s", v.value, v.column), fmt.Sprintf("INSERT INTO pq (tag, %q) VALUES ($1, $2)", v.column), v.column, v.value)
	}
	exec("without arguments", "INSERT INTO pq (tag, i4) VALUES ('plain', 1), ('plain', 2)")
	exec("several statements", "INSERT INTO pq (tag) VALUES ('first'); INSERT INTO pq (tag) VALUES ('second')")
	exec("unknown table", "INSERT INTO nowhere (tag) VALUES ($1)", "x")
	stmt, err := db.PrepareContext(ctx, "INSERT INTO pq (tag, i4) VALUES ($1, $2)")
	do("Prepare", "", err)
	for i := range 3 {
		r, err := stmt.ExecContext(ctx, "prepared", i)
		n := int64(0)
		if err == nil {
			n, err = r.RowsAffected()
		}
		do("prepared", n, err)
	}
	do("Close", "", stmt.Close())
	s.pqCopies(ctx, db)
	s.pqTransactions(ctx, db)
	return s
}

// pqCopies copies a good block of rows and a bad one.
func (s *seen) pqCopies(ctx context.Context, db *sql.DB) {
	for _, c := range []struct {
		name string
		bad  any
	}{{"CopyIn", 7}, {"CopyIn with a bad row", "x"}} {
		tx, err := db.BeginTx(ctx, nil)
		if err == nil {
			var stmt *sql.Stmt
			//lint:ignore SA1019 it is what programs that are there already use
			if stmt, err = tx.PrepareContext(ctx, pq.CopyIn("pq", "tag", "i4", "t", "by", "tz", "Mixed Case")); err == nil {
				for i := 0; i < 300 && err == nil; i++ {
					n := any(i)
					if i == 299 {
						n = c.bad
					}
					_, err = stmt.ExecContext(ctx, "copied", n, "tab\there \\ ", []byte{0, byte(i)}, time.Unix(int64(i), 0).UTC(), nil)
				}
				if err == nil {
					_, err = stmt.ExecContext(ctx)
				}
			}
			if err == nil {
				err = tx.Commit()
			} else {
				_ = tx.Rollback() // what is told is the first error
			}
		}
		s.steps = append(s.steps, step{c.name, told("committed", err)})
	}
}

// pqTransactions commits one, rolls one back, and asks for what is not there.
func (s *seen) pqTransactions(ctx context.Context, db *sql.DB) {
	for _, c := range []struct {
		name, text string
		commit     bool
	}{
		{"transaction", "INSERT INTO pq (tag) VALUES ($1)", true},
		{"rolled back", "INSERT INTO pq (tag, t) VALUES ($1, 'never')", false},
		{"bad row in a transaction", "INSERT INTO pq (tag, i4) VALUES ($1, 'x')", true},
		{"RETURNING", "INSERT INTO pq (tag, t) VALUES ($1, 'never') RETURNING tag", false},
		{"UPDATE", "UPDATE pq SET tag = $1", false},
	} {
		tx, err := db.BeginTx(ctx, nil)
		got := "rolled back"
		if err == nil {
			if _, err = tx.ExecContext(ctx, c.text, "within"); err == nil && c.commit {
				got, err = "committed", tx.Commit()
			}
			_ = tx.Rollback() // it may be over
		}
		s.steps = append(s.steps, step{c.name, told(got, err)})
	}
}
