package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestKamailioCommands runs the five commands of docs/kamailio.md, against a
// real database and with a real configuration and flat file.
func TestKamailioCommands(t *testing.T) {
	need(t, "psql")
	d := startDatabases(t)
	text := documents(t)["docs/kamailio.md"]
	blocks := fence.FindAllStringSubmatch(text, -1)
	if len(blocks) == 0 || blocks[0][1] != "sh" {
		t.Fatal("docs/kamailio.md does not begin with its commands")
	}
	lines := strings.Split(strings.TrimSpace(blocks[0][2]), "\n")
	if len(lines) != 5 || lines[2] != "holdfast serve --config holdfast.yaml &" {
		t.Fatalf("they are %q", lines)
	}
	dir := t.TempDir()
	absolute := func(path string) string {
		full, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		return full
	}
	here := strings.NewReplacer("holdfast profile", program+" profile", "holdfast put", program+" put", "/etc/kamailio/kamailio.cfg", absolute(realConfiguration),
		"postgres://holdfast@db.example.net/billing", d.pg.URL("sink"), "acc_129.log", absolute(root+"/testdata/kamailio/acc_129.log"))
	shell := func(line string) string {
		t.Helper()
		r := command(t, dir, nil, "sh", "-c", here.Replace(line))
		if r.code != 0 {
			t.Fatalf("%s: exit code %d\n%s%s", line, r.code, r.stdout, r.stderr)
		}
		return r.stdout
	}
	shell(lines[0])
	shell(lines[1])
	s := start(t, filepath.Join(dir, "holdfast-data"), options{bare: true, config: filepath.Join(dir, "holdfast.yaml")})
	if out := shell(lines[3]); !strings.Contains(out, "30 rows stored") {
		t.Errorf("put says %q", out)
	}
	s.delivered(time.Minute)
	out := shell(lines[4])
	if !strings.Contains(out, "(30 rows)") || !strings.Contains(out, "dave") {
		t.Errorf("the rows are\n%s", out)
	}
	if at := inPostgres(t, d.pg.URL("sink"), "SELECT extract(epoch FROM min(time))::bigint FROM acc")[0][0]; at != "1795218472" {
		t.Errorf("the first call was at %s", at)
	}
}

// TestKamailioOwnTables delivers to tables as Kamailio's own schema makes them,
// whose times know no zone: they get what Kamailio would have written.
func TestKamailioOwnTables(t *testing.T) {
	d := startDatabases(t)
	const site = "src_user varchar(64), src_domain varchar(128), src_ip varchar(64), dst_ouser varchar(64), dst_user varchar(64), dst_domain varchar(128), ua text, tag varchar(64)"
	const table = "CREATE TABLE acc (id %s, method varchar(16) DEFAULT '' NOT NULL, from_tag varchar(128) DEFAULT '' NOT NULL, to_tag varchar(128) DEFAULT '' NOT NULL," +
		" callid varchar(255) DEFAULT '' NOT NULL, sip_code varchar(3) DEFAULT '' NOT NULL, sip_reason varchar(128) DEFAULT '' NOT NULL, time %s NOT NULL, " + site + ")"
	inPostgres(t, d.pg.URL("sink"), fmt.Sprintf(table, "serial PRIMARY KEY NOT NULL", "timestamp without time zone"))
	maria := d.openMaria(t, "sink")
	if _, err := maria.ExecContext(t.Context(), fmt.Sprintf(table, "int(10) unsigned AUTO_INCREMENT PRIMARY KEY NOT NULL", "datetime")); err != nil {
		t.Fatal(err)
	}
	kept := t.TempDir()
	data := dataDir(t)
	s := start(t, data, options{config: configure(t, data, fmt.Sprintf(`
data: DATA
profile: kamailio
tables: {zone: Europe/Vienna}
sinks:
  pg: {type: postgres, url: %q, create: never, authority: [acc]}
  maria: {type: mysql, url: %q, create: never}
  files: {type: flat, url: "flatstore:%s", marks: kamailio}
`, d.pg.URL("sink"), d.maria.URL("sink"), kept))})
	s.logged(time.Minute, "definitions of tables were taken over")
	original, err := os.ReadFile(root + "/testdata/kamailio/acc_129.log")
	if err != nil {
		t.Fatal(err)
	}
	feed(t, 0, strings.NewReader(string(original)), "put", "--http", s.http, "--table", "acc", "--format", "flat", "--columns", accColumns)
	execute(t, s.client(), "insert into acc (method,callid,time,ua ) values ('BYE','by-sql','2026-07-01 12:00:00',NULL)")
	s.delivered(time.Minute)
	got, err := os.ReadFile(filepath.Join(kept, "acc_1.log"))
	if err != nil || !strings.HasPrefix(string(got), string(original)) || !strings.Contains(string(got), "|by-sql|||1782900000|") {
		t.Errorf("%v, the flat file holds\n%s", err, got)
	}
	for database, rows := range map[string][][]string{
		"PostgreSQL": inPostgres(t, d.pg.URL("sink"), "SELECT callid, to_char(time, 'YYYY-MM-DD HH24:MI:SS') FROM acc"),
		"MariaDB":    query(t, maria, "SELECT callid, DATE_FORMAT(time, '%Y-%m-%d %H:%i:%s') FROM acc"),
	} {
		if len(rows) != 31 {
			t.Errorf("%s has %d rows, want 31", database, len(rows))
		}
		for _, want := range [][]string{{"12-24202@127.0.0.1", "2026-11-21 00:47:52"}, {"by-sql", "2026-07-01 12:00:00"}} {
			if !slices.ContainsFunc(rows, func(r []string) bool { return slices.Equal(r, want) }) {
				t.Errorf("%s lacks %q", database, want)
			}
		}
	}
}
