package e2e

import (
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"testing"
	"time"
)

// TestMySQLDoorShown opens the MySQL door by a flag, and finds its clients and its counters
// beside those of the PostgreSQL door.
func TestMySQLDoorShown(t *testing.T) {
	need(t, "psql")
	s := start(t, dataDir(t), options{args: []string{"--mysql", "127.0.0.1:0"}})
	host, port := s.mysqlAddr(t)
	db, err := sql.Open("mysql", fmt.Sprintf("me@tcp(%s:%s)/rows", host, port))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ExecContext(t.Context(), "INSERT INTO calls (a) VALUES (1), (2)"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ExecContext(t.Context(), "DELETE FROM calls"); err == nil {
		t.Error("DELETE is taken")
	}
	if _, err := c.ExecContext(t.Context(), "USE other"); err != nil {
		t.Fatal(err)
	}
	pgHost, pgPort, err := net.SplitHostPort(s.pg)
	if err != nil {
		t.Fatal(err)
	}
	for ask, want := range map[string]string{
		"SHOW CLIENTS": `(?m)^\d+\|me\|other\|\|127\.0\.0\.1:\d+\|idle\|f\|[^|]+\|2\|\|\|mysql$`,
		"show clients": `(?m)^\d+\|test\|holdfast\|psql\|.*\|pg$`,
		"SHOW STATS":   `(?m)^holdfast_mysql_rows_total\|\|2$`,
	} {
		eventually(t, time.Minute, ask, func() (bool, string) {
			r := command(t, t.TempDir(), nil, "psql", "-h", pgHost, "-p", pgPort, "-d", "holdfast", "-A", "-t", "-c", ask)
			return regexp.MustCompile(want).MatchString(r.stdout), r.stdout + r.stderr
		})
	}
	answer, err := http.Get(s.url("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"holdfast_mysql_connections_total 1", "holdfast_mysql_errors_total 1", "holdfast_mysql_refused_total 0", "holdfast_mysql_statements_total"} {
		if !regexp.MustCompile(`(?m)^` + want).Match(text) {
			t.Errorf("no %q among the metrics", want)
		}
	}
	holdfast(t, 1, "serve", "--mysql", "nowhere")
}
