package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// followed is the part of /v1/status that tells of sources.
type followed struct {
	Name, State string
	LastError   string `json:"last_error"`
	Notes       []string
	Rows        uint64
	Rejects     uint64
	Pending     int64 `json:"pending_bytes"`
	Files       int
}

// followed returns what a server tells of its source.
func (s *server) followed() (followed, error) {
	r, err := http.Get(s.url("/v1/status"))
	if err != nil {
		return followed{}, err
	}
	defer r.Body.Close()
	var st struct{ Sources []followed }
	if err := json.NewDecoder(r.Body).Decode(&st); err != nil {
		return followed{}, err
	}
	if len(st.Sources) != 1 {
		return followed{}, fmt.Errorf("%d sources are told of", len(st.Sources))
	}
	return st.Sources[0], nil
}

// emptied waits until all files of a directory, to which nobody writes any more,
// are stored and put away. It rotates those that are left, and looks at the
// files: what the server tells of them may be older than their last line.
func (s *server) emptied(dir string, limit time.Duration) {
	s.t.Helper()
	n := 0
	eventually(s.t, limit, "all files to be stored and put away", func() (bool, string) {
		files, err := filepath.Glob(filepath.Join(dir, "*.log*"))
		left := 0
		for _, file := range files {
			if st, err := os.Stat(file); err == nil && st.Size() == 0 {
				continue
			}
			if left++; strings.HasSuffix(file, ".log") {
				n++
				_ = os.Rename(file, fmt.Sprintf("%s.last%d", file, n)) // or the server has rotated it just now
			}
		}
		tells, why := s.followed()
		return err == nil && left == 0, fmt.Sprintf("%d files are left, %v; %+v, %v", left, err, tells, why)
	})
}

// flatWriter is a process of Kamailio as db_flatstore has it: one file, opened
// again only with the next line after a rotation.
type flatWriter struct {
	dir, table string
	n          int
	fields     int
	rng        *rand.Rand
	rotations  *rotations
	lines      int
}

// rotations counts what writers were told.
type rotations struct {
	sync.Mutex
	told, done int
}

// write writes until stop is closed: whole lines, torn ones in two writes, and
// pauses in which it holds a file that was renamed.
func (w *flatWriter) write(stop chan struct{}) error {
	name := filepath.Join(w.dir, fmt.Sprintf("%s_%d.log", w.table, w.n))
	open := func() (*os.File, error) { return os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) }
	f, err := open()
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	seen := 0
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(time.Duration(w.rng.IntN(3000)) * time.Microsecond):
		}
		if w.rng.IntN(300) == 0 {
			time.Sleep(time.Duration(w.rng.IntN(300)) * time.Millisecond) // nobody calls
		}
		w.rotations.Lock()
		told := w.rotations.told
		w.rotations.Unlock()
		if told != seen {
			f.Close()
			if f, err = open(); err != nil {
				return err
			}
			seen = told
		}
		line := fmt.Sprintf("%s-%d-%d", w.table, w.n, w.lines) + strings.Repeat("|v", w.fields-1) + "\n"
		cut := len(line)
		if w.rng.IntN(20) == 0 {
			cut = w.rng.IntN(len(line))
		}
		if _, err := f.WriteString(line[:cut]); err != nil {
			return err
		}
		if cut < len(line) {
			time.Sleep(time.Duration(w.rng.IntN(20)) * time.Millisecond)
			if _, err := f.WriteString(line[cut:]); err != nil {
				return err
			}
		}
		w.lines++
	}
}

// rotate renames all files and tells the writers, until stop is closed.
func (r *rotations) rotate(dir string, rng *rand.Rand, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(50+rng.IntN(250)) * time.Millisecond):
		}
		files, _ := filepath.Glob(filepath.Join(dir, "*_?.log"))
		r.Lock()
		r.done++
		for _, f := range files {
			_ = os.Rename(f, fmt.Sprintf("%s.%d", f, r.done))
		}
		r.Unlock()
		time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond) // and they write on in what is renamed
		r.Lock()
		r.told++
		r.Unlock()
	}
}

// TestFollowedCrashes follows files that are written and rotated all the time,
// kills the server with SIGKILL again and again, and finds each complete line
// once in SQLite, PostgreSQL, MariaDB and flat files, and no file left.
func TestFollowedCrashes(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	t.Parallel() // both wait most of the time
	rng := seeded(t)
	d := startDatabases(t)
	data, dir := dataDir(t), t.TempDir()
	text := d.config() + fmt.Sprintf("\nsources:\n  calls: {type: flatstore, url: 'flatstore:%s', finished: remove, columns: {acc: [id, a, b], cdrs: [id, a]}}\n", dir)
	o := options{config: configure(t, data, text)}
	s := start(t, data, o)
	writers, stop, told := []*flatWriter{}, make(chan struct{}), &rotations{}
	for n := range 3 {
		for table, fields := range map[string]int{"acc": 3, "cdrs": 2} {
			writers = append(writers, &flatWriter{dir: dir, table: table, n: n, fields: fields, rotations: told, rng: rand.New(rand.NewPCG(rng.Uint64(), 1))})
		}
	}
	var all sync.WaitGroup
	for _, w := range writers {
		all.Go(func() {
			if err := w.write(stop); err != nil {
				t.Error(err)
			}
		})
	}
	own := rand.New(rand.NewPCG(rng.Uint64(), 2))
	all.Go(func() { told.rotate(dir, own, stop) })
	rounds := 6
	if long() {
		rounds = 100
	}
	for range rounds {
		time.Sleep(time.Duration(100+rng.IntN(500)) * time.Millisecond)
		s.kill()
		s = start(t, data, o)
	}
	close(stop)
	all.Wait()
	s.stop() // what it has not read of the last lines, whatever its status says
	s = start(t, data, o)
	s.emptied(dir, 2*time.Minute)
	s.delivered(3 * time.Minute)
	s.stop()
	want := map[string]int{}
	for _, w := range writers {
		want[w.table] += w.lines
	}
	t.Logf("%d rotations, lines %v", told.done, want)
	for _, k := range d.destinations(t, data) {
		for table, lines := range want {
			rows := k.rows(t, table, "(id)")
			seen := map[string]int{}
			for _, r := range rows {
				seen[r[0]]++
			}
			if len(rows) != lines || len(seen) != lines {
				t.Errorf("%s: %d rows of %s, %d different, want %d", k.name, len(rows), table, len(seen), lines)
			}
			for _, w := range writers {
				for i := range w.lines {
					if id := fmt.Sprintf("%s-%d-%d", w.table, w.n, i); w.table == table && seen[id] != 1 {
						t.Fatalf("%s: line %s of %d is there %d times", k.name, id, w.lines, seen[id])
					}
				}
			}
		}
	}
}
