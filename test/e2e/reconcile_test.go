package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// reconciled is what reconcile --json prints, as far as this test asks.
type reconciled struct {
	From, To, Waiting, Expected, Older uint64
	LeftOut                            uint64 `json:"left_out"`
	Tables                             []struct {
		Table           string
		Expected, Found uint64
		Places          []struct{ Name string }
	}
	Differences []struct {
		Kind, Table, Place string
		First, Last, Rows  uint64
	}
}

// reconcile compares the stream with a sink, and wants an exit code.
func reconcile(t *testing.T, code int, config, sink string) (found reconciled, text string) {
	t.Helper()
	r := holdfast(t, code, "reconcile", "--config", config, "--sink", sink, "--json")
	if err := json.Unmarshal([]byte(r.stdout), &found); err != nil {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	return found, holdfast(t, code, "reconcile", "--config", config, "--sink", sink).stdout
}

// books is the family that is archived, and each sink's own tables for it.
const books = `{"name": "books", "catalogue": "archives", "unit": "unix", "settle": 2, "tables": [{"type": 1, "name": "calls", "date": "started"}]}`

// TestReconcile finds a row that was removed from an archive by hand, one that
// is there twice, and one that was changed, and names their seqs; it finds
// nothing before that, though rows were archived, refused and left out.
func TestReconcile(t *testing.T) {
	d := startDatabases(t)
	data := dataDir(t)
	lite := filepath.Join(filepath.Dir(data), "lite.db")
	maria := d.openMaria(t, "sink")
	profile := filepath.Join(filepath.Dir(data), "books.json")
	if err := os.WriteFile(profile, []byte(books), 0o600); err != nil {
		t.Fatal(err)
	}
	config := configure(t, data, fmt.Sprintf("data: DATA\nlisten: {pg: \"127.0.0.1:0\", http: \"127.0.0.1:0\"}\ntables: {auto: true}\nsinks:\n  lite: {type: sqlite, path: %q}\n  pg: {type: postgres, url: %q}\n  maria: {type: mysql, url: %q}\n",
		lite, d.pg.URL("sink"), d.maria.URL("sink")))
	kinds := []struct {
		sink, url, id, real, unlock string
		do                          func(sql string)
		ask                         func(sql string) string
	}{
		{"pg", d.pg.URL("sink"), "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "timestamptz", "ALTER TABLE ARCHIVE DISABLE TRIGGER ALL",
			func(sql string) { inPostgres(t, d.pg.URL("sink"), sql) },
			func(sql string) string { return inPostgres(t, d.pg.URL("sink"), sql)[0][0] }},
		{"maria", d.maria.URL("sink"), "bigint NOT NULL AUTO_INCREMENT PRIMARY KEY", "datetime(6)", "SET @holdfast_archive_move = 1", nil, nil},
		{"lite", "sqlite:" + lite, "INTEGER PRIMARY KEY AUTOINCREMENT", "text", `DROP TRIGGER "ARCHIVE_ro3"`, nil, nil},
	}
	for i := range kinds {
		k := &kinds[i]
		if k.do != nil {
			continue
		}
		db := maria
		if k.sink == "lite" {
			db = openFile(t, lite)
		}
		one, err := db.Conn(t.Context()) // a variable is of one session
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { one.Close() })
		k.do = func(sql string) {
			if _, err := one.ExecContext(context.Background(), sql); err != nil {
				t.Fatalf("%s: %s: %v", k.sink, sql, err)
			}
		}
		k.ask = func(sql string) (text string) {
			if err := one.QueryRowContext(context.Background(), sql).Scan(&text); err != nil {
				t.Fatalf("%s: %s: %v", k.sink, sql, err)
			}
			return text
		}
	}
	for _, k := range kinds {
		k.do("CREATE TABLE calls (id " + k.id + ", started bigint, name varchar(40) UNIQUE, amount numeric(12,2), at " + k.real + ")")
		k.do("CREATE TABLE events (code varchar(40) NOT NULL PRIMARY KEY, v integer)")
	}
	s := start(t, data, options{config: config})
	c := s.client()
	began := time.Now().Unix() - 10_000
	const rows = 400
	var all strings.Builder
	for seq := 1; seq <= rows; seq++ {
		if seq%4 == 0 {
			fmt.Fprintf(&all, "INSERT INTO events (code, v) VALUES ('e%d', %d);", seq, seq)
		} else {
			fmt.Fprintf(&all, "INSERT INTO calls (started, name, amount, at) VALUES (%d, 'n%d', '%d.5', '2026-11-21 10:00:00.25+00');", began+int64(seq), seq, seq)
		}
	}
	execute(t, c, all.String())
	execute(t, c, "INSERT INTO events (code, v) VALUES ('e4', 1)")                        // 401: refused
	execute(t, c, "INSERT INTO events (code, v) VALUES ('e8', 1) ON CONFLICT DO NOTHING") // 402: left out
	execute(t, c, "INSERT INTO events (code, v) VALUES ('new', 1) ON CONFLICT DO NOTHING")
	for _, k := range kinds {
		s.caughtUp(k.sink, 2*time.Minute)
		holdfast(t, 0, "archive", "run", "--url", k.url, "--profile", profile, "--no-backup", "--until", fmt.Sprint(began+200), "--apply")
		found, text := reconcile(t, 0, config, k.sink)
		if found.From != 1 || found.To != rows+3 || found.Waiting != 1 || found.LeftOut != 1 || found.Expected != rows+1 || found.Older != 0 || !strings.Contains(text, "no difference") {
			t.Errorf("%s: %+v\n%s", k.sink, found, text)
		}
		archive := ""
		for _, table := range found.Tables {
			if table.Table == "calls" && len(table.Places) == 2 {
				archive = table.Places[1].Name
			}
			if table.Found != table.Expected {
				t.Errorf("%s: %+v", k.sink, table)
			}
		}
		if archive == "" {
			t.Fatalf("%s: no archive of calls was read: %+v", k.sink, found)
		}
		// One row removed from the archive, one of it put back into the current
		// table as well, one changed.
		k.do(strings.ReplaceAll(k.unlock, "ARCHIVE", archive))
		k.do("DELETE FROM " + archive + " WHERE name = 'n77'")
		k.do("INSERT INTO calls (started, name, amount, at) SELECT started, name, amount, at FROM " + archive + " WHERE name = 'n33'")
		k.do("UPDATE events SET v = 0 WHERE code = 'e200'")
		found, text = reconcile(t, 3, config, k.sink)
		got := []string{}
		for _, one := range found.Differences {
			got = append(got, fmt.Sprintf("%s %s %d-%d", one.Kind, one.Table, one.First, one.Last))
		}
		if want := "doubled calls 33-33, missing calls 77-77, changed events 200-200"; strings.Join(got, ", ") != want {
			t.Errorf("%s: %v, want %s\n%s", k.sink, got, want, text)
		}
		for _, line := range []string{"missing: table calls, seq 77\n", "changed: table events, seq 200 in events\n"} {
			if !strings.Contains(text, line) {
				t.Errorf("%s: %q is not told:\n%s", k.sink, line, text)
			}
		}
		if n := k.ask("SELECT count(*) FROM holdfast_cursor"); n != "1" {
			t.Errorf("%s: %s cursors", k.sink, n)
		}
	}
	s.stop()
	if found, _ := reconcile(t, 3, config, "pg"); len(found.Differences) != 3 {
		t.Errorf("without a server: %+v", found)
	}
}

// TestReconcileLedger has the segments of an archived period rolled away, removes
// a row of that archive by hand, and wants it found all the same.
func TestReconcileLedger(t *testing.T) {
	data := dataDir(t)
	root := filepath.Dir(data)
	lite, profile, ledger := filepath.Join(root, "lite.db"), filepath.Join(root, "books.json"), filepath.Join(root, "lite.ledger")
	if err := os.WriteFile(profile, []byte(books), 0o600); err != nil {
		t.Fatal(err)
	}
	config := configure(t, data, fmt.Sprintf("data: DATA\nlisten: {pg: \"127.0.0.1:0\", http: \"127.0.0.1:0\"}\ntables: {auto: true}\nstreams: {main: {history: 1 GB}}\nsinks:\n  lite: {type: sqlite, path: %q}\n", lite))
	db := openFile(t, lite)
	run := func(sql string) {
		t.Helper()
		if _, err := db.Exec(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	run("CREATE TABLE calls (id INTEGER PRIMARY KEY AUTOINCREMENT, started bigint, name text)")
	began := time.Now().Unix() - 10_000
	write := func(s *server, from, to int) {
		var all strings.Builder
		for seq := from; seq <= to; seq++ {
			fmt.Fprintf(&all, "INSERT INTO calls (started, name) VALUES (%d, 'n%d %s');", began+int64(seq), seq, strings.Repeat("x", 2000))
		}
		execute(t, s.client(), all.String())
		s.caughtUp("lite", 2*time.Minute)
	}
	s := start(t, data, options{config: config})
	write(s, 1, 400)
	write(s, 401, 800)
	holdfast(t, 0, "archive", "run", "--url", "sqlite:"+lite, "--profile", profile, "--no-backup", "--until", fmt.Sprint(began+700), "--apply")
	compare := func(code int, more ...string) string {
		t.Helper()
		return holdfast(t, code, append([]string{"reconcile", "--config", config, "--ledger", ledger}, more...)...).stdout
	}
	if text := compare(0); !strings.Contains(text, "no difference") {
		t.Error(text)
	}
	s.signal(syscall.SIGUSR2)
	s.stop()
	s = start(t, data, options{config: config})
	write(s, 801, 900)
	holdfast(t, 1, "roll", "size", "--config", config, "--max-size", "1MB", "--apply") // the newest stays
	if text := compare(0); !strings.Contains(text, "which are not stored any more: as they were on ") || !strings.Contains(text, "no difference") {
		t.Error(text)
	}
	var archive string
	if err := db.QueryRow("SELECT name FROM sqlite_schema WHERE name GLOB 'calls_[0-9]*' AND type = 'table'").Scan(&archive); err != nil {
		t.Fatal(err)
	}
	run(`DROP TRIGGER "` + archive + `_ro3"`)
	run("DELETE FROM " + archive + " WHERE id = 77")
	if text := compare(3); !strings.Contains(text, "older: table calls, seq 1 to ") || !strings.Contains(text, " in "+archive+": ") {
		t.Error(text)
	}
	if text := compare(0, "--renew"); !strings.Contains(text, "never compared") {
		t.Error(text)
	}
	holdfast(t, 1, "reconcile", "--config", config, "--ledger", profile)
}
