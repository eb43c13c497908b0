package journal

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
)

// fillUp leaves no page of the disk free.
func fillUp(mem *disk.Mem) {
	mem.SetQuota(1<<30, 0)
	s := must(mem.Space())
	mem.SetQuota(s.Total-s.Free, 0)
}

// TestStartOnFullDisk starts and stops on a disk without a free page: what is
// there is read, no row is taken before the run's epoch is durable, and a
// power cut behind the first row does not let the next run take it again.
func TestStartOnFullDisk(t *testing.T) {
	mem := disk.NewMem()
	o := Options{SegmentSize: 1 << 20}
	j := open(t, mem, o)
	mustAppend(t, j, "one")
	mustAppend(t, j, strings.Repeat("x", 300<<10))
	for reserve := false; !reserve; { // the next runs could write into it
		time.Sleep(time.Millisecond)
		j.mu.Lock()
		reserve = j.reserve != nil
		j.mu.Unlock()
	}
	closeJournal(t, j)
	for range 3 {
		fillUp(mem)
		j = open(t, mem, o)
		if s := j.Status(); s.State != "full" {
			t.Errorf("nobody has written, and its state is %q: %s", s.State, s.Error)
		}
		if _, err := j.Append(t.Context(), batch(t, j, "no"), true); fault.Code(err) != fault.DiskFull {
			t.Fatalf("a row on a full disk: %v", err)
		}
		s := must(j.Stage())
		if err := s.Add(batch(t, j, "no")); err == nil {
			_, err = s.Commit(t.Context())
			if fault.Code(err) != fault.DiskFull {
				t.Fatalf("a large transaction on a full disk: %v", err)
			}
		}
		if got := readAll(t, j, 1); len(got) != 2 || got[0] != "one" {
			t.Fatalf("rows are %.20q", got)
		}
		closeJournal(t, j)
	}
	fillUp(mem)
	j = open(t, mem, o)
	mem.SetQuota(0, 0)
	mustAppend(t, j, "two")
	epoch, cut := j.epoch, mem.Crash(1)
	closeJournal(t, j)
	j = open(t, cut, o)
	defer closeJournal(t, j)
	if got := readAll(t, j, 1); len(got) != 3 || got[2] != "two" || j.epoch <= epoch {
		t.Fatalf("epoch %d after %d, rows %.20q", j.epoch, epoch, got)
	}
}
