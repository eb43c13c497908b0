package cli

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestArchiveRehearse rehearses a closing on a copy, and then does it, on a
// file: the database itself is as it was until it is run there.
func TestArchiveRehearse(t *testing.T) {
	dir := t.TempDir()
	file, copied := filepath.Join(dir, "calls.db"), filepath.Join(dir, "copy.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(query string) {
		t.Helper()
		if _, err := db.Exec(query); err != nil {
			t.Fatalf("%v in %s", err, query)
		}
	}
	exec("CREATE TABLE call (id INTEGER PRIMARY KEY AUTOINCREMENT, at integer)")
	exec("CREATE TABLE leg (id INTEGER PRIMARY KEY AUTOINCREMENT, call_id integer REFERENCES call)")
	for i := range 10 {
		exec(fmt.Sprintf("INSERT INTO call (at) VALUES (%d)", 1_700_000_000+i))
		exec(fmt.Sprintf("INSERT INTO leg (call_id) VALUES (%d)", i+1))
	}
	exec("VACUUM INTO '" + copied + "'")
	family := filepath.Join(dir, "calls.json")
	if err := os.WriteFile(family, []byte(callsFamily), 0o600); err != nil {
		t.Fatal(err)
	}
	do := func(code int, out, errs string, args ...string) {
		t.Helper()
		r := run(t, "", nil, append([]string{"archive"}, args...)...)
		if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.errors, errs) {
			t.Errorf("%q: got %d\n%s%s\nwant %d %q %q", args, r.code, r.out, r.errors, code, out, errs)
		}
	}
	do(2, "", "one of --on and --on-file", "rehearse", "--profile", family)
	do(2, "", "names the database itself", "rehearse", "--on", "sqlite:"+file, "--url", "sqlite:"+file, "--profile", family)
	do(0, "rehearsed: 2 archived tables, every rule holds\n", "", "rehearse", "--on", "sqlite:"+copied, "--url", "sqlite:"+file, "--profile", family, "--until", "1700000004")
	do(0, "no archives\n", "", "list", "--url", "sqlite:"+file, "--profile", family)
	do(3, "window: archive 1 already ends at ", "1 broken rule", "rehearse", "--on", "sqlite:"+copied, "--profile", family, "--until", "1700000004")
	do(0, "archive 1: 2023-11-14 22:13:20 to 2023-11-14 22:13:24 UTC, 2 tables, 10 rows; ", "", "run", "--url", "sqlite:"+file, "--profile", family, "--until", "1700000004", "--no-backup", "--apply")
	do(0, "2 archived tables: every rule holds\n", "", "verify", "--url", "sqlite:"+file, "--profile", family)
	do(0, "no archive lacks a table\n", "", "backfill", "--url", "sqlite:"+file, "--profile", family, "--no-backup", "--apply")
	exec("CREATE TABLE note (id INTEGER PRIMARY KEY AUTOINCREMENT, at integer)")
	exec("INSERT INTO note (at) SELECT at FROM call_all ORDER BY at")
	more := strings.TrimSuffix(family, ".json") + "2.json"
	if err := os.WriteFile(more, []byte(strings.TrimSuffix(callsFamily, "]}")+`, {"type": 3, "name": "note", "date": "at", "id_order": true}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	on := []string{"--url", "sqlite:" + file, "--profile", more}
	with := func(words ...string) []string { return append(words, on...) }
	do(2, "", "one of --backup and --no-backup", with("backfill", "--apply")...)
	do(3, "together: note: archive 1 lists it 0 times\n", "", with("verify")...)
	do(0, "nothing was done: --apply does it\n", "", with("backfill", "--no-backup")...)
	do(3, "together: note", "", with("verify")...)
	do(0, `"filed":5,`, "", with("backfill", "--no-backup", "--json")...)
	do(0, "1 archive completed\n", "", with("backfill", "--no-backup", "--apply")...)
	do(0, "3 archived tables: every rule holds\n", "", with("verify")...)
	named := filepath.Join(dir, "holdfast.yaml")
	if err := os.WriteFile(named, []byte(fmt.Sprintf("families:\n  calls: {profile: %q, url: %q, backup: %q}\n", more, "sqlite:"+file, copied)), 0o600); err != nil {
		t.Fatal(err)
	}
	do(0, "3 archived tables: every rule holds\n", "", "verify", "--config", named, "calls")
	do(0, "archive 2: 2023-11-14 22:13:25 to 2023-11-14 22:13:26 UTC, 3 tables, 6 rows; ", "", "run", "calls", "--config", named, "--until", "1700000006", "--apply")
	do(2, "", "names the database itself", "rehearse", "--on", "sqlite:"+file, "--config", named, "calls")
	do(2, "", "one of --archive and --before", "drop", "--config", named, "calls", "--archive", "1", "--before", "2026-01-01")
	do(2, "", "is no time", "drop", "--config", named, "calls", "--before", "yesterday")
	do(3, "window: archive 2 is not the oldest", "broken rule", "drop", "--config", named, "calls", "--archive", "2")
	do(0, "no archive ends before that\n", "", "drop", "--config", named, "calls", "--before", "2023-11-14")
	do(0, "DROP TABLE \"call_", "", "drop", "--config", named, "calls", "--archive", "1")
	do(0, `"archive_id":1,`, "", "drop", "--config", named, "calls", "--before", "1700000005", "--json")
	do(0, "6 archived tables: every rule holds\n", "", "verify", "--config", named, "calls")
	do(0, "1 archive removed\n", "", "drop", "--config", named, "calls", "--before", "2023-11-14 22:13:25", "--apply")
	do(0, "3 archived tables: every rule holds\n", "", "verify", "--config", named, "calls")
	do(2, "", "it has: calls", "list", "--config", named, "others")
	do(2, "", "no family", "list", "--config", named)
	do(2, "", "no configuration", "list", "calls")
	do(2, "", "not for a family that is named", "list", "--config", named, "calls", "--profile", "utm5")
	do(2, "", "is not taken", "list", "--config", named, "calls", "more")
	do(1, "", "unable to open database file", "list", "--url", "sqlite:"+filepath.Join(dir, "none.db"), "--profile", family)
}
