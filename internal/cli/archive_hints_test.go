package cli

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestArchiveHints wants a plan without a backup, times as logs write them, and
// what stands against a closing to name the verb that puts it right.
func TestArchiveHints(t *testing.T) {
	dir := t.TempDir()
	file, profile := filepath.Join(dir, "calls.db"), filepath.Join(dir, "calls.json")
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(all ...string) {
		t.Helper()
		for _, one := range all {
			if _, err := db.Exec(one); err != nil {
				t.Fatal(err)
			}
		}
	}
	exec("CREATE TABLE call (id INTEGER PRIMARY KEY AUTOINCREMENT, at integer)", "CREATE TABLE leg (id INTEGER PRIMARY KEY AUTOINCREMENT, call_id integer)",
		"INSERT INTO call (at) VALUES (1000), (2000), (3000), (4000)")
	if err := os.WriteFile(profile, []byte(callsFamily), 0o600); err != nil {
		t.Fatal(err)
	}
	do := func(code int, out, errs string, args ...string) {
		t.Helper()
		r := run(t, "", nil, append([]string{"archive", args[0], "--url", "sqlite:" + file, "--profile", profile}, args[1:]...)...)
		if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.errors, errs) {
			t.Errorf("%q: got %d\n%s%s\nwant %d %q %q", args, r.code, r.out, r.errors, code, out, errs)
		}
	}
	do(0, "nothing was done: --apply does it", "", "run", "--until", "1970-01-01T00:20:00")
	do(2, "", "one of --backup and --no-backup must be given", "run", "--until", "1970-01-01T00:20:00Z", "--apply")
	do(2, "", "is not there", "run", "--until", "1200", "--backup", filepath.Join(dir, "none"))
	do(0, "archive 1: 1970-01-01 00:16:40 to 1970-01-01 00:20:00 UTC", "", "run", "--until", "1970-01-01T00:20:00Z", "--apply", "--no-backup")
	exec("INSERT INTO call (at) VALUES (1100)")
	do(3, "complete: call", "hint: rows that came late", "verify")
	exec("DELETE FROM call WHERE at = 1100", "ALTER TABLE call ADD COLUMN x integer")
	for _, verb := range []string{"verify", "plan", "run"} {
		do(3, "structure: call_", "hint: tables that have changed since: holdfast archive migrate", verb)
	}
	do(0, "call_", "", "migrate")
	do(0, "call_", "", "migrate", "--apply", "--no-backup")
	exec("DROP VIEW call_all", "ALTER TABLE call RENAME COLUMN x TO z")
	do(3, "structure: call_", "tells what can be done by hand", "migrate", "--apply", "--no-backup")
	do(0, "1 ", "", "list")
}
