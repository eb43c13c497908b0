package e2e

import (
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// checkModes holds that files are 0600 and directories 0700, whatever the
// umask of the test is.
func checkModes(t *testing.T, data string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(data, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		seen++
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others can reach it", name, info.Mode())
		}
		return nil
	})
	if err != nil || seen < 4 {
		t.Errorf("looked at %d files of the data directory: %v", seen, err)
	}
}

// TestOneServerPerData holds that a second server on the same data says so
// and ends, and harms nothing.
func TestOneServerPerData(t *testing.T) {
	s := start(t, dataDir(t), options{})
	execute(t, s.client(), "INSERT INTO calls (n) VALUES (1)")
	second := spawn(t, s.data, options{})
	select {
	case <-second.exited:
	case <-time.After(20 * time.Second):
		t.Fatal("the second server goes on")
	}
	if code := second.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("the second server ended with %d, want 1", code)
	}
	if said := second.tail(10); !strings.Contains(said, s.data) {
		t.Errorf("it does not name the data directory: %s", said)
	}
	execute(t, s.client(), "INSERT INTO calls (n) VALUES (2)")
	s.delivered(20 * time.Second)
}

// TestReload changes the configuration under a running server: a broken one
// is refused with its place and changes nothing, a good one is taken.
func TestReload(t *testing.T) {
	data := dataDir(t)
	file := configure(t, data, keepDelivered)
	s := start(t, data, options{config: file})
	c := s.client()
	execute(t, c, "INSERT INTO calls (n) VALUES (1)")

	configure(t, data, keepDelivered+"nonsense: true\n")
	s.signal(syscall.SIGHUP)
	s.logged(10*time.Second, "nonsense", file)
	execute(t, c, "INSERT INTO calls (n) VALUES (2)")

	configure(t, data, keepDelivered)
	s.signal(syscall.SIGHUP)
	s.logged(10*time.Second, "reload")
	execute(t, c, "INSERT INTO calls (n) VALUES (3)")
	s.delivered(20 * time.Second)
	s.stop()
	if n := count(t, openSink(t, data), "calls"); n != 3 {
		t.Errorf("%d rows arrived, want 3", n)
	}
}

// TestSystemdNotify holds that the service manager is told when the server is
// ready and when it stops.
func TestSystemdNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	s := start(t, dataDir(t), options{env: []string{"NOTIFY_SOCKET=" + path}})
	await := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		socket.SetReadDeadline(time.Now().Add(10 * time.Second))
		for {
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatalf("wait for %s: %v", want, err)
			}
			if strings.Contains(string(buf[:n]), want) {
				return
			}
		}
	}
	await("READY=1")
	s.stop()
	await("STOPPING=1")
}

// TestHealth asks the paths that monitoring asks.
func TestHealth(t *testing.T) {
	s := start(t, dataDir(t), options{})
	execute(t, s.client(), "INSERT INTO calls (n) VALUES (1)")
	s.delivered(20 * time.Second)
	for path, want := range map[string]string{"/ping": "", "/ready": "", "/metrics": "holdfast_", "/v1/status": `"streams"`} {
		r, err := http.Get(s.url(path))
		if err != nil {
			t.Fatal(err)
		}
		text := new(strings.Builder)
		if err := r.Write(text); err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != http.StatusOK || !strings.Contains(text.String(), want) {
			t.Errorf("GET %s: %s without %q", path, r.Status, want)
		}
	}
	r, err := http.NewRequest("GET", s.url("/v1/status"), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "rebound.example"
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode < 400 {
		t.Errorf("a request for another host got %s: a web page could ask it", answer.Status)
	}
}
