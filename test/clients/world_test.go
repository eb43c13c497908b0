package clients

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/test/pki"
	"holdfast/test/servers"
)

// Who writes, and by which password where one is asked for.
const (
	writer   = "writer"
	password = "Writer's 1st pass\\word"
)

// A place is where a client writes to: only host and port differ between
// PostgreSQL itself and Holdfast.
type place struct {
	name     string // "PostgreSQL" or "Holdfast"
	host     string
	port     string
	user     string
	password string // "" where none is asked for
	ca       string // the authority's certificate; "" without TLS
	arrives  string // how to reach the database that what is written arrives in
}

// database is the one that clients name. What they write arrives in another
// one where Holdfast stands between.
const database = "direct"

// params returns the place in libpq's notation, without the password.
func (p place) params() string {
	s := fmt.Sprintf("host=%s port=%s user=%s dbname=%s", p.host, p.port, p.user, database)
	if p.ca == "" {
		return s + " sslmode=disable"
	}
	return s + " sslmode=verify-full channel_binding=require sslrootcert=" + p.ca
}

// env returns what a program of libpq needs besides params.
func (p place) env() []string {
	return append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC", "PGCONNECT_TIMEOUT=30", "PGPASSWORD="+p.password)
}

// A lane is one way to log in: a PostgreSQL server, and Holdfast in front of a
// database of the same server.
type lane struct {
	direct, door place
	behind       string // how to reach the database behind Holdfast
	server       *server
}

// A world is one PostgreSQL server, with a lane without passwords and one with
// SCRAM over TLS.
type world struct {
	pg            *servers.Server
	plain, secure *lane
}

// newWorld starts everything. Tables are made before Holdfast asks for them.
func newWorld(t *testing.T, clients []client) *world {
	t.Helper()
	w := &world{pg: servers.Postgres(t)}
	ca := pki.New(t, "ours")
	w.lock(t, ca)
	dbs := []string{database, "behind", "behind_secure"}
	for _, db := range dbs {
		execute(t, w.pg.URL("postgres"), "CREATE DATABASE "+db)
	}
	for _, db := range dbs {
		for _, c := range clients {
			execute(t, w.pg.URL(db), c.ddl)
		}
		execute(t, w.pg.URL(db), "GRANT ALL ON ALL TABLES IN SCHEMA public TO "+writer+"; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "+writer)
	}
	w.plain = w.lane(t, "behind", "")
	cert, key := ca.Issue("door", time.Now().Add(time.Hour))
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.secure = w.lane(t, "behind_secure", fmt.Sprintf("tls: {cert: %s, key: %s}\nusers:\n  %s: {password_file: %s, grants: [\"*\"]}\n", cert, key, writer, file))
	for _, p := range []*place{&w.secure.direct, &w.secure.door} {
		p.host, p.password, p.ca = "localhost", password, ca.File
	}
	return w
}

// lane starts Holdfast in front of a database.
func (w *world) lane(t *testing.T, behind, more string) *lane {
	t.Helper()
	s := serve(t, fmt.Sprintf("tables: {auto: false}\nsinks:\n  pg: {type: postgres, url: %q, create: never, authority: [\"*\"]}\n%s", w.pg.URL(behind), more))
	l := &lane{behind: w.pg.URL(behind), server: s}
	l.direct, l.door = at(t, "PostgreSQL", w.pg.Addr()), at(t, "Holdfast", s.pg)
	l.direct.arrives, l.door.arrives = w.pg.URL(database), w.pg.URL(behind)
	return l
}

func at(t *testing.T, name, addr string) place {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return place{name: name, host: host, port: port, user: writer}
}

// lock gives the PostgreSQL server a certificate and a user with a password,
// who needs it where the connection is encrypted.
func (w *world) lock(t *testing.T, ca *pki.CA) {
	t.Helper()
	url := w.pg.URL("postgres")
	data := query(t, url, "SHOW data_directory")[0]
	cert, key := ca.Issue("postgres", time.Now().Add(time.Hour))
	owner, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	place := func(name string, text []byte) {
		t.Helper()
		file := filepath.Join(data, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if st, ok := owner.Sys().(*syscall.Stat_t); ok && os.Getuid() == 0 {
			if err := os.Chown(file, int(st.Uid), int(st.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, from := range map[string]string{"server.crt": cert, "server.key": key} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		place(name, text)
	}
	place("pg_hba.conf", []byte("hostssl all "+writer+" 127.0.0.1/32 scram-sha-256\nhostssl all "+writer+" ::1/128 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"))
	execute(t, url, "CREATE ROLE "+writer+" LOGIN PASSWORD "+literal(password))
	execute(t, url, "ALTER SYSTEM SET ssl = on")
	execute(t, url, "SELECT pg_reload_conf()")
	eventually(t, "PostgreSQL to speak TLS", func() (bool, string) {
		c, err := net.Dial("tcp", w.pg.Addr())
		if err != nil {
			return false, err.Error()
		}
		defer c.Close()
		answer := make([]byte, 1)
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = c.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}) // SSLRequest
		if err == nil {
			_, err = c.Read(answer)
		}
		return bytes.Equal(answer, []byte("S")), fmt.Sprintf("%q %v", answer, err)
	})
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// execute runs statements as the administrator.
func execute(t *testing.T, url, sql string) { t.Helper(); query(t, url, sql) }

// query runs statements as the administrator, and returns the first column of
// the last one's rows.
func query(t *testing.T, url, sql string) (rows []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	var c *pgconn.PgConn
	if c, err = pgconn.ConnectConfig(ctx, &config.Config); err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if len(results) > 0 {
		for _, r := range results[len(results)-1].Rows {
			rows = append(rows, string(r[0]))
		}
	}
	return rows
}

// eventually waits until ok returns true, and fails with what it last said.
func eventually(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	said := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var done bool
		if done, said = ok(); done {
			return
		}
	}
	t.Fatalf("waited a minute for %s: %s", what, said)
}
