package bench

import (
	"math/bits"
	"sync"
	"time"
)

// histogram counts durations in buckets that are 1/64 of their value wide or
// narrower, so that any number of operations takes the same memory. It is not
// safe for concurrent use; each waiter fills its own.
type histogram struct {
	counts [maxBucket + 1]uint32
	n      uint64
}

const (
	subBuckets = 64
	maxBucket  = (64-7)*subBuckets + 2*subBuckets - 1
)

func bucket(ns uint64) int {
	if ns < 2*subBuckets {
		return int(ns)
	}
	e := bits.Len64(ns) - 7
	return e*subBuckets + int(ns>>e)
}

// middle returns the nanoseconds in the middle of a bucket.
func middle(i int) float64 {
	if i < 2*subBuckets {
		return float64(i)
	}
	e := i/subBuckets - 1
	return (float64(i-e*subBuckets) + .5) * float64(uint64(1)<<e)
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(0, d)))]++
	h.n++
}

func (h *histogram) merge(other *histogram) {
	for i, c := range other.counts {
		h.counts[i] += c
	}
	h.n += other.n
}

// microseconds returns what the share q of all operations did not exceed; 0
// where there is none.
func (h *histogram) microseconds(q float64) float64 {
	rank := uint64(q * float64(h.n))
	for i, c := range h.counts {
		if uint64(c) > rank {
			return middle(i) / 1e3
		}
		rank -= uint64(c)
	}
	return 0
}

// waiters lets so many goroutines do n rows between them: each is told its
// number and its share, and has a histogram of its own. It returns when the
// last is done, with the first error.
func waiters(count, n int, took *histogram, do func(i, share int, took *histogram) error) error {
	count = max(1, min(count, n))
	var mu sync.Mutex // guards took and first
	var first error
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() {
			var own histogram
			err := do(i, n/count+min(1, max(0, n%count-i)), &own)
			mu.Lock()
			defer mu.Unlock()
			took.merge(&own)
			if first == nil {
				first = err
			}
		})
	}
	wg.Wait()
	return first
}

// alone does operations one after the other and notes each.
func alone(n int, took *histogram, do func() error) error {
	for range n {
		start := time.Now()
		if err := do(); err != nil {
			return err
		}
		took.add(time.Since(start))
	}
	return nil
}

// inBatches calls do with the size of each batch of at most size rows, n in all.
func inBatches(n, size int, took *histogram, do func(rows int) error) error {
	for n > 0 {
		rows := min(n, size)
		n -= rows
		if err := alone(1, took, func() error { return do(rows) }); err != nil {
			return err
		}
	}
	return nil
}
