package journal

import (
	"slices"
	"time"

	"holdfast/internal/mutant"
)

// Hold keeps rows from every limit and every roll until it is lifted. It holds
// the segments that have a row in all of the ranges that it names.
type Hold struct {
	Name    string   `json:"name"`
	Streams []string `json:"streams,omitempty"` // none: all
	Note    string   `json:"note,omitempty"`    // why
	By      string   `json:"by,omitempty"`      // who added it
	Made    int64    `json:"made"`              // Unix microseconds
	Seqs    *Ends    `json:"seqs,omitempty"`
	Times   *Ends    `json:"times,omitempty"` // of receipt, Unix microseconds
	Links   *Ends    `json:"links,omitempty"`
}

// Ends is what lies from First to Last, both included.
type Ends struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// meets tells whether the ranges have something in common; no range has
// something in common with all.
func (r *Ends) meets(first, last int64) bool {
	return r == nil || r.First <= last && first <= r.Last
}

// Keep is what of a stream no limit and no roll removes, the newest segments
// first. Zero fields ask nothing.
type Keep struct {
	Files int
	Bytes int64
	Age   time.Duration // rows received since then
}

// SetHolds takes the holds into force that are of this stream.
func (j *Journal) SetHolds(all []Hold) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.holds = nil
	for _, h := range all {
		if len(h.Streams) == 0 || slices.Contains(h.Streams, j.o.Name) {
			j.holds = append(j.holds, h)
		}
	}
}

// heldLocked returns the name of a hold on a segment; "" where there is none.
// Where the segment's links are not known, any may be in it.
func (j *Journal) heldLocked(s *seg) string {
	if s.rows == 0 || mutant.On(34) && j.closed {
		return ""
	}
	for _, h := range j.holds {
		links := j.o.Link == LinkTime && h.Links.meets(s.firstTime, s.lastTime) || j.o.Link != LinkTime &&
			(h.Links == nil || !j.learnedLocked(s) || s.link.Rows > 0 && h.Links.meets(s.link.First, s.link.Last))
		if h.Seqs.meets(int64(s.first), int64(s.last())) && h.Times.meets(s.firstTime, s.lastTime) && links {
			return h.Name
		}
	}
	return ""
}

// firstKeptLocked returns the first segment that Limits.Keep keeps.
func (j *Journal) firstKeptLocked() int {
	k := j.limits.Load().Keep
	kept, files, bytes := len(j.segs), 0, int64(0)
	if k == (Keep{}) {
		return kept
	}
	since := j.o.Aging().Add(-k.Age).UnixMicro()
	for i := len(j.segs) - 1; i >= 0; i-- {
		s := j.segs[i]
		if s.w != nil || !s.sealed && !s.poisoned {
			continue
		}
		stays := files < k.Files || bytes < k.Bytes || k.Age > 0 && s.lastTime >= since
		if !stays && (k.Age == 0 || s.lastTime < since) {
			break // what is older is kept by none of them
		}
		if stays {
			kept = i
		}
		files++
		bytes += s.size
	}
	return kept
}

// HeldBy returns the name of a hold on a segment; "" where there is none.
func (j *Journal) HeldBy(number uint64) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segs {
		if s.number == number {
			return j.heldLocked(s)
		}
	}
	return ""
}

// Trash returns how many bytes wait in the trash, to be brought back or removed.
func (j *Journal) Trash() (bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.gone {
		bytes += s.size
	}
	return bytes
}
