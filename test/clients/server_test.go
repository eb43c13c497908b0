package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// server is a running `holdfast serve`.
type server struct {
	data string
	pg   string // address
	log  *lines
}

// lines keeps what a program writes.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write keeps b.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String returns what was written so far.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// serve starts Holdfast, which ends with the test.
func serve(t *testing.T, config string) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{data: filepath.Join(dir, "data"), log: &lines{}}
	file := filepath.Join(dir, "holdfast.yaml")
	if err := os.WriteFile(file, []byte("data: "+s.data+"\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, s.log, nil, program, "serve", "--config", file, "--pg", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "json")
	eventually(t, "Holdfast to be ready", func() (bool, string) {
		for line := range bytes.Lines([]byte(s.log.String())) {
			var l struct{ Msg, PG string }
			if json.Unmarshal(line, &l) == nil && l.Msg == "ready" {
				s.pg = l.PG
				return true, ""
			}
		}
		return false, s.log.String()
	})
	return s
}

// delivered waits until everything that was taken until now is in the sink.
func (s *server) delivered(t *testing.T) {
	t.Helper()
	var end uint64
	eventually(t, "the rows in PostgreSQL", func() (bool, string) {
		var st struct {
			Streams []struct {
				Name   string `json:"name"`
				EndSeq uint64 `json:"end_seq"`
			} `json:"streams"`
			Sinks []struct {
				Stream    string `json:"stream"`
				Seq       uint64 `json:"seq"`
				State     string `json:"state"`
				LastError string `json:"last_error"`
			} `json:"sinks"`
		}
		out, err := exec.Command(program, "status", "--data", s.data, "--json").Output()
		if err != nil {
			return false, err.Error()
		}
		if err := json.Unmarshal(out, &st); err != nil {
			return false, err.Error()
		}
		for _, stream := range st.Streams {
			if stream.Name == "main" && end == 0 {
				end = stream.EndSeq
			}
		}
		for _, k := range st.Sinks {
			if k.Stream == "main" {
				return k.Seq >= end, fmt.Sprintf("%s at %d of %d: %s", k.State, k.Seq, end, k.LastError)
			}
		}
		return false, "no sink"
	})
}

// daemon starts a program that is killed when the test ends, and reaped.
func daemon(t *testing.T, log *lines, env []string, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it may have children, which have to go, too
	dieWithTest(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			text := log.String()
			t.Logf("%s said at the end:\n%s", filepath.Base(name), text[max(0, len(text)-4000):])
		}
	})
	return cmd
}
