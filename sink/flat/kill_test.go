package flat

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"holdfast/row"
	"holdfast/sink/sinktest"
)

// childDir tells the test's own binary to deliver into a directory until it
// is killed.
const childDir = "HOLDFAST_FLAT_CHILD"

const killRows = 7 // of one batch

// child delivers numbered rows behind the cursor, as fast as it can.
func child() {
	fail := func(err error) {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	ctx := context.Background()
	s, err := Open(os.Getenv(childDir), Options{RotateSize: 20_000, Busy: 10 * time.Second})
	if err != nil {
		fail(err)
	}
	n, err := s.Attach(ctx, theID, "child", row.Position{}, nil)
	if err != nil {
		fail(err)
	}
	for {
		at, err := n.Cursor(ctx)
		if err != nil {
			fail(err)
		}
		rows := numbered(int(at.Seq)+1, int(at.Seq)+killRows)
		if err := n.Apply(ctx, sinktest.NewBatch(rows, row.Position{Seq: at.Seq + killRows}), new(sinktest.Rejects)); err != nil {
			fail(err)
		}
		fmt.Println(at.Seq + killRows)
	}
}

// TestKilled kills a process again and again at any moment, and finds each row
// once, and all that it said it had committed.
func TestKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	said := 0
	for range 8 {
		c := exec.Command(self)
		c.Env = append(os.Environ(), childDir+"="+dir)
		said = max(said, sinktest.KillChild(t, c, 60))
	}
	s := mustOpen(t, dir, Options{})
	at, err := mustAttach(t, s).Cursor(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if int(at.Seq) < said {
		t.Fatalf("the cursor stands at %d, and %d was committed", at.Seq, said)
	}
	wantNumbered(t, dir, int(at.Seq))
}
