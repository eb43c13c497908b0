package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/test/mounts"
)

// stuckMover is a server whose warm tier is on a small volume.
type stuckMover struct {
	*server
	t    *testing.T
	o    options
	next int
}

// TestStuckMover takes the warm tier's volume away in three ways: others fill it,
// its directory takes no file, and a hold keeps what it has. Each time status, the
// console and the metrics alarm and say why, writers are refused with 53100 once
// the hot tier is full too, and all heals without a restart, with every row there.
func TestStuckMover(t *testing.T) {
	if !mounts.Alone(t, "HOLDFAST_BIN="+program) {
		return
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "volume")
	mounts.Ext4(t, 160<<20, at)
	m := &stuckMover{t: t, o: options{config: configure(t, dir, `
data: DATA/data
tables: {auto: true}
streams:
  main: {hot: "DATA/hot=32 MB", warm: "DATA/volume/warm=100 MB", min_free: 0, wait: 1s}
`)}}
	m.server = start(t, filepath.Join(dir, "data"), m.o)

	other := filepath.Join(at, "other") // it comes before anything is warm, or the oldest of that would make room
	m.jams("no room", func() {
		f, err := os.Create(other)
		for size := 1 << 20; err == nil && size >= 4096; {
			if _, werr := f.Write(make([]byte, size)); werr != nil {
				size /= 2
			}
		}
		if err := errors.Join(err, f.Close()); err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	})
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	m.moves(at)

	warm := filepath.Join(at, "warm")
	m.jams("operation not permitted", func() { m.lock(warm, true) })
	m.lock(warm, false)
	m.moves(at)

	m.jams("a hold keeps", func() { holdfast(t, 0, "hold", "add", "case", "--config", m.o.config) })
	holdfast(t, 0, "hold", "remove", "case", "--config", m.o.config)
	m.moves(at)
	holdfast(t, 0, "verify", "--config", m.o.config)
	m.stop()
}

// immutable is FS_IMMUTABLE_FL.
const immutable = 0x10

// lock has a directory take no file from anybody, root included, or take them again.
func (m *stuckMover) lock(dir string, on bool) {
	m.t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if flags &^= immutable; on {
		flags |= immutable
	}
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// post stores a row; it returns the HTTP status and the answer.
func (m *stuckMover) post() (int, string) {
	m.t.Helper()
	a, err := http.Post(m.url("/v1/tables/calls/rows"), "application/x-ndjson", strings.NewReader(fmt.Sprintf(`{"n": %d, "what": %q}`, m.next, noise(200<<10))))
	if err != nil {
		m.t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	if a.StatusCode/100 == 2 {
		m.next++
	}
	return a.StatusCode, string(text)
}

// jams writes until both tiers take no more, and sees that told of, and why.
func (m *stuckMover) jams(why string, break_ func()) {
	m.t.Helper()
	break_()
	for n := 0; ; n++ {
		status, text := m.post()
		if status/100 == 2 && n < 2000 {
			continue
		}
		if status != http.StatusInsufficientStorage || !strings.Contains(text, "53100") {
			m.t.Fatalf("%s: after %d rows a writer is answered %d %s", why, n, status, text)
		}
		break
	}
	m.alarm(true, why)
}

// moves writes until the alarm is over and segments have become warm.
func (m *stuckMover) moves(at string) {
	m.t.Helper()
	newest := func() string {
		all := packedIn(m.t, filepath.Join(at, "warm"))
		if len(all) == 0 {
			return ""
		}
		return all[len(all)-1]
	}
	before := newest()
	eventually(m.t, 3*time.Minute, "segments to move", func() (bool, string) {
		status, text := m.post()
		if status != http.StatusInsufficientStorage && status/100 != 2 {
			m.t.Fatalf("a writer is answered %d %s", status, text)
		}
		return newest() > before && status/100 == 2, text
	})
	m.alarm(false, "")
}

// alarm waits until status, its JSON form, the console and the metrics say that
// the mover is stuck, and why; or that it is not.
func (m *stuckMover) alarm(on bool, why string) {
	m.t.Helper()
	line := map[bool]string{true: `holdfast_stream_move_failing{stream="main"} 1`, false: `holdfast_stream_move_failing{stream="main"} 0`}[on]
	eventually(m.t, 3*time.Minute, line, func() (bool, string) { return strings.Contains(m.metrics(), line), why })
	out := holdfast(m.t, 0, "status", "--config", m.o.config).stdout
	if strings.Contains(out, "ALARM: segments of main cannot be moved to the warm tier since") != on || on && !strings.Contains(strings.ToLower(out), why) {
		m.t.Errorf("stuck: %v (%s); status says\n%s", on, why, out)
	}
	var st struct {
		Streams []struct {
			Name    string
			Rolling *struct {
				Stuck      string
				StuckSince time.Time `json:"stuck_since"`
			}
		}
	}
	if err := json.Unmarshal([]byte(holdfast(m.t, 0, "status", "--config", m.o.config, "--json").stdout), &st); err != nil {
		m.t.Fatal(err)
	}
	for _, s := range st.Streams {
		if s.Name == "main" && ((s.Rolling.Stuck != "") != on || s.Rolling.StuckSince.IsZero() == on || time.Since(s.Rolling.StuckSince) > time.Hour && on) {
			m.t.Errorf("stuck: %v; status --json says %+v", on, s.Rolling)
		}
	}
	for _, r := range m.rolls() {
		if stuck := r["tier"] == "hot" && r["stream"] == "main" && on; (r["failing"] != "") != stuck || (r["failing_since"] != "") != stuck {
			m.t.Errorf("stuck: %v; SHOW ROLLS says %v", on, r)
		}
	}
}
