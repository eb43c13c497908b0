package cold_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"holdfast/internal/cold"
	"holdfast/internal/cold/coldtest"
	"holdfast/internal/disk"
)

func TestDirectory(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		coldtest.Conform(t, func(t *testing.T, size int64) cold.Store {
			return cold.OpenDirectory(disk.NewMem(), "/cold", size)
		})
	})
	t.Run("real", func(t *testing.T) {
		coldtest.Conform(t, func(t *testing.T, size int64) cold.Store {
			d, err := disk.OpenReal(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			s := cold.OpenDirectory(d, "/cold", size)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			return s
		})
	})
}

// unfinished ends the name of a file that is not finished.
const unfinished = ".cold-tmp"

// TestUnfinished holds that a start takes away what was not finished, of its own
// stream alone.
func TestUnfinished(t *testing.T) {
	mem := disk.NewMem()
	for _, name := range []string{"main.1" + unfinished, "other.1" + unfinished, "main.2"} {
		if err := disk.Replace(mem, "", name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := cold.OpenDirectory(mem, "/cold", 0).Clean("main."); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, err := mem.List("")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name)
	}
	if got := strings.Join(left, " "); got != "main.2 other.1"+unfinished {
		t.Errorf("left is %s", got)
	}
}

// TestFaults has each call of a put fail: then nothing is there, or all of it.
func TestFaults(t *testing.T) {
	for _, k := range []disk.Kind{disk.CallCreate, disk.CallWrite, disk.CallSync, disk.CallRename, disk.CallSyncDir, disk.CallList, disk.CallTruncate, disk.CallOpen} {
		d := disk.NewFaulty(disk.NewMem())
		s := cold.OpenDirectory(d, "/cold", 0)
		d.Fail(disk.Fault{Kind: k, N: 1, Err: errors.New("made up")})
		content := bytes.Repeat([]byte("x"), 5000)
		fill := func(w io.Writer) error { _, err := w.Write(content); return err }
		if err := s.Put("a", true, fill); !errors.Is(err, cold.ErrAway) {
			t.Errorf("%v fails, and the put returns %v", k, err)
		}
		if err := s.Put("a", true, fill); err != nil {
			t.Errorf("after %v failed: %v", k, err)
		}
	}
}
