package index

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"sync"

	"holdfast/internal/disk"
	"holdfast/internal/where"
)

// Explained is what became of the segments of one read.
type Explained struct {
	Skipped int   // segments in which no row can match, by their slices or their times
	Slices  int   // that were asked
	Bytes   int64 // read of them
}

// Query is a condition on rows, and the time since when they were received.
type Query struct {
	Condition where.Condition
	Since     int64 // Unix microseconds; math.MinInt64: always
}

// Whole tells whether a query asks for every row there is.
func (q Query) Whole() bool { return q.Condition.Op == where.Anything && q.Since == math.MinInt64 }

// Status is how an index is doing.
type Status struct {
	Slices  int    // in both tiers
	Bytes   int64  // in the hot one, as Limit
	Limit   int64  // 0: none
	Warm    Warm   // nothing where there is no warm tier
	Made    uint64 // since the start
	Bad     uint64 // slices that were damaged, or of other rows, since the start
	Trouble string // why slices are not made at the moment
}

// Warm is what of an index is in its warm tier.
type Warm struct {
	There  bool // it has one
	Slices int
	Bytes  int64
	Limit  int64 // 0: none
}

// Status returns how the index is doing.
func (x *Index) Status() Status {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := Status{Slices: len(x.slices), Bytes: x.hot.bytes, Limit: x.hot.budget, Made: x.status.made, Bad: x.status.bad}
	if x.warm != nil {
		s.Warm = Warm{There: true, Bytes: x.warm.bytes, Limit: x.warm.budget}
		for _, one := range x.slices {
			if one.at == x.warm {
				s.Warm.Slices++
			}
		}
	}
	if x.status.trouble != nil {
		s.Trouble = x.status.trouble.Error()
	}
	return s
}

// Look tells which rows of a segment may match a query, from its slice. ok is
// false where there is none that can be used: all of them may. A slice that is
// damaged is made anew.
func (x *Index) Look(s Segment, q Query) (ranges []Range, read int64, ok bool) {
	x.mu.Lock()
	has := x.slices[s.Number]
	usable := has != nil && !has.bad
	x.mu.Unlock()
	if !usable {
		return nil, 0, false
	}
	ranges, read, stale, err := x.ask(s, q, has)
	x.mu.Lock()
	same := x.slices[s.Number] == has && !has.bad // else pages of another one may have been read, by its description
	x.mu.Unlock()
	if !same {
		x.o.Cache.drop(has)
		return nil, read, false
	}
	if err != nil || stale {
		x.doubt(s.Number, err)
	}
	return ranges, read, err == nil
}

// ask reads of a slice what is not kept of it. stale says that it does not have
// the columns that are asked for now.
func (x *Index) ask(s Segment, q Query, has *slice) (ranges []Range, read int64, stale bool, err error) {
	file := &lazy{open: func() (disk.File, error) { return has.at.fs.Open(sliceName(s.Number), false) }}
	defer file.close()
	m := x.o.Cache.get(has)
	if m == nil {
		f, err := file.get()
		if err != nil {
			return nil, 0, false, err
		}
		if m, read, err = readMeta(f, has.size); err != nil {
			return nil, read, false, err
		}
	}
	if !m.describes(x.o.Source.ID(), s) {
		return nil, read, false, errBad
	}
	if len(m.Columns) != len(x.o.Columns) {
		stale = true
	}
	for i := range m.Columns {
		stale = stale || m.Columns[i] != x.o.Columns[i]
	}
	if !stale && read > 0 {
		x.o.Cache.put(has, m, s.LastTime)
	}
	look := &finder{f: file, m: m}
	found, err := look.find(q.Condition)
	read += look.read
	if err != nil {
		return nil, read, stale, err
	}
	return look.ranges(found, q.Since), read, stale, nil
}

// doubt has a slice made anew. The disk that cannot give it is no reason to
// read it again for ever.
func (x *Index) doubt(number uint64, err error) {
	x.mu.Lock()
	s := x.slices[number]
	fresh := s != nil && !s.bad
	if fresh {
		s.bad = true
		x.o.Cache.drop(s)
		x.status.bad++
	}
	x.mu.Unlock()
	if !fresh {
		return
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		x.o.Log.Warn("an index slice is not usable, and made anew", "stream", x.o.Name, "segment", number, "error", err)
	}
	x.again()
}

// ahead is how many slices a Picker asks at once, and workers how many of them
// at the same time: most of the time a disk is waited for.
const (
	ahead   = 64
	workers = 4
)

// Picker asks the slices of a stream for one read, some ahead of where it is.
// Not safe for concurrent use. The zero Index, nil, knows times alone.
type Picker struct {
	x       *Index
	ctx     context.Context
	q       Query
	list    []Segment // not asked yet
	answers map[uint64]answer
	slices  bool // whether slices can help

	Explained Explained
}

type answer struct {
	ranges []Range
	read   int64
	ok     bool
}

// NewPicker returns a Picker for segments, oldest first.
func NewPicker(ctx context.Context, x *Index, q Query, segments []Segment) *Picker {
	return &Picker{x: x, ctx: ctx, q: q, list: segments, answers: map[uint64]answer{}, slices: x != nil && !q.Whole()}
}

// Pick tells which rows of a segment may match. ok is false where all may.
func (p *Picker) Pick(s Segment) (ranges []Range, ok bool) {
	if s.LastTime < p.q.Since {
		p.Explained.Skipped++
		return nil, true
	}
	if p.slices && p.ctx.Err() == nil {
		a, known := p.answers[s.Number]
		if !known {
			p.askAhead(s)
			a = p.answers[s.Number]
		}
		delete(p.answers, s.Number)
		p.Explained.Bytes += a.read
		if a.ok || a.read > 0 {
			p.Explained.Slices++
		}
		ranges, ok = a.ranges, a.ok
	}
	if ok && len(ranges) == 0 {
		p.Explained.Skipped++
	}
	return ranges, ok
}

// askAhead asks the slices of s and of those behind it.
func (p *Picker) askAhead(s Segment) {
	for len(p.list) > 0 && p.list[0].Number <= s.Number {
		p.list = p.list[1:]
	}
	clear(p.answers)
	batch := []Segment{s}
	for len(batch) < ahead && len(p.list) > 0 {
		if p.list[0].LastTime >= p.q.Since {
			batch = append(batch, p.list[0])
		}
		p.list = p.list[1:]
	}
	answers := make([]answer, len(batch))
	var wg sync.WaitGroup
	for w := range min(workers, len(batch)) {
		wg.Go(func() {
			for i := w; i < len(batch) && p.ctx.Err() == nil; i += workers {
				a := &answers[i]
				a.ranges, a.read, a.ok = p.x.Look(batch[i], p.q)
			}
		})
	}
	wg.Wait()
	for i, one := range batch {
		p.answers[one.Number] = answers[i]
	}
}
