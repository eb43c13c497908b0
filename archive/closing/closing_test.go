package closing_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"holdfast/archive"
	"holdfast/archive/closing"
	"holdfast/archive/dialect"
	"holdfast/test/servers"
)

// shared is one server for all tests, started by the first that needs it.
var shared struct {
	once   sync.Once
	server *servers.Server
	err    error
	last   atomic.Int64
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.server.Close()
	}
	if sharedMariaDB.server != nil {
		sharedMariaDB.server.Close()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// base is a database with a family, and a connection to spoil it by.
type base struct {
	*testing.T
	url string
	c   *pgx.Conn
	f   *archive.Family
}

func newBase(t *testing.T) *base {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = servers.StartPostgres(unless("fsync=off")...) })
	if errors.Is(shared.err, servers.ErrNoPostgres) && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED: %v (scripts/install-deps installs it)", shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	name := fmt.Sprintf("family%d", shared.last.Add(1))
	b := &base{T: t, url: shared.server.URL("postgres")}
	b.dial()
	b.exec("CREATE DATABASE " + name)
	b.c.Close(context.Background())
	b.url = shared.server.URL(name)
	b.dial()
	t.Cleanup(func() { b.c.Close(context.Background()) })
	f, err := archive.Profile("utm5")
	if err != nil {
		t.Fatal(err)
	}
	b.f = f
	return b
}

// unless returns the setting of a server that flushes nothing, since programs are
// killed here and no power is cut, unless times are measured.
func unless(quick string) []string {
	if os.Getenv("HOLDFAST_TEN")+os.Getenv("HOLDFAST_HELD") != "" {
		return nil
	}
	return []string{quick}
}

func (b *base) dial() {
	b.Helper()
	config, err := pgx.ParseConfig(b.url)
	if err != nil {
		b.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	if b.c, err = pgx.ConnectConfig(context.Background(), config); err != nil {
		b.Fatal(err)
	}
}

func (b *base) exec(sql string, args ...any) {
	b.Helper()
	if _, err := b.c.Exec(context.Background(), sql, args...); err != nil {
		b.Fatalf("%v\nin %s", err, sql)
	}
}

func (b *base) text(name string) string {
	b.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

// utm5 makes the twelve tables, with rows of the seconds from..to.
func (b *base) utm5(from, to int64) {
	b.Helper()
	b.exec(b.text("utm5.sql"))
	b.fill(from, to)
}

func (b *base) fill(from, to int64) {
	b.Helper()
	b.exec(strings.TrimSpace(b.text("fill.sql")), from, to)
}

func (b *base) number(sql string) (n int64) {
	b.Helper()
	if err := b.c.QueryRow(context.Background(), sql).Scan(&n); err != nil {
		b.Fatalf("%v\nin %s", err, sql)
	}
	return n
}

func (b *base) session() *dialect.Session {
	b.Helper()
	s, err := dialect.Open(context.Background(), b.url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func (b *base) run(o closing.Options) (*closing.Result, error) {
	b.Helper()
	s, err := dialect.Open(context.Background(), b.url)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	return closing.Run(context.Background(), s, b.f, o)
}

// must closes up to end.
func (b *base) must(end int64) *closing.Result {
	b.Helper()
	r, err := b.run(closing.Options{End: end})
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func (b *base) verify() []archive.Broken {
	b.Helper()
	s := b.session()
	defer s.Close()
	all, _, err := closing.Verify(context.Background(), s, b.f)
	if err != nil {
		b.Fatal(err)
	}
	return all
}

// sound fails where any rule is broken.
func (b *base) sound() {
	b.Helper()
	if all := b.verify(); len(all) > 0 {
		b.Fatalf("broken: %v", all)
	}
}

// counts is how many rows each table has, archives included.
func (b *base) counts(suffix string) map[string]int64 {
	b.Helper()
	all := map[string]int64{}
	for _, t := range b.f.Tables {
		all[t.Name] = b.number("SELECT count(*) FROM " + t.Name + suffix)
	}
	return all
}

const epoch = 1_700_000_000

// TestTwoPeriods closes two periods of the twelve tables, and counts.
func TestTwoPeriods(t *testing.T) {
	b := newBase(t)
	b.utm5(epoch, epoch+2999)
	before := b.counts("")
	p, err := closing.Make(context.Background(), b.session(), b.f, epoch+999)
	if err != nil {
		t.Fatal(err)
	}
	for _, share := range p.Shares {
		if share.Filed+share.Staying != before[share.Table] || share.Filed == 0 || share.Staying == 0 {
			t.Errorf("the plan files %d of %s and leaves %d, of %d", share.Filed, share.Table, share.Staying, before[share.Table])
		}
	}
	r := b.must(epoch + 999)
	if want := (archive.Window{Start: epoch, End: epoch + 999}); r.Window != want || r.Archive != 1 {
		t.Fatalf("got %+v, want %v", r, want)
	}
	b.sound()
	after := b.counts("_all")
	for _, table := range b.f.Tables {
		if before[table.Name] != after[table.Name] {
			t.Errorf("%s: %d rows before, %d after", table.Name, before[table.Name], after[table.Name])
		}
	}
	for query, want := range map[string]int64{
		"SELECT count(*) FROM discount_transactions_all":                          2000,
		"SELECT min(recv_date) FROM tel_sessions_log":                             epoch + 1000,
		"SELECT count(*) FROM archives":                                           12,
		"SELECT count(DISTINCT (archive_id, start_date, end_date)) FROM archives": 1,
	} {
		if got := b.number(query); got != want {
			t.Errorf("%s: got %d, want %d", query, got, want)
		}
	}
	r = b.must(epoch + 1999)
	if want := (archive.Window{Start: epoch + 1000, End: epoch + 1999}); r.Window != want || r.Archive != 2 {
		t.Fatalf("got %+v, want %v", r, want)
	}
	b.sound()
	b.fill(epoch+3000, epoch+3100) // ids go on rising
	b.sound()
	t.Logf("held for %v", r.Held)
	if n := b.number("SELECT count(*) FROM discount_transactions_all_all"); n != 3101 {
		t.Errorf("%d rows in all, want 3101", n)
	}
	for _, share := range r.Tables {
		for _, change := range []string{"DELETE FROM %s", "UPDATE %s SET id = id", "INSERT INTO %s SELECT * FROM " + share.Table + " LIMIT 1", "TRUNCATE %s"} {
			if _, err := b.c.Exec(context.Background(), fmt.Sprintf(change, share.Archive)); err == nil || strings.HasPrefix(change, "DELETE") && !strings.Contains(err.Error(), "can only be read") {
				t.Errorf("%s is writable: %v", share.Archive, err)
			}
		}
	}
	if _, err := b.run(closing.Options{End: epoch + 1999}); !refuses(err, archive.RuleWindow) {
		t.Errorf("the same period again: %v", err)
	}
}

// refuses reports whether err names the rule.
func refuses(err error, rule archive.Rule) bool {
	var r *closing.Refusal
	return errors.As(err, &r) && slices.ContainsFunc(r.Broken, func(b archive.Broken) bool { return b.Rule == rule })
}
