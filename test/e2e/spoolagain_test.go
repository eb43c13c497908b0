package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSpoolNameAgain kills the server while a writer uses one name again as soon as
// it is free, and mostly gets the inode again, too. Each file is taken in once.
func TestSpoolNameAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes a while")
	}
	rng := seeded(t)
	data := dataDir(t)
	dir, o := spooled(t, data)
	name := filepath.Join(dir, "acc", "again")
	if err := os.Mkdir(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { ended <- n }()
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			if _, err := os.Lstat(name); err == nil {
				continue
			} else if !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
				return
			}
			err := os.WriteFile(name+".tmp", fmt.Appendf(nil, "{\"id\":\"%08d\"}\n", n), 0o644)
			if err = errors.Join(err, os.Rename(name+".tmp", name)); err != nil {
				t.Error(err)
				return
			}
			n++
		}
	}()
	kills := 8
	if long() {
		kills = 300
	}
	for range kills {
		s := start(t, data, o)
		time.Sleep(time.Duration(rng.IntN(250)) * time.Millisecond)
		s.kill()
	}
	close(stop)
	n := <-ended
	s := start(t, data, o)
	s.drained(2 * time.Minute)
	s.delivered(2 * time.Minute)
	s.stop()
	if left := leftIn(t, dir); len(left) > 0 {
		t.Errorf("files are left: %.500v", left)
	}
	t.Logf("%d files", n)
	want := map[string]bool{}
	for i := range n {
		want[fmt.Sprintf("%08d", i)] = true
	}
	once(t, data, want)
}
