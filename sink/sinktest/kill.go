package sinktest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"
)

// KillChild starts a program that delivers and says in a line of its own the
// last seq of each batch that is committed: the test's own binary, told to do so.
// After at most the given number of lines it kills it, at any moment of a batch.
// It returns the last seq that the child said; 0: none.
func KillChild(t *testing.T, c *exec.Cmd, most int) (said int) {
	t.Helper()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for want := rand.IntN(most) + 1; want > 0 && lines.Scan(); want-- {
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
	return said
}
