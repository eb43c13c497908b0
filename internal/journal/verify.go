package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"holdfast/internal/segment"
	"holdfast/row"
)

// Verified is what Verify read.
type Verified struct {
	Segments int
	Rows     uint64 // readable
	Bytes    int64
}

// Verify reads everything that is durable, checks each checksum and digest,
// and hands whatever is not as it was written to report. The stream goes on
// meanwhile. An error is the disk's.
func (j *Journal) Verify(ctx context.Context, report func(row.Damage)) (Verified, error) {
	var v Verified
	j.mu.Lock()
	segs := append([]*seg(nil), j.segs...)
	known := append([]row.Damage(nil), j.recovery.Damage...)
	j.mu.Unlock()
	seen := map[row.Damage]bool{}
	tell := func(d row.Damage) {
		if !seen[d] {
			seen[d] = true
			report(d)
			j.notice(d)
		}
	}
	for i, s := range segs {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		if i > 0 && s.first != segs[i-1].last()+1 {
			tell(row.Damage{Stream: j.o.Name, Segment: s.number, First: segs[i-1].last() + 1, Last: s.first - 1, What: "segments are missing before this one"})
		}
		if err := j.verifySeg(s, &v, tell); err != nil {
			return v, err
		}
	}
	for _, d := range known {
		if d.First == 0 && d.Offset == 0 { // a whole segment that could not be opened
			tell(d)
		}
	}
	return v, nil
}

// notice puts damage into Status, unless it stands there already.
func (j *Journal) notice(d row.Damage) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, have := range j.damage {
		if have == d {
			return
		}
	}
	j.damagedLocked(d)
}

func (j *Journal) verifySeg(s *seg, v *Verified, tell func(row.Damage)) error {
	j.mu.Lock()
	gone := s.gone
	if !gone {
		s.readers++ // so that its file is not used again meanwhile
	}
	j.mu.Unlock()
	if gone {
		return nil
	}
	defer j.leaveSeg(s)
	f, err := j.d.Open(s.name(), false)
	if errors.Is(err, fs.ErrNotExist) {
		j.mu.Lock()
		gone = s.gone
		j.mu.Unlock()
		if gone {
			return nil
		}
		tell(row.Damage{Stream: j.o.Name, Segment: s.number, First: s.first, Last: s.last(), What: "the segment's file is missing"})
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	j.mu.Lock()
	sealed := s.sealed
	j.mu.Unlock()
	var footer *segment.Summary
	if sealed {
		sum, _, err := segment.ReadFooter(f)
		if err != nil {
			tell(row.Damage{Stream: j.o.Name, Segment: s.number, Offset: s.end, What: "footer: " + err.Error()})
		} else {
			footer = &sum
		}
	}
	if err := j.describeSeg(s); err != nil {
		tell(row.Damage{Stream: j.o.Name, Segment: s.number, First: s.first, Last: s.last(), What: err.Error()})
		return nil
	}
	j.mu.Lock()
	src := segment.Source{File: f, Header: s.header, End: s.end, Rows: s.rows, Schemas: j.lookup(s)}
	j.mu.Unlock()
	rows, err := segment.Verify(src, footer, tell)
	if err != nil {
		return fmt.Errorf("verify segment %d: %w", s.number, err)
	}
	v.Segments++
	v.Rows += rows
	v.Bytes += src.End
	return nil
}
