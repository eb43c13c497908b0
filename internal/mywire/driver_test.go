package mywire

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"holdfast/internal/fault"
	"holdfast/row"
)

// number returns MySQL's number of an error.
func number(t *testing.T, err error) uint16 {
	t.Helper()
	var m *mysql.MySQLError
	if !errors.As(err, &m) {
		t.Fatalf("%v is no error of the server", err)
	}
	return m.Number
}

var typed = map[string][]row.Column{
	"v": {{Name: "n", Type: "bigint"}, {Name: "s", Type: "text"}, {Name: "b", Type: "bytea"}, {Name: "f", Type: "double precision"}, {Name: "at", Type: "timestamptz"}},
}

// TestDriver writes with go-sql-driver, with parameters in the text and in the
// binary protocol, twice with each statement: types are sent only once by some.
func TestDriver(t *testing.T) {
	for name, query := range map[string]string{"text": "interpolateParams=true", "binary": ""} {
		t.Run(name, func(t *testing.T) {
			store := newStore(typed)
			db := open(t, startServer(t, Options{Store: store}), "u", query)
			at := time.Date(2026, 11, 21, 1, 2, 3, 4000, time.UTC)
			st, err := db.Prepare("INSERT INTO v (n, s, b, f, at) VALUES (?, ?, ?, ?, ?), (?, 'x', NULL, 1.5, NOW())")
			if err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				r, err := st.Exec(int64(-5), "it's \\ \"\n\x1a`", []byte{0, 0xff, '\''}, 0.1, at, uint64(1<<63)+uint64(i))
				if err != nil {
					t.Fatal(err)
				}
				if n, _ := r.RowsAffected(); n != 2 {
					t.Errorf("%d rows affected, want 2", n)
				}
			}
			if _, err := db.Exec("INSERT INTO v (N, s) VALUES (?, ?)", nil, ""); err != nil {
				t.Fatal(err)
			}
			one := "v n=-5 s=it's \\ \"\n\x1a` b=\\x00ff27 f=0.1 at=2026-11-21 01:02:03.000004\nv n=922337203685477580%d s=x b=NULL f=1.5 at=2026-11-21 00:04:56+00:00\n"
			want := strings.Replace(one, "%d", "8", 1) + strings.Replace(one, "%d", "9", 1) + "v n=NULL s="
			if got := store.all(); got != want {
				t.Errorf("stored\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestTransactions holds MySQL's rules: BEGIN commits, a statement that fails
// takes back itself alone, and what no COMMIT came for is gone.
func TestTransactions(t *testing.T) {
	for _, c := range []struct{ name, sql, want string }{
		{"commit", "begin;+insert into t(a) values (1);+commit", "t a=1"},
		{"rollback", "start transaction;+insert into t(a) values (1);rollback", ""},
		{"statement alone", "begin;insert into t(a) values (1);!1366 insert into t(a) values (2),('poison');insert into t(a) values (3);commit", "t a=1\nt a=3"},
		{"begin commits", "begin;insert into t(a) values (1);begin;insert into t(a) values (2);rollback", "t a=1"},
		{"savepoint", "begin;insert into t(a) values (1);savepoint s;insert into t(a) values (2);rollback to s;insert into t(a) values (3);release savepoint s;!1305 rollback to s;commit", "t a=1\nt a=3"},
		{"autocommit off", "set autocommit=0;insert into t(a) values (1);rollback;insert into t(a) values (2);commit;insert into t(a) values (3)", "t a=2"},
		{"autocommit on again", "set autocommit=0;insert into t(a) values (1);SET @@session.autocommit = ON", "t a=1"},
		{"read only", "start transaction read only;!1792 insert into t(a) values (1);commit;insert into t(a) values (2)", "t a=2"},
		{"disconnect", "begin;insert into t(a) values (1)", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newStore(nil)
			db := open(t, startServer(t, Options{Store: store}), "u", "")
			for st := range strings.SplitSeq(c.sql, ";") {
				st = strings.TrimPrefix(st, "+")
				fails := strings.HasPrefix(st, "!")
				if fails {
					st = st[1:]
				}
				code, rest, _ := strings.Cut(st, " ")
				if !fails {
					rest = st
				}
				_, err := db.Exec(rest)
				if fails && (err == nil || !strings.Contains(err.Error(), code)) || !fails && err != nil {
					t.Fatalf("%s: %v", st, err)
				}
			}
			db.Close()
			if got := store.all(); got != c.want {
				t.Errorf("stored %q, want %q", got, c.want)
			}
		})
	}
}

// TestCommitFails sees that no OK comes for rows that are not on disk.
func TestCommitFails(t *testing.T) {
	store := newStore(nil)
	db := open(t, startServer(t, Options{Store: store}), "u", "")
	store.refuse(fault.New(fault.DiskFull, "the disk is full"))
	if _, err := db.Exec("insert into t(a) values (1)"); number(t, err) != 1114 {
		t.Errorf("a full disk gave %v", err)
	}
	store.refuse(nil)
	if _, err := db.Exec("insert into t(a) values (2)"); err != nil {
		t.Error(err)
	}
	if got := store.all(); got != "t a=2" {
		t.Errorf("stored %q", got)
	}
}

// TestKamailioAsks answers what Kamailio's modules ask at their start.
func TestKamailioAsks(t *testing.T) {
	version := func(table string) (int, bool) { return 5, table == "acc" }
	db := open(t, startServer(t, Options{Store: newStore(nil), TableVersion: version}), "u", "")
	var n int
	if err := db.QueryRow("select `table_version` from `version` where `table_name`='acc'").Scan(&n); err != nil || n != 5 {
		t.Errorf("version %d, %v", n, err)
	}
	if err := db.QueryRow("select table_version from version where table_name='other'").Scan(&n); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("a table without version: %v", err)
	}
	var text string
	if err := db.QueryRow("SELECT @@version_comment LIMIT 1").Scan(&text); err != nil || !strings.Contains(text, "Holdfast") {
		t.Errorf("%q, %v", text, err)
	}
	st, err := db.Prepare("SELECT 7, DATABASE(), NULL")
	if err != nil {
		t.Fatal(err)
	}
	var null sql.NullString
	if err := st.QueryRow().Scan(&n, &text, &null); err != nil || n != 7 || text != "d" || null.Valid {
		t.Errorf("prepared: %d %q %v %v", n, text, null, err)
	}
}
