package daemon

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"holdfast/internal/config"
	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
	"holdfast/row"
)

// lines collects the log and tells when more has come.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	come chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.come)
	l.come = make(chan struct{})
	return l.text.Write(p)
}

// await returns the first line that contains text.
func (l *lines) await(t *testing.T, text string) string {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		l.mu.Lock()
		all, come := l.text.String(), l.come
		l.mu.Unlock()
		for line := range strings.Lines(all) {
			if strings.Contains(line, text) {
				return line
			}
		}
		select {
		case <-come:
		case <-limit:
			t.Fatalf("no log line with %q in:\n%s", text, all)
		}
	}
}

// running is a server in this process.
type running struct {
	log  *lines
	pg   string
	http string
	stop func() error
}

func settings(t *testing.T, dir, more string) *config.Config {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(fmt.Sprintf("data: %s\nlisten: {pg: 127.0.0.1:0, http: 127.0.0.1:0}\ntables: {auto: true}\n%s", dir, more)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs a server until the test ends or stop is called.
func start(t *testing.T, o Config) *running {
	t.Helper()
	r := &running{log: &lines{come: make(chan struct{})}}
	o.Log = slog.New(slog.NewJSONHandler(r.log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
		goleak.VerifyNone(t)
	})
	var ready struct{ PG, HTTP string }
	if err := json.Unmarshal([]byte(r.log.await(t, `"ready"`)), &ready); err != nil {
		t.Fatal(err)
	}
	r.pg, r.http = ready.PG, ready.HTTP
	return r
}

func (r *running) exec(t *testing.T, sql string) error {
	t.Helper()
	c, err := pgx.Connect(t.Context(), "postgres://u@"+r.pg+"/d?sslmode=disable")
	if err != nil {
		return err
	}
	defer c.Close(t.Context())
	_, err = c.Exec(t.Context(), sql)
	return err
}

func (r *running) get(t *testing.T, path string) (int, string) {
	t.Helper()
	a, err := http.Get("http://" + r.http + path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(text)
}

// TestDoors puts rows through each door and finds them delivered, counted and
// told, and the socket removed after the stop.
func TestDoors(t *testing.T) {
	dir := t.TempDir()
	r := start(t, Config{Config: settings(t, dir, ""), Version: "v0"})
	if err := r.exec(t, "INSERT INTO calls (a) VALUES (1), (2)"); err != nil {
		t.Fatal(err)
	}
	a, err := http.Post("http://"+r.http+"/v1/tables/calls/rows", "application/x-ndjson", strings.NewReader(`{"a":3}`))
	if err != nil || a.StatusCode/100 != 2 {
		t.Fatalf("POST: %v, %v", a, err)
	}
	a.Body.Close()
	socket := config.AdminSocket(dir)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("admin socket: %v, %v", info, err)
	}
	c := httpapi.NewUnix(socket)
	defer c.Close()
	deadline := time.Now().Add(10 * time.Second)
	var st httpapi.Status
	for {
		if st, err = c.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st.Sinks[0].Seq == 3 || time.Now().After(deadline) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if k := st.Sinks[0]; k.Seq != 3 || k.Type != "sqlite" || k.LagRows != 0 || st.Version != "v0" || st.Listen.PG != r.pg || st.ResidentBytes == 0 {
		t.Errorf("status: %+v", st)
	}
	var got []string
	if err := c.Rows(t.Context(), httpapi.RowsQuery{Stream: "main", From: 2}, func(l *httpapi.RowLine) error {
		got = append(got, *l.Values[0])
		return nil
	}, func(d row.Damage) error { return fmt.Errorf("damage: %+v", d) }); err != nil || fmt.Sprint(got) != "[2 3]" {
		t.Errorf("rows through the admin socket: %v, %v", got, err)
	}
	if v, err := c.Verify(t.Context(), "", func(row.Damage) error { return nil }); err != nil || v.Rows != 3 || v.Damaged != 0 {
		t.Errorf("verify: %+v, %v", v, err)
	}
	for path, want := range map[string]string{"/ready": "true", "/metrics": `holdfast_stream_rows_total{stream="main"} 3`} {
		if code, text := r.get(t, path); code != 200 || !strings.Contains(text, want) {
			t.Errorf("GET %s: %d without %q", path, code, want)
		}
	}
	if _, text := r.get(t, "/metrics"); !strings.Contains(text, "holdfast_pg_rows_total 2") || !strings.Contains(text, "holdfast_stream_flushes_total") {
		t.Errorf("metrics of the wire or of the flushes are missing")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the admin socket is still there: %v", err)
	}
	offline, err := OpenOffline(t.Context(), settings(t, dir, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer offline.Close()
	if st, err := offline.Status(t.Context()); err != nil || !st.Started.IsZero() || st.Streams[0].EndSeq != 3 || st.Sinks[0].State != "detached" || strings.Contains(st.Sinks[0].Do, "retire") {
		t.Errorf("offline: %+v, %v", st, err)
	}
}

// TestStartRefusals holds what stops a start, and that it says what to do.
func TestStartRefusals(t *testing.T) {
	dir := t.TempDir()
	r := start(t, Config{Config: settings(t, dir, "")})
	elsewhere := t.TempDir()
	busy := settings(t, elsewhere, "")
	busy.Listen.HTTP = config.Address(r.http)
	for _, tc := range []struct {
		name string
		cfg  *config.Config
		says string
	}{
		{"second server", settings(t, dir, ""), dir},
		{"address in use", busy, r.http},
		{"long path", settings(t, filepath.Join(elsewhere, strings.Repeat("x", 100)), ""), "admin.sock"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := Run(t.Context(), Config{Config: tc.cfg})
			if err == nil || !strings.Contains(err.Error(), tc.says) || fault.Of(err).Hint == "" {
				t.Errorf("got %v, want %q and a hint", err, tc.says)
			}
		})
	}
	if err := r.exec(t, "INSERT INTO calls (a) VALUES (1)"); err != nil {
		t.Errorf("the first server was harmed: %v", err)
	}
}

// TestEmptiedSink holds that a sink which was removed halts delivery and loses
// nothing, and that on_rewind: replay fills it again, each row once.
func TestEmptiedSink(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "rows.db")
	sink := "drain: 1s\nsinks: {rows: {type: sqlite, path: " + file + ", on_rewind: %s}}\n"
	insert := func(word string, n int) *running {
		t.Helper()
		r := start(t, Config{Config: settings(t, dir, fmt.Sprintf(sink, word))})
		if err := r.exec(t, fmt.Sprintf("INSERT INTO calls (a) VALUES (%d)", n)); err != nil {
			t.Fatal(err)
		}
		return r
	}
	end := func(r *running) {
		t.Helper()
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
	end(insert("stop", 1))
	gone, err := filepath.Glob(file + "*")
	if err != nil || len(gone) == 0 {
		t.Fatalf("the sink left %q, %v", gone, err)
	}
	for _, name := range gone {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	r := insert("stop", 2)
	if line := r.log.await(t, "delivery is halted"); !strings.Contains(line, `"reason":"restored"`) {
		t.Errorf("the log says %s", line)
	}
	end(r)
	r.log.await(t, `"rows_left":1`)

	r = insert("replay", 3)
	end(r)
	r.log.await(t, `"rows_left":0`)
	c := sqliteRows(t, file)
	if want := "1 2 3"; c != want {
		t.Errorf("the sink has %q, want %q", c, want)
	}
}

// sqliteRows returns the column a of calls in a SQLite file, in its order.
func sqliteRows(t *testing.T, file string) string {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var all string
	if err := db.QueryRow("SELECT group_concat(a, ' ') FROM (SELECT a FROM calls ORDER BY rowid)").Scan(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestReload holds that a good configuration is taken over as far as it can,
// that the rest is named, and that a broken one changes nothing.
func TestReload(t *testing.T) {
	var next func() (*config.Config, error)
	level := new(slog.LevelVar)
	s := &server{o: Config{Level: level}, cfg: settings(t, t.TempDir(), ""), notify: func(string) {}}
	log := &lines{come: make(chan struct{})}
	s.log = slog.New(slog.NewJSONHandler(log, nil))
	s.o.Reload = func() (*config.Config, error) { return next() }
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.openDoors(); err != nil {
		t.Fatal(err)
	}
	defer s.doors.close(t.Context())

	next = func() (*config.Config, error) { return config.Parse("next.yaml", []byte("nonsense: 1\n")) }
	s.reload()
	if line := log.await(t, "nonsense"); !strings.Contains(line, "reload") || !strings.Contains(line, "next.yaml") || !s.db.AutoTables() {
		t.Errorf("a broken configuration: %s", line)
	}
	next = func() (*config.Config, error) {
		c := settings(t, s.cfg.Data, "drain: 3s\nmax_connections: 7\nlog: {level: debug}\nstreams: {main: {wait: 9s}}\n")
		c.Tables.Auto = false
		c.Listen.PG = "127.0.0.1:1"
		return c, nil
	}
	s.reload()
	line := log.await(t, "reloaded")
	for _, key := range []string{"drain", "max_connections", "log.level", "streams.main.wait", "tables.auto"} {
		if !strings.Contains(line, key) {
			t.Errorf("%q is not named as changed: %s", key, line)
		}
	}
	if restart := log.await(t, "need a restart"); !strings.Contains(restart, "listen.pg") {
		t.Errorf("listen.pg is not named: %s", restart)
	}
	if s.db.AutoTables() || s.cfg.Drain.String() != "3s" || s.doors.gate.Limits().Open != 7 || level.Level() != slog.LevelDebug {
		t.Errorf("not taken over: %+v", s.cfg)
	}
}

// TestSharedBound holds that all doors share one bound of connections, and
// that the admin socket is not behind it.
func TestSharedBound(t *testing.T) {
	dir := t.TempDir()
	r := start(t, Config{Config: settings(t, dir, "max_connections: 1\n")})
	c, err := pgx.Connect(t.Context(), "postgres://u@"+r.pg+"/d?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.exec(t, "SELECT 1"); err == nil || !strings.Contains(err.Error(), fault.TooManyConnections) {
		t.Errorf("a second client: %v", err)
	}
	a, err := http.Get("http://" + r.http + "/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(a.Body)
	a.Body.Close()
	if err != nil || a.StatusCode < 400 || !strings.Contains(string(text), fault.TooManyConnections) {
		t.Errorf("HTTP takes a connection beyond the bound: %s %s, %v", a.Status, text, err)
	}
	http.DefaultClient.CloseIdleConnections()
	admin := httpapi.NewUnix(config.AdminSocket(dir))
	if st, err := admin.Status(t.Context()); err != nil || st.Connections > 2 { // HTTP's may not be gone yet
		t.Errorf("admin socket: %+v, %v", st, err)
	}
	admin.Close()
	c.Close(t.Context())
}
