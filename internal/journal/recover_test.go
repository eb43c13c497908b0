package journal

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
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
		var started atomic.Bool // the MANIFEST has its name: what follows is the keeper's
		f.OnCall(func(c disk.Call) {
			if c.Kind == disk.CallRename {
				started.Store(true)
			} else if started.Load() && c.Name == segmentName(1) && c.Kind == disk.CallSync {
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

// TestPageCacheLies fails a flush, kills the process and starts again: what
// the start shows must outlive a power cut. Direct reads show the platter, so
// it does. The same start with reads from the page cache serves the row whose
// flush had failed, flushes a file that the kernel takes for clean, and loses
// what it has shown: that the test sees it is what makes it one.
func TestPageCacheLies(t *testing.T) {
	for _, buffered := range []bool{false, true} {
		mem := disk.NewMem()
		mem.SetBuffered(buffered)
		f := disk.NewFaulty(mem)
		j := open(t, f, Options{SegmentSize: 24 << 10})
		mustAppend(t, j, "one")
		awaitMarker(t, f)
		f.Fail(disk.Fault{Kind: disk.CallWriteSync, N: 1, Err: syscall.EIO})
		if _, err := j.Append(t.Context(), batch(t, j, "two"), true); fault.Code(err) != fault.OutcomeUnknown {
			t.Fatalf("a failed flush is answered %v", err)
		}
		killed := mem.Kill()
		closeJournal(t, j)
		j = open(t, killed, Options{SegmentSize: 24 << 10})
		shown := j.End()
		cut := killed.Crash(1)
		closeJournal(t, j)
		if err := endsAt(cut, shown); (err != nil) != buffered || (shown.Seq == 2) != buffered {
			t.Errorf("read from the page cache %v: showed %+v, after a power cut: %v", buffered, shown, err)
		}
	}
}

// TestFooterIsFlushedBeforeItCounts kills the process between a footer and its
// flush, starts, and cuts the power: what the MANIFEST of that start says of
// the segment must hold.
func TestFooterIsFlushedBeforeItCounts(t *testing.T) {
	mem := disk.NewMem()
	f := disk.NewFaulty(mem)
	j := open(t, f, Options{SegmentSize: 64 << 10})
	mustAppend(t, j, "row")
	var killed atomic.Pointer[disk.Mem]
	f.OnCall(func(c disk.Call) { // the first flush of the file behind its cut is the footer's
		if c.Kind == disk.CallTruncate && c.Name != manifestName+".tmp" {
			f.OnCall(func(c disk.Call) {
				if c.Kind == disk.CallSync {
					killed.CompareAndSwap(nil, mem.Kill())
				}
			})
		}
	})
	ok(t, j.Seal(t.Context()))
	f.OnCall(nil)
	closeJournal(t, j)
	dead := killed.Load()
	if dead == nil {
		t.Fatal("no footer was flushed")
	}
	j = open(t, dead, Options{SegmentSize: 64 << 10})
	for seed := range uint64(20) {
		k := open(t, dead.Crash(seed), Options{SegmentSize: 64 << 10})
		if d := k.Recovery().Damage; len(d) > 0 {
			t.Errorf("seed %d: %+v", seed, d)
		}
		closeJournal(t, k)
	}
	closeJournal(t, j)
}
