package journal

import (
	"context"
	"fmt"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/segment"
	"holdfast/row"
)

// linked returns rows of table t with links in column n; "" is NULL.
func linked(t testing.TB, j *Journal, links ...string) *row.Batch {
	t.Helper()
	s := j.Intern("t", columns)
	var b row.Batch
	for _, l := range links {
		v := row.Text(l)
		if l == "" {
			v = row.Null
		}
		if err := b.Add(s, 0, []row.Value{row.Text("x"), v}); err != nil {
			t.Fatal(err)
		}
	}
	return &b
}

// linksOf waits until every segment but the active one is sealed and learned,
// and returns their link ranges.
func linksOf(t *testing.T, j *Journal) []segment.LinkRange {
	t.Helper()
	for range 3000 {
		var all []segment.LinkRange
		ready := true
		j.mu.Lock()
		for _, s := range j.segs {
			ready = ready && (s.w != nil || s.sealed) && (s.w != nil || j.learnedLocked(s))
			all = append(all, s.link)
		}
		j.mu.Unlock()
		if ready {
			return all
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("segments are not sealed")
	return nil
}

// TestLinkRanges holds that a segment knows its links, however it came to be:
// written, staged, recovered after a crash, or from before there was a link.
func TestLinkRanges(t *testing.T) {
	mem := disk.NewMem()
	o := Options{SegmentSize: 64 << 10, Link: "n"}
	j := open(t, mem, Options{SegmentSize: 64 << 10})
	must(j.Append(t.Context(), linked(t, j, "3", "1", "", "2"), true))
	closeJournal(t, j)

	j = open(t, mem, o)
	must(j.Append(t.Context(), linked(t, j, "20", "x", "", "5.0"), true))
	must(j.Append(t.Context(), linked(t, j, "10"), true))
	must(0, j.Seal(t.Context()))
	s := must(j.Stage())
	for i := range 3 {
		must(0, s.Add(linked(t, j, fmt.Sprint(100-i), "-7")))
	}
	must(s.Commit(context.Background()))
	must(j.Append(t.Context(), linked(t, j, "900", "800"), true))
	want := []segment.LinkRange{
		{Column: "n", Rows: 3, First: 1, Last: 3}, {Column: "n", Rows: 2, First: 10, Last: 20},
		{Column: "n", Rows: 6, First: -7, Last: 100}, {Column: "n", Rows: 2, First: 800, Last: 900},
	}
	same := func(when string, got []segment.LinkRange) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%s: links are %+v, want %+v", when, got, want)
		}
	}
	same("written", linksOf(t, j))
	crashed := mem.Kill()
	closeJournal(t, j)
	for range 2 { // the second start reads the MANIFEST alone
		j = open(t, crashed, o)
		same("after a crash", linksOf(t, j))
		closeJournal(t, j)
	}
	must(0, crashed.Remove(manifestName))
	j = open(t, crashed, o)
	same("from footers", linksOf(t, j)) // of the first one, written without a link, by reading it
	closeJournal(t, j)
}

// TestLinksCostNoMemory holds that looking for links allocates nothing.
func TestLinksCostNoMemory(t *testing.T) {
	j := open(t, disk.NewMem(), Options{Link: "n"})
	defer closeJournal(t, j)
	b := linked(t, j, "1", "2", "3")
	if n := testing.AllocsPerRun(100, func() { j.links(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
