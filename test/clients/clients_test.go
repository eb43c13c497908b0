package clients

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// A client is a program, or a library, that writes to PostgreSQL.
type client struct {
	name     string
	needs    func() string     // what is missing on this machine, "" if nothing
	secure   bool              // over TLS, with a password
	ddl      string            // its tables
	tables   []string          // those that are compared
	order    string            // how their rows are ordered; "" as they came, by id
	masked   []string          // columns that hold when they were written: only NULL or not is compared
	settings string            // what has to be set besides host and port
	known    map[string]string // steps that differ, with the reason
	run      func(t *testing.T, p place) seen
}

// What differs for every client that tries it, and why.
const (
	noReturning = "0A000: what the database would fill in is not known when the row is taken"
	noReading   = "0A000: rows are read from the database behind"
	noChanging  = "0A000: rows are taken, never changed"
	laterJudged = "taken: the database behind judges it, and the row goes to the rejects"
	textTaken   = "text that a client declares as such is judged by what it says, not by its type (42804)"
)

// seen is what a client was told: its version, and how each step went.
type seen struct {
	version string // the major version is what the table has
	steps   []step
}

// step is one thing that a client did, and what it got for it.
type step struct{ name, got string }

// all are the clients, in the order of the table.
func all(t *testing.T) []client {
	return slices.Concat(psqlClients(), pgbenchClients(), pgxClients(), pqClients(), psycopgClients(),
		jdbcClients(t.TempDir()), nodeClients(t.TempDir()), daemonClients(t))
}

// TestClients runs each client at both places and compares what it was told and
// what it wrote. Then it compares the table of docs/clients.md.
func TestClients(t *testing.T) {
	clients := all(t)
	w := newWorld(t, clients)
	rows := make([]line, len(clients))
	t.Run("each", func(t *testing.T) {
		for i, c := range clients {
			t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
				t.Parallel()
				if missing := c.needs(); missing != "" && os.Getenv("CI") == "true" {
					t.Fatalf("%s is missing: scripts/install-deps installs it", missing)
				} else if missing != "" {
					t.Skipf("SKIPPED: %s is missing: scripts/install-deps installs it", missing)
				}
				rows[i] = c.compare(t, w)
			})
		}
	})
	if !t.Failed() {
		hold(t, rows)
	}
}

// compare runs the client at both places, and returns its line of the table.
func (c client) compare(t *testing.T, w *world) line {
	t.Helper()
	l := w.plain
	if c.secure {
		l = w.secure
	}
	here, there := c.run(t, l.direct), c.run(t, l.door)
	differs := c.differences(t, here.steps, there.steps)
	l.server.delivered(t)
	for _, table := range c.tables {
		wrote, arrived := c.contents(t, w.pg.URL(database), table), c.contents(t, l.behind, table)
		if len(wrote) == 0 {
			t.Errorf("%s: nothing was written to PostgreSQL itself", table)
		}
		for i := range max(len(wrote), len(arrived)) {
			if a, b := nth(wrote, i), nth(arrived, i); a != b {
				t.Errorf("%s: row %d of %d and %d differs:\n itself %s\n behind %s", table, i+1, len(wrote), len(arrived), a, b)
				break
			}
		}
	}
	return line{client: c, version: there.version, steps: there.steps, differs: differs}
}

func nth(rows []string, i int) string {
	if i < len(rows) {
		return rows[i]
	}
	return "(none)"
}

// differences compares what the client was told, step by step. A difference
// must be known, and a known one must be there.
func (c client) differences(t *testing.T, here, there []step) (differs []string) {
	t.Helper()
	for i := range max(len(here), len(there)) {
		var a, b step
		if i < len(here) {
			a = here[i]
		}
		if i < len(there) {
			b = there[i]
		}
		_, known := c.known[a.name]
		switch {
		case a.name != b.name:
			t.Errorf("step %d is %q at PostgreSQL and %q at Holdfast; there:\n%v\nhere:\n%v", i+1, a.name, b.name, here, there)
			return nil
		case a.got == b.got && known && !slices.Contains(differs, a.name):
			t.Errorf("%s: said to differ, and both answer %q", a.name, a.got)
		case a.got != b.got && !known:
			t.Errorf("%s: PostgreSQL answers %q, Holdfast %q", a.name, a.got, b.got)
		case a.got != b.got:
			t.Logf("%s: PostgreSQL answers %q, Holdfast %q, as is known", a.name, a.got, b.got)
			if !slices.Contains(differs, a.name) {
				differs = append(differs, a.name)
			}
		}
	}
	if len(here) == 0 {
		t.Error("the client reported no step")
	}
	return differs
}

// contents returns the rows of a table as text, without what numbers them.
func (c client) contents(t *testing.T, url, table string) []string {
	t.Helper()
	columns := query(t, url, "SELECT column_name FROM information_schema.columns WHERE table_name = "+literal(table)+" AND lower(column_name) <> 'id' ORDER BY ordinal_position")
	if len(columns) == 0 {
		t.Fatalf("there is no table %s", table)
	}
	for i, name := range columns {
		quoted := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		if slices.Contains(c.masked, name) {
			quoted = "(" + quoted + " IS NULL)"
		}
		columns[i] = literal(name+"=") + "||quote_nullable(" + quoted + "::text)"
	}
	order := c.order
	if order == "" {
		order = "id"
	}
	return query(t, url, "SELECT "+strings.Join(columns, "||' '||")+" FROM "+table+" ORDER BY "+order)
}

// result is what a command left behind.
type result struct {
	code           int
	stdout, stderr string
}

// command runs a program of libpq's to its end, for at most two minutes.
func command(t *testing.T, p place, stdin io.Reader, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = t.TempDir(), p.env()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("run %s %q: %v\n%s%s", name, args, err, stdout.String(), stderr.String())
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// script runs a program that reports lines "version X" and "step NAME: GOT".
func script(t *testing.T, p place, name string, args ...string) (s seen) {
	t.Helper()
	r := command(t, p, nil, name, args...)
	for text := range strings.Lines(r.stdout) {
		text = strings.TrimSuffix(text, "\n")
		if version, ok := strings.CutPrefix(text, "version "); ok {
			s.version = version
		} else if said, ok := strings.CutPrefix(text, "step "); ok {
			name, got, _ := strings.Cut(said, ": ")
			s.steps = append(s.steps, step{name, got})
		}
	}
	if r.code != 0 || s.version == "" {
		t.Fatalf("%s at %s: exit code %d\n%s%s", name, p.name, r.code, r.stdout, r.stderr)
	}
	return s
}

// has returns what says whether programs and files are there.
func has(names ...string) func() string {
	return func() string {
		for _, name := range names {
			if _, err := exec.LookPath(name); err == nil {
				continue
			}
			if _, err := os.Stat(name); err != nil {
				return name
			}
		}
		return ""
	}
}

// zoo makes a table with a column of each usual type.
func zoo(name string) string {
	return fmt.Sprintf(`CREATE TABLE %s (id bigserial PRIMARY KEY, tag text NOT NULL,
 b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision, n numeric(20,5), nn numeric,
 t text, v varchar(40), c char(5), by bytea, d date, tm time, ts timestamp, tz timestamptz, iv interval, u uuid,
 j json, jb jsonb, ip inet, ai integer[], at text[], made timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00Z', "Mixed Case" text);
`, name)
}
