package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A crowd is clients that connect and do nothing, or nothing any more.
type crowd []net.Conn

// gather connects n clients; those with a greeting send it.
func gather(t *testing.T, address string, n int, greeting []byte) (c crowd) {
	t.Helper()
	for range n {
		conn, err := net.DialTimeout("tcp", address, 10*time.Second)
		if err != nil {
			t.Fatalf("client %d of the crowd: %v", len(c), err)
		}
		_, _ = conn.Write(greeting) // it may have been turned away already
		c = append(c, conn)
	}
	return c
}

func (c crowd) leave() {
	for _, conn := range c {
		conn.Close()
	}
}

// files returns how many descriptors the server has open.
func (s *server) files() int {
	s.t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	if err != nil {
		s.t.Skipf("SKIPPED: no /proc on this system: %v", err)
	}
	return len(open)
}

// TestCrowd lets 10,000 idle clients come to a server that may open 80 files.
// They are turned away, and take nothing from anybody: a client that was there
// goes on, segments roll, the sink gets everything, the admin door answers,
// and once the crowd has left the next client is let in.
func TestCrowd(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	size := min(10_000, int(limit.Cur)/2)
	data := dataDir(t)
	const most = 80
	s := start(t, data, options{
		config: configure(t, data, rolling),
		under:  []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, most)},
	})
	c := s.client()
	rows := 0
	work := func(when string) {
		t.Helper()
		for range 3 { // each round fills more than one segment of 1 MiB
			for range 3 {
				execute(t, c, "INSERT INTO calls (v) VALUES ('"+strings.Repeat("x", 400<<10)+"')")
				rows++
			}
			s.signal(syscall.SIGUSR2)
		}
		r := holdfast(t, 0, "status", "--data", data)
		if !strings.Contains(r.stdout, "main") {
			t.Errorf("%s: the admin door says %q", when, r.stdout)
		}
		holdfast(t, 0, "cat", "--data", data, "--limit", "3")
		if n := s.files(); n > most {
			t.Errorf("%s: %d files are open", when, n)
		}
	}
	work("before the crowd")

	started := gather(t, s.pg, size/2, startup())
	work("with clients that have started")
	eventually(t, 20*time.Second, "53300", func() (bool, string) {
		_, err := connect(t.Context(), s.pg)
		code, _ := sqlstate(err)
		return code == "53300", fmt.Sprint(err)
	})
	lurking := gather(t, s.http, size/4, nil)
	silent := gather(t, s.pg, size-len(started)-len(lurking), nil)
	work("with clients that say nothing")
	if r, err := http.Get(s.url("/v1/status")); err == nil { // all places of those that are let in are taken
		r.Body.Close()
		if r.StatusCode != http.StatusServiceUnavailable && r.StatusCode != http.StatusTooManyRequests {
			t.Errorf("one more HTTP client got %s", r.Status)
		}
	}
	t.Logf("a crowd of %d; %d files open, of %d", size, s.files(), most)
	for _, one := range []crowd{started, lurking, silent} {
		one.leave()
	}
	eventually(t, 20*time.Second, "a client to be let in after the crowd", func() (bool, string) {
		c, err := connect(t.Context(), s.pg)
		if err != nil {
			return false, err.Error()
		}
		return true, fmt.Sprint(c.Close(t.Context()))
	})
	work("after the crowd")
	s.delivered(30 * time.Second)
	s.mu.Lock()
	for _, line := range s.log {
		if strings.Contains(line, "too many open files") {
			t.Errorf("something ran out of descriptors: %s", line)
		}
	}
	s.mu.Unlock()
	st, err := s.status()
	if err != nil || st.Streams[0].Segments < 6 {
		t.Errorf("segments did not roll: %+v, %v", st.Streams, err)
	}
	s.stop()
	if n := count(t, openSink(t, data), "calls"); n != rows {
		t.Errorf("%d rows are in the sink, %d were acknowledged", n, rows)
	}
}

// TestTooFewFiles holds that a server which cannot do its work with the
// descriptors that it may have says so, and what to do.
func TestTooFewFiles(t *testing.T) {
	s := spawn(t, dataDir(t), options{under: []string{"sh", "-c", `ulimit -n 40; exec "$0" "$@"`}})
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(s.tail(5), "ulimit -n") {
		t.Errorf("it ended with %d: %s", code, s.tail(5))
	}
}
