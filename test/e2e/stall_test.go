package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// attach puts strace on a server that runs, and returns once it holds all of
// its threads. detach takes it away again.
func attach(t *testing.T, s *server, args ...string) (detach func()) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", append([]string{"-f", "-q", "-o", trace, "-p", fmt.Sprint(s.cmd.Process.Pid)}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // it lets go of the server
		_ = cmd.Wait()
	})
	t.Cleanup(over)
	eventually(t, 20*time.Second, "strace to hold the server", func() (bool, string) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", s.cmd.Process.Pid))
		if err != nil || len(threads) == 0 {
			return false, fmt.Sprint("no threads: ", err)
		}
		for _, thread := range threads {
			if text, err := os.ReadFile(thread); err == nil && strings.Contains(string(text), "TracerPid:\t0\n") {
				return false, thread + " is free"
			}
		}
		return true, ""
	})
	return over
}

// TestStalledFlush makes the disk not answer for a while. Nobody may be told
// that a row is stored before it is, the memory must not grow, the server must
// say what is wrong, and go on by itself when the disk does. Six seconds, and
// thirty with HOLDFAST_LONG.
func TestStalledFlush(t *testing.T) {
	needStrace(t)
	away := 6 * time.Second
	if long() {
		away = 30 * time.Second
	}
	data := dataDir(t)
	o := options{config: configure(t, data, rolling)}
	s := start(t, data, o)
	first := &teller{table: "first", server: s}
	first.tell(statementOf(0), first.overHTTP)
	s.delivered(20 * time.Second)
	time.Sleep(300 * time.Millisecond) // the marker behind the row is written, and nothing else is to come

	detach := attach(t, s, "-P", filepath.Join(data, "streams", "main", "0000000000000001.seg"),
		"-e", "trace=pwritev2", "-e", fmt.Sprintf("inject=pwritev2:delay_enter=%d:when=1", away.Microseconds()))
	writers := []*teller{first}
	var group sync.WaitGroup
	var answers atomic.Int64
	begun := time.Now()
	for i := range 8 {
		w := &teller{table: fmt.Sprintf("w%d", i), server: s}
		writers = append(writers, w)
		group.Go(func() {
			for n := range 8 { // small rows, that fit into the next group together
				w.tell(statementOf(3*n), func(rows []string) error {
					err := w.overHTTPFor(rows, 4*away+20*time.Second)
					answers.Add(1)
					return err
				})
			}
		})
	}
	eventually(t, away-time.Second, "/ready to speak of the stall", func() (bool, string) {
		r, err := http.Get(s.url("/ready"))
		if err != nil {
			return false, err.Error()
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		return r.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(text), "flush"), fmt.Sprint(r.Status, string(text), err)
	})
	before := answers.Load() // what came before strace had each thread in its hands
	if out := holdfast(t, 0, "status", "--data", data).stdout; !strings.Contains(out, "failing") {
		t.Errorf("status does not show the stall:\n%s", out)
	}
	if c, err := connect(t.Context(), s.pg); err != nil {
		t.Errorf("a client is not let in during the stall: %v", err)
	} else {
		c.Close(context.Background())
	}
	time.Sleep(time.Until(begun.Add(away - 100*time.Millisecond)))
	if n := answers.Load() - before; n != 0 {
		t.Errorf("%d statements were answered while the disk was not answering", n)
	}
	detach()
	group.Wait()
	if peak := s.memory("VmHWM"); peak > 128<<20 {
		t.Errorf("%d KiB were resident", peak>>10)
	}
	eventually(t, 20*time.Second, "/ready to be well again", func() (bool, string) {
		r, err := http.Get(s.url("/ready"))
		if err != nil {
			return false, err.Error()
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK, r.Status
	})
	for _, w := range writers {
		if w.refused+w.doubtful > 0 {
			t.Errorf("%s: the disk was only slow, and %d statements were refused: %v", w.table, w.refused+w.doubtful, w.last)
		}
	}
	t.Logf("away for %v: %d statements answered before, %d in all; %d KiB resident at most", away, before, answers.Load(), s.memory("VmHWM")>>10)
	s.stop()
	judgeTold(t, data, writers)
}

// TestFileSizeLimit lets a segment hit RLIMIT_FSIZE: a write comes short and
// the next one fails with EFBIG. What was refused is not there, what was
// acknowledged is, and without the limit the server goes on.
func TestFileSizeLimit(t *testing.T) {
	need(t, "prlimit")
	data := dataDir(t)
	o := options{config: configure(t, data, rolling)}
	s := start(t, data, o)
	before := &teller{table: "before", server: s}
	before.tell(statementOf(0), before.overHTTP)
	before.tell(statementOf(2), before.overHTTP) // so that the next segment's file is reserved
	eventually(t, 10*time.Second, "a reserved file", func() (bool, string) {
		found, err := filepath.Glob(filepath.Join(data, "streams", "main", "*.spare"))
		return len(found) > 0, fmt.Sprint(found, err)
	})
	s.stop()

	limited := o
	limited.under = []string{"prlimit", "--fsize=614000"} // no multiple of a block
	s = start(t, data, limited)
	web, wire := &teller{table: "web", server: s}, &teller{table: "wire", server: s}
	c := s.client()
	for n := range 12 {
		web.tell(statementOf(n), web.overHTTP)
		wire.tell(statementOf(n), wire.overWire(c))
	}
	if web.refused+web.doubtful == 0 || web.doubtful+wire.doubtful == 0 {
		t.Errorf("the limit was not felt: %d refused, %d in doubt", web.refused+wire.refused, web.doubtful+wire.doubtful)
	}
	if web.told[0].what != stored {
		t.Errorf("a row that fits was refused: %v", web.told[0].err)
	}
	t.Logf("%d refused, %d in doubt; last: %v", web.refused+wire.refused, web.doubtful+wire.doubtful, web.last)
	s.end(30 * time.Second)

	s = start(t, data, o)
	after := &teller{table: "after", server: s}
	after.tell(statementOf(2), after.overHTTP)
	if after.told[0].what != stored {
		t.Errorf("without the limit a row is refused: %v", after.last)
	}
	s.delivered(20 * time.Second)
	s.stop()
	judgeTold(t, data, []*teller{before, web, wire, after})
}
