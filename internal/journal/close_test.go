package journal

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"holdfast/internal/disk"
)

// TestCloseSeals holds that a clean stop seals every segment and that the
// MANIFEST has them all, also where several wait for their digest at that moment.
func TestCloseSeals(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8)) // so that goroutines overtake each other
	for range 1000 {
		mem := disk.NewMem()
		j, err := Open(mem, Options{Name: "main", SegmentSize: 24 << 10})
		if err != nil {
			t.Fatal(err)
		}
		_, err = j.Append(context.Background(), rowsOf(table(j, 0), "before"), true)
		st := must(j.Stage())
		err = errors.Join(err, st.Add(rowsOf(table(j, 0), "large")))
		_, cerr := st.Commit(context.Background())
		_, aerr := j.Append(context.Background(), rowsOf(table(j, 0), "behind"), true)
		if err := errors.Join(err, cerr, aerr, j.Close(), consistent(mem)); err != nil {
			t.Fatal(err)
		}
	}
}
