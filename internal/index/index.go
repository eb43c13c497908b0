package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast/internal/disk"
	"holdfast/row"
)

// Names in the directory of slices.
const (
	sliceSuffix  = ".idx"      // <number, 16 digits>.idx: the slice of the segment of that number
	tmpSuffix    = ".idx.tmp"  // one that is being written; void at start
	runsSuffix   = ".idx.runs" // what memory is too small for while one is made; void at start
	stateName    = "INDEX"     // up to where slices were rolled
	numberDigits = 16
)

// Source is the stream that slices are made of.
type Source interface {
	// ID returns the stream's identity.
	ID() string
	// Sealed returns the sealed segments with rows, oldest first. It reads no
	// file.
	Sealed() []Segment
	// Scan hands the blocks of a sealed segment to each, as they stand in its
	// file, damage named. The error wraps fs.ErrNotExist where it has gone.
	Scan(ctx context.Context, number uint64, each func(*row.Block) error) error
}

// Options configure Open. Zero fields work, but for FS, Columns and Source.
type Options struct {
	Name    string // of the stream
	Source  Source
	FS      disk.FS // where slices are
	Columns []string
	Budget  int64                   // bytes of all files of the index there; 0: no bound
	Warm    disk.FS                 // where the oldest go when Budget is full; nil: they leave
	WarmTo  int64                   // bytes of all files there, the oldest of which leave then; 0: no bound
	MinFree func(total int64) int64 // room to leave on a volume of that size; nil: none
	Cache   *Cache                  // of descriptions; nil: one of its own
	Changed <-chan struct{}         // tells that segments were sealed, or went; nil: looked for each minute
	Log     *slog.Logger
	Now     func() time.Time

	grain int64 // bytes of a granule, at least; 0: granuleBytes; tests have small segments
	most  int   // entries held in memory; 0: mostEntries
}

// Index is the slices of one stream. Its methods are safe for concurrent use.
// One goroutine makes slices, and removes those whose segment has gone.
type Index struct {
	o      Options
	wake   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}

	files sync.Mutex // held while a slice gets, changes or loses its name; before mu

	mu       sync.Mutex
	slices   map[uint64]*slice
	hot      home
	warm     *home             // nil: there is no warm tier
	cool     uint64            // slices up to this segment are warm, and made there
	floor    uint64            // slices up to this segment were rolled, and are not made again
	outgrown uint64            // the same, because the budget is too small for them
	failed   map[uint64]string // segments of which no slice can be made, and why
	status   counters
	waiting  chan struct{}
}

// slice is one that is there.
type slice struct {
	size int64
	at   *home
	time int64 // when it was made, Unix microseconds; 0: before this run
	bad  bool  // it is to be made anew, and is not asked
}

// counters are what Status reports as it goes.
type counters struct {
	made, bad uint64
	trouble   error
}

// Open takes over the slices that are in a directory, and begins to make those
// that are missing. It reads none of them: one that is damaged is found when it
// is asked.
func Open(o Options) (*Index, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Cache == nil {
		o.Cache = NewCache(0)
	}
	o.grain, o.most = cmp.Or(o.grain, granuleBytes), cmp.Or(o.most, mostEntries)
	x := &Index{o: o, wake: make(chan struct{}, 1), done: make(chan struct{}), slices: map[uint64]*slice{}, failed: map[uint64]string{}}
	x.hot = home{fs: o.FS, budget: o.Budget, aside: stateSize}
	if o.Warm != nil {
		x.warm = &home{fs: o.Warm, budget: o.WarmTo}
	}
	if err := x.load(); err != nil {
		return nil, fmt.Errorf("open the index of stream %q: %w", o.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	x.cancel = cancel
	go x.run(ctx)
	return x, nil
}

// sliceName returns the name of a segment's slice.
func sliceName(number uint64) string {
	return fmt.Sprintf("%0*d%s", numberDigits, number, sliceSuffix)
}

func sliceNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, sliceSuffix)
	if !ok || len(digits) != numberDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// Close ends the making of slices. What is there stays.
func (x *Index) Close() {
	x.cancel()
	<-x.done
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.slices {
		x.o.Cache.drop(s)
	}
}

// lookAround is how often segments are looked for that nobody told of, and how
// long a disk that had no room is left alone.
const lookAround = time.Minute

// run makes and removes slices until Close.
func (x *Index) run(ctx context.Context) {
	defer close(x.done)
	tick := time.NewTicker(lookAround)
	defer tick.Stop()
	last := ""
	for {
		err := x.round(ctx)
		if ctx.Err() != nil {
			return
		}
		x.settle(err)
		switch {
		case err == nil:
			last = ""
		case err.Error() != last:
			last = err.Error()
			x.o.Log.Warn("make index slices; segments without one are read", "stream", x.o.Name, "error", err)
		}
		select {
		case <-x.o.Changed:
		case <-x.wake:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// settle notes how a round ended, and tells whoever waits for that.
func (x *Index) settle(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.status.trouble = err
	if x.waiting != nil {
		close(x.waiting)
		x.waiting = nil
	}
}

// Settle waits until the slices of all segments that are sealed now are there,
// or cannot be.
func (x *Index) Settle(ctx context.Context) error {
	for range 2 { // the round that goes on may have listed the segments before
		x.mu.Lock()
		if x.waiting == nil {
			x.waiting = make(chan struct{})
		}
		wait := x.waiting
		x.mu.Unlock()
		x.again()
		select {
		case <-wait:
		case <-x.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// again makes the goroutine look around soon.
func (x *Index) again() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// round removes slices whose segment has gone, and makes those that are
// missing, the newest first: those are asked most.
func (x *Index) round(ctx context.Context) error {
	for ctx.Err() == nil {
		s, found, err := x.next()
		if err != nil || !found {
			return err
		}
		err = x.make(ctx, s)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errDamagedRows):
			x.fail(s.Number, err)
			x.o.Log.Warn("a segment is damaged, so it has no index slice, and is read whole", "stream", x.o.Name, "segment", s.Number)
		case errors.Is(err, errNoRoom):
			x.mu.Lock()
			if x.warm != nil && s.Number > x.cool {
				x.cool = s.Number // all that is hot is younger
			} else {
				x.outgrown = max(x.outgrown, s.Number)
			}
			x.mu.Unlock()
		case errors.Is(err, fs.ErrNotExist):
			x.fail(s.Number, err) // its segment has gone meanwhile, or cannot be opened
		default:
			return err
		}
	}
	return nil
}

func (x *Index) fail(number uint64, why error) {
	x.mu.Lock()
	x.failed[number] = why.Error()
	x.mu.Unlock()
}

// next returns the newest segment that needs a slice.
func (x *Index) next() (Segment, bool, error) {
	all := x.o.Source.Sealed()
	there := make(map[uint64]bool, len(all))
	for _, s := range all {
		there[s.Number] = true
	}
	var gone []uint64
	x.mu.Lock()
	for n := range x.slices {
		if !there[n] {
			gone = append(gone, n)
		}
	}
	maps.DeleteFunc(x.failed, func(n uint64, _ string) bool { return !there[n] })
	x.mu.Unlock()
	if err := x.remove(gone); err != nil {
		return Segment{}, false, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range slices.Backward(all) {
		if s.Number <= max(x.floor, x.outgrown) {
			break
		}
		if has := x.slices[s.Number]; (has == nil || has.bad) && x.failed[s.Number] == "" {
			return s, true, nil
		}
	}
	return Segment{}, false, nil
}

// remove removes slices, wherever they are.
func (x *Index) remove(numbers []uint64) error {
	slices.Sort(numbers)
	for _, n := range numbers {
		if err := x.removeOne(n); err != nil {
			return err
		}
	}
	return nil
}

func (x *Index) removeOne(number uint64) error {
	x.files.Lock()
	defer x.files.Unlock()
	x.mu.Lock()
	s := x.slices[number]
	x.mu.Unlock()
	if s == nil {
		return nil
	}
	if err := s.at.clear(sliceName(number)); err != nil {
		return err
	}
	x.mu.Lock()
	s.at.bytes -= s.size
	x.o.Cache.drop(s)
	delete(x.slices, number)
	x.mu.Unlock()
	return nil
}
