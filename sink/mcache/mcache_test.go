package mcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/local"
	"holdfast/sink/sinktest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Println("error:", child(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

var theID = sink.ID{StreamID: "id", Stream: "main", Sink: "audit"}

// TestConformance runs the suite. Rows are refused by a hook: a cache refuses
// only what is too large. Foreign keys and descriptions do not apply.
func TestConformance(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		// One of its texts is larger than a message can be, and is refused, as
		// TestMessages holds; that others arrive as they were is held there too.
		Pending: []string{"text arrives byte for byte"},
		Names:   []string{"a:b", "%3A", "a=b", "\x01"},
		New: func(t *testing.T) sinktest.Destination {
			dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
			var refused sync.Map // by table: column and value
			judge := func(r *row.Row) error {
				c, ok := refused.Load(r.Schema.Table)
				for i, v := range r.Values {
					if ok && c == [2]string{r.Schema.Columns[i].Name, string(v.Text)} {
						return errors.New("not this one")
					}
				}
				return nil
			}
			return sinktest.Destination{
				Open: func(t *testing.T) sink.Sink {
					s, err := Open("mcache:"+dir, Options{Dir: state, Busy: 5 * time.Second})
					if err != nil {
						t.Fatal(err)
					}
					s.judge = judge
					return s
				},
				Rows: func(t *testing.T, table string, columns ...string) [][]row.Value {
					return rows(t, dir, table, columns...)
				},
				Tables: func(t *testing.T, name string) int { return min(1, len(rows(t, dir, name))) },
				ForgetCursor: func(t *testing.T, id sink.ID) {
					s, err := Open(dir, Options{Dir: state})
					if err != nil {
						t.Fatal(err)
					}
					if err := errors.Join(s.Retire(context.Background(), id), s.Close()); err != nil {
						t.Fatal(err)
					}
				},
				Refuse: func(t *testing.T, table, column, value string) {
					refused.Store(table, [2]string{column, value})
				},
				Break: func(t *testing.T) func() {
					if err := os.Rename(dir, dir+".away"); err != nil {
						t.Fatal(err)
					}
					return func() {
						if err := os.Rename(dir+".away", dir); err != nil {
							t.Fatal(err)
						}
					}
				},
			}
		},
	})
}

// deliver brings rows of table t to seq last, behind the cursor, seven at a
// time. Where reset is set it settles doubt as delivery does.
func deliver(s *Sink, last int) error {
	ctx := context.Background()
	n, err := s.Attach(ctx, theID, "a", row.Position{}, nil)
	if err != nil {
		return err
	}
	schema := &row.Schema{Table: "t", Columns: []row.Column{{Name: "n"}, {Name: "pad"}}}
	for tries := 0; ; {
		at, err := n.Cursor(ctx)
		if err == nil && int(at.Seq) >= last {
			return n.Close()
		}
		if err == nil {
			var all []row.Row
			for seq := at.Seq + 1; seq <= at.Seq+7; seq++ {
				all = append(all, row.Row{Seq: seq, Schema: schema, Values: []row.Value{row.Text(fmt.Sprint(seq)), row.Text(strings.Repeat("p", 30_000))}})
			}
			err = n.Apply(ctx, sinktest.NewBatch(all, row.Position{Seq: at.Seq + 7}), new(sinktest.Rejects))
		}
		if err != nil {
			if tries++; tries == 3 {
				return err
			}
		}
	}
}

// memoryDir returns a directory in memory where there is one: nothing waits for
// a flush there.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-mcache-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestEveryOperationFails fails each operation on files in turn, alone or with
// all behind it: then every row is in the cache once, in order.
func TestEveryOperationFails(t *testing.T) {
	const last = 42 // over two files
	for _, once := range []bool{true, false} {
		kinds := map[local.Op]bool{}
		for at := 1; ; at++ {
			dir, state := memoryDir(t), memoryDir(t)
			seen, hit := 0, local.Op("")
			w := local.Watch{Before: func(op local.Op, _ string) (int, error) {
				if seen++; seen == at || seen > at && !once {
					if hit == "" {
						hit = op
					}
					return []int{0, 4, 150}[at%3], errors.New("no more")
				}
				return 0, nil
			}}
			s, err := openWatched(dir, Options{Dir: state}, w)
			if err != nil {
				t.Fatal(err)
			}
			err = errors.Join(deliver(s, last), s.Close())
			if hit == "" {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			kinds[hit] = true
			s, err = Open(dir, Options{Dir: state})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(deliver(s, last), s.Close()); err != nil {
				t.Fatalf("operation %d, %s: work after it: %v", at, hit, err)
			}
			got := numbers(t, dir)
			for i, n := range got {
				if n != i+1 {
					t.Fatalf("operation %d, %s: row %d has the number %d", at, hit, i+1, n)
				}
			}
			if len(got) != last {
				t.Fatalf("operation %d, %s: %d rows, want %d", at, hit, len(got), last)
			}
			if err := errors.Join(os.RemoveAll(dir), os.RemoveAll(state)); err != nil {
				t.Fatal(err)
			}
		}
		for _, op := range []local.Op{local.OpCreate, local.OpWrite, local.OpSync, local.OpTruncate, local.OpRename, local.OpSyncDir, local.OpLock} {
			if !kinds[op] {
				t.Errorf("no %s was made to fail", op)
			}
		}
	}
}
