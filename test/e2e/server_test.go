package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is one running `holdfast serve`, or one that has ended.
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	data string
	pg   string // address, once ready
	http string

	ready  chan struct{} // closed at the ready line
	exited chan struct{} // closed once the process is gone and its log is read

	mu  sync.Mutex
	log []string
}

// options are what a test changes about a server; the zero value is a server
// without configuration.
type options struct {
	config string   // path of the configuration file
	env    []string // added to the environment
	bare   bool     // without --data: the server finds holdfast-data in its directory
	args   []string // added to those of serve
	under  []string // a program with its arguments that becomes the server, with limits or traced
}

// spawn starts a server on data and does not wait until it is ready.
func spawn(t *testing.T, data string, o options) *server {
	t.Helper()
	args := []string{"serve", "--pg", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "json"}
	if !o.bare {
		args = append(args, "--data", data)
	}
	if o.config != "" {
		args = append(args, "--config", o.config)
	}
	args = append(args, o.args...)
	s := &server{t: t, data: data, ready: make(chan struct{}), exited: make(chan struct{})}
	line := append(append(slices.Clone(o.under), program), args...)
	s.cmd = exec.Command(line[0], line[1:]...)
	s.cmd.Dir = filepath.Dir(data)
	s.cmd.Env = append(os.Environ(), o.env...)
	dieWithTest(s.cmd)
	output, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = input, input
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start the server: %v", err)
	}
	input.Close()
	go s.follow(output)
	t.Cleanup(func() {
		finished := s.over()
		s.kill()
		if t.Failed() && !finished {
			t.Logf("log of the server (last lines):\n%s", s.tail(40))
		}
	})
	return s
}

// start starts a server on data and waits until it is ready.
func start(t *testing.T, data string, o options) *server {
	t.Helper()
	s := spawn(t, data, o)
	s.awaitReady()
	return s
}

// awaitReady waits for the ready line.
func (s *server) awaitReady() {
	s.t.Helper()
	select {
	case <-s.ready:
	case <-s.exited:
		s.t.Fatalf("the server ended before it was ready:\n%s", s.tail(40))
	case <-time.After(20 * time.Second):
		s.t.Fatalf("the server was not ready within 20 s:\n%s", s.tail(40))
	}
}

// follow reads the log to its end, and reaps the process.
func (s *server) follow(output io.ReadCloser) {
	defer output.Close()
	lines := bufio.NewScanner(output)
	lines.Buffer(make([]byte, 64<<10), 4<<20)
	isReady := false
	for lines.Scan() {
		var line struct{ Msg, PG, HTTP string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" && !isReady {
			isReady = true
			s.pg, s.http = line.PG, line.HTTP
			close(s.ready)
		}
		s.mu.Lock()
		s.log = append(s.log, lines.Text())
		s.mu.Unlock()
	}
	s.cmd.Wait()
	close(s.exited)
}

// tail returns the last lines of the log.
func (s *server) tail(lines int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log[max(0, len(s.log)-lines):], "\n")
}

// kill ends the server with SIGKILL and waits until it is gone. Harmless on
// one that has ended.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.exited
}

// over reports whether the process has ended.
func (s *server) over() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// signal sends sig.
func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("send %v: %v", sig, err)
	}
}

// stop ends the server with SIGTERM and fails the test unless it exits with 0.
func (s *server) stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(60 * time.Second):
		s.signal(syscall.SIGQUIT)
		s.t.Fatalf("the server was still there 60 s after SIGTERM")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Fatalf("the server stopped with exit code %d", code)
	}
}

// logged waits until a line of the log contains all of texts.
func (s *server) logged(limit time.Duration, texts ...string) {
	s.t.Helper()
	eventually(s.t, limit, fmt.Sprintf("a log line with %q", texts), func() (bool, string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, line := range s.log {
			found := true
			for _, text := range texts {
				found = found && strings.Contains(line, text)
			}
			if found {
				return true, ""
			}
		}
		return false, "it never came"
	})
}

// status is the part of /v1/status that the tests look at.
type status struct {
	Streams []struct {
		Name     string `json:"name"`
		FirstSeq uint64 `json:"first_seq"`
		EndSeq   uint64 `json:"end_seq"`
		Segments int    `json:"segments"`
		Damage   []any  `json:"damage"`
	} `json:"streams"`
	Sinks []struct {
		Name      string `json:"name"`
		Stream    string `json:"stream"`
		State     string `json:"state"`
		Seq       uint64 `json:"seq"`
		LagRows   uint64 `json:"lag_rows"`
		LastError string `json:"last_error"`
	} `json:"sinks"`
}

// lag returns the rows that some sink has yet to commit.
func (s status) lag() (rows uint64) {
	for _, k := range s.Sinks {
		rows += k.LagRows
	}
	return rows
}

// end returns the last seq of a stream.
func (s status) end(stream string) uint64 {
	for _, st := range s.Streams {
		if st.Name == stream {
			return st.EndSeq
		}
	}
	return 0
}

// url returns the address of a path on the HTTP door.
func (s *server) url(path string) string { return "http://" + s.http + path }

// status asks /v1/status.
func (s *server) status() (st status, err error) {
	r, err := http.Get(s.url("/v1/status"))
	if err != nil {
		return st, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return st, fmt.Errorf("GET /v1/status: %s", r.Status)
	}
	return st, json.NewDecoder(r.Body).Decode(&st)
}

// delivered waits until every sink has committed everything.
func (s *server) delivered(limit time.Duration) {
	s.t.Helper()
	eventually(s.t, limit, "the sinks to have everything", func() (bool, string) {
		st, err := s.status()
		if err != nil {
			return false, err.Error()
		}
		for _, k := range st.Sinks {
			if k.LagRows != 0 || k.Seq != st.end(k.Stream) {
				return false, fmt.Sprintf("sink %q is %s at seq %d of %d, %d rows behind: %s", k.Name, k.State, k.Seq, st.end(k.Stream), k.LagRows, k.LastError)
			}
		}
		return len(st.Sinks) > 0, "no sink is listed"
	})
}

// caughtUp waits until one sink has committed everything.
func (s *server) caughtUp(sink string, limit time.Duration) {
	s.t.Helper()
	eventually(s.t, limit, "sink "+sink+" to have everything", func() (bool, string) {
		st, err := s.status()
		if err != nil {
			return false, err.Error()
		}
		for _, k := range st.Sinks {
			if k.Name == sink && (k.LagRows != 0 || k.Seq != st.end(k.Stream)) {
				return false, fmt.Sprintf("it is %s at seq %d of %d: %s", k.State, k.Seq, st.end(k.Stream), k.LastError)
			}
		}
		return len(st.Sinks) > 0, "no sink is listed"
	})
}

// memory returns one of the lines VmRSS and VmHWM of the server, in bytes.
func (s *server) memory(name string) int64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Skipf("SKIPPED: no /proc on this system: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				s.t.Fatalf("read %q: %v", line, err)
			}
			return kib << 10
		}
	}
	s.t.Fatalf("no %s in /proc", name)
	return 0
}

// segments returns the files of a stream that hold rows.
func segments(t *testing.T, data, stream string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(data, "streams", stream, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// configure writes a configuration file beside data and returns its path.
func configure(t *testing.T, data, text string) string {
	t.Helper()
	file := filepath.Join(filepath.Dir(data), "holdfast.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "DATA", data)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// dataDir returns a data directory that does not exist yet.
func dataDir(t *testing.T) string {
	return filepath.Join(t.TempDir(), "data")
}
