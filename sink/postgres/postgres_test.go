package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
	"holdfast/test/servers"
)

// shared is the server that tests use which do it no harm.
var shared struct {
	once   sync.Once
	server *servers.Server
	err    error
	last   atomic.Int64 // number of the last database made
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.server.Close()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// newDatabase returns the URL of an empty database on the shared server.
func newDatabase(tb testing.TB) string {
	tb.Helper()
	shared.once.Do(func() { shared.server, shared.err = servers.StartPostgres() })
	if errors.Is(shared.err, servers.ErrNoPostgres) && os.Getenv("CI") != "true" {
		tb.Skipf("NOT TESTED: %v (scripts/install-deps installs it)", shared.err)
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return makeDatabase(tb, shared.server)
}

func makeDatabase(tb testing.TB, s *servers.Server) string {
	tb.Helper()
	name := fmt.Sprintf("d%d", shared.last.Add(1))
	mustExec(tb, s.URL("postgres"), "CREATE DATABASE "+name)
	return s.URL(name)
}

// query runs sql on a connection of its own.
func query(at, sql string) ([][]row.Value, error) {
	ctx := context.Background()
	c, err := pgconn.Connect(ctx, at)
	if err != nil {
		return nil, err
	}
	defer func() { c.Close(ctx); <-c.CleanupDone() }()
	results, err := c.Exec(ctx, sql).ReadAll()
	var all [][]row.Value
	for _, r := range results {
		for _, v := range r.Rows {
			one := make([]row.Value, len(v))
			for i, text := range v {
				one[i] = row.Value{Text: text, Null: text == nil}
			}
			all = append(all, one)
		}
	}
	return all, err
}

func mustQuery(tb testing.TB, at, sql string) [][]row.Value {
	tb.Helper()
	all, err := query(at, sql)
	if err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	return all
}

func mustExec(tb testing.TB, at string, sql ...string) {
	tb.Helper()
	for _, s := range sql {
		mustQuery(tb, at, s)
	}
}

// column returns the first column of what sql selects, joined with blanks.
func column(tb testing.TB, at, sql string) string {
	tb.Helper()
	var all []string
	for _, r := range mustQuery(tb, at, sql) {
		all = append(all, r[0].String())
	}
	return strings.Join(all, " ")
}

func mustOpen(tb testing.TB, opts Options) *Sink {
	tb.Helper()
	s, err := Open(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

var main = sink.ID{StreamID: "id", Stream: "main", Sink: "default"}

func mustAttach(tb testing.TB, s *Sink) *session {
	tb.Helper()
	n, err := s.Attach(context.Background(), main, "a", row.Position{}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return n.(*session)
}

// start returns a session in an empty database, after setup.
func start(tb testing.TB, setup ...string) (*session, string) {
	tb.Helper()
	at := newDatabase(tb)
	mustExec(tb, at, setup...)
	return mustAttach(tb, mustOpen(tb, Options{URL: at})), at
}

// deliver applies rows as one batch.
func deliver(n sink.Session, rows ...row.Row) (*sinktest.Rejects, error) {
	j := new(sinktest.Rejects)
	return j, n.Apply(context.Background(), sinktest.NewBatch(rows, row.Position{Seq: rows[len(rows)-1].Seq}), j)
}

func mustDeliver(tb testing.TB, n sink.Session, rows ...row.Row) *sinktest.Rejects {
	tb.Helper()
	j, err := deliver(n, rows...)
	if err != nil {
		tb.Fatal(err)
	}
	return j
}

// with returns at with a setting of its sessions.
func with(tb testing.TB, at string, settings ...string) string {
	tb.Helper()
	u, err := url.Parse(at)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	for i := 0; i < len(settings); i += 2 {
		q.Set(settings[i], settings[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func text(table string, columns ...string) *row.Schema {
	s := &row.Schema{Table: table}
	for _, c := range columns {
		s.Columns = append(s.Columns, row.Column{Name: c})
	}
	return s
}

func values(seq uint64, s *row.Schema, texts ...string) row.Row {
	r := row.Row{Seq: seq, Schema: s}
	for _, v := range texts {
		r.Values = append(r.Values, row.Text(v))
	}
	return r
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func family(parent, child, when string) []string {
	return []string{
		fmt.Sprintf("CREATE TABLE %s (id text NOT NULL PRIMARY KEY, v text)", quote(parent)),
		fmt.Sprintf("CREATE TABLE %s (parent text NOT NULL REFERENCES %s (id) %s, v text)", quote(child), quote(parent), when),
	}
}

func TestConformance(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		Names: []string{"pg_class", "public.t", "user", "information_schema", `U&"x"`},
		New: func(t *testing.T) sinktest.Destination {
			at := newDatabase(t)
			return sinktest.Destination{
				Open: func(t *testing.T) sink.Sink {
					s, err := Open(Options{URL: at})
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Rows: func(t *testing.T, table string, columns ...string) [][]row.Value {
					var list []string
					for _, c := range columns {
						list = append(list, quote(c)+"::text")
					}
					return mustQuery(t, at, "SELECT "+strings.Join(list, ",")+" FROM public."+quote(table)+" ORDER BY ctid")
				},
				Tables: func(t *testing.T, name string) int {
					return len(mustQuery(t, at, "SELECT 1 FROM pg_tables WHERE schemaname = 'public' AND tablename = "+literal(name)))
				},
				ForgetCursor: func(t *testing.T, id sink.ID) {
					mustExec(t, at, "DELETE FROM holdfast_cursor WHERE stream_id = "+literal(id.StreamID)+" AND sink = "+literal(id.Sink))
				},
				Refuse: func(t *testing.T, table, column, value string) {
					f := quote("refuse " + table)
					mustExec(t, at,
						"CREATE FUNCTION "+f+"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW."+quote(column)+" = "+literal(value)+" THEN RAISE 'not this one'; END IF; RETURN NEW; END $$",
						"CREATE TRIGGER refuse BEFORE INSERT ON "+quote(table)+" FOR EACH ROW EXECUTE FUNCTION "+f+"()")
				},
				Family: func(t *testing.T, parent, child string) { mustExec(t, at, family(parent, child, "")...) },
				Deferred: func(t *testing.T, parent, child string) {
					mustExec(t, at, family(parent, child, "DEFERRABLE INITIALLY DEFERRED")...)
				},
				Break: func(t *testing.T) func() {
					name := at[strings.LastIndexByte(at, '/')+1 : strings.IndexByte(at, '?')]
					admin := shared.server.URL("postgres")
					mustExec(t, admin, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false",
						"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = "+literal(name))
					return func() { mustExec(t, admin, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS true") }
				},
			}
		},
	})
}
