package journal

import "context"

// Since returns the seq from which to read for every row kept that was received
// at a time, Unix microseconds, or later. whole is false where rows that may be
// as young are not kept any more.
func (j *Journal) Since(at int64) (seq uint64, whole bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, s := range j.segs {
		if s.lastTime >= at || s.lastTime == 0 && s.rows > 0 {
			return s.first, i > 0 || s.first == 1 || s.firstTime > 0 && s.firstTime < at
		}
	}
	return j.end.Seq + 1, len(j.segs) > 0 || j.end.Seq == 0
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
