package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// kamailioSite is a site of Kamailio: real lines and statements of a real
// proxy, its configuration, and where its rows go.
type kamailioSite struct {
	*databases
	name   string         // of the databases
	zone   *time.Location // of its clock
	server *server
	kept   string // flat files as Kamailio writes them
	clocks string // flat files that keep everything, with times as its clock showed them
}

const realConfiguration = root + "/internal/profile/testdata/kamailio.cfg"

// startSite starts a server for a site whose clock goes by zone, with what
// `holdfast profile` derives from its configuration.
func startSite(t *testing.T, d *databases, name, zone string, more ...string) *kamailioSite {
	t.Helper()
	at, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	s := &kamailioSite{databases: d, name: name, zone: at, kept: t.TempDir(), clocks: t.TempDir()}
	inPostgres(t, d.pg.URL("postgres"), "CREATE DATABASE "+name)
	if _, err := d.openMaria(t, "").ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(realConfiguration)
	if err != nil {
		t.Fatal(err)
	}
	cfg := filepath.Join(t.TempDir(), "kamailio.cfg")
	if err := os.WriteFile(cfg, append(text, strings.Join(more, "\n")...), 0o600); err != nil {
		t.Fatal(err)
	}
	derived := holdfast(t, 0, "profile", "kamailio", "--cfg", cfg, "--zone", zone).stdout
	data := dataDir(t)
	config := configure(t, data, "data: DATA\n"+derived+fmt.Sprintf(`
sinks:
  pg: {type: postgres, url: %q}
  maria: {type: mysql, url: %q}
  kept: {type: flat, url: "flatstore:%s", writer: 1, marks: kamailio}
  clocks: {type: flat, url: "flatstore:%s", writer: 1, times: clock}
`, d.pg.URL(name), d.maria.URL(name), s.kept, s.clocks))
	s.server = start(t, data, options{config: config})
	return s
}

// kamailioColumns are the fields of the site's flat files.
var kamailioColumns = map[string]string{
	"acc": accColumns, "missed_calls": accColumns, "acc_cdrs": "start_time,end_time,duration,caller,callee,call_id",
}

// TestKamailioLinesThrough takes every real line into PostgreSQL and MariaDB,
// with typed columns and right moments, and out again byte for byte.
func TestKamailioLinesThrough(t *testing.T) {
	d := startDatabases(t)
	files, err := filepath.Glob(root + "/sink/flat/testdata/kamailio/*.log")
	if err != nil || len(files) < 9 {
		t.Fatalf("found %q, %v", files, err)
	}
	for name, zone := range map[string]string{"lines_utc": "UTC", "lines_vienna": "Europe/Vienna", "lines_st_johns": "America/St_Johns"} {
		t.Run(name, func(t *testing.T) {
			s := startSite(t, d, name, zone)
			want := map[string]string{}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				base := filepath.Base(file)
				table := base[:strings.LastIndexByte(base, '_')]
				want[table] += string(text)
				feed(t, 0, strings.NewReader(string(text)), "put", "--http", s.server.http, "--table", table, "--format", "flat", "--columns", kamailioColumns[table])
			}
			s.server.delivered(time.Minute)
			for table, lines := range want {
				got, err := os.ReadFile(filepath.Join(s.kept, table+"_1.log"))
				if err != nil || string(got) != lines {
					t.Errorf("%s: %v, the flat file differs from the original:\n%s", table, err, got)
				}
				all := strings.Split(strings.TrimSuffix(lines, "\n"), "\n")
				slices.Sort(all)
				for _, database := range []string{"pg", "maria"} {
					if got := s.lines(t, database, table); !slices.Equal(got, all) {
						t.Errorf("%s: %s has %d rows of %d lines:\n%s\nwant\n%s", table, database, len(got), len(all), strings.Join(got, "\n"), strings.Join(all, "\n"))
					}
				}
			}
			s.typed(t)
		})
	}
}

// lines reads a table's rows back as the lines that they came from, sorted.
// Times are counted from 1970 by the database.
func (s *kamailioSite) lines(t *testing.T, database, table string) (all []string) {
	t.Helper()
	var columns []string
	for c := range strings.SplitSeq(kamailioColumns[table], ",") {
		if c == "time" || strings.HasSuffix(c, "_time") {
			c = map[string]string{"pg": "extract(epoch FROM " + c + ")::bigint", "maria": "TIMESTAMPDIFF(SECOND, '1970-01-01', " + c + ")"}[database]
		}
		columns = append(columns, c)
	}
	for _, r := range s.rows(t, database, "SELECT "+strings.Join(columns, ",")+" FROM "+table) {
		if table == "acc_cdrs" {
			seconds, err := strconv.ParseFloat(r[2], 64)
			if err != nil {
				t.Fatal(err)
			}
			r[2] = strconv.FormatFloat(seconds, 'f', 6, 64)
		}
		all = append(all, strings.Join(r, "|"))
	}
	slices.Sort(all)
	return all
}

func (s *kamailioSite) rows(t *testing.T, database, sql string) [][]string {
	t.Helper()
	if database == "pg" {
		return inPostgres(t, s.pg.URL(s.name), sql)
	}
	return query(t, s.openMaria(t, s.name), sql)
}

// typed holds that the tables have the types of the profile.
func (s *kamailioSite) typed(t *testing.T) {
	t.Helper()
	for _, want := range []struct{ table, column, pg, maria string }{
		{"acc", "method", "character varying(16)", "varchar(16)"},
		{"acc", "sip_code", "character varying(3)", "varchar(3)"},
		{"acc", "time", "timestamp with time zone", "datetime(6)"},
		{"acc", "src_user", "text", "longtext"},
		{"missed_calls", "time", "timestamp with time zone", "datetime(6)"},
		{"acc_cdrs", "start_time", "timestamp with time zone", "datetime(6)"},
		{"acc_cdrs", "duration", "real", "double"},
	} {
		got := s.rows(t, "pg", fmt.Sprintf("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '%s'::regclass AND attname = '%s'", want.table, want.column))
		if len(got) != 1 || got[0][0] != want.pg {
			t.Errorf("PostgreSQL: %s.%s is %v, want %s", want.table, want.column, got, want.pg)
		}
		got = s.rows(t, "maria", fmt.Sprintf("SELECT column_type FROM information_schema.columns WHERE table_schema = '%s' AND table_name = '%s' AND column_name = '%s'", s.name, want.table, want.column))
		if len(got) != 1 || got[0][0] != want.maria {
			t.Errorf("MariaDB: %s.%s is %v, want %s", want.table, want.column, got, want.maria)
		}
	}
}

// TestKamailioInsertsThrough takes what the proxy sends to PostgreSQL, with
// times that name no zone, and finds each field in the flat file as it was
// sent, and each moment in the databases.
func TestKamailioInsertsThrough(t *testing.T) {
	need(t, "psql")
	file, err := filepath.Abs(root + "/testdata/kamailio/pg_inserts.sql")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string][]insert{}
	for line := range strings.Lines(string(text)) {
		if i, ok := parseInsert(t, line); ok {
			sent[i.table] = append(sent[i.table], i)
		}
	}
	d := startDatabases(t)
	for name, zone := range map[string]string{"sql_utc": "UTC", "sql_vienna": "Europe/Vienna"} {
		t.Run(name, func(t *testing.T) {
			s := startSite(t, d, name, zone, `modparam("acc", "time_mode", 1)`)
			if r := s.server.psql(t, "-v", "ON_ERROR_STOP=1", "-f", file); r.code != 0 {
				t.Fatalf("psql -f pg_inserts.sql: exit code %d\n%s", r.code, r.stderr)
			}
			s.server.delivered(time.Minute)
			for table, rows := range sent {
				s.asSent(t, table, rows)
				s.atMoments(t, table, rows)
			}
			// The proxy's clock went by UTC, and it sent what it counted itself, too.
			differ := s.rows(t, "pg", "SELECT count(*), count(*) FILTER (WHERE extract(epoch FROM time) <> time_attr) FROM acc WHERE time_attr IS NOT NULL")
			if n := differ[0][0]; n == "0" || zone == "UTC" && differ[0][1] != "0" || zone != "UTC" && differ[0][1] != n {
				t.Errorf("of %s moments %s differ from what the proxy counted", n, differ[0][1])
			}
		})
	}
}

// asSent holds that the flat file has every field as it was sent, in the same
// order. Its columns stand in a file beside it.
func (s *kamailioSite) asSent(t *testing.T, table string, rows []insert) {
	t.Helper()
	names, err := os.ReadFile(filepath.Join(s.clocks, table+"_1.columns"))
	if err != nil {
		t.Fatal(err)
	}
	columns := strings.Fields(string(names))
	d := databases{flat: s.clocks}
	got := d.flatRows(t, table)
	if len(got) != len(rows) {
		t.Fatalf("%s: %d lines of %d rows", table, len(got), len(rows))
	}
	for i, row := range rows {
		for j, column := range columns {
			want := null // where the row has no such column
			if k := slices.Index(row.columns, column); k >= 0 {
				want = strings.TrimSpace(row.values[k].text)
			}
			if j < len(got[i]) && got[i][j] != want || j >= len(got[i]) && want != null {
				t.Errorf("%s: line %d has %q, and %s was sent as %q", table, i+1, got[i], column, want)
			}
		}
	}
}

// atMoments holds that the databases have the moments which the site's clock
// showed, under the call that they belong to.
func (s *kamailioSite) atMoments(t *testing.T, table string, rows []insert) {
	t.Helper()
	column, call := "time", "callid"
	if table == "acc_cdrs" {
		column, call = "end_time", "call_id"
	}
	var want []string
	for _, row := range rows {
		shown, err := time.ParseInLocation(time.DateTime, row.values[slices.Index(row.columns, column)].text, s.zone)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(row.values[slices.Index(row.columns, call)].text, " ", shown.Unix()))
	}
	slices.Sort(want)
	for database, seconds := range map[string]string{
		"pg": "extract(epoch FROM " + column + ")::bigint", "maria": "TIMESTAMPDIFF(SECOND, '1970-01-01', " + column + ")",
	} {
		var got []string
		for _, r := range s.rows(t, database, "SELECT "+call+", "+seconds+" FROM "+table) {
			got = append(got, r[0]+" "+r[1])
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s of %s are in %s\n%s\nwant\n%s", column, table, database, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestZonesAsPostgres writes times without a zone to PostgreSQL and through
// Holdfast, by sessions in the same zone, and compares the moments.
func TestZonesAsPostgres(t *testing.T) {
	d := startDatabases(t)
	texts := []string{
		"2026-03-29 01:59:59", "2026-03-29 02:00:00", "2026-03-29 02:30:00", "2026-03-29 03:00:00", // clocks are put forward
		"2026-10-25 01:59:59.999999", "2026-10-25 02:00:00", "2026-10-25 02:30", "2026-10-25 02:59:59", "2026-10-25 03:00:00", // and back
		"2026-07-01", "2026-07-01T12:00:00.5", "2026-07-01 24:00:00", "1850-01-01 00:00:00", "1945-04-02 02:30:00",
		"2026-07-01 12:00:00Z", "2026-07-01 12:00:00 -0330", "2026-07-01 12:00:00+05:30", "2026-07-01 12:00:00-01:02:03", "2099-12-31 23:59:60",
	}
	data := dataDir(t)
	s := start(t, data, options{config: configure(t, data, d.config())})
	c := s.client()
	direct := "CREATE TABLE direct (zone text, n int, at timestamptz);"
	execute(t, c, "CREATE TABLE through (zone text, n int, at timestamptz)")
	for _, zone := range []string{"Europe/Vienna", "America/New_York", "America/St_Johns", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca", "UTC", "Etc/GMT+7"} {
		set := "SET TimeZone = '" + zone + "';"
		direct += set
		execute(t, c, set)
		for n, text := range texts {
			values := fmt.Sprintf(" VALUES ('%s', %d, '%s');", zone, n, text)
			direct += "INSERT INTO direct" + values
			execute(t, c, "INSERT INTO through (zone, n, at)"+values)
		}
	}
	inPostgres(t, d.pg.URL("sink"), direct+"SELECT 1")
	s.delivered(time.Minute)
	differ := inPostgres(t, d.pg.URL("sink"), "SET TimeZone = 'UTC'; SELECT zone, d.n, d.at, t.at FROM direct d FULL JOIN through t USING (zone, n) WHERE d.at IS DISTINCT FROM t.at")
	for _, r := range differ {
		n, _ := strconv.Atoi(r[1])
		t.Errorf("%s in %s is %s for PostgreSQL, and %s came through Holdfast", texts[n], r[0], r[2], r[3])
	}
	if n := inPostgres(t, d.pg.URL("sink"), "SELECT count(*) FROM through")[0][0]; n != strconv.Itoa(8*len(texts)) {
		t.Errorf("%s rows came through", n)
	}
}
