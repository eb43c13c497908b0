package index

import (
	"bytes"
	"slices"
	"sort"

	"holdfast/internal/disk"
	"holdfast/internal/where"
)

// Range is rows that stand one behind the other, by seq.
type Range struct{ First, Last uint64 }

// set is some of a slice's granules.
type set []bool

func (s set) empty() bool { return !slices.Contains(s, true) }

// finder answers conditions from one slice.
type finder struct {
	f    *lazy
	m    *meta
	page []byte
	read int64 // bytes
}

// lazy is a slice's file, which is opened when something is read of it.
type lazy struct {
	open func() (disk.File, error)
	f    disk.File
}

func (l *lazy) get() (disk.File, error) {
	if l.f == nil {
		f, err := l.open()
		if err != nil {
			return nil, err
		}
		l.f = f
	}
	return l.f, nil
}

func (l *lazy) close() {
	if l.f != nil {
		_ = l.f.Close() // nothing was written
	}
}

// all returns every granule, or none.
func (q *finder) all(in bool) set {
	s := make(set, q.m.Granules)
	if in {
		for i := range s {
			s[i] = true
		}
	}
	return s
}

// find returns the granules in which a condition may hold.
func (q *finder) find(c where.Condition) (set, error) {
	switch c.Op {
	case where.All:
		s := q.all(true)
		for _, p := range c.Parts {
			one, err := q.find(p)
			if err != nil {
				return nil, err
			}
			for i := range s {
				s[i] = s[i] && one[i]
			}
			if s.empty() {
				break
			}
		}
		return s, nil
	case where.Any:
		s := q.all(false)
		for _, p := range c.Parts {
			one, err := q.find(p)
			if err != nil {
				return nil, err
			}
			for i := range s {
				s[i] = s[i] || one[i]
			}
		}
		return s, nil
	case where.Between, where.Equal:
		return q.leaf(c)
	}
	return q.all(true), nil
}

// leaf returns the granules in which a column may have a value.
func (q *finder) leaf(c where.Condition) (set, error) {
	at, known := q.section(c)
	if at < 0 {
		return q.all(!known), nil
	}
	s, n, some := q.all(false), c.Kind.KeyLen(), false
	for i := range s {
		zone := q.m.zones[at][2*n*i : 2*n*(i+1)]
		low, high := zone[:n], zone[n:]
		s[i] = bytes.Compare(low, high) <= 0 && (c.High == nil || bytes.Compare(low, c.High) <= 0) && (c.Low == nil || bytes.Compare(c.Low, high) <= 0)
		some = some || s[i]
	}
	if c.Op == where.Between || !some {
		return s, nil
	}
	hits, err := q.hits(c.Digest)
	if err != nil {
		return nil, err
	}
	for i := range s {
		s[i] = s[i] && hits[i]
	}
	return s, nil
}

// section returns the number of a column's section. Where it is -1, known says
// whether it is certain that no row of the segment has a value there.
func (q *finder) section(c where.Condition) (at int, known bool) {
	m := q.m
	if !slices.Contains(m.Columns, c.Column) || len(m.LeftOut) > mostSections {
		return -1, false
	}
	at = -1
	for i, s := range m.Sections {
		if s.Table != c.Table || s.Column != c.Column {
			continue
		}
		if s.Kind != c.Kind { // its type was another one for some rows: their values have other keys
			return -1, false
		}
		at = i
	}
	for _, s := range m.LeftOut {
		if s.Table == c.Table && s.Column == c.Column {
			return -1, false
		}
	}
	return at, true
}

// hits returns the granules that have a value with a digest.
func (q *finder) hits(digest uint64) (set, error) {
	s := q.all(false)
	low := digest >> granuleBits << granuleBits
	high := low | (1<<granuleBits - 1)
	dir := q.m.directory
	first := max(0, sort.Search(len(dir), func(i int) bool { return dir[i] > low })-1)
	var entries []uint64
	for n := first; n < len(dir) && dir[n] <= high; n++ {
		if q.page == nil {
			q.page = disk.Buffer(disk.Align)
		}
		f, err := q.f.get()
		if err != nil {
			return nil, err
		}
		if entries, err = readPage(f, n, q.page, entries[:0]); err != nil {
			return nil, err
		}
		q.read += disk.Align
		for _, e := range entries {
			if g := int(e & (1<<granuleBits - 1)); e >= low && e <= high && g < len(s) {
				s[g] = true
			}
		}
	}
	return s, nil
}

// ranges returns the rows of granules, without those whose rows were all
// received before since.
func (q *finder) ranges(s set, since int64) (all []Range) {
	all = []Range{}
	for i, in := range s {
		if !in || q.m.granules[i].last < since {
			continue
		}
		r := Range{q.m.First + uint64(q.m.granules[i].first), q.m.Last}
		if i+1 < len(s) {
			r.Last = q.m.First + uint64(q.m.granules[i+1].first) - 1
		}
		if n := len(all); n > 0 && all[n-1].Last+1 == r.First {
			all[n-1].Last = r.Last
		} else {
			all = append(all, r)
		}
	}
	return all
}
