package journal

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/segment"
)

// TestStageCrash cuts the power at each disk call of a large commit into an
// empty stream: the transaction is whole or absent.
func TestStageCrash(t *testing.T) {
	for at := 1; ; at++ {
		mem := disk.NewMem()
		f := disk.NewFaulty(mem)
		j := open(t, f, Options{SegmentSize: 24 << 10})
		s := must(j.Stage())
		const n = 8
		for i := range n {
			if err := s.Add(batch(t, j, fmt.Sprintf("%d%s", i, strings.Repeat("s", 2000)))); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		var states []*disk.Mem
		calls := 0
		f.OnCall(func(c disk.Call) {
			mu.Lock()
			defer mu.Unlock()
			if c.Kind != disk.CallRename && c.Kind != disk.CallSyncDir {
				return
			}
			if calls++; calls == at {
				for seed := range uint64(60) {
					states = append(states, mem.Crash(seed))
				}
			}
		})
		if _, err := s.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.OnCall(nil)
		closeJournal(t, j)
		if len(j.segs) < 3 {
			t.Fatalf("the transaction takes only %d segments", len(j.segs))
		}
		if states == nil {
			t.Logf("%d changes of names", at-1)
			return
		}
		for seed, d := range states {
			j := open(t, d, Options{SegmentSize: 24 << 10})
			if got := readAll(t, j, 1); len(got) != 0 && len(got) != n {
				t.Fatalf("call %d, seed %d: %d rows of %d", at, seed, len(got), n)
			}
			closeJournal(t, j)
		}
	}
}

// TestStageDamage flips a bit in the middle of a committed large transaction
// that could not be sealed: the rows behind it are not taken for a torn tail.
func TestStageDamage(t *testing.T) {
	mem := disk.NewMem()
	f := disk.NewFaulty(mem)
	j := open(t, f, Options{SegmentSize: 1 << 20})
	s := must(j.Stage())
	for i := range 20 {
		if err := s.Add(batch(t, j, fmt.Sprintf("%d%s", i, strings.Repeat("s", 5000)))); err != nil {
			t.Fatal(err)
		}
	}
	f.Fail(disk.Fault{Kind: disk.CallTruncate, N: 1, Err: syscall.EIO, Forever: true})
	if _, err := s.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	crashed := mem.Crash(1)
	_ = j.Close()
	for _, page := range []int64{segment.DataStart/disk.Align + 5, segment.DataStart/disk.Align + 6} {
		d := crashed.Kill()
		flip(t, d, segmentName(1), page*disk.Align+200)
		j := open(t, d, Options{SegmentSize: 1 << 20})
		got, err := readDamaged(t, j)
		if err != nil || len(got) != 20 || len(j.Status().Damage) == 0 {
			t.Errorf("page %d: %d rows, %v, damage %+v", page, len(got), err, j.Status().Damage)
		}
		closeJournal(t, j)
	}
}

// flip changes a bit of a file.
func flip(t *testing.T, d disk.FS, name string, at int64) {
	t.Helper()
	f := must(d.Open(name, true))
	defer f.Close()
	p := disk.Buffer(disk.Align)
	must(f.ReadAt(p, at&^(disk.Align-1)))
	p[at%disk.Align] ^= 4
	must(0, f.WriteSyncAt(p, at&^(disk.Align-1)))
}

func TestStageRefusesHugeBatch(t *testing.T) {
	j := open(t, disk.NewMem(), Options{})
	defer closeJournal(t, j)
	s := must(j.Stage())
	big := strings.Repeat("x", segment.MaxBlock/2)
	if err := s.Add(batch(t, j, big, big)); fault.Code(err) != fault.LimitExceeded {
		t.Fatalf("a batch larger than any block: %v", err)
	}
	must(0, s.Abort())
}
