package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// onePostgres is a server with PostgreSQL as its only sink.
const onePostgres = `
data: DATA
tables: {auto: true}
sinks:
  pg: {type: postgres, url: %q%s}
`

// fill inserts the rows from first to last, one hundred at a time.
func (s *server) fill(table string, first, last int) {
	s.t.Helper()
	c := s.client()
	for first <= last {
		var rows []string
		for ; first <= last && len(rows) < 100; first++ {
			rows = append(rows, fmt.Sprintf("(%d,'row %d')", first, first))
		}
		execute(s.t, c, "INSERT INTO "+table+" (n, body) VALUES "+strings.Join(rows, ","))
	}
}

// wantFilled checks that a table holds the rows 1 to last, each once, and
// nothing else.
func wantFilled(t *testing.T, url, table string, last int) {
	t.Helper()
	got := inPostgres(t, url, "SELECT n, body FROM "+table+" ORDER BY n, ctid")
	for i, r := range got {
		if want := fmt.Sprint(i + 1); r[0] != want || r[1] != "row "+want {
			t.Fatalf("row %d of %s is %q", i+1, table, r)
		}
	}
	if len(got) != last {
		t.Fatalf("%s has %d rows, want %d", table, len(got), last)
	}
}

// sinkState waits until a sink is in a state, and returns its last error.
func (s *server) sinkState(name, state string) (lastError string) {
	s.t.Helper()
	eventually(s.t, 30*time.Second, "sink "+name+" to be "+state, func() (bool, string) {
		st, err := s.status()
		if err != nil {
			return false, err.Error()
		}
		for _, k := range st.Sinks {
			if k.Name == name {
				lastError = k.LastError
				return k.State == state, k.State + ": " + k.LastError
			}
		}
		return false, "it is not listed"
	})
	return lastError
}

// TestRestoredSink puts a database back to an older copy, with pg_dump and
// pg_restore: that is noticed, and after `sink replay` (or by itself, where so
// configured) the table equals what was written, row for row.
func TestRestoredSink(t *testing.T) {
	need(t, "pg_dump")
	need(t, "pg_restore")
	d := startDatabases(t)
	url, admin := d.pg.URL("sink"), d.pg.URL("postgres")
	for _, byItself := range []bool{false, true} {
		t.Run(fmt.Sprintf("replay by itself %v", byItself), func(t *testing.T) {
			inPostgres(t, admin, "DROP DATABASE sink WITH (FORCE)")
			inPostgres(t, admin, "CREATE DATABASE sink")
			option := ""
			if byItself {
				option = ", on_rewind: replay"
			}
			data := dataDir(t)
			s := start(t, data, options{config: configure(t, data, fmt.Sprintf(onePostgres, url, option))})
			s.fill("calls", 1, 2500)
			s.delivered(30 * time.Second)
			dump := filepath.Join(t.TempDir(), "older.dump")
			mustRun(t, "pg_dump", "-Fc", "-f", dump, "-d", url)
			s.fill("calls", 2501, 6000)
			s.delivered(30 * time.Second)

			inPostgres(t, admin, "DROP DATABASE sink WITH (FORCE)")
			inPostgres(t, admin, "CREATE DATABASE sink")
			mustRun(t, "pg_restore", "-d", url, dump)
			wantFilled(t, url, "calls", 2500)
			s.fill("calls", 6001, 6100)
			if !byItself {
				if text := s.sinkState("pg", "halted"); !strings.Contains(text, "restored") {
					t.Errorf("the sink is halted with %q, which does not speak of a restored copy", text)
				}
				time.Sleep(time.Second)
				wantFilled(t, url, "calls", 2500) // it stays stopped
				holdfast(t, 0, "sink", "replay", "pg", "--data", data)
			}
			s.delivered(30 * time.Second)
			wantFilled(t, url, "calls", 6100)
			s.stop()
		})
	}
}

// mustRun runs a program that must succeed.
func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if r := command(t, t.TempDir(), nil, name, args...); r.code != 0 {
		t.Fatalf("%s %q: exit code %d\n%s%s", name, args, r.code, r.stdout, r.stderr)
	}
}

// TestFencedSink runs a copied data directory against the same sink, as after
// a clone of a virtual machine, or where an old server comes back: the one
// that was overtaken stops by itself, stays stopped, and says why; and no row
// is in the sink that the one in charge did not put there.
func TestFencedSink(t *testing.T) {
	d := startDatabases(t)
	url := d.pg.URL("sink")
	first := dataDir(t)
	o := options{config: configure(t, first, fmt.Sprintf(onePostgres, url, ""))}
	a := start(t, first, o)
	a.fill("calls", 1, 300)
	a.delivered(30 * time.Second)
	a.stop()
	second := dataDir(t)
	if err := os.CopyFS(second, os.DirFS(first)); err != nil {
		t.Fatal(err)
	}

	a = start(t, first, o)
	a.delivered(30 * time.Second)
	b := start(t, second, options{config: configure(t, second, fmt.Sprintf(onePostgres, url, ""))})
	b.fill("calls", 301, 400)
	b.delivered(30 * time.Second)
	a.fill("late", 1, 10)
	if text := a.sinkState("pg", "halted"); !strings.Contains(text, "another instance") {
		t.Errorf("the first server's sink is halted with %q, which does not speak of another instance", text)
	}
	time.Sleep(time.Second) // time enough for a retry
	a.sinkState("pg", "halted")
	b.fill("calls", 401, 500)
	b.delivered(30 * time.Second)
	wantFilled(t, url, "calls", 500)
	if got := inPostgres(t, url, "SELECT to_regclass('late')")[0][0]; got != null {
		t.Error("a fenced server has written to the sink")
	}
	a.stop()

	// Back again, its rows are of a journal that the cursor is not of.
	a = start(t, first, o)
	if text := a.sinkState("pg", "halted"); !strings.Contains(text, "other journal") && !strings.Contains(text, "another journal") {
		t.Errorf("the old server's sink is halted with %q, which does not speak of another journal", text)
	}
	b.fill("calls", 501, 600) // and it takes the cursor from nobody
	b.delivered(30 * time.Second)
	wantFilled(t, url, "calls", 600)
	a.stop()
	b.stop()

	// Told how far the sink has its rows, it goes on behind them.
	a = start(t, first, o)
	a.sinkState("pg", "halted")
	holdfast(t, 0, "sink", "seek", "pg", "300", "--stream", "main", "--config", o.config)
	a.delivered(30 * time.Second)
	wantFilled(t, url, "calls", 600)
	wantFilled(t, url, "late", 10)
	a.stop()
}
