package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/sinktest"
	"holdfast/test/servers"
)

// shared is the server of all tests that leave it running.
var shared struct {
	once   sync.Once
	server *servers.Server
	err    error
	mu     sync.Mutex
	made   int // databases
}

// suite ends the shared server before goroutines are counted.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	code := s.m.Run()
	if shared.server != nil {
		shared.server.Close()
	}
	return code
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(suite{m}) }

// database makes a database on the shared server, and returns its URL.
func database(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = servers.StartMariaDB() })
	switch {
	case errors.Is(shared.err, servers.ErrNoMariaDB) && os.Getenv("CI") != "true":
		t.Skipf("NOT TESTED: %v (scripts/install-deps installs it)", shared.err)
	case shared.err != nil:
		t.Fatal(shared.err)
	}
	return databaseOn(t, shared.server)
}

// databaseOn makes a database on a server.
func databaseOn(t testing.TB, s *servers.Server) string {
	t.Helper()
	shared.mu.Lock()
	shared.made++
	name := fmt.Sprintf("d%d", shared.made)
	shared.mu.Unlock()
	db := other(t, s.URL("mysql"))
	mustExec(t, db, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4")
	return s.URL(name)
}

// other is another program's connections to the database at u.
func other(t testing.TB, u string) *sql.DB {
	t.Helper()
	p, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", "root@tcp("+p.Host+")"+p.Path+"?interpolateParams=true&charset=utf8mb4&time_zone=%27%2B00:00%27")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// readRows reads columns of table as text. An InnoDB table without a key is
// kept, and scanned, in the order of insertion.
func readRows(t testing.TB, db *sql.DB, table string, columns ...string) [][]row.Value {
	t.Helper()
	var list []string
	for _, c := range columns {
		list = append(list, quote(c))
	}
	rows, err := db.Query("SELECT " + strings.Join(list, ",") + " FROM " + quote(table))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
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
			if types[i].DatabaseTypeName() == "DECIMAL" && strings.Contains(v.String, ".") { // the zeros are the scale's
				v.String = strings.TrimSuffix(strings.TrimRight(v.String, "0"), ".")
			}
			one[i] = row.Value{Text: []byte(v.String), Null: !v.Valid}
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// texts reads one column, as one text per row.
func texts(t testing.TB, db *sql.DB, table, column string) (all []string) {
	t.Helper()
	for _, r := range readRows(t, db, table, column) {
		all = append(all, r[0].String())
	}
	return all
}

// mustOpen opens a sink that does not wait long for locks.
func mustOpen(t testing.TB, opts Options) *Sink {
	t.Helper()
	if opts.Lock == 0 {
		opts.Lock = time.Second
	}
	s, err := Open(opts)
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

var testID = sink.ID{StreamID: "id", Stream: "main", Sink: "default"}

func mustAttach(t testing.TB, s *Sink) *session {
	t.Helper()
	n, err := s.Attach(context.Background(), testID, "a", row.Position{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return n.(*session)
}

// deliver applies rows as one batch, and returns what was refused.
func deliver(t testing.TB, n sink.Session, rows ...row.Row) *sinktest.Rejects {
	t.Helper()
	rejects := new(sinktest.Rejects)
	if err := tryDeliver(n, rejects, rows...); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return rejects
}

func tryDeliver(n sink.Session, rejects sink.Rejects, rows ...row.Row) error {
	end := row.Position{Seq: rows[len(rows)-1].Seq, Chain: 7}
	return n.Apply(context.Background(), sinktest.NewBatch(rows, end), rejects)
}

// textRow is a row of table whose columns are all text.
func textRow(seq uint64, table string, pairs ...string) row.Row {
	r := row.Row{Seq: seq, Schema: &row.Schema{Table: table}}
	for i := 0; i < len(pairs); i += 2 {
		r.Schema.Columns = append(r.Schema.Columns, row.Column{Name: pairs[i], Type: "text"})
		r.Values = append(r.Values, row.Text(pairs[i+1]))
	}
	return r
}

func TestConformance(t *testing.T) {
	database(t) // or skip
	sinktest.Run(t, sinktest.Harness{
		Names: []string{"a``b", "`", "#x", "mysql.user"},
		Never: []string{"été中文🙂"}, // TestNames holds that it is refused
		New: func(t *testing.T) sinktest.Destination {
			u := database(t)
			p, err := url.Parse(u)
			if err != nil {
				t.Fatal(err)
			}
			proxy := newProxy(t, p.Host)
			db := other(t, u)
			p.Host = proxy.addr
			return sinktest.Destination{
				Open: func(t *testing.T) sink.Sink {
					s, err := Open(Options{URL: p.String(), Lock: 5 * time.Second})
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Rows: func(t *testing.T, table string, columns ...string) [][]row.Value {
					return readRows(t, db, table, columns...)
				},
				Tables: func(t *testing.T, name string) (n int) {
					if err := db.QueryRow("SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?", name).Scan(&n); err != nil {
						t.Fatal(err)
					}
					return n
				},
				ForgetCursor: func(t *testing.T, id sink.ID) {
					mustExec(t, db, "DELETE FROM holdfast_cursor WHERE stream_id = ? AND sink = ?", id.StreamID, id.Sink)
				},
				Refuse: func(t *testing.T, table, column, value string) {
					mustExec(t, db, fmt.Sprintf("CREATE TRIGGER refuse%d BEFORE INSERT ON %s FOR EACH ROW IF NEW.%s = '%s' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF",
						time.Now().UnixNano(), quote(table), quote(column), value))
				},
				Break: func(t *testing.T) func() { return proxy.refuse() },
			}
		},
	})
}

// TestURL holds that a URL that cannot be right is an error at once, and that
// no error tells the password.
func TestURL(t *testing.T) {
	const secret = "hush/%:#"
	for u, want := range map[string]string{
		"":                                      "scheme",
		"postgres://u@h/d":                      "scheme",
		"mysql:///d":                            "no host",
		"mysql://h/d":                           "no user",
		"mysql://u@h":                           "no name of a database",
		"mysql://u@h/a/b":                       "no name of a database",
		"mysql://u:hush/%:#@h/d":                "%XX",
		"mysql://u:hush/@h/d":                   "",
		"mysql://u:12/hush@h/d":                 "%XX",
		"mysql://u:12?hush@h/d":                 "%XX",
		"mysql://u:12#hush@h/d":                 "%XX",
		"mysql://u:hush@h:port/d":               "%XX",
		"mysql://u:hush@h/d?tls=maybe":          "skip-verify",
		"mysql://u:hush@h/d?allowAllFiles=true": "unknown parameter",
	} {
		_, err := Open(Options{URL: u, Password: secret})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open %q gave %v, want an error that says %q", u, err, want)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("the password is in %q", err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	s := mustOpen(t, Options{URL: "mysql://u@" + addr + "/d", Password: secret})
	if _, err := s.Attach(context.Background(), testID, "a", row.Position{}, nil); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("Attach to nobody gave %v", err)
	}
}
