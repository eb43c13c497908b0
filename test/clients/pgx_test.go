package clients

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// pgxModes are the ways in which pgx runs a statement.
var pgxModes = []struct {
	name string
	mode pgx.QueryExecMode
}{
	{"cache_statement", pgx.QueryExecModeCacheStatement}, {"cache_describe", pgx.QueryExecModeCacheDescribe},
	{"describe_exec", pgx.QueryExecModeDescribeExec}, {"exec", pgx.QueryExecModeExec}, {"simple_protocol", pgx.QueryExecModeSimpleProtocol},
}

// pgxClients are pgx in each mode, and over TLS.
func pgxClients() (all []client) {
	for _, m := range pgxModes {
		table := "pgx_" + m.name
		all = append(all, client{
			name: "pgx, " + m.name, needs: has(), ddl: zoo(table), tables: []string{table},
			known: map[string]string{"RETURNING": noReturning, "SELECT": noReading},
			run:   func(t *testing.T, p place) seen { return runPgx(t, p, m.mode, table) },
		})
	}
	return append(all, client{
		name: "pgx, TLS", needs: has(), secure: true, ddl: zoo("pgx_tls"), tables: []string{"pgx_tls"},
		settings: "`sslmode=verify-full channel_binding=require`",
		known:    map[string]string{"RETURNING": noReturning, "SELECT": noReading},
		run:      func(t *testing.T, p place) seen { return runPgx(t, p, pgx.QueryExecModeCacheStatement, "pgx_tls") },
	})
}

// moduleVersion returns the version of a module that this test is built with.
func moduleVersion(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(root + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\t"+path+" v")
	version, _, _ := strings.Cut(rest, "\n")
	return version
}

// told says what a Go client got.
func told(got any, err error) string {
	var state interface{ SQLState() string }
	switch {
	case errors.As(err, &state):
		return "SQLSTATE " + state.SQLState()
	case err != nil:
		return "error: " + err.Error()
	}
	return fmt.Sprint(got)
}

// typed are values of Go, by the column that each goes into. Each is a row.
var typed = []struct {
	column string
	value  any
}{
	{"b", true}, {"i2", int16(-32768)}, {"i4", 2147483647}, {"i4", int32(-7)}, {"i4", uint8(200)}, {"i8", int64(-1 << 63)}, {"f4", float32(1.25)}, {"f8", 1e-300}, {"f8", 3},
	{"n", 12.5}, {"n", pgtype.Numeric{Int: bigInt("12345678901234567"), Exp: -5, Valid: true}}, {"nn", "0.1000"}, {"nn", int64(1e15)},
	{"t", "it's \\ \"x\"\t\n\u00e9\U0001F600"}, {"t", ""}, {"v", "varchar"}, {"c", "ab"}, {"by", []byte{0, 1, 255, '\\', '\''}}, {"by", []byte{}},
	{"d", time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC)}, {"d", "0099-01-01"}, {"tm", pgtype.Time{Microseconds: 86399999999, Valid: true}},
	{"ts", time.Date(2026, 11, 21, 0, 47, 52, 123456789, time.UTC)}, {"tz", time.Date(2026, 11, 21, 0, 47, 52, 5e8, time.FixedZone("", 19800))},
	{"tz", pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}}, {"iv", 90 * time.Minute}, {"iv", pgtype.Interval{Months: 14, Days: 3, Microseconds: -5, Valid: true}},
	{"u", [16]byte{0xa0, 0xee, 15: 1}}, {"u", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}, {"j", map[string]any{"a": 1, "b": []int{1, 2}}}, {"jb", []byte(`{"a": "\u00e9"}`)}, {"jb", "[]"},
	{"ip", netip.MustParsePrefix("10.0.0.0/8")}, {"ip", netip.MustParseAddr("2001:db8::1")}, {"ai", []int32{1, -2}}, {"ai", []int32{}}, {"at", []string{"a", "b c", `"`, "NULL"}},
	{"t", nil}, {"i4", (*int)(nil)}, {"t", pgtype.Text{}}, {"Mixed Case", "x"},
	// what cannot be
	{"i2", int32(40000)}, {"i4", "seven"}, {"d", "2026-02-30"}, {"c", "too long"}, {"u", "none"}, {"nothing", 1},
}

func runPgx(t *testing.T, p place, mode pgx.QueryExecMode, table string) seen {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := seen{version: moduleVersion(t, "github.com/jackc/pgx/v5")}
	config, err := pgx.ParseConfig(p.params())
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode, config.Password = mode, p.password
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatalf("connect to %s: %v", p.name, err)
	}
	defer c.Close(ctx)
	do := func(name string, got any, err error) { s.steps = append(s.steps, step{name, told(got, err)}) }

	for _, v := range typed {
		for range 2 { // the second time from a cache
			tag, err := c.Exec(ctx, fmt.Sprintf("INSERT INTO %s (tag, %q) VALUES ($1, $2)", table, v.column), v.column, v.value)
			do(fmt.Sprintf("%T into %s", v.value, v.column), tag, err)
		}
	}
	do("Ping", nil, c.Ping(ctx))
	tag, err := c.Exec(ctx, "INSERT INTO "+table+" (tag, i4) VALUES ($1, $2), ($3, $4), ('c', 3)", "a", 1, "b", 2)
	do("several rows", tag, err)
	tag, err = c.Exec(ctx, "INSERT INTO "+table+" (tag, i4, tz) VALUES ($1, $2::int4, $3::timestamptz)", "cast", 5, time.Unix(1e9, 0))
	do("casts", tag, err)
	s.pgxBatches(ctx, c, table)
	s.pgxCopies(ctx, c, table)
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO "+table+" (tag) VALUES ($1)", "in a transaction")
		return err
	})
	do("transaction", "committed", err)
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO "+table+" (tag, i4) VALUES ($1, 1)", "never"); err != nil {
			return err
		}
		return errors.New("rolled back")
	})
	do("rolled back", nil, err)
	s.pgxRefused(ctx, c, table)
	return s
}

// pgxBatches sends batches: a good one, and one with a bad row, of which
// nothing may stay.
func (s *seen) pgxBatches(ctx context.Context, c *pgx.Conn, table string) {
	for _, b := range []struct{ name, third string }{{"batch", "3"}, {"batch with a bad row", "x"}} {
		batch := &pgx.Batch{}
		for _, v := range []string{"1", "2", b.third, "4"} {
			batch.Queue("INSERT INTO "+table+" (tag, nn, t) VALUES ($1, $2, $3)", b.name, v, "in a batch")
		}
		batch.Queue("INSERT INTO " + table + " (tag) VALUES ('last')")
		results := c.SendBatch(ctx, batch)
		var said []string
		for range batch.Len() {
			tag, err := results.Exec()
			said = append(said, told(tag, err))
		}
		s.steps = append(s.steps, step{b.name, told(strings.Join(said, ", "), nil) + "; " + told("closed", results.Close())})
	}
}

// pgxCopies copies rows in binary form.
func (s *seen) pgxCopies(ctx context.Context, c *pgx.Conn, table string) {
	columns := []string{"tag", "b", "i4", "f8", "n", "t", "by", "tz", "u", "jb", "at"}
	row := func(i int, tag any) []any {
		return []any{tag, i%2 == 0, i, float64(i) / 3, pgtype.Numeric{Int: bigInt("12345"), Exp: -3, Valid: true}, nil, []byte{0, byte(i)},
			time.Unix(int64(i), 0), [16]byte{15: byte(i)}, map[string]int{"i": i}, []string{"x", "y z"}}
	}
	rows := make([][]any, 500)
	for i := range rows {
		rows[i] = row(i, "copied")
	}
	n, err := c.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
	s.steps = append(s.steps, step{"CopyFrom", told(n, err)})
	rows[400] = row(400, nil)
	_, err = c.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
	s.steps = append(s.steps, step{"CopyFrom with a bad row", told(n, err)})
	_, err = c.CopyFrom(ctx, pgx.Identifier{"nowhere"}, columns, pgx.CopyFromRows(rows))
	s.steps = append(s.steps, step{"CopyFrom into an unknown table", told(n, err)})
}

// pgxRefused does what Holdfast does otherwise than PostgreSQL. It leaves no row.
func (s *seen) pgxRefused(ctx context.Context, c *pgx.Conn, table string) {
	within := func(name string, f func(tx pgx.Tx) (any, error)) {
		tx, err := c.Begin(ctx)
		var got any
		if err == nil {
			got, err = f(tx)
			_ = tx.Rollback(ctx) // its transaction may be gone already
		}
		s.steps = append(s.steps, step{name, told(got, err)})
	}
	within("savepoint", func(tx pgx.Tx) (any, error) {
		inner, err := tx.Begin(ctx)
		if err != nil {
			return nil, err
		}
		if _, err = inner.Exec(ctx, "INSERT INTO "+table+" (tag) VALUES ('never')"); err != nil {
			return nil, err
		}
		return "rolled back to it", inner.Rollback(ctx)
	})
	within("RETURNING", func(tx pgx.Tx) (got any, err error) {
		var tag string
		err = tx.QueryRow(ctx, "INSERT INTO "+table+" (tag) VALUES ('never') RETURNING tag").Scan(&tag)
		return tag, err
	})
	within("SELECT", func(tx pgx.Tx) (got any, err error) {
		var n int
		err = tx.QueryRow(ctx, "SELECT count(*) FROM "+table+" WHERE tag = 'batch'").Scan(&n)
		return n, err
	})
	_, err := c.Exec(ctx, "INSERT INTO nowhere (tag) VALUES ($1)", "x")
	s.steps = append(s.steps, step{"unknown table", told(nil, err)})
}
