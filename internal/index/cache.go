package index

import (
	"container/heap"
	"sync"
)

// DefaultCache is how many bytes of descriptions a Cache keeps where nobody says
// how many: those of some 500 slices of one column.
const DefaultCache = 8 << 20

// Cache keeps the descriptions of slices between look-ups, so that these read
// the pages alone that can have a value: 4 KiB of each slice instead of 68. It
// is bounded, and shared by all indexes of a database. Those of young segments
// stay, because these are asked most, and because a look-up over all of them
// would throw out, one by one, what it needs next. Safe for concurrent use.
type Cache struct {
	most int64

	mu    sync.Mutex
	bytes int64
	by    map[*slice]*kept
	old   ages
}

// kept is one description. The slice is the key, and not its number: one that
// was made anew is another one.
type kept struct {
	of    *slice
	m     *meta
	bytes int64
	time  int64 // of the youngest row of its segment
	at    int   // in ages
}

// NewCache returns a Cache of so many bytes; 0: DefaultCache, less: it keeps
// nothing.
func NewCache(most int64) *Cache {
	if most == 0 {
		most = DefaultCache
	}
	return &Cache{most: most, by: map[*slice]*kept{}}
}

// get returns the description of a slice; nil where it is not kept. Nobody
// changes it.
func (c *Cache) get(s *slice) *meta {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.by[s]; k != nil {
		return k.m
	}
	return nil
}

// put keeps a description, where there is room or older ones can make it.
func (c *Cache) put(s *slice, m *meta, time int64) {
	m = m.alone()
	k := &kept{of: s, m: m, bytes: m.memory(), time: time}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by[s] != nil || k.bytes > c.most {
		return
	}
	for c.bytes+k.bytes > c.most {
		if c.old[0].time >= time {
			return
		}
		c.dropLocked(c.old[0])
	}
	c.by[s] = k
	c.bytes += k.bytes
	heap.Push(&c.old, k)
}

// drop forgets a slice that has gone, or is to be made anew.
func (c *Cache) drop(s *slice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.by[s]; k != nil {
		c.dropLocked(k)
	}
}

func (c *Cache) dropLocked(k *kept) {
	heap.Remove(&c.old, k.at)
	delete(c.by, k.of)
	c.bytes -= k.bytes
}

// alone returns a description that holds nothing of the buffer that it was read
// into.
func (m *meta) alone() *meta {
	one := *m
	one.zones = make([][]byte, len(m.zones))
	for i, z := range m.zones {
		one.zones[i] = append([]byte(nil), z...)
	}
	return &one
}

// memory returns about how many bytes a description takes.
func (m *meta) memory() int64 {
	n := 512 + 16*cap(m.granules) + 8*cap(m.directory)
	for _, z := range m.zones {
		n += 24 + cap(z)
	}
	for _, s := range append(m.Sections[:len(m.Sections):len(m.Sections)], m.LeftOut...) {
		n += 48 + len(s.Table) + len(s.Column) + len(s.Kind)
	}
	for _, name := range m.Columns {
		n += 16 + len(name)
	}
	return int64(n)
}

// ages is a heap of what is kept, that of the oldest segment first.
type ages []*kept

// Len, Less, Swap, Push and Pop are heap.Interface.
func (a ages) Len() int           { return len(a) }
func (a ages) Less(i, k int) bool { return a[i].time < a[k].time }
func (a ages) Swap(i, k int) {
	a[i], a[k] = a[k], a[i]
	a[i].at, a[k].at = i, k
}
func (a *ages) Push(x any) {
	k := x.(*kept)
	k.at = len(*a)
	*a = append(*a, k)
}
func (a *ages) Pop() any {
	last := len(*a) - 1
	k := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return k
}
