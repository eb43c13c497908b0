package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestShape delivers some tables only, under other names and with columns
// added, and lists what such a sink refuses as it came.
func TestShape(t *testing.T) {
	need(t, "sqlite3")
	data := dataDir(t)
	file := filepath.Join(filepath.Dir(data), "rows.db")
	if r := command(t, t.TempDir(), nil, "sqlite3", file, "CREATE TABLE calls (source TEXT CHECK (source <> 'bad'), n TEXT, site TEXT, number INTEGER)"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	config := configure(t, data, `data: DATA
tables: {auto: true}
sinks:
  lite:
    type: sqlite
    path: `+file+`
    tables: ["acc*"]
    rename: {tables: {acc: calls}, columns: {acc.src: source}}
    add: {site: vie1, number: $seq}
`)
	s := start(t, data, options{config: config})
	for _, sql := range []string{
		"INSERT INTO acc (src, n) VALUES ('a', 1)", "INSERT INTO other (src) VALUES ('b')",
		"INSERT INTO acc (src, n) VALUES ('bad', 2)", "INSERT INTO acc_x (y) VALUES ('c')",
	} {
		execute(t, s.client(), sql)
	}
	holdfast(t, 0, "sink", "drain", "lite", "--config", config)
	has(t, file, "SELECT source || n || site || number FROM calls; SELECT y || site || number FROM acc_x", "a1vie11 cvie14")
	has(t, file, "SELECT count(*) FROM sqlite_master WHERE name = 'other'", "0")
	all := rejectsOf(t, "--config", config)
	if len(all) != 1 || all[0].Table != "acc" || all[0].Seq != 3 {
		t.Fatalf("rejects are %+v", all)
	}
	if r := holdfast(t, 0, "rejects", "export", "--rows", "--config", config); strings.TrimSpace(r.stdout) != `{"n":"2","src":"bad"}` {
		t.Errorf("exported %s", r.stdout)
	}
	holdfast(t, 0, "rejects", "edit", "--config", config, "--", "1", "src=good")
	holdfast(t, 0, "rejects", "retry", "--all", "--config", config)
	has(t, file, "SELECT source || n || site || number FROM calls ORDER BY number", "a1vie11 good2vie13")
}
