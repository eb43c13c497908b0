package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const threeDoors = `
data: DATA
tables: {auto: true}
listen: {mysql: 127.0.0.1:0}
streams:
  main: {hot: "DATA/streams/main=32 MB", min_free: 1 MB, wait: 60s}
sinks:
  away: {type: postgres, url: "postgres://nobody@127.0.0.1:1/none?sslmode=disable", streams: [main]}
`

// doorStatus is a door, as the server tells of it.
type doorStatus struct {
	Name           string  `json:"name"`
	Rows           uint64  `json:"rows"`
	Bytes          int64   `json:"bytes"`
	Refused        uint64  `json:"refused"`
	PendingBytes   int64   `json:"pending_bytes"`
	PendingSeconds float64 `json:"pending_seconds"`
}

func (s *server) doors() map[string]doorStatus {
	s.t.Helper()
	a, err := http.Get(s.url("/v1/status"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer a.Body.Close()
	var st struct{ Doors []doorStatus }
	if err := json.NewDecoder(a.Body).Decode(&st); err != nil {
		s.t.Fatal(err)
	}
	all := map[string]doorStatus{}
	for _, d := range st.Doors {
		all[d.Name] = d
	}
	return all
}

// TestDoorsTell inserts by each door, and then by all of them at once while the
// stream is full: each tells what it took, what waits there, and since when.
func TestDoorsTell(t *testing.T) {
	data := t.TempDir()
	s := start(t, data, options{config: configure(t, data, threeDoors)})
	pg := s.client()
	execute(t, pg, "INSERT INTO a(x, y) VALUES (1, 'one'), (2, 'two'), (3, 'three')")
	execute(t, pg, "CREATE TABLE strict(x int4 NOT NULL)")
	if err := pg.Exec(t.Context(), "INSERT INTO strict(x) VALUES ('no number')").Close(); err == nil || s.doors()["pg"].Refused != 1 {
		t.Errorf("got %v, and %+v", err, s.doors()["pg"])
	}
	host, port := s.mysqlAddr(t)
	my, err := sql.Open("mysql", fmt.Sprintf("root@tcp(%s:%s)/d", host, port))
	if err != nil {
		t.Fatal(err)
	}
	defer my.Close()
	if _, err := my.ExecContext(t.Context(), "INSERT INTO b(x) VALUES (1), (2)"); err != nil {
		t.Fatal(err)
	}
	post := func(ctx context.Context, line string) (int, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url("/v1/tables/c/rows"), strings.NewReader(line))
		if err != nil {
			return 0, err
		}
		r.Header.Set("Content-Type", "application/x-ndjson")
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		return a.StatusCode, a.Body.Close()
	}
	if code, err := post(t.Context(), `{"x": "1"}`+"\n"); code != http.StatusOK {
		t.Fatalf("got %d, %v", code, err)
	}
	for name, want := range map[string]uint64{"pg": 3, "mysql": 2, "http": 1} {
		if d := s.doors()[name]; d.Rows != want || d.Bytes < int64(want)*16 || d.PendingBytes != 0 || d.PendingSeconds != 0 {
			t.Errorf("%s: got %+v, want %d rows", name, d, want)
		}
		if text := fmt.Sprintf("holdfast_door_rows_total{door=%q} %d\n", name, want); !strings.Contains(s.metrics(), text) {
			t.Errorf("the metrics have no %q", text)
		}
	}

	ctx, end := context.WithCancel(t.Context())
	defer end()
	full := make(chan struct{})
	go func() { // the last of them waits for room that never comes
		defer close(full)
		for big := fmt.Sprintf(`{"x": %q}`+"\n", bytes.Repeat([]byte("x"), 1<<20)); ; {
			if _, err := post(ctx, big); err != nil {
				return
			}
		}
	}()
	waits := func(name string) func() (bool, string) {
		return func() (bool, string) {
			d := s.doors()[name]
			return d.PendingSeconds > 1 && d.PendingBytes > 0, fmt.Sprintf("%+v", d)
		}
	}
	eventually(t, time.Minute, "a request to wait", waits("http"))
	other, more := s.client(), make(chan struct{})
	go func() {
		defer close(more)
		_ = other.Exec(ctx, "INSERT INTO a(x) VALUES (4)").Close() // it ends with ctx
	}()
	eventually(t, time.Minute, "a statement to wait", waits("pg"))
	out := feed(t, 0, nil, "status", "--data", data)
	if !strings.Contains(out.stdout, "\nDOOR ") || !strings.Contains(out.stdout, "\nmysql ") {
		t.Errorf("status says %s", out.stdout)
	}
	end()
	<-full
	<-more
	eventually(t, time.Minute, "nothing to wait", func() (bool, string) {
		all := s.doors()
		return all["pg"].PendingSeconds == 0 && all["http"].PendingSeconds == 0 && all["pg"].PendingBytes == 0, fmt.Sprintf("%+v", all)
	})
	s.kill()
}
