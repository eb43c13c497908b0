package cli

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestArchiveNamesTheDatabase wants each error of a database to say which it was,
// and dates that cannot be closed to be told by name.
func TestArchiveNamesTheDatabase(t *testing.T) {
	dir := t.TempDir()
	file, profile, text := filepath.Join(dir, "calls.db"), filepath.Join(dir, "calls.json"), filepath.Join(dir, "text")
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, one := range []string{"CREATE TABLE call (id INTEGER PRIMARY KEY AUTOINCREMENT, at integer)", "CREATE TABLE leg (id INTEGER PRIMARY KEY AUTOINCREMENT, call_id integer)",
		"INSERT INTO call (at) VALUES (1700000000000), ('x')"} {
		if _, err := db.Exec(one); err != nil {
			t.Fatal(err)
		}
	}
	for path, content := range map[string]string{profile: callsFamily, text: strings.Repeat("root:x:0:0\n", 1000), filepath.Join(dir, "elsewhere.json"): strings.ReplaceAll(callsFamily, `"call"`, `"bill.call"`)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	do := func(code int, out, errs string, args ...string) {
		t.Helper()
		r := run(t, "", nil, append([]string{"archive"}, args...)...)
		if r.code != code || r.out != out || !strings.Contains(r.errors, errs) {
			t.Errorf("%q: got %d\n%s%s\nwant %d %q %q", args, r.code, r.out, r.errors, code, out, errs)
		}
	}
	do(1, "", "connect to the database at "+text+": ", "verify", "--url", "sqlite:"+text, "--profile", profile)
	do(2, "", "search_path=bill", "verify", "--url", "sqlite:"+file, "--profile", filepath.Join(dir, "elsewhere.json"))
	do(3, "date: call: rows have no date: it is NULL, or no whole number of seconds (keys 2)\n", "1 broken rule found", "verify", "--url", "sqlite:"+file, "--profile", profile)
	do(3, "date: call: rows have no date: it is NULL, or no whole number of seconds (keys 2)\n", "1 broken rule found", "plan", "--url", "sqlite:"+file, "--profile", profile)
	if _, err := db.Exec("DELETE FROM call WHERE id = 2"); err != nil {
		t.Fatal(err)
	}
	do(3, "date: call: the smallest value of column \"at\", 1700000000000, would be 55840-11-08 22:13:20: dates must be whole seconds since 1970 (are these milliseconds?)\n", "1 broken rule found", "plan", "--url", "sqlite:"+file, "--profile", profile)
	if _, err := db.Exec("CREATE TABLE archives (x integer)"); err != nil {
		t.Fatal(err)
	}
	do(1, "", "the database at "+file+": ", "verify", "--url", "sqlite:"+file, "--profile", profile)
}
