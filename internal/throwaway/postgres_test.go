package throwaway

import (
	"context"
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// query runs sql on a connection of its own, and returns the first value.
func query(url, sql string) (string, error) {
	ctx := context.Background()
	c, err := pgconn.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 || len(results[0].Rows) == 0 {
		return "", err
	}
	return string(results[0].Rows[0][0]), nil
}

// TestPostgres stops, kills and starts a server at one address, and reads what
// was committed before.
func TestPostgres(t *testing.T) {
	s := started(t, Postgres, Options{Settings: []string{"max_connections=17"}})
	url := s.URL("postgres")
	if _, err := query(url, "CREATE TABLE kept AS SELECT 1 AS v"); err != nil {
		t.Fatal(err)
	}
	for _, end := range []func() error{s.Stop, s.Kill} {
		idle, err := pgconn.Connect(context.Background(), url) // a session must not hold the end up
		if err != nil {
			t.Fatal(err)
		}
		pid := int(idle.PID())
		must(t, end())
		if _, err := query(url, "SELECT 1"); err == nil {
			t.Fatal("a server that ended answers")
		}
		if _, err := os.Stat("/proc/self/stat"); err == nil && alive(pid) {
			t.Fatalf("the process of a session, %d, outlived its server", pid)
		}
		must(t, end()) // again is no error
		idle.Close(context.Background())
		<-idle.CleanupDone()
		must(t, s.Start(t.Context()))
		if got, err := query(url, "SELECT count(*) FROM kept"); err != nil || got != "1" {
			t.Fatalf("after a start: %q rows, error %v", got, err)
		}
	}
	for name, want := range map[string]string{"fsync": "on", "max_connections": "17", "server_encoding": "UTF8"} {
		if got, err := query(url, "SHOW "+name); err != nil || got != want {
			t.Errorf("%s is %q, error %v, want %q", name, got, err, want)
		}
	}
	dir := s.Dir()
	must(t, s.Close())
	must(t, s.Close())
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Fatalf("the directory is left behind: %v", err)
	}
}
