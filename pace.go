package holdfast

import (
	"sync"
	"time"
)

// pace tells how fast a sink takes rows, from seqs alone, so that it can never
// be less than nothing.
type pace struct {
	mu      sync.Mutex
	samples [paceSamples]paceSample // a ring
	n       int                     // taken so far
}

type paceSample struct {
	at       time.Time
	seq, end uint64 // last row that the sink had, and that there was
}

const (
	paceSamples = 32
	paceEvery   = time.Second      // one sample
	paceWindow  = 60 * time.Second // what is older says nothing of now
)

// note takes a sample, unless there is one of just now.
func (p *pace) note(now time.Time, seq, end uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n > 0 {
		last := p.samples[(p.n-1)%paceSamples]
		if seq < last.seq { // it gets rows again
			p.n = 0
		} else if now.Sub(last.at) < paceEvery {
			return
		}
	}
	p.samples[p.n%paceSamples] = paceSample{now, seq, end}
	p.n++
}

// estimate returns how many rows per second the sink takes, and when it will
// have them all, if rows go on coming as they do; 0 where nobody can tell.
func (p *pace) estimate(now time.Time, seq, end uint64) (rate float64, left time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := max(0, p.n-paceSamples); i < p.n; i++ {
		s := p.samples[i%paceSamples]
		seconds := now.Sub(s.at).Seconds()
		if seconds > paceWindow.Seconds() {
			continue
		}
		if seconds < paceEvery.Seconds() || seq < s.seq || end < s.end {
			return 0, 0
		}
		rate = float64(seq-s.seq) / seconds
		gain := rate - float64(end-s.end)/seconds
		if end > seq && gain > 0 {
			left = time.Duration(min(float64(end-seq)/gain, maxLeft.Seconds()) * float64(time.Second))
		}
		return rate, left
	}
	return 0, 0
}

// maxLeft is the longest time that an estimate names: beyond a year it is a
// word for never.
const maxLeft = 366 * 24 * time.Hour
