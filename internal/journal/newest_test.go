package journal

import (
	"fmt"
	"strings"
	"testing"

	"holdfast/internal/disk"
)

// TestNewestMisplaced starts where the newest segment's file has another one's
// name and nothing else tells what was in it: it is found there, and repair puts
// it back.
func TestNewestMisplaced(t *testing.T) {
	mem := fiveSegments(t, true)
	exchange(t, mem, 4, 5)
	must(0, mem.Remove(manifestName))
	j := open(t, mem, Options{SegmentSize: 1 << 20})
	if end := j.End().Seq; end != 10 {
		t.Errorf("the stream ends at %d", end)
	}
	if done := repairs(t, j, true); len(done) < 2 {
		t.Errorf("repaired: %+v", done)
	}
	if got, err := readDamaged(t, j); fmt.Sprint(got) != tenRows || err != nil {
		t.Errorf("a reader gets %q, %v", got, err)
	}
	mustAppend(t, j, "row 11")
	closeJournal(t, j)
	j = open(t, mem, Options{SegmentSize: 1 << 20})
	if got, err := readDamaged(t, j); fmt.Sprint(got) != strings.TrimSuffix(tenRows, "]")+" row 11]" || err != nil {
		t.Errorf("after a restart a reader gets %q, %v", got, err)
	}
	closeJournal(t, j)
}

// TestNewestForeign puts another stream's file in the place of the newest segment:
// where the MANIFEST knows what that had, the start goes on and names it; else it
// says whose the file is.
func TestNewestForeign(t *testing.T) {
	other := fiveSegments(t, true)
	for _, known := range []bool{true, false} {
		mem := fiveSegments(t, false)
		text := must(disk.ReadFile(other, segmentName(3), 1<<30))
		must(0, mem.Remove(segmentName(5)))
		f := must(mem.Create(segmentName(5)))
		must(0, f.WriteAt(text, 0))
		must(0, f.Sync())
		must(0, f.Close())
		if !known {
			must(0, mem.Remove(manifestName))
		}
		j, err := Open(mem, Options{Name: "main", SegmentSize: 1 << 20})
		if !known {
			if err == nil || !strings.Contains(err.Error(), "its file is segment 3 of stream") {
				t.Errorf("without a MANIFEST: %v", err)
			}
			continue
		}
		must(0, err)
		if end := j.End().Seq; end != 10 || !strings.Contains(verifySays(t, j), "misplaced: the file 0000000000000005.seg is segment 3 of stream") {
			t.Errorf("the stream ends at %d, damage %+v", end, j.Recovery().Damage)
		}
		mustAppend(t, j, "row 11")
		if end := j.End().Seq; end != 11 {
			t.Errorf("the next row has seq %d", end)
		}
		closeJournal(t, j)
	}
}
