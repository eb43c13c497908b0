package e2e

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/test/servers"
	"holdfast/test/tally"
)

// A destination is a sink as a test sees it from behind.
type destination struct {
	name string
	// rows returns columns of all rows of a table, in the order in which they
	// were committed; none where there is no such table.
	rows func(t *testing.T, table, columns string) [][]string
}

// databases are real servers behind proxies, one database in each.
type databases struct {
	pg, maria           *servers.Server
	pgProxy, mariaProxy *proxy
	flat                string
}

func startDatabases(t *testing.T) *databases {
	t.Helper()
	d := &databases{pg: servers.Postgres(t), maria: servers.MariaDB(t), flat: filepath.Join(t.TempDir(), "flat")}
	d.pgProxy, d.mariaProxy = newProxy(t, d.pg.Addr()), newProxy(t, d.maria.Addr())
	inPostgres(t, d.pg.URL("postgres"), "CREATE DATABASE sink")
	db := d.openMaria(t, "")
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE sink"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.flat, 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

// config names all four kinds of sinks, the servers through their proxies.
func (d *databases) config() string {
	pg := strings.Replace(d.pg.URL("sink"), d.pg.Addr(), d.pgProxy.address(), 1)
	maria := strings.Replace(d.maria.URL("sink"), d.maria.Addr(), d.mariaProxy.address(), 1)
	return fmt.Sprintf(`
data: DATA
tables: {auto: true}
sinks:
  lite: {type: sqlite, path: DATA/lite.db}
  pg: {type: postgres, url: %q}
  maria: {type: mysql, url: %q}
  flat: {type: flat, url: "flatstore:%s", writer: 1}
`, pg, maria, d.flat)
}

// openMaria opens a database of the MariaDB server, past the proxy.
func (d *databases) openMaria(t *testing.T, name string) *sql.DB {
	t.Helper()
	user := strings.TrimPrefix(d.maria.URL(""), "mysql://")
	user, _, _ = strings.Cut(user, "@")
	db, err := sql.Open("mysql", user+"@tcp("+d.maria.Addr()+")/"+name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// inPostgres runs statements past the proxy, and returns the last one's rows.
func inPostgres(t *testing.T, url, sql string) [][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := pgconn.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
	var all [][]string
	for _, r := range results[len(results)-1].Rows {
		line := make([]string, len(r))
		for i, v := range r {
			if line[i] = string(v); v == nil {
				line[i] = null
			}
		}
		all = append(all, line)
	}
	return all
}

// destinations reads all four back.
func (d *databases) destinations(t *testing.T, data string) []destination {
	maria := d.openMaria(t, "sink")
	lite, err := sql.Open("sqlite", "file:"+filepath.Join(data, "lite.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lite.Close() })
	return []destination{
		{"lite", func(t *testing.T, table, columns string) [][]string {
			if count(t, lite, "sqlite_schema WHERE name = '"+table+"'") == 0 {
				return nil
			}
			return query(t, lite, "SELECT "+columns+" FROM "+table+" ORDER BY rowid")
		}},
		{"pg", func(t *testing.T, table, columns string) [][]string {
			if inPostgres(t, d.pg.URL("sink"), "SELECT to_regclass('"+table+"')")[0][0] == null {
				return nil
			}
			// One session writes, so its transactions' numbers rise as they commit.
			// Where a row lies says nothing: pages are filled as room is found.
			order := "xmin::text::bigint, n::numeric"
			if strings.Contains(columns, "(") {
				order = "1"
			}
			return inPostgres(t, d.pg.URL("sink"), "SELECT "+columns+" FROM "+table+" ORDER BY "+order)
		}},
		{"maria", func(t *testing.T, table, columns string) [][]string {
			if count(t, maria, "information_schema.tables WHERE table_schema = 'sink' AND table_name = '"+table+"'") == 0 {
				return nil
			}
			return query(t, maria, "SELECT "+columns+" FROM "+table) // by InnoDB's own row id, where there is no key
		}},
		{"flat", func(t *testing.T, table, columns string) [][]string { return d.flatRows(t, table) }},
	}
}

// flatRows reads a flat file by its own rules, written down in docs/delivery.md.
func (d *databases) flatRows(t *testing.T, table string) (all [][]string) {
	f, err := os.Open(filepath.Join(d.flat, table+"_1.log"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain := strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r", `\x7C`, "|")
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "|")
		for i, v := range fields {
			if fields[i] = plain.Replace(v); v == `\N` {
				fields[i] = null
			}
		}
		all = append(all, fields)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestEverySinkOnce kills the server at random while eight clients write, and
// cuts its connections to the databases before, during and after COMMIT. Then
// each sink must hold each acknowledged row once, in order, and transactions
// whole. In the night every tenth round kills the databases, too.
func TestEverySinkOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	rng := seeded(t)
	d := startDatabases(t)
	data := dataDir(t)
	o := options{config: configure(t, data, d.config())}
	goal := &target{ended: make(chan struct{}), pause: 2 * time.Millisecond}
	s := start(t, data, o)
	declareWriters(t, s)
	goal.address.Store(&s.pg)
	writers := newWriters(rng, goal)
	wait := writeAll(t.Context(), writers)
	rounds := 0
	for want := tally.Want(t, "kill -9 with sinks"); rounds < want; rounds++ {
		d.trouble(rng)
		if rounds%10 == 9 && long() {
			d.killDatabases(rng)
		}
		s.kill()
		s = start(t, data, o)
		goal.address.Store(&s.pg)
	}
	d.trouble(rng)
	close(goal.ended)
	wait()
	s.delivered(3 * time.Minute)
	s.stop()
	for _, k := range d.destinations(t, data) {
		t.Run(k.name, func(t *testing.T) { verifyIn(t, k, writers) })
	}
	for _, p := range []*proxy{d.pgProxy, d.mariaProxy} {
		t.Logf("cut before, during and after COMMIT, and in rows: %d, %d, %d, %d times",
			p.done[cutBefore].Load(), p.done[cutDuring].Load(), p.done[cutAfter].Load(), p.done[cutRows].Load())
		for how := cutBefore; how <= cutAfter; how++ {
			if rounds >= 20 && p.done[how].Load() == 0 {
				t.Errorf("no connection was cut in manner %d, so nothing was tested", how)
			}
		}
	}
	tally.Done(t, "kill -9 with sinks", rounds, "HOLDFAST_SEED as printed, go test ./test/e2e -run 'TestEverySinkOnce$'")
}

// trouble cuts some connections within half a second or so.
func (d *databases) trouble(rng *rand.Rand) {
	for range 1 + rng.IntN(3) {
		for _, p := range []*proxy{d.pgProxy, d.mariaProxy} {
			p.next.Store(int32(1 + rng.IntN(int(cuttings)-1)))
		}
		time.Sleep(time.Duration(50+rng.IntN(200)) * time.Millisecond)
	}
}

func (d *databases) killDatabases(rng *rand.Rand) {
	one := []*servers.Server{d.pg, d.maria}[rng.IntN(2)]
	one.Kill()
	time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond)
	one.Start()
}

// verifyIn holds a sink against what the writers were told.
func verifyIn(t *testing.T, k destination, writers []*writer) {
	byWriter := map[string][]arrived{}
	seen := map[string]bool{}
	for _, w := range writers {
		for _, table := range w.mode.tables {
			if seen[table] {
				continue
			}
			seen[table] = true
			for _, r := range k.rows(t, table, "client, n, body") {
				var n int64
				if _, err := fmt.Sscan(r[1], &n); err != nil {
					t.Fatalf("%s: row number %q: %v", table, r[1], err)
				}
				client, _, _ := strings.Cut(r[0], ".") // a numeric column may say 3.000
				byWriter[client] = append(byWriter[client], arrived{table, n, r[2]})
			}
		}
	}
	for _, w := range writers {
		report(t, w, byWriter[fmt.Sprint(w.id)])
	}
}
