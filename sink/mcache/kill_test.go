package mcache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/internal/mcache"
	"holdfast/row"
	"holdfast/sink/sinktest"
)

// childDir tells the test's own binary to fill the cache in a directory until it
// is killed.
const childDir = "HOLDFAST_MCACHE_SINK_CHILD"

// killOptions are those of the child and of whoever looks after it.
func killOptions(dir string) Options {
	return Options{Dir: filepath.Join(dir, "state"), Busy: time.Minute}
}

// child delivers numbered rows behind the cursor, as fast as it can, and says
// how far it is.
func child(dir string) error {
	ctx := context.Background()
	s, err := Open(filepath.Join(dir, "cache"), killOptions(dir))
	if err != nil {
		return err
	}
	n, err := s.Attach(ctx, theID, "child", row.Position{}, nil)
	if err != nil {
		return err
	}
	schema := &row.Schema{Table: "t", Columns: []row.Column{{Name: "n"}, {Name: "pad"}}}
	for {
		at, err := n.Cursor(ctx)
		if err != nil {
			return err
		}
		var all []row.Row
		for seq := at.Seq + 1; seq <= at.Seq+7; seq++ {
			all = append(all, row.Row{Seq: seq, Schema: schema, Values: []row.Value{row.Text(fmt.Sprint(seq)), row.Text(strings.Repeat("p", 20_000))}})
		}
		if err := n.Apply(ctx, sinktest.NewBatch(all, row.Position{Seq: at.Seq + 7}), new(sinktest.Rejects)); err != nil {
			return err
		}
		fmt.Println(at.Seq + 7)
	}
}

// ack takes some messages off the cache, as a reader does, over files and all of
// them now and then, so that numbers begin again.
func ack(t *testing.T, dir string, some int) (acked int) {
	t.Helper()
	q, err := mcache.Open(dir, mcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for ; acked < some; acked++ {
		if _, err := q.Get(); err != nil {
			break // what is got is to be acked before the next file, or there is no more
		}
	}
	if err := errors.Join(q.Done(), q.Close()); err != nil {
		t.Fatal(err)
	}
	return acked
}

// TestKilled kills a process that fills a cache again and again, at any moment,
// while messages are taken off in between: each row is in the cache once, in
// order, and all that it said it had committed.
func TestKilled(t *testing.T) {
	rounds := 6
	if os.Getenv("HOLDFAST_LONG") != "" {
		rounds = 100
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cache := filepath.Join(dir, "cache")
	if err := os.Mkdir(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	said, acked := 0, 0
	for round := range rounds {
		c := exec.Command(self)
		c.Env = append(os.Environ(), childDir+"="+dir)
		said = max(said, sinktest.KillChild(t, c, 25))
		s, err := Open(cache, killOptions(dir))
		if err != nil {
			t.Fatal(err)
		}
		// Whoever comes next brings in what was committed and is not there yet.
		n, err := s.Attach(t.Context(), theID, "parent", row.Position{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		at, err := n.Cursor(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(n.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if int(at.Seq) < said {
			t.Fatalf("round %d: the cursor stands at %d, and %d was committed", round, at.Seq, said)
		}
		got := numbers(t, cache)
		if len(got) != int(at.Seq)-acked {
			t.Fatalf("round %d: %d messages are there, want %d to %d", round, len(got), acked+1, at.Seq)
		}
		for i, number := range got {
			if number != acked+1+i {
				t.Fatalf("round %d: message %d is row %d, want %d", round, i, number, acked+1+i)
			}
		}
		switch round % 4 {
		case 0:
			for acked < int(at.Seq) {
				n := ack(t, cache, len(got))
				if n == 0 {
					t.Fatalf("round %d: nothing can be read behind row %d", round, acked)
				}
				acked += n
			}
		case 1, 2:
			acked += ack(t, cache, rand.IntN(len(got)+1))
		}
	}
	t.Logf("%d rows, over %d kills; %d were read meanwhile", said, rounds, acked)
}
