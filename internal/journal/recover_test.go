package journal

import (
	"strings"
	"testing"

	"holdfast/internal/disk"
)

// TestShownAfterStartIsDurable kills the process while rows are written but
// not flushed, starts again, holds the keeper back before it flushes anything,
// and cuts the power: what the start has shown must be there.
func TestShownAfterStartIsDurable(t *testing.T) {
	for seed := range uint64(20) {
		mem := disk.NewMem()
		j := open(t, mem, Options{SegmentSize: 1 << 20})
		mustAppend(t, j, "flushed")
		must(j.Append(t.Context(), batch(t, j, strings.Repeat("x", 9000)), false))
		killed := mem.Kill()
		closeJournal(t, j)
		f := disk.NewFaulty(killed)
		opened := make(chan struct{})
		started := false // the MANIFEST has its name: what follows is the keeper's
		f.OnCall(func(c disk.Call) {
			if c.Kind == disk.CallRename {
				started = true
			} else if started && c.Name == segmentName(1) && c.Kind == disk.CallSync {
				<-opened
			}
		})
		j = open(t, f, Options{SegmentSize: 1 << 20})
		shown := len(readAll(t, j, 1))
		cut := killed.Crash(seed)
		close(opened)
		closeJournal(t, j)
		j = open(t, cut, Options{SegmentSize: 1 << 20})
		if got := len(readAll(t, j, 1)); got != shown {
			t.Errorf("seed %d: showed %d rows, after a power cut there are %d", seed, shown, got)
		}
		closeJournal(t, j)
	}
}
