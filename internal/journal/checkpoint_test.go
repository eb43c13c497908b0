package journal

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/segment"
	"holdfast/row"
)

// counted counts the bytes that are read through it.
type counted struct {
	disk.FS
	read *atomic.Int64
}

type countedFile struct {
	disk.File
	read *atomic.Int64
}

func (c counted) Open(name string, write bool) (disk.File, error) {
	f, err := c.FS.Open(name, write)
	if err != nil {
		return nil, err
	}
	return countedFile{f, c.read}, nil
}

func (c countedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.File.ReadAt(p, off)
	c.read.Add(int64(n))
	return n, err
}

// filled returns a disk as a killed process left it, with rows of n bytes in
// all in one segment, and the file's size.
func filled(t *testing.T, n int) *disk.Mem {
	t.Helper()
	mem := disk.NewMem()
	j := open(t, mem, Options{SegmentSize: maxSegment})
	for range n / (64 << 10) {
		var b row.Batch
		b.Reset()
		for i := range 64 {
			ok(t, b.Add(j.Intern("t", columns), 0, []row.Value{row.Text(fmt.Sprintf("%d%s", i, strings.Repeat("x", 1000))), row.Null}))
		}
		must(j.Append(t.Context(), &b, true))
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		j.checks.mu.Lock()
		at := j.checks.last
		j.checks.mu.Unlock()
		j.mu.Lock()
		s := j.segs[len(j.segs)-1]
		j.mu.Unlock()
		if at.Number == s.number && at.End == s.checked {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("checkpoint at %+v, segment %d at %d", at, s.number, s.end)
		}
	}
	killed := mem.Kill()
	closeJournal(t, j)
	return killed
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestStartReadsTheTail holds that a start reads what stands behind the last
// checkpoint, and neither the segment before it nor all that was reserved.
func TestStartReadsTheTail(t *testing.T) {
	for _, size := range []int{4 << 20, 48 << 20} {
		killed := filled(t, size)
		var read atomic.Int64
		j, err := Open(counted{killed, &read}, Options{Name: "main", SegmentSize: maxSegment, Now: time.Now})
		ok(t, err)
		got := read.Load()
		if most := int64(maxSegment/checkpointParts + 2*segment.MaxUnflushed + 6<<20); got > most {
			t.Errorf("a start behind %d bytes read %d, want at most %d", size, got, most)
		}
		if rows := j.End().Seq; rows != uint64(size/(64<<10)*64) {
			t.Errorf("%d rows", rows)
		}
		if n := len(readAll(t, j, 1)); n != size/(64<<10)*64 {
			t.Errorf("%d rows are readable", n)
		}
		closeJournal(t, j)
	}
}

// TestCheckpointIsNoMoreThanHelp holds that a start finds the same without a
// checkpoint, with a damaged one, and with that of another stream.
func TestCheckpointIsNoMoreThanHelp(t *testing.T) {
	killed := filled(t, 6<<20)
	for name, harm := range map[string]func(d *disk.Mem, b []byte){
		"missing": func(d *disk.Mem, _ []byte) { must(0, d.Remove(checkpointName)) },
		"empty":   func(d *disk.Mem, _ []byte) { write(t, d, checkpointName, nil) },
		"flipped": func(d *disk.Mem, b []byte) {
			b[66] ^= 1
			b[disk.Align+66] ^= 1
			write(t, d, checkpointName, b)
		},
		"foreign": func(d *disk.Mem, _ []byte) {
			c := segment.Checkpoint{Count: 99, Number: 7, FirstSeq: 5000, Rows: 9, End: 1 << 20, StreamID: "another"}
			page := disk.Buffer(2 * disk.Align)
			ok(t, c.Encode(page))
			write(t, d, checkpointName, page)
		},
	} {
		d := killed.Kill()
		harm(d, must(disk.ReadFile(d, checkpointName, 1<<20)))
		j := open(t, d, Options{SegmentSize: maxSegment})
		if j.End().Seq != 96*64 || len(j.Recovery().Damage) > 0 {
			t.Errorf("%s: ends at %d, damage %v", name, j.End().Seq, j.Recovery().Damage)
		}
		closeJournal(t, j)
	}
}

// TestCheckpointProves cuts the newest segment off where a checkpoint says
// that it was flushed: that is damage, not a torn tail.
func TestCheckpointProves(t *testing.T) {
	killed := filled(t, 6<<20)
	f := must(killed.Open(segmentName(2), true))
	ok(t, f.Truncate(1<<20))
	ok(t, f.Close())
	j := open(t, killed, Options{SegmentSize: maxSegment})
	if d := j.Recovery().Damage; len(d) == 0 || d[len(d)-1].Last < 80*64 {
		t.Errorf("a MiB is gone, and named is %+v", d)
	}
	if last := mustAppend(t, j, "new"); last < 80*64 {
		t.Errorf("seq %d is given twice", last)
	}
	closeJournal(t, j)
}

// TestLargeBlockBehindCheckpoint fails the note that large blocks follow: the
// large block then goes to a segment that has no checkpoint.
func TestLargeBlockBehindCheckpoint(t *testing.T) {
	for _, fails := range []bool{false, true} {
		f := disk.NewFaulty(disk.NewMem())
		j := open(t, f, Options{SegmentSize: 16 << 20})
		mustAppend(t, j, "small")
		for done := false; !done; time.Sleep(time.Millisecond) {
			j.checks.mu.Lock()
			done = j.checks.due.Load() == nil && j.checks.last.Count > 0
			j.checks.mu.Unlock()
		}
		awaitMarker(t, f)
		if fails {
			f.Fail(disk.Fault{Kind: disk.CallWriteSync, N: 1, Err: syscall.EIO})
		}
		mustAppend(t, j, strings.Repeat("y", 1<<20))
		j.mu.Lock()
		segs := len(j.segs)
		j.mu.Unlock()
		if want := map[bool]int{false: 1, true: 2}[fails]; segs != want {
			t.Errorf("note fails %t: %d segments, want %d", fails, segs, want)
		}
		j.checks.mu.Lock()
		large := j.checks.last.Large
		j.checks.mu.Unlock()
		if !fails && !large {
			t.Error("no checkpoint says that blocks are large")
		}
		if n := len(readAll(t, j, 1)); n != 2 {
			t.Errorf("%d rows", n)
		}
		closeJournal(t, j)
	}
}

// TestStuckDiskRefuses holds a flush back for as long as writers fill the next
// group: whoever finds no place there is refused, and told that nothing was
// stored; those in the group get their ack in the end.
func TestStuckDiskRefuses(t *testing.T) {
	f := disk.NewFaulty(disk.NewMem())
	j := open(t, f, Options{SegmentSize: maxSegment, Limits: Limits{Wait: 10 * time.Millisecond}})
	mustAppend(t, j, "first")
	awaitMarker(t, f)
	stuck, held := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	f.OnCall(func(c disk.Call) {
		if c.Kind == disk.CallWriteSync && once.CompareAndSwap(false, true) {
			close(held)
			<-stuck
		}
	})
	acked := make(chan error, 3)
	add := func(n int) {
		_, err := j.Append(t.Context(), batch(t, j, strings.Repeat("x", n)), true)
		acked <- err
	}
	go add(10)
	<-held
	go add(200 << 10) // fills the next group
	for j.waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	begun := time.Now()
	_, err := j.Append(t.Context(), batch(t, j, strings.Repeat("x", 200<<10)), true)
	if fault.Code(err) != fault.IOError || time.Since(begun) < stall/2 {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	close(stuck)
	for range 2 {
		if err := <-acked; err != nil {
			t.Error(err)
		}
	}
	f.OnCall(nil)
	if n := len(readAll(t, j, 1)); n != 3 {
		t.Errorf("%d rows, want those that were acked", n)
	}
	closeJournal(t, j)
}
