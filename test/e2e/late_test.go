package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLateRejects closes periods in three databases while a server, which is
// killed again and again, delivers rows on both sides of their ends: each row of
// a closed period that was not in the tables in time is a reject that says so,
// reconcile finds nothing, and nothing stands against the next closing.
func TestLateRejects(t *testing.T) {
	d := startDatabases(t)
	data := dataDir(t)
	dir := filepath.Dir(data)
	lite, profile := filepath.Join(dir, "lite.db"), filepath.Join(dir, "books.json")
	maria := d.openMaria(t, "sink")
	if err := os.WriteFile(profile, []byte(strings.Replace(books, `"settle": 2`, `"settle": 2, "late": "reject"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	config := configure(t, data, fmt.Sprintf("data: DATA\nlisten: {pg: \"127.0.0.1:0\", http: \"127.0.0.1:0\"}\ntables: {auto: true}\nsinks:\n  lite: {type: sqlite, path: %q, reject_flood: off}\n  pg: {type: postgres, url: %q, reject_flood: off}\n  maria: {type: mysql, url: %q, reject_flood: off}\n",
		lite, d.pg.URL("sink"), d.maria.URL("sink")))
	inPostgres(t, d.pg.URL("sink"), "CREATE TABLE calls (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, started bigint, name varchar(40))")
	if _, err := maria.Exec("CREATE TABLE calls (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, started bigint, name varchar(40))"); err != nil {
		t.Fatal(err)
	}
	file := openFile(t, lite)
	if _, err := file.Exec("CREATE TABLE calls (id INTEGER PRIMARY KEY AUTOINCREMENT, started bigint, name varchar(40))"); err != nil {
		t.Fatal(err)
	}
	urls := map[string]string{"pg": d.pg.URL("sink"), "maria": d.maria.URL("sink"), "lite": "sqlite:" + lite}
	began, seq := time.Now().Unix()-100_000, int64(0)
	s := start(t, data, options{config: config})
	write := func(s *server, rows int64, now int64) {
		t.Helper()
		var all strings.Builder
		for range rows {
			seq++
			fmt.Fprintf(&all, "INSERT INTO calls (started, name) VALUES (%d, 'n%d');", now-seq*7%60, seq)
		}
		execute(t, s.client(), all.String())
	}
	write(s, 120, began+100)
	for name := range urls {
		s.caughtUp(name, 2*time.Minute)
	}
	closed := int64(0)
	for round := range int64(3) {
		now := began + 200 + 100*round
		closed = now - 30
		write(s, 20, now)
		for name := range urls {
			s.caughtUp(name, 2*time.Minute)
		}
		write(s, 60, now)
		s.kill() // its rows may be in the tables, on their way or in the stream only
		for _, url := range urls {
			holdfast(t, 0, "archive", "run", "--url", url, "--profile", profile, "--no-backup", "--until", fmt.Sprint(closed), "--apply")
		}
		s = start(t, data, options{config: config})
		write(s, 60, now)
	}
	for name := range urls {
		s.caughtUp(name, 2*time.Minute)
	}
	for name, url := range urls {
		listed := holdfast(t, 0, "rejects", "list", "--config", config, "--sink", name, "--code", "late", "--limit", "1000", "--json").stdout
		late := uint64(0)
		for line := range strings.SplitSeq(strings.TrimSpace(listed), "\n") {
			var r struct{ Table, Code, Error string }
			if err := json.Unmarshal([]byte(line), &r); err != nil || r.Code != "late" || r.Table != "calls" || !strings.Contains(r.Error, "it belongs to archive ") || !strings.Contains(r.Error, ", closed at 20") {
				t.Fatalf("%s: %v: %s", name, err, line)
			}
			late++
		}
		found, text := reconcile(t, 0, config, name)
		if late < 30 || found.Waiting != late || found.Expected != uint64(seq)-late {
			t.Errorf("%s: %d late rows of %d: %+v\n%s", name, late, seq, found, text)
		}
		holdfast(t, 0, "archive", "verify", "--url", url, "--profile", profile)
		holdfast(t, 0, "archive", "run", "--url", url, "--profile", profile, "--no-backup", "--until", fmt.Sprint(closed+10), "--apply")
	}
	s.stop()
}
