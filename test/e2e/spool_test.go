package e2e

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// spooled returns the configuration of a server that takes files in from a new
// directory.
func spooled(t *testing.T, data string) (dir string, o options) {
	t.Helper()
	dir = t.TempDir()
	return dir, options{config: configure(t, data, fmt.Sprintf(`
data: DATA
tables: {auto: true}
sinks:
  default: {type: sqlite, path: DATA/holdfast.db, streams: [main]}
sources:
  drop: {type: spool, url: "spool:%s"}
`, dir))}
}

// drained waits until nothing waits in the spool.
func (s *server) drained(limit time.Duration) {
	s.t.Helper()
	eventually(s.t, limit, "the spool to be empty", func() (bool, string) {
		f, err := s.followed()
		return err == nil && f.State == "following" && f.Files == 0, fmt.Sprintf("%+v, %v", f, err)
	})
}

// ids returns how often each id is in the SQLite file of a server.
func ids(t *testing.T, data string) map[string]int {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "holdfast.db")+"?_pragma=busy_timeout(20000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT id, count(*) FROM acc GROUP BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	seen := map[string]int{}
	for rows.Next() {
		var id string
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			t.Fatal(err)
		}
		seen[id] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return seen
}

// once holds that each row is there once, and no other.
func once(t *testing.T, data string, want map[string]bool) {
	t.Helper()
	seen := ids(t, data)
	for id := range want {
		if seen[id] != 1 {
			t.Fatalf("row %q is there %d times", id, seen[id])
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d rows are there, %d were written", len(seen), len(want))
	}
	t.Logf("%d rows, each once", len(seen))
}

// leftIn returns the files that are left in a spool.
func leftIn(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestSpoolKilled drops files all the time, kills the server with SIGKILL again
// and again, and finds each row once in SQLite and no file left. One file comes
// from put, while the server is away.
func TestSpoolKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	rng := seeded(t)
	data := dataDir(t)
	dir, o := spooled(t, data)
	stop, files := make(chan struct{}), make([]int, 3)
	var all sync.WaitGroup
	for w := range files {
		own := rand.New(rand.NewPCG(rng.Uint64(), 1))
		all.Go(func() {
			for below := filepath.Join(dir, "acc", fmt.Sprint(w)); ; files[w]++ {
				select {
				case <-stop:
					return
				default:
				}
				name := filepath.Join(below, fmt.Sprintf("%06d", files[w]))
				text := fmt.Sprintf("{\"id\":\"%d-%d-a\"}\n{\"id\":\"%d-%d-b\"}\n", w, files[w], w, files[w])
				err := os.MkdirAll(below, 0o755)
				if err == nil {
					err = os.WriteFile(name+".tmp", []byte(text), 0o644)
				}
				if err == nil {
					err = os.Rename(name+".tmp", name)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if own.IntN(50) == 0 {
					time.Sleep(time.Duration(own.IntN(20)) * time.Millisecond)
				}
			}
		})
	}
	rounds := 8
	if long() {
		rounds = 200
	}
	for range rounds {
		s := start(t, data, o)
		time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
		s.kill()
	}
	close(stop)
	all.Wait()
	holdfast(t, 2, "put", "--spool", dir, "--table", "acc", "--format", "flat", "--columns", "id")
	feed(t, 0, strings.NewReader("{\"id\":\"put\"}\n"), "put", "--spool", dir, "--table", "acc", "--format", "ndjson")
	s := start(t, data, o)
	s.drained(2 * time.Minute)
	s.delivered(2 * time.Minute)
	s.stop()
	if left := leftIn(t, dir); len(left) > 0 {
		t.Errorf("%d files are left: %.500v", len(left), left)
	}
	seen, want := ids(t, data), map[string]bool{"put": true}
	for w, n := range files {
		for i := range n {
			want[fmt.Sprintf("%d-%d-a", w, i)], want[fmt.Sprintf("%d-%d-b", w, i)] = true, true
		}
	}
	t.Logf("%d files", len(want)/2)
	for id := range want {
		if seen[id] != 1 {
			t.Fatalf("row %q is there %d times", id, seen[id])
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d rows are there, %d were written", len(seen), len(want))
	}
}

// TestSpoolOfMany takes many small files in that wait in one directory, in a
// bounded time and memory.
func TestSpoolOfMany(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	files := 20_000
	if long() {
		files = 100_000
	}
	data := dataDir(t)
	dir, o := spooled(t, data)
	if err := os.Mkdir(filepath.Join(dir, "acc"), 0o755); err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat("x", 170)
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, "acc", fmt.Sprintf("%08d", i)), fmt.Appendf(nil, "{\"id\":\"%08d\",\"pad\":\"%s\"}\n", i, pad), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	s := start(t, data, o)
	s.drained(3 * time.Minute)
	took := time.Since(began)
	_, peak := s.resident()
	t.Logf("%d files in %s, %.0f per second, at most %d KiB in memory", files, took.Round(time.Millisecond), float64(files)/took.Seconds(), peak>>10)
	if f, err := s.followed(); err != nil || f.Rows != uint64(files) {
		t.Errorf("%+v, %v", f, err)
	}
	if peak > 128<<20 {
		t.Errorf("%d bytes of memory were in use", peak)
	}
	s.delivered(3 * time.Minute)
	s.stop()
	if left := leftIn(t, dir); len(left) > 0 {
		t.Errorf("%d files are left", len(left))
	}
	if seen := ids(t, data); len(seen) != files {
		t.Errorf("%d rows are there, want %d", len(seen), files)
	}
}

// TestSpoolUnmounted holds that a server does not start whose spool must be a
// volume and is none.
func TestSpoolUnmounted(t *testing.T) {
	data := dataDir(t)
	o := options{config: configure(t, data, fmt.Sprintf("data: DATA\nsources:\n  drop: {type: spool, url: 'spool:%s=='}\n", t.TempDir()))}
	s := spawn(t, data, o)
	select {
	case <-s.exited:
	case <-time.After(time.Minute):
		t.Fatal("it runs")
	}
	if log := s.tail(20); !strings.Contains(log, "nothing is mounted") {
		t.Errorf("it ended with\n%s", log)
	}
}
