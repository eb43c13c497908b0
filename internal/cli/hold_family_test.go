package cli

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHoldFamily puts archives on hold by the verbs, sees drop refused with the
// exit code of a broken rule, lists the hold, and lifts it.
func TestHoldFamily(t *testing.T) {
	dir := t.TempDir()
	file, family, config := filepath.Join(dir, "calls.db"), filepath.Join(dir, "calls.json"), filepath.Join(dir, "holdfast.yaml")
	for name, text := range map[string]string{family: callsFamily, config: fmt.Sprintf("families:\n  calls: {profile: %q, url: \"sqlite:%s\", no_backup: true}\n", family, file)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, one := range []string{"CREATE TABLE call (id INTEGER PRIMARY KEY AUTOINCREMENT, at integer)", "CREATE TABLE leg (id INTEGER PRIMARY KEY AUTOINCREMENT, call_id integer)",
		"INSERT INTO call (at) VALUES (1700000000), (1700000010), (1700000020), (1700000030)"} {
		if _, err := db.Exec(one); err != nil {
			t.Fatal(err)
		}
	}
	do := func(code int, out, errs string, args ...string) {
		t.Helper()
		r := run(t, "", nil, args...)
		if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.errors, errs) || code == 0 && r.errors != "" {
			t.Errorf("%q: got %d\n%s%s\nwant %d %q %q", args, r.code, r.out, r.errors, code, out, errs)
		}
	}
	for _, until := range []string{"1700000005", "1700000015"} {
		do(0, "archive ", "", "archive", "run", "calls", "--config", config, "--until", until, "--no-backup", "--apply")
	}
	named, direct := []string{"--family", "calls", "--config", config}, []string{"--profile", family, "--url", "sqlite:" + file}
	of := func(where []string, args ...string) []string { return append(args, where...) }
	do(2, "", "none is named", "hold", "add", "case-7", "--archive", "1")
	do(2, "", "not for a family", of(named, "hold", "add", "case-7", "--stream", "main")...)
	do(2, "", `no family "others"`, "hold", "add", "case-7", "--family", "others", "--config", config)
	do(2, "", "takes one name", of(named, "hold", "add")...)
	do(0, "no holds\n", "", of(named, "hold", "list")...)
	do(3, "catalogue: the catalogue lists no archive 7", "1 broken rule", of(named, "hold", "add", "case-7", "--archive", "7")...)
	do(0, "hold case-7 is in force: it is on 1 archive\n", "", of(named, "hold", "add", "case-7", "--archive", "1", "--note", "letter of 3 March")...)
	do(0, "hold case-8 is in force: it is on 2 archives of family calls now, and on those of its time that come\n", "", of(direct, "hold", "add", "case-8", "--from", "2023-11-14", "--to", "2023-11-15")...)
	do(0, "case-7  1        -                    -                    20", "", of(direct, "hold", "list")...)
	do(0, "case-8  all      2023-11-14 00:00:00  2023-11-15 23:59:59  20", "", of(named, "hold", "list")...)
	do(0, `{"hold":"case-7","archive_id":1,"note":"letter of 3 March"`, "", of(named, "hold", "list", "--json")...)
	do(3, `hold: archive 1 is kept from being dropped by hold "case-7" (letter of 3 March)`, "2 broken rules", "archive", "drop", "calls", "--config", config, "--archive", "1", "--no-backup", "--apply")
	do(0, "hold case-7 on family calls is lifted\n", "", of(direct, "hold", "remove", "case-7")...)
	do(1, "", `there is no hold "case-7"`, of(direct, "hold", "remove", "case-7")...)
	do(3, "case-8", "1 broken rule", "archive", "drop", "calls", "--config", config, "--archive", "1", "--no-backup", "--apply")
	do(0, "", "", of(named, "hold", "remove", "case-8")...)
	do(0, "1 archive removed\n", "", "archive", "drop", "calls", "--config", config, "--archive", "1", "--no-backup", "--apply")
}
