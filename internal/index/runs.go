package index

import (
	"container/heap"
	"encoding/binary"
	"errors"

	"holdfast/internal/disk"
)

// runs are sorted entries that memory was too small for, in a file that is
// removed when the slice is written.
type runs struct {
	d    disk.FS
	name string
	room func(n int64) error // asked before the file grows; nil: there is always some

	f    disk.File // nil: nothing was written yet
	size int64
	all  []run
}

// run is where one is.
type run struct {
	off     int64
	entries int
}

// chunk is how much of a run is read or written at once, in bytes.
const chunk = 64 << 10

// write adds a run.
func (r *runs) write(entries []uint64) error {
	need := int64(disk.Up(8 * len(entries)))
	if r.room != nil {
		if err := r.room(need); err != nil {
			return err
		}
	}
	if r.f == nil {
		f, err := r.d.Create(r.name)
		if err != nil {
			return err
		}
		r.f = f
	}
	r.all = append(r.all, run{r.size, len(entries)})
	buf := disk.Buffer(chunk)
	for len(entries) > 0 {
		n := min(len(entries), chunk/8)
		for i, e := range entries[:n] {
			binary.LittleEndian.PutUint64(buf[8*i:], e)
		}
		part := buf[:disk.Up(8*n)]
		if err := r.f.WriteAt(part, r.size); err != nil {
			return err
		}
		r.size += int64(len(part))
		entries = entries[n:]
	}
	return nil
}

// close gives the file up.
func (r *runs) close() error {
	if r.f == nil {
		return nil
	}
	err := errors.Join(r.f.Close(), r.d.Remove(r.name))
	r.f = nil
	return err
}

// cursor walks one run.
type cursor struct {
	f       disk.File
	off     int64
	left    int // entries that were not read from the file
	buf     []byte
	room    []uint64 // where they are put
	entries []uint64 // that were read, and not handed out
}

func (c *cursor) fill() error {
	n := min(c.left, chunk/8)
	if n == 0 {
		return nil
	}
	if c.buf == nil {
		c.buf = disk.Buffer(chunk)
	}
	part := c.buf[:disk.Up(8*n)]
	if err := readFull(c.f, part, c.off); err != nil {
		return err
	}
	c.off += int64(len(part))
	c.left -= n
	c.room = c.room[:0]
	for i := range n {
		c.room = append(c.room, binary.LittleEndian.Uint64(part[8*i:]))
	}
	c.entries = c.room
	return nil
}

// cursors is a heap of those with entries, the one with the lowest first.
type cursors []*cursor

// Len, Less, Swap, Push and Pop are heap.Interface.
func (h cursors) Len() int           { return len(h) }
func (h cursors) Less(a, b int) bool { return h[a].entries[0] < h[b].entries[0] }
func (h cursors) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }
func (h *cursors) Push(x any)        { *h = append(*h, x.(*cursor)) }
func (h *cursors) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// merge calls each for the entries of all runs and of memory, in order.
func (r *runs) merge(memory []uint64, each func(uint64) error) error {
	var all cursors
	if len(memory) > 0 {
		all = append(all, &cursor{entries: memory})
	}
	for _, one := range r.all {
		c := &cursor{f: r.f, off: one.off, left: one.entries}
		if err := c.fill(); err != nil {
			return err
		}
		all = append(all, c)
	}
	heap.Init(&all)
	for len(all) > 0 {
		c := all[0]
		if err := each(c.entries[0]); err != nil {
			return err
		}
		if c.entries = c.entries[1:]; len(c.entries) == 0 {
			if err := c.fill(); err != nil {
				return err
			}
		}
		if len(c.entries) == 0 {
			heap.Pop(&all)
		} else {
			heap.Fix(&all, 0)
		}
	}
	return nil
}
