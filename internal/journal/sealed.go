package journal

import (
	"context"
	"fmt"
	"io"
	"slices"

	"holdfast/internal/segment"
	"holdfast/row"
)

// Sealed is a sealed segment, as the journal knows it without reading it.
type Sealed struct {
	Number    uint64
	First     uint64 // seq of its first row
	Last      uint64 // seq of its last row
	End       int64  // of its content, bytes
	Chain     uint32 // at its last row
	FirstTime int64  // of receipt, Unix microseconds
	LastTime  int64
}

// sealedLocked returns what a sealed segment is; false for any other, and for
// one without rows.
func (s *seg) sealedLocked() (Sealed, bool) {
	return Sealed{
		Number: s.number, First: s.first, Last: s.last(), End: s.end, Chain: s.chain, FirstTime: s.firstTime, LastTime: s.lastTime,
	}, s.sealed && s.rows > 0 && s.end > segment.DataStart
}

// Sealed returns the sealed segments, oldest first, without reading any.
func (j *Journal) Sealed() []Sealed {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]Sealed, 0, len(j.segs))
	for _, s := range j.segs {
		if one, ok := s.sealedLocked(); ok {
			all = append(all, one)
		}
	}
	return all
}

// changed tells whoever wants to know that segments were sealed, or went, or
// came back.
func (j *Journal) changed() {
	if j.o.Changed != nil {
		j.o.Changed()
	}
}

// ScanSealed hands the blocks of a sealed segment to each, as they stand in its
// file: rows that a roll has hidden and rows that repair gave up among them,
// since both may come back. The error wraps ErrGone where the segment is no
// longer there.
func (j *Journal) ScanSealed(ctx context.Context, number uint64, each func(*row.Block) error) error {
	j.mu.Lock()
	at := slices.IndexFunc(j.segs, func(s *seg) bool { return s.number == number && s.sealed })
	if at < 0 {
		j.mu.Unlock()
		return fmt.Errorf("segment %d of stream %q: %w", number, j.o.Name, ErrGone)
	}
	s := j.segs[at]
	s.readers++
	j.mu.Unlock()
	r := &Reader{j: j, next: s.first}
	if err := r.open(s); err != nil {
		j.leaveSeg(s)
		return fmt.Errorf("read segment %d of stream %q: %w", number, j.o.Name, err)
	}
	err := scan(ctx, r.r, each)
	if cerr := r.leave(); err == nil {
		err = cerr
	}
	return err
}

func scan(ctx context.Context, r *segment.Reader, each func(*row.Block) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = each(b)
		}
		if err != nil {
			return err
		}
	}
}

// A Pick says which rows of a sealed segment a reader is to read: those in
// ranges, which rise, and perhaps others with them. It returns false where it
// cannot tell, and all are read.
type Pick func(Sealed) (ranges []Range, ok bool)

// pick asks which rows of the segment to enter are wanted, and tells whether
// any are. Journal.mu is not held.
func (r *Reader) pick(s *seg) bool {
	r.picked = nil
	if r.Pick == nil {
		return true
	}
	r.j.mu.Lock()
	one, ok := s.sealedLocked()
	r.j.mu.Unlock()
	if !ok {
		return true
	}
	ranges, ok := r.Pick(one)
	if !ok {
		return true
	}
	for len(ranges) > 0 && ranges[0].Last < r.next {
		ranges = ranges[1:]
	}
	if len(ranges) == 0 {
		r.next = one.Last + 1
		return false
	}
	r.next = max(r.next, ranges[0].First)
	r.picked = ranges
	return true
}

// hop goes on to the next rows that are wanted of the segment that is open, and
// tells whether there are any.
func (r *Reader) hop() bool {
	if r.picked == nil {
		return true
	}
	for len(r.picked) > 0 && r.picked[0].Last < r.next {
		r.picked = r.picked[1:]
	}
	if len(r.picked) == 0 {
		r.j.mu.Lock()
		r.next = max(r.next, r.seg.last()+1)
		r.j.mu.Unlock()
		r.picked = nil
		return false
	}
	if first := r.picked[0].First; first > r.next {
		r.next = first
		r.r.Skip(first - r.seg.first)
	}
	return true
}
