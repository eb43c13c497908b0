package holdfast_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"holdfast"
)

// TestOneStreamRefused starts with many streams of which one cannot be opened:
// the start is refused and names it, nothing stays open or locked, and once it
// is whole again every row of each is there.
func TestOneStreamRefused(t *testing.T) {
	const streams = 2 * 16 // more than are opened side by side
	dir := t.TempDir()
	var o holdfast.Options
	for i := range streams {
		s := holdfast.Stream{Name: fmt.Sprint("s", i), Tables: []string{fmt.Sprint("t", i)}}
		if i%2 == 0 { // with a lock of its own
			s.Dir = filepath.Join(t.TempDir(), "hot")
		}
		o.Streams = append(o.Streams, s)
	}
	db, err := holdfast.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range streams {
		if err := db.Insert(t.Context(), fmt.Sprint("t", i), []string{"v"}, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 7, streams - 1} {
		home := o.Streams[at].Dir
		if home == "" {
			home = filepath.Join(dir, "streams", o.Streams[at].Name)
		}
		if err := os.Rename(home, home+".away"); err != nil {
			t.Fatal(err)
		}
		db, err := holdfast.Open(dir, o)
		if err == nil {
			t.Fatal("a stream without its files was begun anew", db.Close())
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("stream %q", o.Streams[at].Name)) {
			t.Errorf("stream %d is not named: %v", at, err)
		}
		goleak.VerifyNone(t)
		_ = os.RemoveAll(home) // what the refused start may have made
		if err := os.Rename(home+".away", home); err != nil {
			t.Fatal(err)
		}
	}
	db = open(t, dir, o)
	for i := range streams {
		if lines, _ := all(t, db, holdfast.ReadOptions{Stream: fmt.Sprint("s", i)}); fmt.Sprint(lines) != fmt.Sprintf("[1 t%d [%d]]", i, i) {
			t.Errorf("stream %d has %q", i, lines)
		}
	}
}
