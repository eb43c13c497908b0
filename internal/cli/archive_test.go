package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/test/servers"
)

const callsFamily = `{"name": "calls", "tables": [{"type": 1, "name": "call", "date": "at", "id_order": true},
	{"type": 2, "name": "leg", "parent": "call", "parent_key": "call_id"}]}`

// TestArchive does with the verbs what an administrator does: plan, run, list,
// verify; then a row is removed behind its back.
func TestArchive(t *testing.T) {
	server, err := servers.StartPostgres()
	if errors.Is(err, servers.ErrNoPostgres) && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED: %v (scripts/install-deps installs it)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	url := server.URL("postgres")
	exec := func(sql string) {
		t.Helper()
		c, err := pgx.Connect(context.Background(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		if _, err := c.PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE call (id serial PRIMARY KEY, at integer); CREATE TABLE leg (id serial PRIMARY KEY, call_id integer);
		INSERT INTO call (at) SELECT 1700000000 + g FROM generate_series(0, 9) g; INSERT INTO leg (call_id) SELECT id FROM call`)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	family, secret := write("calls.json", callsFamily), write("url", url+"\n")
	old := write("old", "a dump")
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	do := func(code int, out, errs string, args ...string) {
		t.Helper()
		r := run(t, "", nil, append([]string{"archive"}, args...)...)
		if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.errors, errs) || code == 0 && r.errors != "" {
			t.Errorf("%q: got %d\n%s%s\nwant %d %q %q", args, r.code, r.out, r.errors, code, out, errs)
		}
	}
	on := []string{"--url-file", secret, "--profile", family}
	with := func(verb string, more ...string) []string { return append(append([]string{verb}, on...), more...) }

	do(2, "", "--profile is missing", "plan", "--url", url)
	do(2, "", "not known", "plan", "--url", url, "--profile", "utm6")
	do(2, "", "must be given", "plan", "--profile", "utm5")
	do(2, "", "must be given", with("verify", "--url", url)...)
	do(2, "", "no time", with("plan", "--until", "soon")...)
	do(1, "", "the end, 2135-12-31 23:59:59, lies behind the last second that can be closed now, 20", with("plan", "--until", "2135-12-31")...)
	do(3, "window: the end, 2023-11-13 23:59:59, lies before the first row, which is dated 2023-11-14 22:13:20\n", "1 broken rule found", with("plan", "--until", "2023-11-13")...)
	do(1, "", "does not speak", "list", "--url", "oracle://root@h/d", "--profile", "utm5")
	do(2, "", "one of --backup and --no-backup", with("run", "--apply")...)
	do(2, "", "contradict each other", with("run", "--no-backup", "--backup", family)...)
	do(2, "", "is not there", with("run", "--backup", filepath.Join(dir, "none"))...)
	do(2, "", "is empty", with("run", "--backup", write("empty", ""))...)
	do(2, "", "over a day old", with("run", "--backup", old)...)
	do(3, "tables: discount_transactions_all: there is no such table\n", "broken rules found", "verify", "--url", url, "--profile", "utm5")

	do(0, "no archives\n", "", with("list")...)
	do(0, "ALTER TABLE \"public\".\"call\" RENAME TO \"call_", "", with("plan", "--until", "1700000004")...)
	do(0, "nothing was done: --apply does it\n", "", with("run", "--until", "1700000004", "--no-backup")...)
	do(0, "no archives\n", "", with("list")...)
	do(0, "archive 1: 2023-11-14 22:13:20 to 2023-11-14 22:13:24 UTC, 2 tables, 10 rows; the tables were locked for ", "",
		with("run", "--until", "2023-11-14 22:13:24", "--backup", family, "--apply")...)
	do(0, "1        1     call_", "", with("list")...)
	do(0, `"archive_id":1,"table_type":2,"table_name":"leg_`, "", with("list", "--json")...)
	do(0, "2 archived tables: every rule holds\n", "", with("verify")...)
	exec(`ALTER TABLE call ADD COLUMN who text NOT NULL DEFAULT 'nobody'`)
	do(3, "it lacks column \"who\"\n", "1 broken rule found", with("verify")...)
	do(2, "", "one of --backup and --no-backup", with("migrate", "--apply")...)
	do(0, "ADD COLUMN \"who\" text DEFAULT 'nobody'::text NOT NULL;\n", "", with("migrate", "--no-backup")...)
	do(3, "it lacks column \"who\"\n", "1 broken rule found", with("verify")...)
	do(0, "1 archived table migrated\n", "", with("migrate", "--no-backup", "--apply")...)
	do(0, "each archived table looks like the current one\n", "", with("migrate", "--no-backup", "--apply")...)
	do(0, "2 archived tables: every rule holds\n", "", with("verify")...)
	exec(`DROP VIEW call_all; ALTER TABLE call DROP COLUMN who`)
	do(3, "the values it holds would be lost\n", "1 broken rule found", with("migrate", "--no-backup", "--apply")...)
	exec(`ALTER TABLE call ADD COLUMN who text`)
	do(0, `"statements":[`, "", with("migrate", "--no-backup", "--apply", "--json")...)
	do(3, "window: archive 1 already ends at 2023-11-14 22:13:24, and the end would be 2023-11-14 22:13:24: the next period begins at 2023-11-14 22:13:25\n", "1 broken rule found", with("run", "--until", "1700000004", "--no-backup", "--apply")...)
	do(0, `"archive_id":2,`, "", with("run", "--no-backup", "--apply", "--json")...)
	exec(`DELETE FROM archives WHERE table_type = 2 AND archive_id = 2`)
	do(3, "together: leg: archive 2 lists it 0 times\n", "broken rules found", with("verify")...)
	do(3, `"rule":"together"`, "broken rules found", with("verify", "--json")...)
}
