package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
	"holdfast/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a store in memory, which outlives spools.
type memory struct {
	mu      sync.Mutex
	at      map[string]string
	rows    []string // table, and values with a bar between
	bad     []string // file, offset and text
	commits int
	refuse  func(table string, columns []row.Column, values []row.Value) error
	before  func() error // of Commit, which then stores nothing
	after   func() error // of Commit, which has stored
}

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
	rows, bad        []string
	over             bool
}

func (t *memoryTx) Insert(table string, columns []row.Column, values []row.Value) error {
	if len(columns) != len(values) {
		return fault.New(fault.InternalError, "%d columns, %d values", len(columns), len(values))
	}
	if t.m.refuse != nil {
		if err := t.m.refuse(table, columns, values); err != nil {
			return err
		}
	}
	parts := []string{table}
	for i, v := range values {
		if columns[i].Name != "modified_at" {
			parts = append(parts, string(v.Text))
		}
	}
	t.rows = append(t.rows, strings.Join(parts, "|"))
	return nil
}

func (t *memoryTx) Malformed(l Line) error {
	t.bad = append(t.bad, fmt.Sprintf("%s@%d %q", filepath.Base(l.File), l.At, l.Raw))
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

// bench is a spool that is read look by look.
type bench struct {
	t     *testing.T
	o     Options
	s     *Spool
	store *memory
	state *disk.Mem
}

func newBench(t *testing.T, o Options) *bench {
	b := &bench{t: t, store: &memory{at: map[string]string{}}, state: disk.NewMem()}
	o.Dir, o.Source, o.Name, o.Store, o.Parser = t.TempDir(), "spool:drop", "drop.batch", b.store, &httpapi.Single{}
	if o.Format == "" {
		o.Format = NDJSON
	}
	b.o = o
	b.restart()
	return b
}

// restart begins again from what the disk and the store have.
func (b *bench) restart() {
	b.o.State = b.state
	was := b.s
	b.s = newSpool(b.o)
	if was != nil {
		b.s.piece, b.s.most = was.piece, was.most
	}
}

// round is one look, which must work.
func (b *bench) round() {
	b.t.Helper()
	err := b.s.round(b.t.Context())
	b.s.note(err)
	if err != nil {
		b.t.Fatalf("look: %v", err)
	}
}

// path returns where a file is.
func (b *bench) path(name string) string { return filepath.Join(b.o.Dir, name) }

// put puts a file in as a writer does.
func (b *bench) put(name, text string) {
	b.t.Helper()
	to := b.path(name)
	tmp := filepath.Join(filepath.Dir(to), ".tmp")
	if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(tmp, []byte(text), 0o644), os.Rename(tmp, to)); err != nil {
		b.t.Fatal(err)
	}
}

// left returns the files that are there, by their paths.
func (b *bench) left() (all []string) {
	b.t.Helper()
	err := filepath.WalkDir(b.o.Dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(b.o.Dir, name)
			all = append(all, rel)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func (b *bench) want(what string, got []string, want ...string) {
	b.t.Helper()
	if !slices.Equal(got, want) {
		b.t.Errorf("%s are\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// why returns why a file is bad.
func (b *bench) why(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.path("bad/" + name + ".why"))
	if err != nil {
		b.t.Error(err)
	}
	return string(text)
}
