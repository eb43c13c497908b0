package pgwire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/internal/auth"
	"holdfast/row"
)

// twoTopics is a console that shows one row of each type, and many rows.
type twoTopics struct{}

func (twoTopics) Topics() []Topic {
	return []Topic{
		{"types", "each type", []row.Column{{Name: "n", Type: "int8"}, {Name: "f", Type: "float8"}, {Name: "b", Type: "bool"},
			{Name: "s", Type: "text"}, {Name: "at", Type: "timestamptz"}, {Name: "none", Type: "text"}}},
		{"many", "many rows", []row.Column{{Name: "n", Type: "int8"}, {Name: "s", Type: "text"}}},
	}
}

func (twoTopics) Show(_ context.Context, topic string) (rows [][]any, err error) {
	if topic == "types" {
		return [][]any{{int64(1) << 62, 1234567.5, true, "a\x00b\xff", fixedNow, nil}, {int64(-1), 1e15, false, "", time.Time{}, nil}}, nil
	}
	for i := range 5000 {
		rows = append(rows, []any{int64(i), strings.Repeat("x", 20)})
	}
	return rows, nil
}

func withConsole(o *Options) { o.Console = twoTopics{} }

// TestConsole speaks to the console in the simple protocol.
func TestConsole(t *testing.T) {
	store := newMemStore(true)
	_, addr := startServer(t, store, withConsole)
	c := connect(t, addr, "database", ConsoleDatabase, "TimeZone", "Europe/Berlin")
	const types = "columns n 20, f 701, b 16, s 25, at 1184, none 25; " +
		"row 4611686018427387904|1234567.5|t|a\\0b\uFFFD|2026-11-21 01:04:56.789+01|NULL; row -1|1e+15|f||NULL|NULL; SHOW; ready I"
	const help = "columns command 25, shows 25; row SHOW HELP|this list; row SHOW TYPES|each type; row SHOW MANY|many rows; SHOW; ready I"
	for sql, wanted := range map[string]string{
		"SHOW TYPES":                           types,
		"show types;":                          types,
		" /* a comment */ ShOw\n tYPES -- x":   types,
		"SHOW HELP":                            help,
		"show timezone":                        "columns timezone 25; row Europe/Berlin; SHOW; ready I",
		"SHOW transaction isolation level":     "columns transaction_isolation 25; row read committed; SHOW; ready I",
		"select current_database()":            "columns current_database 19; row holdfast; SELECT 1; ready I",
		"set application_name = 'x'":           "set application_name=x; SET; ready I",
		"begin; show help; commit":             "BEGIN; " + strings.TrimSuffix(help, "ready I") + "COMMIT; ready I",
		"":                                     "empty; ready I",
		"insert into t(a) values (1)":          `ERROR 0A000 at 1 statement "insert" is not taken on the console; ready I`,
		"copy t(a) from stdin":                 `ERROR 0A000 at 1 statement "copy" is not taken on the console; ready I`,
		"create table t(a int)":                `ERROR 0A000 at 1 statement "create" is not taken on the console; ready I`,
		"select a from t":                      `ERROR 0A000 at 1 statement "select" is not taken on the console; ready I`,
		"kill 4":                               `ERROR 0A000 at 1 statement "kill" is not taken on the console; ready I`,
		"show":                                 `ERROR 42704 there is nothing called "" to show; ready I`,
		"show sinks2":                          `ERROR 42704 there is nothing called "sinks2" to show; ready I`,
		"show types where":                     `ERROR 42601 at 12 syntax error at or near "where"; ready I`,
		"4":                                    `ERROR 42601 at 1 syntax error at or near "4"; ready I`,
		"show help; insert into t values (1);": strings.TrimSuffix(help, "ready I") + `ERROR 0A000 at 12 statement "insert" is not taken on the console; ready I`,
	} {
		want(t, sql, c.query(sql), wanted)
	}
	if got := c.query("show many"); strings.Count(got, "; row ") != 5000 || !strings.HasSuffix(got, "; row 4999|xxxxxxxxxxxxxxxxxxxx; SHOW; ready I") {
		t.Errorf("many rows came as %d", strings.Count(got, "; row "))
	}
	other := connect(t, addr, "database", "Holdfast")
	want(t, "another database", other.query("insert into t(a) values (1)"), "INSERT 0 1; ready I")
	want(t, "another database", other.query("show types"), `ERROR 42704 unrecognized configuration parameter "types"; ready I`)
	want(t, "rows", strings.Join(store.taken(), "\n"), "t(a)=1")
}

// TestConsoleHint holds that whoever errs is told all that there is.
func TestConsoleHint(t *testing.T) {
	_, addr := startServer(t, newMemStore(true), withConsole)
	c, err := pgconn.Connect(t.Context(), "postgres://u@"+addr+"/holdfast?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	for _, sql := range []string{"show x", "insert into t values (1)", "drop table t", "!"} {
		_, err := c.Exec(t.Context(), sql).ReadAll()
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Hint != "this is the console; it takes SHOW HELP, SHOW TYPES, SHOW MANY; rows are written on a database of any other name" {
			t.Errorf("%s: %v, hint %q", sql, err, pg.Hint)
		}
	}
}

// TestConsoleExtended asks with pgx, which prepares, and takes binary.
func TestConsoleExtended(t *testing.T) {
	_, addr := startServer(t, newMemStore(true), withConsole)
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		c, err := pgx.Connect(t.Context(), "postgres://u@"+addr+"/holdfast?sslmode=disable&default_query_exec_mode="+mode)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			rows, err := c.Query(t.Context(), "SHOW TYPES")
			if err != nil {
				t.Fatal(err)
			}
			got, err := pgx.CollectRows(rows, pgx.RowToMap)
			if err != nil || len(got) != 2 {
				t.Fatalf("%s: %v %v", mode, got, err)
			}
			at, _ := got[0]["at"].(time.Time)
			if r := got[0]; r["n"] != int64(1)<<62 || r["f"] != 1234567.5 || r["b"] != true || r["s"] != "a\\0b\uFFFD" || !at.Equal(fixedNow) || r["none"] != nil {
				t.Errorf("%s: %v", mode, r)
			}
			if r := got[1]; r["n"] != int64(-1) || r["f"] != 1e15 || r["b"] != false || r["s"] != "" || r["at"] != nil {
				t.Errorf("%s: %v", mode, r)
			}
		}
		_, err = c.Exec(t.Context(), "insert into t(a) values ($1)", "1")
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "0A000" || !strings.Contains(pg.Hint, "SHOW MANY") {
			t.Errorf("%s: an insert got %v", mode, err)
		}
		_ = c.Close(t.Context())
	}
}

// TestConsoleGrant: with users, the console is for those who have it, as long
// as they have it.
func TestConsoleGrant(t *testing.T) {
	change, guard := guarded(t, nil)
	_, addr := startServer(t, newMemStore(true), change, withConsole)
	_, err := login(t, addr, "sslmode=disable user=acc password=pencil dbname=holdfast")
	if !strings.HasPrefix(refusal(err), `FATAL 42501 permission denied for database "holdfast"`) {
		t.Errorf("without the grant: %v", err)
	}
	policy := guard.Policy()
	set := func(console bool) {
		v, err := auth.NewVerifier("pencil")
		if err != nil {
			t.Fatal(err)
		}
		p, err := auth.NewPolicy(nil, []auth.User{{Name: "acc", Verifier: v, Console: console}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		guard.Set(p)
	}
	set(true)
	c, err := login(t, addr, "sslmode=disable user=acc password=pencil dbname=holdfast")
	if err != nil {
		t.Fatal(err)
	}
	show := func() error { _, err := c.Exec(t.Context(), "show help").ReadAll(); return err }
	if err := show(); err != nil {
		t.Error(err)
	}
	if _, err := c.Prepare(t.Context(), "s", "show types", nil); err != nil {
		t.Error(err)
	}
	set(false)
	if err := show(); !strings.HasPrefix(refusal(err), "ERROR 42501") {
		t.Errorf("after the grant has gone: %v", err)
	}
	if r := c.ExecPrepared(t.Context(), "s", nil, nil, nil).Read(); !strings.HasPrefix(refusal(r.Err), "ERROR 42501") {
		t.Errorf("prepared, after the grant has gone: %v", r.Err)
	}
	guard.Set(policy)
}

// TestClients holds what others see of connections.
func TestClients(t *testing.T) {
	srv, addr := startServer(t, newMemStore(true))
	silent := dial(t, addr)
	a := connect(t, addr, "application_name", "first", "database", "x")
	a.query("insert into t(a) values (1), (2)")
	b := connect(t, addr)
	b.query("begin")
	c := connect(t, addr)
	c.query("set application_name = 'renamed'")
	c.query("begin")
	c.query("nonsense")
	waitFor(t, func() bool { return len(srv.Clients()) == 4 && srv.Clients()[3].State != "active" })
	waitFor(t, func() bool {
		return srv.Clients()[1].State == "idle" && srv.Clients()[2].State == "idle in transaction"
	})
	all := srv.Clients()
	var got []string
	for _, k := range all {
		got = append(got, fmt.Sprintf("%s %s %s %s %d %v", k.User, k.Database, k.Application, k.State, k.Rows, k.Received > 20 && k.Sent > 20))
	}
	want(t, "clients", strings.Join(got, "\n"), "   starting 0 false\ntester x first idle 2 true\ntester tester  idle in transaction 0 true\ntester tester renamed idle in transaction (aborted) 0 true")
	if all[0].Address != silent.LocalAddr().String() || all[1].PID != a.pid || time.Since(all[1].Since) > time.Minute {
		t.Errorf("clients are %+v", all)
	}
}

// waitFor waits until ok, for a minute at most.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}
