package flatlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a store in memory, which outlives followers.
type memory struct {
	mu      sync.Mutex
	at      map[string]string
	rows    []string // table, and values with a bar between
	bad     []Line
	commits int
	refuse  func(table string, values []row.Value) error // of Insert
	before  func() error                                 // of Commit, which then stores nothing
	after   func() error                                 // of Commit, which has stored
}

func newMemory() *memory { return &memory{at: map[string]string{}} }

func (m *memory) Position(source string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at[source], nil
}

func (m *memory) Begin(source, from, to string) Tx {
	return &memoryTx{m: m, source: source, from: from, to: to}
}

type memoryTx struct {
	m                *memory
	source, from, to string
	rows             []string
	bad              []Line
	over             bool
}

func (t *memoryTx) Insert(table string, columns []string, values []row.Value) error {
	if len(columns) != len(values) {
		return fault.New(fault.InternalError, "%d columns, %d values", len(columns), len(values))
	}
	if t.m.refuse != nil {
		if err := t.m.refuse(table, values); err != nil {
			return err
		}
	}
	parts := []string{table}
	for _, v := range values {
		parts = append(parts, string(v.Text))
	}
	t.rows = append(t.rows, strings.Join(parts, "|"))
	return nil
}

func (t *memoryTx) Malformed(l Line) error {
	l.Raw = append([]byte{}, l.Raw...)
	t.bad = append(t.bad, l)
	return nil
}

func (t *memoryTx) Commit(context.Context) error {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	if t.over {
		return errors.New("it is over")
	}
	t.over = true
	if t.m.before != nil {
		if err := t.m.before(); err != nil {
			return err
		}
	}
	if t.m.at[t.source] != t.from {
		return fault.New(fault.SerializationFailure, "it stands at %q, not at %q", t.m.at[t.source], t.from)
	}
	t.m.at[t.source] = t.to
	t.m.rows, t.m.bad = append(t.m.rows, t.rows...), append(t.m.bad, t.bad...)
	t.m.commits++
	if t.m.after != nil {
		return t.m.after()
	}
	return nil
}

func (t *memoryTx) Rollback() { t.over = true }

// bench is a directory with what follows it, round by round.
type bench struct {
	t     *testing.T
	o     Options
	f     *Follower
	store *memory
	state *disk.Mem
}

func newBench(t *testing.T, o Options) *bench {
	b := &bench{t: t, store: newMemory(), state: disk.NewMem()}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Columns == nil {
		o.Columns = map[string][]string{"acc": {"a", "b", "c"}, "missed_calls": {"a", "b"}}
	}
	o.Source, o.Name, o.Store = "flatstore:calls", "calls.positions", b.store
	b.o = o
	b.restart()
	t.Cleanup(func() { b.f.end() })
	return b
}

// restart begins again from what the disk and the store have.
func (b *bench) restart() {
	if b.f != nil {
		b.f.end()
	}
	b.o.State = b.state
	b.f = newFollower(b.o)
	b.f.rest = 0
}

// round is one look at all files.
func (b *bench) round() {
	b.t.Helper()
	if err := b.f.round(b.t.Context()); err != nil {
		b.t.Fatalf("round: %v", err)
	}
}

// path returns where a file is.
func (b *bench) path(name string) string { return filepath.Join(b.o.Dir, name) }

// add appends text to a file.
func (b *bench) add(name, text string) {
	b.t.Helper()
	f, err := os.OpenFile(b.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) rename(from, to string) {
	b.t.Helper()
	if err := os.Rename(b.path(from), b.path(to)); err != nil {
		b.t.Fatal(err)
	}
}

// want compares what is stored.
func (b *bench) want(rows ...string) {
	b.t.Helper()
	if got := strings.Join(b.store.rows, "\n"); got != strings.Join(rows, "\n") {
		b.t.Errorf("stored are\n%s\nwant\n%s", got, strings.Join(rows, "\n"))
	}
}

// wantBad compares the lines that are no rows: each as "offset why raw".
func (b *bench) wantBad(lines ...string) {
	b.t.Helper()
	var got []string
	for _, l := range b.store.bad {
		got = append(got, fmt.Sprintf("%s@%d %q", filepath.Base(l.File), l.At, l.Raw))
	}
	if strings.Join(got, "\n") != strings.Join(lines, "\n") {
		b.t.Errorf("set aside are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

// told returns the notes of the status.
func (b *bench) told() string { return strings.Join(b.f.Status().Notes, "\n") }
