package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestRolesTablesVerbs is scenario 43: each role tries each verb on each table,
// and what is stored afterwards is what the grants say, to the row.
func TestRolesTablesVerbs(t *testing.T) {
	s := secure(t, "")
	tables := []string{"acc", "acc_x", "cdr", "orders", `"ACC"`, "public.acc", "public.cdr"}
	granted := map[string][]string{
		"acc":   {"acc", "acc_x", "public.acc"},
		"filed": {"cdr", "public.cdr"},
		"idle":  {},
	}
	writes := map[string]func(c *pgconn.PgConn, table string) error{
		"insert": func(c *pgconn.PgConn, table string) error {
			_, err := c.Exec(t.Context(), "INSERT INTO "+table+"(a) VALUES ('v')").ReadAll()
			return err
		},
		"second statement": func(c *pgconn.PgConn, table string) error {
			_, err := c.Exec(t.Context(), "SELECT 1; INSERT INTO "+table+"(a) VALUES ('v')").ReadAll()
			return err
		},
		"prepared": func(c *pgconn.PgConn, table string) error {
			return c.ExecParams(t.Context(), "INSERT INTO "+table+"(a) VALUES ($1)", [][]byte{[]byte("v")}, nil, nil, nil).Read().Err
		},
		"copy": func(c *pgconn.PgConn, table string) error {
			_, err := c.CopyFrom(t.Context(), strings.NewReader("v\n"), "COPY "+table+"(a) FROM STDIN")
			return err
		},
		"transaction": func(c *pgconn.PgConn, table string) error {
			_, err := c.Exec(t.Context(), "BEGIN; INSERT INTO "+table+"(a) VALUES ('v'); COMMIT").ReadAll()
			if err != nil {
				execute(t, c, "ROLLBACK")
			}
			return err
		},
	}
	declares := func(c *pgconn.PgConn, table string) error {
		_, err := c.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS "+table+" (a text)").ReadAll()
		return err
	}
	never := []string{
		"SELECT * FROM %s", "SELECT count(*) FROM %s", "UPDATE %s SET a = '1'", "DELETE FROM %s", "TRUNCATE %s", "DROP TABLE %s", "ALTER TABLE %s ADD b text",
		"COPY %s TO STDOUT", "COPY (SELECT 1) TO STDOUT", "COPY %s FROM '/etc/passwd'", "COPY %s FROM PROGRAM 'id'",
		"INSERT INTO %s SELECT * FROM cdr", "WITH x AS (DELETE FROM cdr RETURNING *) INSERT INTO %s SELECT * FROM x",
		"INSERT INTO %s(a) VALUES (pg_read_file('/etc/passwd'))", "INSERT INTO %s(a) VALUES ((SELECT a FROM cdr))", "INSERT INTO %s(a) VALUES ('v') RETURNING a",
		"SELECT pg_sleep(60)", "DO $$ BEGIN END $$", "GRANT ALL ON %s TO PUBLIC", "CREATE ROLE x", "SET ROLE filed", "SET SESSION AUTHORIZATION filed", "SET session_authorization = 'filed'",
		"SET role = 'filed'", "SET LOCAL ROLE filed", "SELECT set_config('session_authorization', 'filed', false)", "SELECT set_config('role', 'filed', false)",
	}
	rows := map[string]int{}
	for _, role := range []string{"acc", "filed", "idle"} {
		c, err := s.login(s.as(role, canary))
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range tables {
			may := slices.Contains(granted[role], table)
			for verb, try := range writes {
				err := try(c, table)
				code, _ := sqlstate(err)
				if may && err != nil || !may && code != "42501" {
					t.Errorf("%s, %s on %s: %v", role, verb, table, err)
				}
				if may {
					rows[strings.TrimPrefix(table, "public.")]++
				}
			}
			if code, _ := sqlstate(declares(c, table)); may && code != "" || !may && code != "42501" {
				t.Errorf("%s declares %s: SQLSTATE %q", role, table, code)
			}
			for _, form := range never {
				sql := form
				if strings.Contains(form, "%s") {
					sql = fmt.Sprintf(form, table)
				}
				_, err := c.Exec(t.Context(), sql).ReadAll()
				if code, _ := sqlstate(err); code != "42501" && code != "0A000" && code != "42601" {
					t.Errorf("%s: %s: %v", role, sql, err)
				}
			}
		}
	}
	for table, n := range rows {
		s.stored(table, n)
	}
	names := query(t, openSink(t, s.data), "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'holdfast%' ORDER BY name")
	if fmt.Sprint(names) != "[[acc] [acc_x] [cdr]]" {
		t.Errorf("the tables that came to be are %v", names)
	}
	if status, _ := s.ask(http.MethodPost, "/v1/tables/acc/rows", func(r *http.Request) { r.SetBasicAuth("filed", canary) }); status != 403 {
		t.Errorf("over HTTP the same user gets %d", status)
	}
}

// TestAnonymousBefore: who connected while there were no users is nobody when
// they come, even under a user's name.
func TestAnonymousBefore(t *testing.T) {
	data := dataDir(t)
	config := configure(t, data, "tables: {auto: true}\n")
	s := start(t, data, options{config: config})
	c := s.client() // as user test
	execute(t, c, "INSERT INTO acc(a) VALUES ('open')")
	verifier := strings.TrimSpace(feed(t, 0, strings.NewReader(canary), "config", "verifier").stdout)
	configure(t, data, "tables: {auto: true}\nusers: {test: {verifier: '"+verifier+"', grants: ['*']}}\n")
	s.signal(hangup)
	s.logged(10*time.Second, `"msg":"reloaded"`, "users.test.verifier")
	_, err := c.Exec(t.Context(), "INSERT INTO acc(a) VALUES ('closed')").ReadAll()
	if code, _ := sqlstate(err); code != "42501" {
		t.Errorf("who never said who he is: %v", err)
	}
	if _, err := connect(t.Context(), s.pg); err == nil {
		t.Error("a connection without a password is taken")
	}
}
