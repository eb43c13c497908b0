package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pgbenchClients are pgbench in its three modes.
func pgbenchClients() []client {
	return []client{{
		name: "pgbench", needs: has("pgbench"), run: runPgbench,
		ddl:    "CREATE TABLE pgbench (id bigserial PRIMARY KEY, mode text NOT NULL, client integer, a integer, b bigint, t text);",
		tables: []string{"pgbench"}, order: "mode, client, a, b, t", settings: "`-n -f FILE`",
	}}
}

// What pgbench runs, and what it must not be able to run.
const (
	benchScript = `\set a random(1, 100000)
\set b :a * 10000000
INSERT INTO pgbench (mode, client, a, b, t) VALUES ('MODE', :client_id, :a, :b, 'it''s one');
BEGIN;
INSERT INTO pgbench (mode, client, a, b, t) VALUES ('MODE', :client_id, -:a, NULL, 'two'), ('MODE', :client_id, :a, :b, 'three');
END;
`
	badScript = "INSERT INTO pgbench (mode, a) VALUES ('bad', 'no number');\n"
)

var counted = regexp.MustCompile(`(?m)^number of (transactions actually processed|failed transactions): (\S+)|SQLSTATE|invalid input syntax[^\n]*`)

func runPgbench(t *testing.T, p place) (s seen) {
	s.version = strings.TrimPrefix(command(t, p, nil, libpq("pgbench"), "--version").stdout, "pgbench (PostgreSQL) ")
	dir := t.TempDir()
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for what, text := range []string{strings.ReplaceAll(benchScript, "MODE", mode), badScript} {
			file := filepath.Join(dir, fmt.Sprint(mode, what))
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			r := command(t, p, nil, libpq("pgbench"), "-n", "-f", file, "-M", mode, "-c", "3", "-t", "20", "--random-seed=7", p.params())
			said := counted.FindAllString(r.stdout+r.stderr, -1)
			name := mode
			if what == 1 {
				name += ", a bad row"
				said = said[:min(1, len(said))] // how many of its clients get as far is chance
			}
			s.steps = append(s.steps, step{name, fmt.Sprintf("%s; exit code %d", strings.Join(said, "; "), r.code)})
		}
	}
	return s
}
