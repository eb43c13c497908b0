package index

import (
	"strings"
	"testing"

	"holdfast/internal/disk"
	"holdfast/internal/where"
)

// TestCacheReads holds what a look-up reads: of each slice its end and perhaps a
// page at first, later the page alone, and nothing where the description says
// enough.
func TestCacheReads(t *testing.T) {
	w := newWorld(t, random(t), disk.NewMem())
	files := disk.NewFaulty(w.disk)
	w.files = files
	w.close()
	w.open()
	w.o.Cache = NewCache(0)
	w.x.Close()
	w.x = must(Open(w.o))
	defer w.close()
	const segments = 20
	for range segments {
		w.fill(50, true)
	}
	w.settle()
	look := func(text string) (opens, reads int, rows int) {
		t.Helper()
		opens, reads = files.Count(disk.CallOpen), files.Count(disk.CallRead)
		seqs, p := w.read(w.x, text, 0)
		if p.Explained.Slices != segments {
			t.Errorf("%s: %d slices were asked", text, p.Explained.Slices)
		}
		return files.Count(disk.CallOpen) - opens, files.Count(disk.CallRead) - reads, len(seqs)
	}
	// Beyond every value: the lowest and the highest one rule it out.
	if opens, reads, _ := look(`n > 1000000`); opens != segments || reads != segments {
		t.Errorf("cold: %d opens, %d reads", opens, reads)
	}
	if opens, reads, _ := look(`n > 1000000`); opens != 0 || reads != 0 {
		t.Errorf("warm: %d opens, %d reads", opens, reads)
	}
	if opens, reads, _ := look(`n == 1000000 or ip == "zzz"`); opens != 0 || reads != 0 {
		t.Errorf("warm, ruled out: %d opens, %d reads", opens, reads)
	}
	// Within the bounds: one page of each slice, and nothing of a segment.
	if opens, reads, rows := look(`ip == "192.0.2.10x"`); opens > segments || reads > segments || reads == 0 || rows != 0 {
		t.Errorf("warm, by a page: %d opens, %d reads, %d rows", opens, reads, rows)
	}
}

// TestCacheBounds holds that a cache keeps to its size, keeps young ones, and
// forgets what is dropped.
func TestCacheBounds(t *testing.T) {
	one := func() *meta {
		return &meta{
			head:     head{Columns: []string{"ip"}, Sections: []section{{"acc", "ip", where.Text}}},
			granules: make([]granule, 10), zones: [][]byte{make([]byte, 480)}, directory: make([]uint64, 5),
		}
	}
	c := NewCache(5 * one().memory())
	list := make([]*slice, 20)
	for i := range list {
		list[i] = &slice{}
		c.put(list[i], one(), int64(i*7%20))
		if c.bytes > c.most || len(c.by) != len(c.old) {
			t.Fatalf("%d bytes of %d in %d descriptions", c.bytes, c.most, len(c.by))
		}
	}
	for i, s := range list {
		if there := c.get(s) != nil; there != (i*7%20 >= 15) {
			t.Errorf("that of time %d is there: %v", i*7%20, there)
		}
		c.drop(s)
		c.drop(s)
	}
	if c.bytes != 0 || len(c.by) != 0 || len(c.old) != 0 {
		t.Errorf("%d bytes, %d descriptions are left", c.bytes, len(c.by))
	}
	big, none := one(), NewCache(-1)
	big.Columns = []string{strings.Repeat("x", int(c.most))}
	c.put(list[0], big, 1)
	none.put(list[0], one(), 1)
	if c.get(list[0]) != nil || none.get(list[0]) != nil {
		t.Error("what is too large is kept")
	}
}

// TestCacheHoldsNoBuffer holds that what is kept does not hold the buffer that it
// was read into, which is larger.
func TestCacheHoldsNoBuffer(t *testing.T) {
	buffer := make([]byte, 64<<10)
	m := (&meta{zones: [][]byte{buffer[10:20]}}).alone()
	if cap(m.zones[0]) > 64 || &m.zones[0][0] == &buffer[10] {
		t.Errorf("a part of the buffer is kept, with room for %d bytes", cap(m.zones[0]))
	}
}
