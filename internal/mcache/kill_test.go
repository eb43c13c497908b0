package mcache_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"holdfast/internal/mcache"
)

// childDir tells the test's own binary to work on a cache until it is killed.
const childDir = "HOLDFAST_MCACHE_CHILD"

// child puts numbered records behind the last one that is there, gets some and
// acks them, and says each of it before and after.
func child() {
	fail := func(err error) {
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	var next, acked int
	_, err := fmt.Sscanf(os.Getenv(childDir+"_FROM"), "%d,%d", &next, &acked)
	fail(err)
	q, err := mcache.Open(os.Getenv(childDir), mcache.Options{})
	fail(err)
	for {
		fmt.Println("putting", next+3)
		fail(q.Put(record(sized(next)), record(sized(next+1)), record(sized(next+2))))
		next += 3
		fmt.Println("put", next)
		n := 0
		for ; n < rand.IntN(6); n++ {
			_, err := q.Get()
			if err == io.EOF || err == mcache.ErrUnacked {
				break
			}
			fail(err)
		}
		acked += n
		fmt.Println("acking", acked)
		fail(q.Done())
		fmt.Println("acked", acked)
	}
}

// sized is a sample that fills a file within some dozens.
func sized(n int) message {
	m := sample(n)
	m.text += strings.Repeat("k", 10_000)
	return m
}

// TestKilled kills a process a hundred times at any moment. What it said it had
// put is there, in order and once, from the first that it had not acked on; a
// put or an ack that was under way has happened or not.
func TestKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	first, end := 0, 0 // what must be in the cache: first to end-1
	for round := range 100 {
		c := exec.Command(self)
		c.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s_FROM=%d,%d", childDir, end, first))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		said := map[string]int{"putting": end, "put": end, "acking": first, "acked": first}
		lines := bufio.NewScanner(out)
		hear := func() bool {
			if !lines.Scan() {
				return false
			}
			var what string
			var n int
			if _, err := fmt.Sscan(lines.Text(), &what, &n); err != nil {
				t.Fatalf("round %d: the child said %q", round, lines.Text())
			}
			said[what] = n
			return true
		}
		for want := rand.IntN(40) + 1; want > 0 && hear(); want-- {
		}
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Microsecond) // it works on meanwhile
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for hear() {
		}
		_ = c.Wait() // it was killed
		all := readAll(t, dir)
		from := said["acked"]
		if len(all) > 0 {
			_, err = fmt.Sscanf(all[0].text, "HDR:%d:", &from)
			if err != nil {
				t.Fatal(err)
			}
		} else {
			from = said["acking"]
		}
		if from != said["acked"] && from != said["acking"] && len(all) > 0 {
			t.Fatalf("round %d: the cache begins with %d; %d were acked, %d were being acked", round, from, said["acked"], said["acking"])
		}
		first, end = from, from+len(all)
		for i, m := range all {
			if m != sized(from+i) {
				t.Fatalf("round %d: record %d is %.80q", round, from+i, m.text)
			}
		}
		if end < said["put"] || end > said["putting"] {
			t.Fatalf("round %d: the cache ends before %d; %d were put, %d were being put", round, end, said["put"], said["putting"])
		}
	}
	t.Logf("%d records were put, %d acked", end, first)
}
