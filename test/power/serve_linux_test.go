package power

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"holdfast/test/mounts"
)

// program returns the binary as it is shipped.
func program(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("HOLDFAST_BIN"); bin != "" {
		return bin
	}
	bin := filepath.Join(t.TempDir(), "holdfast")
	build := exec.Command("make", "-s", "build", "BIN="+bin)
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the binary: %v\n%s", err, out)
	}
	return bin
}

// server is one running `holdfast serve`.
type server struct {
	t      *testing.T
	cmd    *exec.Cmd
	http   string
	log    bytes.Buffer // complete when exited is closed
	exited chan struct{}
}

// serve starts the binary and waits until it is ready.
func serve(t *testing.T, bin, config string) *server {
	t.Helper()
	s := &server{t: t, exited: make(chan struct{})}
	s.cmd = exec.Command(bin, "serve", "--config", config, "--pg", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "json")
	out, err := s.cmd.StderrPipe()
	ok(t, err)
	ok(t, s.cmd.Start())
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.exited
		if t.Failed() {
			t.Logf("log of the server:\n%s", s.log.String())
		}
	})
	ready := make(chan string, 1)
	go func() {
		defer close(s.exited)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(&s.log, lines.Text())
			var line struct{ Msg, HTTP string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
				ready <- line.HTTP
			}
		}
		_ = s.cmd.Wait() // the exit code says it all
	}()
	select {
	case s.http = <-ready:
	case <-s.exited:
		t.Fatalf("the server ended with exit code %d before it was ready", s.cmd.ProcessState.ExitCode())
	case <-time.After(20 * time.Second):
		t.Fatal("the server was not ready within 20 s")
	}
	return s
}

// stop ends the server with SIGTERM: exit code 0, whatever the disk is like.
func (s *server) stop() {
	s.t.Helper()
	ok(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		s.t.Fatal("the server was still there 20 s after SIGTERM")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Fatalf("the server stopped with exit code %d", code)
	}
}

// post hands a row over; it returns the HTTP status and the answer.
func (s *server) post(n int) (int, string) {
	s.t.Helper()
	body := fmt.Sprintf(`{"n": %d, "pad": %q}`, n, strings.Repeat("x", 100_000))
	r, err := http.Post("http://"+s.http+"/v1/tables/calls/rows", "application/x-ndjson", strings.NewReader(body))
	ok(s.t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	ok(s.t, err)
	return r.StatusCode, string(text)
}

// verb runs a verb, and wants its exit code.
func verb(t *testing.T, code int, stdin string, bin string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // 400 MB may have to be read
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("holdfast %q: exit code %d, want %d\n%.4000s", args, got, code, out)
	}
	return string(out)
}

const onFullVolume = `
data: DATA
tables: {auto: true}
streams: {main: {min_free: 0, wait: 300ms}}
sinks: {default: {type: sqlite, path: DATA/holdfast.db, streams: [main]}}
drain: 1s
`

// TestServeOnFullVolume takes all room away below the binary, journal and
// sink: rows are refused and nothing else; it stops and starts there; and rows
// are taken again, and delivered once, when room comes back.
func TestServeOnFullVolume(t *testing.T) {
	v := newVolume(t, "ext4", mounts.WorkDir(t))
	bin := program(t)
	v.mount("")
	data := filepath.Join(v.at, "data")
	config := filepath.Join(t.TempDir(), "holdfast.yaml")
	ok(t, os.WriteFile(config, []byte(strings.ReplaceAll(onFullVolume, "DATA", data)), 0o600))

	s := serve(t, bin, config)
	acked := 0
	take := func() {
		t.Helper()
		if status, text := s.post(acked); status/100 != 2 {
			t.Fatalf("row %d: HTTP %d: %s", acked, status, text)
		}
		acked++
	}
	take()
	give := fill(t, v.at)
	for {
		status, text := s.post(acked)
		if status/100 == 2 && acked < 1000 {
			acked++
			continue
		}
		if status != http.StatusInsufficientStorage || !strings.Contains(text, "53100") {
			t.Fatalf("row %d on a full volume: HTTP %d: %s", acked, status, text)
		}
		break
	}
	look := func() {
		t.Helper()
		if out := verb(t, 0, "", bin, "status", "--config", config); !strings.Contains(out, "default") {
			t.Errorf("status does not tell of the sink:\n%s", out)
		}
		verb(t, 0, "", bin, "verify", "--config", config)
		if rows := strings.Count(verb(t, 0, "", bin, "cat", "--config", config), "n="); rows != acked {
			t.Errorf("cat shows %d rows of %d", rows, acked)
		}
	}
	look()
	if out := verb(t, 1, "-1,x\n", bin, "put", "--config", config, "--table", "calls", "--format", "csv", "--columns", "n,pad"); !strings.Contains(out, "nothing was stored") {
		t.Errorf("put on a full volume says:\n%s", out)
	}
	for _, order := range [][]string{{"sink", "pause", "default"}, {"sink", "resume", "default"}, {"hold", "add", "case", "--seq", "1-1"}} { // who looks after it can
		verb(t, 0, "", bin, append(order, "--config", config)...)
	}
	s.stop()

	fill(t, v.at) // what the stop gave back
	look()        // without a server
	s = serve(t, bin, config)
	look()
	ok(t, s.cmd.Process.Kill())
	<-s.exited
	s = serve(t, bin, config)
	if status, text := s.post(acked); status != http.StatusInsufficientStorage {
		t.Errorf("a row on a full volume after a start: HTTP %d: %s", status, text)
	}
	give()
	take()
	take()
	awaitRows(t, filepath.Join(data, "holdfast.db"), acked)
	s.stop()
}

// awaitRows waits until the sink has rows 0 to n-1, once each.
func awaitRows(t *testing.T, file string, n int) {
	t.Helper()
	db, err := sql.Open("sqlite", file+"?_pragma=busy_timeout(5000)")
	ok(t, err)
	defer db.Close()
	var rows, distinct, most int
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		err = db.QueryRow("SELECT count(*), count(DISTINCT n), max(n) FROM calls").Scan(&rows, &distinct, &most)
		if err == nil && rows >= n {
			break
		}
	}
	if err != nil || rows != n || distinct != n || most != n-1 {
		t.Fatalf("the sink has %d rows, %d different ones, up to %d; want %d: %v", rows, distinct, most, n, err)
	}
}
