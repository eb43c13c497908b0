package journal

import (
	"context"

	"holdfast/row"
)

// Range is rows that stand one behind the other.
type Range struct{ First, Last uint64 }

// Ranges returns where rows may stand that were received at a time, Unix
// microseconds, or later, and whose table want names. whole is false where rows
// that may be as young are not kept any more.
func (j *Journal) Ranges(at int64, want func(table string) bool) (all []Range, whole bool) {
	j.mu.Lock()
	var young []*seg
	whole = len(j.segs) > 0 || j.end.Seq == 0
	for i, s := range j.segs {
		if len(young) > 0 || s.lastTime >= at || s.lastTime == 0 && s.rows > 0 {
			if young = append(young, s); len(young) == 1 {
				whole = i > 0 || s.first == 1 || s.firstTime > 0 && s.firstTime < at
			}
		}
	}
	end := j.end.Seq
	j.mu.Unlock()
	for _, s := range young {
		_ = j.describeSeg(s) // one that cannot be described is read, and that tells why
		j.mu.Lock()
		r, wanted := Range{s.first, min(s.last(), end)}, !s.sealed || s.summary == nil
		if !wanted {
			for _, d := range s.summary.Schemas {
				wanted = wanted || want(d.Table)
			}
		}
		s.forgetLocked()
		j.mu.Unlock()
		if wanted && r.First <= r.Last {
			all = append(all, r)
		}
	}
	return all, whole
}

// withoutState leaves out the rows that carry the state of a source.
func withoutState(b *row.Block) {
	kept := 0
	for i := range b.Rows {
		if b.Rows[i].Flags&row.State != 0 {
			b.States++
			continue
		}
		if kept < i {
			b.Rows[kept] = b.Rows[i]
		}
		kept++
	}
	b.Rows = b.Rows[:kept]
}

// Await waits until the row with a seq is flushed.
func (j *Journal) Await(ctx context.Context, seq uint64) error {
	for {
		j.mu.Lock()
		wait, closed, there := j.waitLocked(), j.closed, j.end.Seq >= seq
		j.mu.Unlock()
		switch {
		case there:
			return nil
		case closed:
			return ErrClosed
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
