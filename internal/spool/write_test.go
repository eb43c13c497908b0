package spool

import (
	"errors"
	"os"
	"strings"
	"testing"

	"holdfast/internal/fault"
)

// TestPut holds that what is put into a spool is taken in from there, and that
// what cannot be leaves nothing behind.
func TestPut(t *testing.T) {
	b := newBench(t, Options{})
	for range 3 {
		if _, err := Put(b.o.Dir, "acc", NDJSON, strings.NewReader("{\"a\":1}\n"), 100); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(b.path("box/new"), 0o755); err != nil {
		t.Fatal(err)
	}
	name, err := Put(b.o.Dir, "box", NDJSON, strings.NewReader("{\"a\":2}\n"), 100)
	if err != nil || !strings.HasPrefix(name, "box/new/") {
		t.Fatal(name, err)
	}
	b.round()
	b.want("rows", b.store.rows, "acc|1", "acc|1", "acc|1", "box|2")
	for _, c := range []struct{ dir, table, text, code string }{
		{"", "acc", "", fault.InvalidParameterValue},
		{"", "acc", strings.Repeat("x", 101), fault.LimitExceeded},
		{"", "..", "x", fault.InvalidName},
		{"", "a/b", "x", fault.InvalidName},
		{"", "bad", "x", fault.InvalidName},
		{"", "a\nb", "x", fault.InvalidName},
		{"/missing", "acc", "x", fault.IOError},
	} {
		if _, err := Put(b.o.Dir+c.dir, c.table, NDJSON, strings.NewReader(c.text), 100); fault.Code(err) != c.code {
			t.Errorf("%q: %v", c.table, err)
		}
	}
	if _, err := Put(b.o.Dir, "acc", NDJSON, broken{}, 100); !errors.Is(err, os.ErrClosed) {
		t.Errorf("an input that breaks: %v", err)
	}
	b.want("files", b.left())
}

type broken struct{}

// Read fails.
func (broken) Read([]byte) (int, error) { return 0, os.ErrClosed }
