package cli

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestArchiveLate plans, rehearses and runs with late rows under each policy.
func TestArchiveLate(t *testing.T) {
	dir := t.TempDir()
	base := `{"name": "calls", "late": "POLICY", "tables": [{"type": 1, "name": "call", "date": "at"}, {"type": 2, "name": "leg", "parent": "call", "parent_key": "call_id"}]}`
	profile := func(late string) string {
		path := filepath.Join(dir, late+".json")
		if err := os.WriteFile(path, []byte(strings.Replace(base, "POLICY", late, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fill := func(file string, statements ...string) string {
		path := filepath.Join(dir, file)
		db, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, one := range statements {
			if _, err := db.Exec(one); err != nil {
				t.Fatal(err)
			}
		}
		return "sqlite:" + path
	}
	tables := []string{"CREATE TABLE call (id INTEGER PRIMARY KEY AUTOINCREMENT, at integer)", "CREATE TABLE leg (id INTEGER PRIMARY KEY AUTOINCREMENT, call_id integer)",
		"INSERT INTO call (at) VALUES (1700000000), (1700000010), (1700000020), (1700000030)"}
	itself, copied := fill("itself.db", tables...), fill("copied.db", tables...)
	do := func(code int, args []string, outs ...string) {
		t.Helper()
		r := run(t, "", nil, append([]string{"archive"}, args...)...)
		if r.code != code || code == 0 && r.errors != "" {
			t.Errorf("%q: got %d\n%s%s", args, r.code, r.out, r.errors)
		}
		for _, want := range outs {
			if !strings.Contains(r.out, want) {
				t.Errorf("%q: got\n%s\nwant %q", args, r.out, want)
			}
		}
	}
	for file, url := range map[string]string{"itself.db": itself, "copied.db": copied} {
		do(0, []string{"run", "--url", url, "--profile", profile("name"), "--until", "1700000005", "--no-backup", "--apply"}, "archive 1: ")
		fill(file, "INSERT INTO call (id, at) VALUES (90, 1700000003)", "INSERT INTO leg (call_id) VALUES (90)")
	}
	with := func(verb, late string, more ...string) []string {
		return append([]string{verb, "--url", itself, "--profile", profile(late), "--until", "1700000015"}, more...)
	}
	do(3, with("plan", "name"), "complete: call: rows are dated within a window that is closed (keys 90)")
	do(3, with("plan", "reject"), "late: reject: 1 late row of call, which no sink refused; nobody moves them\n", "complete: call: ", "no sink of Holdfast brought them")
	do(0, with("plan", "current"), "late: current: 1 late row of call stay where they are\n", "late: current: 1 late row of leg", "\n-- put back", "DELETE FROM")
	do(0, with("plan", "route"), "late: route: 1 late row of call into archive 1, call_", "late: route: 1 late row of leg into archive 1, leg_", "-- before the closing, in steps", "INSERT INTO \"call_", "BETWEEN 1700000000 AND 1700000005")
	do(0, with("run", "route", "--no-backup"), "late: route: 1 late row of call into archive 1", "nothing was done")
	do(0, with("rehearse", "route", "--on", copied), "late: route: 1 late row of call into archive 1, call_", "DELETE FROM \"leg\"", "late: route: 1 row of leg moved into archive 1\n", "rehearsed: 4 archived tables, every rule holds")
	do(0, with("run", "route", "--no-backup", "--apply"), "late: route: 1 row of call moved into archive 1\n", "archive 2: ")
	do(0, []string{"plan", "--url", itself, "--profile", profile("reject"), "--until", "1700000025"}, "-- sinks are told before the swap what is being closed", "UPDATE \"holdfast_archive_late\" SET closed = ")
}
