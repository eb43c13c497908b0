package journal

import (
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/disk"
	"holdfast/row"
)

// Scrub says how fast the scrubber re-reads sealed segments. It never mends
// anything.
type Scrub struct {
	Rate  int64         // bytes per second; 0: it does not run
	Pause time.Duration // from the end of one round to the next; 0: 24 h
}

// scrubPause is the default of Scrub.Pause: rot that takes longer than a day to
// be noticed may have reached the copies.
const scrubPause = 24 * time.Hour

// Scrubbed is how far the scrubber got.
type Scrubbed struct {
	Bytes  uint64    // read since Open
	Damage uint64    // places that it was the first to find
	Rounds uint64    // ended since Open
	Ended  time.Time // when the last full round did; zero: none has since Open
}

// scrubber re-reads sealed segments, one after the other and from the platter,
// so that rot is named while the bytes still stand somewhere else too.
type scrubber struct {
	done   chan struct{} // closed when the goroutine has returned
	bytes  atomic.Uint64
	damage atomic.Uint64

	mu     sync.Mutex
	next   time.Time // when the next read may begin
	rounds uint64
	ended  time.Time
}

// startScrub starts the scrubber; joinScrub waits for its end, which Close asks for.
func (j *Journal) startScrub() {
	j.scrub.done = make(chan struct{})
	if j.o.Scrub.Rate <= 0 {
		close(j.scrub.done)
		return
	}
	go j.scrubAlong()
}

func (j *Journal) joinScrub() { <-j.scrub.done }

// scrubAlong is the scrubber's goroutine: round after round. A round's place
// is not kept, so a start begins one anew.
func (j *Journal) scrubAlong() {
	defer close(j.scrub.done)
	pause := j.o.Scrub.Pause
	if pause <= 0 {
		pause = scrubPause
	}
	for j.scrubRound() {
		j.scrub.mu.Lock()
		j.scrub.rounds++
		j.scrub.ended = j.o.Now()
		j.scrub.mu.Unlock()
		if !j.idle(pause) {
			return
		}
	}
}

// idle waits, and returns false once the journal is to be closed.
func (j *Journal) idle(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-j.stop:
	}
	select {
	case <-j.stop:
		return false
	default:
		return true
	}
}

// scrubRound reads every sealed segment, oldest first, those that come
// meanwhile included. It returns false once the journal is to be closed.
func (j *Journal) scrubRound() bool {
	for s := j.sealedBehind(0); s != nil; s = j.sealedBehind(s.number) {
		j.mu.Lock()
		list := j.gaps.list
		j.mu.Unlock()
		e := examination{j: j, file: j.slowly}
		err := e.segment(s)
		if !j.idle(0) {
			return false
		}
		for _, d := range unrepaired(list, e.found) {
			if j.notice(d) {
				j.scrub.damage.Add(1)
			}
		}
		if err != nil && j.notice(row.Damage{Stream: j.o.Name, Segment: s.number, What: err.Error()}) {
			j.scrub.damage.Add(1)
		}
	}
	return true
}

// sealedBehind returns the oldest sealed segment with a higher number.
func (j *Journal) sealedBehind(number uint64) *seg {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segs {
		if s.number > number && s.sealed {
			return s
		}
	}
	return nil
}

func (s *scrubber) status() Scrubbed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Scrubbed{Bytes: s.bytes.Load(), Damage: s.damage.Load(), Rounds: s.rounds, Ended: s.ended}
}

// slowly returns f read at the scrubber's rate.
func (j *Journal) slowly(f disk.File) disk.File { return &slow{f, j} }

type slow struct {
	disk.File
	j *Journal
}

// ReadAt waits until what was read before is paid for. Reads go on after that
// or, at the stop, fail.
func (f *slow) ReadAt(p []byte, off int64) (int, error) {
	s := &f.j.scrub
	s.mu.Lock()
	now := time.Now()
	wait := max(0, s.next.Sub(now))
	s.next = now.Add(wait + time.Duration(float64(len(p))/float64(f.j.o.Scrub.Rate)*float64(time.Second)))
	s.mu.Unlock()
	if !f.j.idle(wait) {
		return 0, ErrClosed
	}
	n, err := f.File.ReadAt(p, off)
	s.bytes.Add(uint64(n))
	return n, err
}
