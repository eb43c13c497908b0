package flat

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/local"
	"holdfast/sink/sinktest"
)

var errStop = errors.New("the power is gone")

// machine stops at the n-th operation, and knows what of the files a power cut
// would leave.
type machine struct {
	dir    string
	at     int // operations to go; below 0: never
	done   int
	last   string // the operation that it stopped at
	once   bool   // fail that one only
	random *rand.Rand

	synced map[string]int64  // how much of a file is certainly on disk, by its present name
	fresh  map[string]bool   // names that their directory does not certainly have
	before map[string][]byte // what a name led to before a rename that is not certain
}

func newMachine(dir string, at int, seed uint64) *machine {
	return &machine{dir: dir, at: at, random: rand.New(rand.NewPCG(seed, 7)),
		synced: map[string]int64{}, fresh: map[string]bool{}, before: map[string][]byte{}}
}

func (m *machine) watch() local.Watch {
	return local.Watch{Before: m.step, After: m.note}
}

func (m *machine) step(op local.Op, name string) (int, error) {
	m.done++
	if m.at < 0 || m.done < m.at || m.once && m.done > m.at {
		if op == local.OpRename {
			if text, err := os.ReadFile(filepath.Join(m.dir, name)); err == nil && m.before[name] == nil {
				m.before[name] = text
			}
		}
		return 0, nil
	}
	if m.done == m.at {
		m.last = fmt.Sprintf("%s %s", op, name)
		return m.random.IntN(200), errStop
	}
	return 0, errStop // the process does nothing more
}

func (m *machine) note(op local.Op, name string) {
	switch op {
	case local.OpCreate:
		m.fresh[name], m.synced[name] = true, 0
	case local.OpOpen:
		if _, known := m.synced[name]; !known {
			m.synced[name] = m.size(name)
		}
	case local.OpSync:
		m.synced[name] = m.size(name)
	case local.OpRename:
		delete(m.synced, name)
		m.fresh[name] = true
	case local.OpSyncDir:
		for n := range maps.Clone(m.fresh) {
			if filepath.Dir(n) == filepath.Clean(name) {
				delete(m.fresh, n)
				delete(m.before, n)
			}
		}
	}
}

func (m *machine) size(name string) int64 {
	info, err := os.Stat(filepath.Join(m.dir, name))
	if err != nil {
		return 0
	}
	return info.Size()
}

// cut does to the files what a power cut may do: of what was not flushed any
// part is there, or has become zeros, and a name that its directory was not
// flushed for is there or not.
func (m *machine) cut(t *testing.T) {
	t.Helper()
	for name, synced := range m.synced {
		full := filepath.Join(m.dir, name)
		size := m.size(name)
		if size <= synced {
			continue
		}
		keep := synced + m.random.Int64N(size-synced+1)
		if err := os.Truncate(full, keep); err != nil {
			t.Fatal(err)
		}
		if m.random.IntN(3) == 0 { // the size is on disk, the blocks are not
			if err := os.Truncate(full, size); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name := range m.fresh {
		full := filepath.Join(m.dir, name)
		if m.random.IntN(2) == 0 {
			continue
		}
		if old, ok := m.before[name]; ok {
			if err := os.WriteFile(full, old, 0o600); err != nil {
				t.Fatal(err)
			}
		} else if base := strings.Split(name, ".log."); len(base) == 2 {
			// A rotation that did not reach the disk has its old name, unless a
			// new file took that, which can only be there if the rename is.
			if _, err := os.Stat(filepath.Join(m.dir, base[0]+".log")); errors.Is(err, os.ErrNotExist) {
				if err := os.Rename(full, filepath.Join(m.dir, base[0]+".log")); err != nil {
					t.Fatal(err)
				}
			}
		} else if err := os.Remove(full); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// work delivers rows behind the cursor in batches, with everything in between
// that moves files: a rotation by size, one by another program, a retry, a gap.
// It returns at the first error, as delivery does where the process ends.
func work(t *testing.T, s *Sink, dir string, total int, again bool) error {
	ctx := context.Background()
	n, err := s.Attach(ctx, theID, "a", row.Position{}, nil)
	if err != nil {
		return err
	}
	for failures := 0; ; {
		at, err := n.Cursor(ctx)
		if err == nil && int(at.Seq) >= total {
			return nil
		}
		if err == nil {
			err = step(t, s, n, dir, int(at.Seq))
		}
		if err != nil {
			if failures++; !again || failures > 3 {
				return err
			}
		}
	}
}

const stepRows = 6

func step(t *testing.T, s *Sink, n sink.Session, dir string, at int) error {
	ctx := context.Background()
	if at == 2*stepRows {
		// logrotate's way: rename, then ask. It may come again after a crash.
		for k := 1; ; k++ {
			to := filepath.Join(dir, fmt.Sprintf("t_0.log.%d", k))
			if _, err := os.Stat(to); err == nil {
				continue
			}
			if err := os.Rename(filepath.Join(dir, "t_0.log"), to); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			break
		}
		if err := s.Rotate(); err != nil {
			return err
		}
	}
	rows := numbered(at+1, at+stepRows)
	other := &row.Schema{Table: "other", Columns: []row.Column{{Name: fmt.Sprintf("c%d", at)}}}
	rows = append(rows[:3:3], append([]row.Row{{Seq: uint64(at + 3), Schema: other, Values: []row.Value{row.Text("o")}}}, rows[3:]...)...)
	if err := n.Apply(ctx, sinktest.NewBatch(rows, row.Position{Seq: uint64(at + stepRows), Chain: 9}), new(sinktest.Rejects)); err != nil {
		return err
	}
	if at == stepRows {
		back := []row.Row{{Seq: 1000, Schema: other, Values: []row.Value{row.Text("retried")}}, {Seq: 1001, Schema: other, Values: []row.Value{row.Null}}}
		if err := n.Retry(ctx, sinktest.NewBatch(back, row.Position{}), new(sinktest.Rejects)); err != nil {
			return err
		}
		return n.Move(ctx, row.Position{Seq: uint64(at + stepRows), Chain: 9}, []row.Damage{{First: 500, Last: 510, What: "a gap | of rows"}})
	}
	return nil
}

// settle does again what a crash may have come before.
func settle(t *testing.T, s *Sink) {
	t.Helper()
	n, err := s.Attach(context.Background(), theID, "b", row.Position{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	at, err := n.Cursor(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	other := &row.Schema{Table: "other", Columns: []row.Column{{Name: "late"}}}
	back := []row.Row{{Seq: 1000, Schema: other, Values: []row.Value{row.Text("retried")}}, {Seq: 1001, Schema: other, Values: []row.Value{row.Null}}}
	if err := n.Retry(context.Background(), sinktest.NewBatch(back, row.Position{}), new(sinktest.Rejects)); err != nil {
		t.Fatal(err)
	}
	if err := n.Move(context.Background(), at.Position, []row.Damage{{First: 500, Last: 510, What: "a gap | of rows"}}); err != nil {
		t.Fatal(err)
	}
}

// TestEveryOperationStops stops the process, cuts the power, or fails one
// operation, at the first, the second, and each further operation on files,
// until a run gets by without one; and then everything is there once.
func TestEveryOperationStops(t *testing.T) {
	const total = 5 * stepRows
	for _, kind := range []string{"process killed", "power cut", "one error"} {
		t.Run(kind, func(t *testing.T) {
			stops := 0
			for at := 1; ; at++ {
				dir := memoryDir(t)
				m := newMachine(dir, at, uint64(at))
				m.once = kind == "one error"
				o := Options{RotateSize: 400}
				s, err := openWatched(dir, o, m.watch())
				if err != nil {
					t.Fatal(err)
				}
				err = work(t, s, dir, total, m.once)
				if e := s.Close(); e != nil {
					t.Fatal(e)
				}
				if m.last == "" {
					if err != nil {
						t.Fatalf("a run without a stop ended in %v", err)
					}
					break
				}
				stops++
				if kind == "power cut" {
					m.cut(t)
				}
				fresh := mustOpen(t, dir, o)
				if err := work(t, fresh, dir, total, false); err != nil {
					t.Fatalf("stopped at operation %d, %s: work after that: %v", at, m.last, err)
				}
				settle(t, fresh)
				check(t, dir, total, fmt.Sprintf("stopped at operation %d, %s", at, m.last))
			}
			t.Logf("stopped at each of %d operations", stops)
			if stops < 100 {
				t.Errorf("only %d operations were seen: files are touched past the watch", stops)
			}
		})
	}
}

// memoryDir returns a directory in memory where there is one: what a flush
// leaves is simulated, so none needs to be waited for.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-flat-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// check looks at the files alone.
func check(t *testing.T, dir string, total int, when string) {
	t.Helper()
	if problem := numberedProblem(t, dir, total); problem != "" {
		t.Fatalf("%s: %s", when, problem)
	}
	others := readFiles(t, dir, "other_0.log")
	if want := total/stepRows + 2; len(others) != want {
		t.Fatalf("%s: table other has %d rows, want %d: %v", when, len(others), want, others)
	}
	if got := readFiles(t, dir, "holdfast_gap_0.log"); len(got) != 1 || string(got[0][5].Text) != "a gap | of rows" {
		t.Fatalf("%s: gaps are %v, want one", when, got)
	}
}
