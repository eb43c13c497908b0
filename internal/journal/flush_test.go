package journal

import (
	"fmt"
	"syscall"
	"testing"

	"holdfast/internal/disk"
)

// TestFlush makes rows durable that were acked before their flush: they are
// shown at once, and there after a power cut. Where the flush fails, Flush says
// so or puts them elsewhere, and no row is lost either way.
func TestFlush(t *testing.T) {
	for name, fault := range map[string]*disk.Fault{
		"": nil, "a flush that fails": {Kind: disk.CallWriteSync, N: 1, Err: syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			mem := disk.NewMem()
			f := disk.NewFaulty(mem)
			j := open(t, f, Options{SegmentSize: 1 << 20})
			ok(t, j.Flush(t.Context())) // of nothing
			mustAppend(t, j, "one")
			awaitMarker(t, f)
			calls := f.Count(disk.CallWriteSync)
			ok(t, j.Flush(t.Context()))
			if n := f.Count(disk.CallWriteSync); n != calls {
				t.Errorf("%d flushes of nothing", n-calls)
			}
			for _, v := range []string{"two", "three"} {
				must(j.Append(t.Context(), batch(t, j, v), false))
			}
			if fault != nil {
				f.Fail(*fault)
			}
			for try := 0; ; try++ {
				err := j.Flush(t.Context())
				if err == nil {
					break
				}
				if fault == nil || try == 100 {
					t.Fatalf("try %d: %v", try, err)
				}
			}
			if got := fmt.Sprint(readAll(t, j, 1)); got != "[one two three]" {
				t.Errorf("rows are %s", got)
			}
			cut := mem.Crash(7)
			closeJournal(t, j)
			j = open(t, cut, Options{SegmentSize: 1 << 20})
			if got := fmt.Sprint(readAll(t, j, 1)); got != "[one two three]" {
				t.Errorf("after a power cut rows are %s", got)
			}
			closeJournal(t, j)
			if err := j.Flush(t.Context()); err == nil {
				t.Error("a journal that is closed was flushed")
			}
		})
	}
}
