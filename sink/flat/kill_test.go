package flat

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
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
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for want := rand.IntN(60) + 1; want > 0 && lines.Scan(); want-- {
			if _, err := fmt.Sscanf(lines.Text(), "%d", &said); err != nil {
				t.Fatalf("the child said %q", lines.Text())
			}
		}
		// It works on while it is killed, so this is any moment of a batch.
		time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			_, _ = fmt.Sscanf(lines.Text(), "%d", &said)
		}
		_ = c.Wait() // it was killed
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
