package main

import (
	"math/bits"
	"time"
)

// fine is how many buckets of the histogram each power of two has: a value is
// known to 3 percent.
const fine = 32

// histogram counts durations.
type histogram struct {
	counts [40 * fine]uint32
	n      int
}

func bucketOf(ns uint64) int {
	if ns < fine {
		return int(ns)
	}
	exp := bits.Len64(ns) - bits.Len64(fine) // by how much it is shifted to lie in [fine, 2*fine)
	return min(exp*fine+int(ns>>exp), 40*fine-1)
}

// valueOf returns the middle of a bucket.
func valueOf(bucket int) time.Duration {
	if bucket < 2*fine {
		return time.Duration(bucket)
	}
	exp := bucket/fine - 1
	return time.Duration((uint64(bucket-exp*fine)<<exp + 1<<exp/2))
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))]++
	h.n++
}

func (h *histogram) merge(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
}

// quantile returns the duration below which a part q of all lies.
func (h *histogram) quantile(q float64) time.Duration {
	left := int(q * float64(h.n))
	for i, c := range h.counts {
		if left -= int(c); left < 0 {
			return valueOf(i)
		}
	}
	return 0
}
