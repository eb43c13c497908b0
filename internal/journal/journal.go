// Package journal is one stream on disk: many segments, one FIFO. It commits
// groups of rows with one flush each, reserves and rotates segments, serves
// readers with what is durable and complete, and removes what nobody needs.
//
// Four goroutines work for a journal: the committer (commit.go), the only one
// that writes to the active segment; the keeper (keeper.go), which seals,
// reserves and removes off the path of the writers; the hasher (hash.go); and
// the scrubber (scrub.go), which reads sealed segments again.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/cold"
	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/manifests"
	"holdfast/internal/segment"
	"holdfast/row"
)

// Limits bound what a journal keeps on disk. The zero Limits keep everything
// and refuse writers at once when the disk is full.
type Limits struct {
	Budget        int64                   // bytes of all files of the stream; 0: no bound
	MinFree       func(total int64) int64 // room to leave on a volume of that size, in bytes; nil: none
	History       int64                   // delivered bytes kept; 0: all that Budget and MinFree leave
	KeepDelivered bool                    // keep nothing that is delivered, and no segment after a clean Close
	Wait          time.Duration           // how long writers wait for room before they are refused
	DropOldest    bool                    // where nothing else helps, rows go that sinks need, and a gap tells which
	Keep          Keep                    // what no limit and no roll removes
}

// Options configure Open. The zero value of each field works.
type Options struct {
	Name        string
	SegmentSize int64 // bytes; 0: min(64 MiB, Budget/32), at least 1 MiB
	Link        Link  // what ties the stream's rows to those of others; "": nothing
	Scrub       Scrub
	Limits      Limits
	Home        int64       // bytes that the stream's own directory may take; 0: only Limits bound it
	More        []Directory // further places for segments; each new one goes where the most room is
	// GivenUp tells of a directory that is not in More whether what was there is
	// given up; nil: nothing is, and Open refuses to go on without it.
	GivenUp func(id string) bool
	Holds   []Hold
	// Remembered, where set, gets what Remember was told before the last run
	// ended, before any row may go, and returns the holds in the place of Holds.
	Remembered func(files []string) []Hold
	Cut        *Cut // what the last roll over several streams has changed in this one; nil: nothing
	// Room, where set, lets the oldest go in the place of the journal, together
	// with what is tied to it, so that lack bytes become free. With drop set
	// rows may go that sinks need. It returns false where nothing may go.
	Room func(lack int64, drop bool) (bool, error)
	// Cold, where set, is where a copy of each segment must stand before it goes.
	Cold cold.Store
	// Removed, where set, is told of each segment that goes. It must not wait.
	Removed func(Removed)
	// Manifests asks for a manifest beside each sealed segment. Gone, where set,
	// keeps those of segments that are gone, durably, before they are taken away.
	Manifests bool
	Gone      func([]manifests.Manifest) error
	// Changed, where set, is told when a segment was sealed, or went. It must not
	// wait, nor ask the journal.
	Changed func()
	Log     *slog.Logger     // nil: none
	Now     func() time.Time // nil: time.Now
	Aging   func() time.Time // by which something is old; nil: Now
}

const (
	// maxSegment is large enough that rotation costs nothing, small enough
	// that one is sealed, moved or verified in a moment.
	maxSegment = 64 << 20
	minSegment = 1 << 20
	// firstSegment is the size of a segment made while a writer waits for it:
	// it must be written with zeros at once.
	firstSegment = 4 << 20
)

// Errors that a reader or a sink's cursor meets.
var (
	// ErrGone says that rows asked for were removed.
	ErrGone = errors.New("rows are no longer kept")
	// ErrOtherJournal says that a position does not belong to this journal.
	ErrOtherJournal = errors.New("position is not of this journal")
	// ErrClosed says that the journal is closed.
	ErrClosed = fault.New(fault.AdminShutdown, "the stream is closed")
)

// Recovery tells what Open found.
type Recovery struct {
	Damage []row.Damage
	Cut    int64         // bytes of a torn tail, never acked, that were voided
	Took   time.Duration // from Open to ready

	short bool // the newest segment was cut off
}

// Journal is one stream. Its methods are safe for concurrent use.
type Journal struct {
	d        disk.FS // of home
	home     *directory
	dirs     []*directory // home first; fixed when Open returns
	o        Options
	id       string
	epoch    uint64
	salt     uint32 // of this run's segments
	recovery Recovery
	serial   atomic.Uint64
	schemas  schemas
	ring     ring
	scrub    scrubber
	checks   checkpoints

	limits   atomic.Pointer[Limits]
	smallest atomic.Int64  // size of the smallest hot place that has one; 0: none has
	wake     chan struct{} // tells the committer that a group is open
	chores   chan struct{} // tells the keeper to look around
	orders   chan order    // run on the committer
	stop     chan struct{} // closed by Close
	ended    chan struct{} // closed when the committer has returned
	kept     chan struct{} // closed when the keeper has returned
	hashed   chan struct{} // closed when the hasher has returned
	// hashWake tells the hasher that there is enough for it.
	hashWake chan struct{}

	trim    sync.Mutex // held while a segment is removed; before mu
	mending sync.Mutex // held while Repair works, or GAPS is written; before saving
	roster  sync.Mutex // held while a registration comes or goes; before saving
	saving  sync.Mutex // held while the MANIFEST is written; before mu

	mu         sync.Mutex
	filling    *group        // takes rows
	spare      *group        // the one that is not filling, while it is not being written
	woken      int           // how many writers the group had that was answered last; the committer's
	groups     []group       // that are next; the committer's
	writing    *group        // the one that is being written; nil: none
	taken      chan struct{} // closed when filling is taken away to be written; nil: nobody waits for that
	closed     bool
	segs       []*seg // in order; the last may be active
	end        row.Position
	bytes      int64         // of all files but the MANIFEST, those about to be made included
	manifest   int64         // size of the MANIFEST
	reserve    *reserved     // the spare file, nil: none
	litter     []*reserved   // spare files that could not be removed
	grown      chan struct{} // closed when end, segs or closed change; nil: nobody waits
	marks      map[string]uint64
	leaving    string            // a sink whose registration is being ended; "": none
	departed   map[string]uint64 // sinks whose registration was ended, and in which epoch
	dirty      bool              // the MANIFEST is behind
	unsaved    int               // segments sealed, or learned of, since it was written
	claimed    bool              // the MANIFEST has this run's epoch
	noted      uint64            // the lowest mark in it
	newest     uint64            // number of the newest segment when Open returned
	trouble    error             // why rows cannot be taken at the moment
	stats      counters
	damage     []row.Damage
	gaps       gaps
	doubles    []double // files that are to be taken away
	beside     beside
	holds      []Hold
	remembered []string          // what Remember was told, never changed in place
	cut        segment.Watermark // what rolls have cut off
	rolled     uint64            // serial of the last roll that was carried out here
	gone       []*seg            // rolled, and not removed yet: undone within their time, or waiting for the disk
	undo       []undoable

	unfinished *Prepared    // an undo that is committed, and could not be carried out
	counted    uint64       // up to which seq rows were counted as missing at the end
	regained   []row.Damage // by an undo that a start carries out; Open's

	savedRoll uint64 // the last roll that the MANIFEST on the disk knows of

	// Only the committer touches these.
	active  *seg
	tail    segment.Tail // where everything flushed ends
	number  uint64       // of the newest segment
	saved   []saved      // acked by wish before their flush, and not flushed yet
	savedAt time.Time
	last    int64 // latest time of receipt given
}

// counters are what Status reports as it goes.
type counters struct {
	rows, bytes, flushes uint64
	flushTime            time.Duration
}

// order is something that the committer does between two groups.
type order struct {
	do   func() error
	done chan error
}

// ID returns the journal's identity, a UUID made when it was.
func (j *Journal) ID() string { return j.id }

// Name returns the stream's name.
func (j *Journal) Name() string { return j.o.Name }

// Recovery returns what Open found.
func (j *Journal) Recovery() Recovery { return j.recovery }

// End returns the position of the last durable row.
func (j *Journal) End() row.Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end
}

// SetLimits takes other limits into use.
func (j *Journal) SetLimits(l Limits) {
	j.limits.Store(&l)
	j.chore()
}

// Limits returns the limits in force.
func (j *Journal) Limits() Limits { return *j.limits.Load() }

// Seal closes the active segment, so that it is immutable and complete with
// its footer when Seal returns. A segment without rows stays as it is.
func (j *Journal) Seal(ctx context.Context) error {
	var s *seg
	if err := j.command(ctx, func() error {
		s = j.active
		return j.retireActive()
	}); err != nil || s == nil {
		return err
	}
	for {
		j.mu.Lock()
		done, bad, wait := s.sealed || s.gone, s.poisoned, j.waitLocked()
		j.mu.Unlock()
		switch {
		case done:
			return nil
		case bad:
			return fmt.Errorf("seal segment %d: its flush went wrong; it stays as it is", s.number)
		}
		select {
		case <-wait:
		case <-j.stop:
			return ErrClosed
		case <-ctx.Done():
			return fault.New(fault.QueryCanceled, "sealing goes on in the background")
		}
	}
}

// command runs do on the committer and returns its error.
func (j *Journal) command(ctx context.Context, do func() error) error {
	o := order{do: do, done: make(chan error, 1)}
	select {
	case j.orders <- o:
	case <-ctx.Done():
		return fault.New(fault.QueryCanceled, "cancelled before it began")
	case <-j.ended:
		return ErrClosed
	}
	select {
	case err := <-o.done:
		return err
	case <-j.ended:
		select {
		case err := <-o.done:
			return err
		default:
			return ErrClosed
		}
	}
}

// waitLocked returns a channel that is closed at the next change.
func (j *Journal) waitLocked() <-chan struct{} {
	if j.grown == nil {
		j.grown = make(chan struct{})
	}
	return j.grown
}

// changedLocked wakes everybody who waits for a change.
func (j *Journal) changedLocked() {
	if j.grown != nil {
		close(j.grown)
		j.grown = nil
	}
}

// chore makes the keeper look around soon.
func (j *Journal) chore() {
	select {
	case j.chores <- struct{}{}:
	default:
	}
}

// Close stops taking rows, commits those that were handed over, seals the
// active segment and returns when everything is on disk. Idempotent.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		<-j.kept
		return nil
	}
	j.closed = true
	j.changedLocked()
	j.mu.Unlock()
	close(j.stop)
	<-j.ended
	<-j.kept
	<-j.hashed
	j.joinScrub()
	return j.finish()
}

// Status is what a journal tells of itself.
type Status struct {
	FirstSeq      uint64 // oldest row kept; EndSeq+1 where none is
	EndSeq        uint64 // last durable row
	Segments      int
	Bytes         int64  // of all files, reservations included
	Limit         int64  // budget, 0: none
	Free          int64  // on the volume
	State         string // "ok", "full" or "failing"
	Error         string // why it is not ok
	OldestTime    int64  // receipt of the oldest row kept, Unix microseconds; 0: unknown or none
	Damage        []row.Damage
	Gaps          []row.Damage // what repair gave up, the newest
	GapRows       uint64       // in all of them
	Scrub         Scrubbed
	Appended      uint64 // rows committed since Open
	AppendedBytes uint64 // bytes written for them
	Flushes       uint64
	FlushTime     time.Duration // in all of them
}

// Status returns how the journal is doing.
func (j *Journal) Status() Status {
	room, err := j.d.Space()
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Status{
		FirstSeq: j.end.Seq + 1, EndSeq: j.end.Seq, Segments: len(j.segs), Bytes: j.bytes + j.manifest, Limit: j.limits.Load().Budget,
		Free: room.Free, State: "ok", Damage: append([]row.Damage(nil), j.damage...),
		Appended: j.stats.rows, AppendedBytes: j.stats.bytes, Flushes: j.stats.flushes, FlushTime: j.stats.flushTime,
	}
	s.Gaps, s.GapRows = j.gapStatusLocked()
	s.Scrub = j.scrub.status()
	if len(j.segs) > 0 {
		s.FirstSeq, s.OldestTime = j.segs[0].first, j.segs[0].firstTime
	}
	if err == nil {
		err = j.trouble
	}
	if err == nil {
		err = j.stallLocked()
	}
	if err != nil {
		s.State, s.Error = "failing", err.Error()
		if fault.Code(err) == fault.DiskFull {
			s.State = "full"
		}
	}
	return s
}

// stall is how long a disk may take for a flush before status speaks of it:
// far beyond what a busy one takes, and well below what writers put up with.
const stall = 2 * time.Second

// stalledLocked returns since when writers wait for the disk; 0 where none does.
func (j *Journal) stalledLocked() time.Duration {
	g := j.writing
	if g == nil {
		g = j.filling
		if g.block.Empty() {
			return 0
		}
	}
	return time.Since(g.began)
}

// stallLocked returns why no row is acknowledged although nothing has gone
// wrong yet: a flush, or a write, that does not return.
func (j *Journal) stallLocked() error {
	if age := j.stalledLocked(); age > stall {
		return fault.New(fault.IOError, "the disk has not answered a flush for %v", age.Round(time.Second)).
			WithHint("writers wait, and are acknowledged when it does; look at the disk")
	}
	return nil
}

// mostDamage bounds what Status lists: a disk that fails for hours must not
// fill the memory.
const mostDamage = 100

// damagedLocked puts damage into Status, and tells whether any of it is new.
// Journal.mu is held.
func (j *Journal) damagedLocked(found ...row.Damage) (fresh bool) {
	for _, d := range found {
		if all, is := once(j.damage, d); is {
			j.damage, fresh = all, true
		}
	}
	if n := len(j.damage) - mostDamage; n > 0 {
		j.damage = append(j.damage[:0], j.damage[n:]...)
	}
	return fresh
}

// BytesAfter returns about how many bytes the rows behind seq take.
func (j *Journal) BytesAfter(seq uint64) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	total := int64(0)
	for i := len(j.segs) - 1; i >= 0; i-- {
		s := j.segs[i]
		if s.last() <= seq {
			break
		}
		data := s.end - segment.DataStart
		if s.first <= seq && s.rows > 0 {
			data = int64(float64(data) * float64(s.last()-seq) / float64(s.rows))
		}
		total += data
	}
	return total
}
