package closing_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"holdfast/archive"
	"holdfast/archive/closing"
	"holdfast/archive/dialect"
	"holdfast/test/servers"
)

// engine is what differs between databases for the tests, which are the same.
type engine struct {
	name, id, real string
	trigger        []string // makes one that notes each payment
	// make makes an empty database: its URL, and a pool to spoil it by.
	make func(t *testing.T) (url string, db *sql.DB)
}

// engines are all that archiving speaks to.
var engines = []engine{
	{"PostgreSQL", "serial PRIMARY KEY", "double precision", []string{
		"CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.audit VALUES (TG_OP); RETURN NEW; END$$",
		"CREATE TRIGGER note AFTER INSERT ON payment_transactions FOR EACH ROW EXECUTE FUNCTION noted()"}, makePostgres},
	{"MariaDB", "integer NOT NULL AUTO_INCREMENT PRIMARY KEY", "double", []string{
		"CREATE TRIGGER note AFTER INSERT ON payment_transactions FOR EACH ROW INSERT INTO audit VALUES ('INSERT')"}, makeMariaDB},
	{"SQLite", "INTEGER PRIMARY KEY AUTOINCREMENT", "REAL", []string{
		"CREATE TRIGGER note AFTER INSERT ON payment_transactions BEGIN INSERT INTO audit VALUES ('INSERT'); END"}, makeSQLite},
}

// sharedMariaDB is one server for all tests.
var sharedMariaDB struct {
	once   sync.Once
	server *servers.Server
	err    error
}

func makePostgres(t *testing.T) (string, *sql.DB) {
	b := newBase(t)
	return b.url, pool(t, "pgx", b.url)
}

func makeMariaDB(t *testing.T) (string, *sql.DB) {
	sharedMariaDB.once.Do(func() { sharedMariaDB.server, sharedMariaDB.err = servers.StartMariaDB() })
	if errors.Is(sharedMariaDB.err, servers.ErrNoMariaDB) && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED: %v (scripts/install-deps installs it)", sharedMariaDB.err)
	}
	if sharedMariaDB.err != nil {
		t.Fatal(sharedMariaDB.err)
	}
	name := fmt.Sprintf("family%d", shared.last.Add(1))
	db := pool(t, "mysql", "root@tcp("+sharedMariaDB.server.Addr()+")/")
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return sharedMariaDB.server.URL(name), pool(t, "mysql", "root@tcp("+sharedMariaDB.server.Addr()+")/"+name)
}

func makeSQLite(t *testing.T) (string, *sql.DB) {
	path := filepath.Join(t.TempDir(), "family.db")
	db := pool(t, "sqlite", "file:"+path+"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_txlock=immediate")
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + path, db
}

func pool(t *testing.T, kind, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open(kind, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// anyBase is a database of any engine with the family of UTM5.
type anyBase struct {
	*testing.T
	engine
	url string
	db  *sql.DB
	f   *archive.Family
	ids map[string]int64 // the last key that fill gave, by table
}

// each runs a test on every engine.
func each(t *testing.T, test func(b *anyBase)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			b := &anyBase{T: t, engine: e, ids: map[string]int64{}}
			b.url, b.db = e.make(t)
			f, err := archive.Profile("utm5")
			if err != nil {
				t.Fatal(err)
			}
			b.f = f
			text, err := os.ReadFile("testdata/tables.sql")
			if err != nil {
				t.Fatal(err)
			}
			for one := range strings.SplitSeq(strings.TrimSpace(strings.NewReplacer("{ID}", e.id, "{REAL}", e.real).Replace(string(text))), ";\n") {
				b.exec(strings.TrimSuffix(one, ";"))
			}
			for _, one := range e.trigger {
				b.exec(one)
			}
			test(b)
		})
	}
}

func (b *anyBase) exec(query string, args ...any) {
	b.Helper()
	if _, err := b.db.Exec(query, args...); err != nil {
		b.Fatalf("%v\nin %s", err, query)
	}
}

func (b *anyBase) number(query string) (n int64) {
	b.Helper()
	if err := b.db.QueryRow(query).Scan(&n); err != nil {
		b.Fatalf("%v\nin %s", err, query)
	}
	return n
}

// bulk collects rows for one table.
type bulk struct {
	table, columns string
	rows           []string
}

func (b *anyBase) write(all ...*bulk) {
	b.Helper()
	for _, one := range all {
		for rows := range slices.Chunk(one.rows, 500) {
			b.exec("INSERT INTO " + one.table + " (" + one.columns + ") VALUES " + strings.Join(rows, ", "))
		}
	}
}

// fill writes a linked event for each second of from..to, every table with its
// own share. Keys are the engine's own, which fill can tell as long as nobody
// else inserts.
func (b *anyBase) fill(from, to int64) {
	b.Helper()
	dta, ip := &bulk{table: "discount_transactions_all", columns: "account_id, discount, service_type, discount_date"}, &bulk{table: "discount_transactions_iptraffic_all", columns: "id, discount, discount_date, bytes"}
	tl, td := &bulk{table: "tel_sessions_log", columns: "account_id, recv_date"}, &bulk{table: "tel_sessions_detail", columns: "dhs_sess_id, recv_date, duration"}
	dl, dd := &bulk{table: "dhs_sessions_log", columns: "account_id, recv_date"}, &bulk{table: "dhs_sessions_detail", columns: "dhs_sess_id, recv_date"}
	pt, ul := &bulk{table: "payment_transactions", columns: "payment_absolute, payment_enter_date, payment_ext_number"}, &bulk{table: "user_log", columns: "date, who, what, comment"}
	dh, inv := &bulk{table: "dhcp_leases_log", columns: "ip, updated"}, &bulk{table: "invoices", columns: "invoice_date, account_id"}
	ie, id := &bulk{table: "invoice_entry", columns: "invoice_id, name"}, &bulk{table: "invoice_entry_details", columns: "entry_id, type, value"}
	add := func(to *bulk, format string, args ...any) int64 {
		to.rows = append(to.rows, fmt.Sprintf(format, args...))
		b.ids[to.table]++
		return b.ids[to.table]
	}
	for s := from; s <= to; s++ {
		if key := add(dta, "(%d, %d.25, %d, %d)", s%100, s%7, s%4, s); s%4 == 3 {
			add(ip, "(%d, %d.25, %d, 1000)", key, s%7, s)
		}
		if s%2 == 0 {
			key := add(tl, "(%d, %d)", s%100, s)
			add(td, "(%d, %d, 60)", key, s+500) // its own date means nothing
			add(td, "(%d, %d, 61)", key, s-500)
		} else {
			add(ul, "(%d, 'root', '%s', 'back\\slash \"quotes\" é')", s, "it''s; --")
		}
		if s%3 == 0 {
			add(dd, "(%d, %d)", add(dl, "(%d, %d)", s%100, s), s+500)
		}
		if s%5 == 0 {
			add(pt, "(10.5, %d, 'p%d')", s, s)
		}
		if s%4 == 0 {
			add(dh, "(%d, %d)", s%256, s)
		}
		if s%6 == 0 {
			entry := add(ie, "(%d, 'traffic')", add(inv, "(%d, %d)", s, s%100))
			add(id, "(%d, 1, 'v')", entry)
			add(id, "(%d, 2, NULL)", entry)
		}
	}
	b.write(dta, ip, tl, td, dl, dd, pt, ul, dh, inv, ie, id)
}

func (b *anyBase) session() *dialect.Session {
	b.Helper()
	s, err := dialect.Open(context.Background(), b.url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func (b *anyBase) run(o closing.Options) (*closing.Result, error) {
	b.Helper()
	s := b.session()
	defer s.Close()
	return closing.Run(context.Background(), s, b.f, o)
}

func (b *anyBase) must(end int64) *closing.Result {
	b.Helper()
	r, err := b.run(closing.Options{End: end})
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// sound fails where any rule is broken.
func (b *anyBase) sound() {
	b.Helper()
	s := b.session()
	defer s.Close()
	all, _, err := closing.Verify(context.Background(), s, b.f)
	if err != nil {
		b.Fatal(err)
	}
	if len(all) > 0 {
		b.Fatalf("broken: %v", all)
	}
}

// counts is how many rows each table has, archives included where suffix is
// that of the views.
func (b *anyBase) counts(suffix string) map[string]int64 {
	b.Helper()
	all := map[string]int64{}
	for _, t := range b.f.Tables {
		all[t.Name] = b.number("SELECT count(*) FROM " + t.Name + suffix)
	}
	return all
}
