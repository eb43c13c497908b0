package clients

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// psqlClients are psql, with and without TLS.
func psqlClients() []client {
	return []client{
		{
			name: "psql", needs: has("psql"), run: runPsql,
			ddl: zoo("psql") + "CREATE TABLE psql_keyed (id bigserial, k text PRIMARY KEY);" +
				"CREATE TABLE psql_clock (id bigserial, at1 timestamptz, at2 timestamp, at3 timestamptz, any_id uuid);" +
				"CREATE TABLE psql_many (id bigserial, left_out text DEFAULT 'left out', other integer);" +
				"CREATE TABLE psql_ten (id bigserial, k text CHECK (length(k) < 10));",
			tables: []string{"psql", "psql_keyed", "psql_ten", "psql_many", "psql_clock"}, masked: []string{"at1", "at2", "at3", "any_id"},
			known: map[string]string{
				"DEFAULT VALUES": "0A000: name a column, with DEFAULT", "AS alias": "0A000",
				"COPY FORCE_NULL": "0A000",
				"PREPARE":         "0A000: only drivers prepare", "DateStyle": "22023: ISO is the only one",
				"INSERT ... SELECT": noReading, "COPY TO": noReading, "\\d": noReading, "TRUNCATE": noChanging,
				"RETURNING": noReturning, "SELECT": noReading, "UPDATE": noChanging, "DELETE": noChanging,
				"duplicate key": laterJudged, "check": laterJudged,
				"ON CONFLICT DO NOTHING": "INSERT 0 1: each row counts, whether it is there already or not", "ON CONFLICT (column) DO NOTHING": "0A000: leave the column out",
				"ON CONFLICT DO UPDATE": noChanging,
			},
		},
		{
			name: "psql, TLS", needs: has("psql"), run: runPsqlSecure, secure: true,
			ddl: zoo("psql_tls"), tables: []string{"psql_tls"}, settings: "`sslmode=verify-full channel_binding=require`",
		},
	}
}

// runPsqlSecure logs in as it should be done, and with a wrong password.
func runPsqlSecure(t *testing.T, p place) seen {
	s := seen{version: psqlVersion(t, p)}
	s.psql(t, p, "INSERT", "INSERT INTO psql_tls (tag, t) VALUES ('tls', 'it''s in')")
	s.psql(t, p, "COPY", "COPY psql_tls (tag, t) FROM STDIN;\ncopied\twell\n\\.\n")
	p.password = "wrong"
	s.psql(t, p, "wrong password", "INSERT INTO psql_tls (tag) VALUES ('never')")
	return s
}

// libpq returns a program beside the server where it is: what Debian has in
// PATH is a script that takes longer than the program.
func libpq(name string) string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return name
	}
	return found[len(found)-1]
}

func psqlVersion(t *testing.T, p place) string {
	t.Helper()
	return strings.TrimPrefix(command(t, p, nil, libpq("psql"), "--version").stdout, "psql (PostgreSQL) ")
}

// noise is what differs between two servers and between two runs.
var noise = regexp.MustCompile(`(server at "[^"]*"( \([^)]*\))?, port \d+ failed|psql:<stdin>:\d+): `)

// psql runs a script through psql; what it answers is the step.
func (s *seen) psql(t *testing.T, p place, name, sql string, args ...string) {
	t.Helper()
	args = append([]string{"-X", "-w", "-v", "VERBOSITY=sqlstate", p.params()}, args...)
	r := command(t, p, strings.NewReader(sql), libpq("psql"), args...)
	said := noise.ReplaceAllString(r.stdout+r.stderr, "")
	s.steps = append(s.steps, step{name, fmt.Sprintf("%s; exit code %d", strings.Join(strings.Fields(said), " "), r.code)})
}

// runPsql writes in all ways that psql has.
func runPsql(t *testing.T, p place) seen {
	s := seen{version: psqlVersion(t, p)}
	for _, c := range []struct{ name, sql string }{
		{"INSERT", `INSERT INTO psql (tag, b, i2, i4, i8, f4, f8, n, nn, t, v, c, by, d, tm, ts, tz, iv, u, j, jb, ip, ai, at, "Mixed Case") VALUES
			('all', true, -32768, 2147483647, -9223372036854775808, 1.5, 1e300, 123.456789, 1e-30, 'it''s \ "x"', E'tab\there\nline \u00e9', 'ab', '\x00ff', '2026-02-28', '23:59:59.123456',
			 '2026-11-21 00:47:52.5', '2026-11-21 00:47:52.123456+05:30', '1 year 2 mons 3 days 04:05:06', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{"a" : 1}', '{"b":[1, 2], "a": null}', '10.1.2.3/8', '{1,NULL,3}', '{a,"b c"}', $$dollar$$)`},
		{"NULL, DEFAULT and left out", "INSERT INTO psql (tag, t, made, i4) VALUES ('null', NULL, DEFAULT, NULL); INSERT INTO psql (tag) VALUES ('few');"},
		{"ARRAY[...]", "INSERT INTO psql (tag, at, ai) VALUES ('array', ARRAY['a', 'b c', 'null', NULL, '\"{}\\', ''], ARRAY[1, -2, NULL])"},
		{"several rows", "INSERT INTO psql (tag, i4) VALUES ('a', 1), ('b', 2), ('c', -3), ('d', +4)"},
		{"DEFAULT VALUES", "BEGIN; INSERT INTO psql_many DEFAULT VALUES; ROLLBACK;"},
		{"a default left out", "INSERT INTO psql_many (other) VALUES (1)"},
		{"AS alias", "BEGIN; INSERT INTO psql AS x (tag) VALUES ('never'); ROLLBACK;"},
		{"names", `INSERT INTO Public.PSQL (TAG, "Mixed Case") VALUES ('name', 'a'); INSERT INTO "psql" ("tag") VALUES ('quoted');`},
		{"comments", "/* a /* nested */ one */ INSERT -- and another\nINTO psql (tag) VALUES ('comment' /* here */)"},
		{"kinds of literals", `INSERT INTO psql (tag, t, v) VALUES ('literal', U&'d\0061t\+000061', E'\x41\101\u0041'), ('literal', $a$it's$a$, 'joined '
			'over lines'), ('literal', 'C:\no\escape', N'national')`},
		{"now()", "INSERT INTO psql_clock (at1, at2, at3) VALUES (now(), CURRENT_TIMESTAMP, 'now')"},
		{"gen_random_uuid()", "INSERT INTO psql_clock (any_id) VALUES (gen_random_uuid())"},
		{"NULLIF, to_timestamp", "INSERT INTO psql (tag, i8, ip, tz) VALUES ('radius', NULLIF('', '')::bigint, NULLIF('10.0.0.1', '')::inet, TO_TIMESTAMP(1795218472))"},
		{"PREPARE", "BEGIN; PREPARE p AS INSERT INTO psql (tag, i4) VALUES ($1, $2); EXECUTE p('never', 1); ROLLBACK;"},
		{"client_encoding", "BEGIN; SET client_encoding = 'LATIN1'; INSERT INTO psql (tag, t) VALUES ('never', 'caf\xe9'); ROLLBACK;"},
		{"text that is no UTF-8", "INSERT INTO psql (tag, t) VALUES ('bad', 'caf\xe9')"},
		{"synchronous_commit = off", "SET synchronous_commit = off; INSERT INTO psql (tag) VALUES ('async'); RESET synchronous_commit;"},
		{"settings", "SET DateStyle = 'ISO'; SHOW server_encoding; SHOW transaction_isolation; RESET ALL; DISCARD ALL; SET LOCAL work_mem = '4MB';"},
		{"DateStyle", "SET DateStyle = 'SQL, DMY'"},
		{"isolation", "BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO psql (tag) VALUES ('serial'); END;"},
		{"read only", "BEGIN READ ONLY; INSERT INTO psql (tag) VALUES ('never'); ROLLBACK;"},
		{"a large value", "INSERT INTO psql (tag, t) VALUES ('large', '" + strings.Repeat("0123456789", 100000) + "')"},
		{"casts", "INSERT INTO psql (tag, i4, tz, n) VALUES ('cast', '5'::integer, '2026-01-01 00:00'::timestamptz, CAST('7.5' AS numeric))"},
		{"session time zone", "SET TimeZone = 'Europe/Vienna'; INSERT INTO psql (tag, ts, tz) VALUES ('zone', '2026-07-01 12:00:00', '2026-07-01 12:00:00');"},
		{"transaction", "BEGIN; INSERT INTO psql (tag) VALUES ('one'); INSERT INTO psql (tag) VALUES ('two'); COMMIT;"},
		{"rolled back", "BEGIN; INSERT INTO psql (tag) VALUES ('never'); ROLLBACK;"},
		{"savepoint", "BEGIN; INSERT INTO psql (tag) VALUES ('kept'); SAVEPOINT s; INSERT INTO psql (tag) VALUES ('never'); ROLLBACK TO s; INSERT INTO psql (tag) VALUES ('after'); COMMIT;"},
		{"error in a transaction", "BEGIN; INSERT INTO psql (tag) VALUES ('never'); INSERT INTO psql (tag, i4) VALUES ('bad', 'x'); INSERT INTO psql (tag) VALUES ('never'); COMMIT;"},
		{"COPY text", "COPY psql (tag, i4, t, by, at) FROM STDIN;\ncopy\t1\ta\\tb\\\\ \\N\t\\\\x00ff\t{a,b}\ncopy\t\\N\t\\N\t\\N\t\\N\n\\.\n"},
		{"COPY CSV", "COPY psql (tag, i4, t) FROM STDIN WITH (FORMAT csv, HEADER true, NULL 'nil');\ntag,i4,t\ncsv,7,\"two\nlines, \"\"quoted\"\"\"\ncsv,nil,\"nil\"\n\\.\n"},
		{"old COPY", "COPY psql (tag, t) FROM STDIN WITH DELIMITER AS '|' NULL AS '';\nold|x\nold|\n\\.\n"},
		{"\\copy", "\\copy psql (tag, i4) from stdin\nmeta\t1\nmeta\t2\n\\.\n"},
		{"COPY, other marks", "COPY psql (tag, t, v) FROM STDIN WITH (FORMAT csv, DELIMITER ';', QUOTE '''', ESCAPE '\\', NULL 'nil');\nmarks;nil;''\nmarks;'a;b\\'';café\n\\.\n"},
		{"COPY FORCE_NULL", "BEGIN; COPY psql (tag, t) FROM STDIN WITH (FORMAT csv, FORCE_NULL (t));\nROLLBACK;\n\\.\nROLLBACK;"},
		{"COPY ENCODING", "BEGIN; COPY psql (tag, t) FROM STDIN WITH (ENCODING 'LATIN1');\nROLLBACK;\n\\.\nROLLBACK;"},
		{"COPY of all columns", "COPY psql_ten FROM STDIN (DELIMITER ',');\n1000,whole\n\\.\n"},
		{"COPY in a transaction", "BEGIN; COPY psql (tag) FROM STDIN;\nnever\n\\.\nROLLBACK;\n"},
		{"COPY with a bad line", "COPY psql (tag, i4) FROM STDIN;\nnever\t1\nnever\tx\n\\.\n"},
		{"unknown table", "INSERT INTO nowhere (a) VALUES (1)"},
		{"unknown column", "INSERT INTO psql (tag, nothing) VALUES ('x', 1)"},
		{"no number", "INSERT INTO psql (tag, i4) VALUES ('bad', 'seven')"},
		{"out of range", "INSERT INTO psql (tag, i2) VALUES ('bad', 40000)"},
		{"NULL where it may not be", "INSERT INTO psql (tag) VALUES (NULL)"},
		{"text too long", "INSERT INTO psql (tag, c) VALUES ('bad', '123456')"},
		{"no date", "INSERT INTO psql (tag, d) VALUES ('bad', '2026-02-30')"},
		{"more values than columns", "INSERT INTO psql (tag) VALUES ('bad', 1)"},
		{"syntax error", "INSERT INTO psql (tag VALUES ('bad')"},
		{"key", "INSERT INTO psql_keyed (k) VALUES ('a')"},
		{"ON CONFLICT DO NOTHING", "INSERT INTO psql_keyed (k) VALUES ('a') ON CONFLICT DO NOTHING"},
		{"ON CONFLICT (column) DO NOTHING", "BEGIN; INSERT INTO psql_keyed (k) VALUES ('b') ON CONFLICT (k) DO NOTHING; ROLLBACK;"},
		{"ON CONFLICT DO UPDATE", "BEGIN; INSERT INTO psql_keyed (k) VALUES ('c') ON CONFLICT (k) DO UPDATE SET k = 'd'; ROLLBACK;"},
		{"duplicate key", "INSERT INTO psql_keyed (k) VALUES ('a')"},
		{"check", "INSERT INTO psql_ten (k) VALUES ('fits'); INSERT INTO psql_ten (k) VALUES ('fits by no means');"},
		{"INSERT ... SELECT", "BEGIN; INSERT INTO psql (tag) SELECT 'never'; ROLLBACK;"},
		{"COPY TO", "COPY psql_keyed (k) TO STDOUT"},
		{"\\d", "\\d psql_keyed"},
		{"TRUNCATE", "BEGIN; TRUNCATE psql; ROLLBACK;"},
		{"RETURNING", "BEGIN; INSERT INTO psql (tag) VALUES ('never') RETURNING tag; ROLLBACK;"},
		{"SELECT", "SELECT count(*) FROM psql WHERE tag = 'all'"},
		{"UPDATE", "BEGIN; UPDATE psql SET tag = 'never'; ROLLBACK;"},
		{"DELETE", "BEGIN; DELETE FROM psql; ROLLBACK;"},
	} {
		s.psql(t, p, c.name, c.sql)
	}
	s.psql(t, p, "several statements at once", "", "-c", "INSERT INTO psql (tag) VALUES ('first'); INSERT INTO psql (tag) VALUES ('second')")
	s.psql(t, p, "several with one bad", "", "-c", "INSERT INTO psql (tag) VALUES ('never'); INSERT INTO psql (tag, i4) VALUES ('bad', 'x')")
	return s
}
