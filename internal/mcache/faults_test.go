package mcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/mcache"
	"holdfast/sink/local"
)

var errStop = errors.New("the power is gone")

// machine fails the n-th operation on files, and all behind it or not, and
// knows what a power cut would leave.
type machine struct {
	dir    string
	at     int // operations to go; 0: never
	once   bool
	seen   int
	hit    string
	random *rand.Rand

	synced map[string][]byte // by present name: what is certainly on disk of its content
	names  map[string]string // certain names, and what they are called now; "" where removed
	gone   map[string][]byte // content of files that were removed, not certainly
}

func newMachine(dir string, at int, once bool) *machine {
	return &machine{dir: dir, at: at, once: once, random: rand.New(rand.NewPCG(uint64(at), 3)),
		synced: map[string][]byte{}, names: map[string]string{}, gone: map[string][]byte{}}
}

func (m *machine) watch() local.Watch { return local.Watch{Before: m.before, After: m.after} }

func (m *machine) before(op local.Op, name string) (int, error) {
	m.seen++
	if m.at > 0 && (m.seen == m.at || m.seen > m.at && !m.once) {
		if m.hit == "" {
			m.hit = fmt.Sprintf("%s %s", op, name)
		}
		// A word of four bytes, as the ends in a header are, is written whole
		// or not: it lies in one sector, and in one page.
		return []int{0, 4, 150}[m.random.IntN(3)], errStop
	}
	if op == local.OpRemove {
		m.gone[name] = m.synced[name]
	}
	return 0, nil
}

func (m *machine) after(op local.Op, name string) {
	switch op {
	case local.OpCreate:
		m.synced[name] = nil
	case local.OpOpen:
		if _, known := m.synced[name]; !known {
			m.synced[name] = m.read(name)
			m.names[name] = name
		}
	case local.OpSync:
		m.synced[name] = m.read(name)
	case local.OpRename:
		m.synced[name] = m.synced[".holdfast.new"]
		delete(m.synced, ".holdfast.new")
	case local.OpRemove:
		delete(m.synced, name)
	case local.OpSyncDir:
		clear(m.names)
		clear(m.gone)
		for n := range m.synced {
			m.names[n] = n
		}
	}
}

func (m *machine) read(name string) []byte {
	b, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		return nil
	}
	return b
}

// cut makes the directory what a power cut may leave: of what was not flushed,
// any pages are there; names that are not certain are there or not.
func (m *machine) cut(t *testing.T) {
	t.Helper()
	for name, safe := range maps.Clone(m.synced) {
		path := filepath.Join(m.dir, name)
		if _, certain := m.names[name]; !certain && m.random.IntN(2) == 0 {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		now := m.read(name)
		for at := 0; at < len(now); at += 4096 {
			end := min(at+4096, len(now))
			if !bytes.Equal(sector(safe, at, end), now[at:end]) && m.random.IntN(2) == 0 {
				copy(now[at:end], sector(safe, at, end))
			}
		}
		if err := os.WriteFile(path, now, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range m.gone {
		if _, back := m.names[name]; back && m.random.IntN(2) == 0 {
			if _, again := m.synced[name]; !again {
				if err := os.WriteFile(filepath.Join(m.dir, name), text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func sector(b []byte, at, end int) []byte {
	out := make([]byte, end-at)
	if at < len(b) {
		copy(out, b[at:])
	}
	return out
}

// story is what a run said it had done.
type story struct{ put, putting, acked, acking int }

// work puts, gets and acks until all is drained, from where a story stands.
func work(dir string, s *story, total int, o mcache.Options) error {
	q, err := mcache.Open(dir, o)
	if err != nil {
		return err
	}
	err = s.run(q, total)
	return errors.Join(err, q.Close())
}

func (s *story) run(q *mcache.Queue, total int) error {
	for s.put < total {
		n := 1 + s.put%3
		var some []*mcache.Record
		for i := range n {
			some = append(some, record(large(s.put+i)))
		}
		s.putting = s.put + n
		if err := q.Put(some...); err != nil {
			return err
		}
		s.put = s.putting
		if s.put%4 == 0 {
			continue
		}
		for range n {
			r, err := q.Get()
			if errors.Is(err, mcache.ErrUnacked) || errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if want := large(s.acking); plain(r) != want {
				return fmt.Errorf("got %.60q, want %.60q", r.Message, want.text)
			}
			s.acking++
		}
		if err := q.Done(); err != nil {
			return err
		}
		s.acked = s.acking
	}
	return nil
}

// large is a sample of which 24 fill a file.
func large(n int) message {
	m := sample(n)
	m.text += strings.Repeat("l", 42_000)
	return m
}

// TestEveryOperationFails fails each operation on files in turn: that one
// alone, or that one and the rest as when the process is killed, or with the
// power cut behind it. Then what was put is there from the first that was not
// acked on, and the work can be brought to its end.
func TestEveryOperationFails(t *testing.T) {
	const total = 29
	for _, kind := range []string{"one error", "process killed", "power cut"} {
		t.Run(kind, func(t *testing.T) {
			kinds, stops := map[string]bool{}, 0
			for at := 1; ; at++ {
				dir := memoryDir(t)
				m := newMachine(dir, at, kind == "one error")
				s := &story{}
				err := work(dir, s, total, mcache.Options{Watch: m.watch()})
				if m.hit == "" {
					if err != nil {
						t.Fatalf("a run without a fault ended in %v", err)
					}
					break
				}
				op, _, _ := strings.Cut(m.hit, " ")
				if err == nil {
					t.Fatalf("operation %d, %s, failed, and nobody was told", at, m.hit)
				}
				kinds[op] = true
				if kind == "power cut" {
					m.cut(t)
				}
				when := fmt.Sprintf("operation %d, %s", at, m.hit)
				afterwards(t, dir, s, when)
				if err := work(dir, s, total+2, mcache.Options{}); err != nil {
					t.Fatalf("%s: work after it: %v", when, err)
				}
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
				stops++
			}
			t.Logf("failed each of %d operations", stops)
			for _, op := range []local.Op{local.OpOpen, local.OpCreate, local.OpWrite, local.OpSync, local.OpTruncate, local.OpRename, local.OpSyncDir, local.OpRemove, local.OpLock} {
				if !kinds[string(op)] {
					t.Errorf("no %s was made to fail", op)
				}
			}
		})
	}
}

// afterwards sees that the cache is what the story allows, and puts the story
// to where the cache stands.
func afterwards(t *testing.T, dir string, s *story, when string) {
	t.Helper()
	q := open(t, dir, mcache.Options{}) // settles what the newest file is
	shut(t, q)
	all := readAll(t, dir)
	from := s.acking
	if len(all) > 0 {
		if _, err := fmt.Sscanf(all[0].text, "HDR:%d:", &from); err != nil {
			t.Fatal(err)
		}
	}
	if from < s.acked || from > s.acking && len(all) > 0 {
		t.Fatalf("%s: the cache begins with %d; %d were acked, %d were being acked", when, from, s.acked, s.acking)
	}
	for i, m := range all {
		if m != large(from+i) {
			t.Fatalf("%s: record %d is %.80q", when, from+i, m.text)
		}
	}
	if end := from + len(all); end < s.put || end > max(s.putting, s.put) {
		t.Fatalf("%s: the cache ends before %d; %d were put, %d were being put", when, end, s.put, s.putting)
	}
	*s = story{put: from + len(all), putting: from + len(all), acked: from, acking: from}
}

// memoryDir returns a directory in memory where there is one: what a flush
// leaves is simulated here, so none needs to be waited for.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-mcache-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
