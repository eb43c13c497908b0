package holdfast

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/catalog"
	"holdfast/internal/cold"
	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/index"
	"holdfast/internal/journal"
	"holdfast/internal/manifests"
	"holdfast/internal/place"
	"holdfast/internal/rejects"
	"holdfast/internal/roller"
	"holdfast/internal/roster"
	"holdfast/internal/sources"
	"holdfast/row"
	"holdfast/sink"
)

// Streams that are always there.
const (
	// MainStream is the stream of every table that no other stream names.
	MainStream = "main"
	// RejectsStream is where rows are kept that sinks refuse. No table can be
	// routed there, and no sink gets it.
	RejectsStream = "rejects"
)

// Options configure Open. The zero value works: one stream without limits, no
// sinks, and tables that are known from their first row on.
type Options struct {
	// Streams are the streams besides main and rejects, and these themselves
	// where they have options of their own.
	Streams []Stream
	// FixedTables refuses tables and columns that were not declared.
	FixedTables bool
	// Sinks get the rows. Once Open has succeeded, Close closes them.
	Sinks []Sink
	// Memory is how many bytes of rows all transactions together hold before
	// they are moved to disk, besides 16 KiB of each; 0: 16 MiB.
	Memory int64
	// MaxTransaction is how many bytes of rows one transaction may have; 0: 1 GiB.
	MaxTransaction int64
	// Zone is the zone of times that come without one, for columns of type
	// timestamptz; nil: UTC.
	Zone *time.Location
	// Dedupe are the tables whose repeats are dropped.
	Dedupe []Dedupe
	// Requests are how long requests are known again that name themselves.
	Requests Requests
	// Check, where set, refuses tables that a sink could never take. It gets
	// all columns of a table, and must be safe for concurrent use.
	Check func(*row.Schema) error
	// Fold, where set, returns what a sink takes a table's name for; a new table
	// that folds like a known one is refused. It must be safe for concurrent use.
	Fold func(table string) string
	// Scrub reads sealed segments again in the background; the zero value does not.
	Scrub Scrub
	// Undo is how long a roll by message can be taken back; 0: not at all.
	Undo time.Duration
	// ManifestDir, where set, is where the manifests of segments are kept that are
	// gone. It is made where it is missing.
	ManifestDir string

	// IndexMemory is how many bytes of descriptions of index slices are kept in
	// memory, of all streams together; 0: 8 MiB, less: none.
	IndexMemory int64

	// KeepBudgets ignores a budget that is more than a tenth smaller than the one
	// in use before, with a warning: a slip of the hand must not roll rows away.
	KeepBudgets bool
	// Reading opens a directory to be looked at, on a file system that may take no
	// write: what a start has to do after a crash is done in memory and given up
	// with it. No limit, roll, index, guard against repeats or sink is at work.
	Reading bool
	// Log gets what no caller can be told; nil: nothing is logged.
	Log *slog.Logger
}

// Stream configures one stream.
type Stream struct {
	Name   string
	Dir    string // directory of its segments; "": streams/<Name> in the data directory
	Exists bool   // Dir must be there already, so that a volume which is not mounted is noticed
	Size   int64  // bytes that Dir may take, where there is More; 0: only Limits bound it
	More   []Directory
	Warm   []Directory // where segments are moved, packed, before they leave; with it nothing but sizes bounds what is kept
	Cold   Cold        // where segments are copied before they leave
	Tables []string    // tables that go here, as names or patterns with * and ?
	Limits Limits
	Link   string // column with a rising id, or "time", that ties it to other streams with the same one; "": nothing
	Parent string // the stream whose rows these rows belong to, with the same Link; "": none
	Index  Index
}

// Directory is one more place for a stream's segments. Each new one is written
// where the most room is.
type Directory struct {
	Dir    string
	Exists bool  // it must be there already
	Size   int64 // bytes that it may take; 0: only the volume bounds it
}

// Limits bound what a stream keeps on disk. The zero Limits keep every row and
// make no writer wait.
type Limits struct {
	Budget        int64                   // bytes of all its files; 0: no bound
	MinFree       func(total int64) int64 // bytes to leave free on a volume of total bytes; nil: none
	History       int64                   // bytes of delivered rows kept; 0: all
	KeepDelivered bool                    // keep no row that is delivered, and no file after Close
	Wait          time.Duration           // how long writers wait for room before they are refused
	DropOldest    bool                    // where nothing else helps, rows go that sinks need, and a gap tells which
	Keep          Keep                    // what no limit and no roll removes
}

// Keep is what of a stream nothing removes, the newest segments first. Zero
// fields ask nothing.
type Keep = journal.Keep

// Sink is one destination.
type Sink struct {
	Name    string // by which it is registered for ever
	Sink    sink.Sink
	Streams []string // that it gets; nil: all
	Replay  bool     // a sink that was restored from an older copy gets the rows since then again, unasked
	Now     bool     // where it is new, it begins with the next row instead of the oldest one kept
	Shape   Shape    // what it gets of the rows; the zero Shape: all, as it is

	// WholeTransactions sets the transaction of a refused row aside, not the row alone.
	WholeTransactions bool
	RejectBudget      int     // rejects that may be open before delivery stops; 0: 10,000
	RejectFlood       float64 // share of refused rows at which delivery stops and asks; 0: 0.01, below 0: none
}

// DB is an open database. Its methods are safe for concurrent use.
type DB struct {
	dir       string
	o         Options
	disk      disk.FS
	lock      interface{ Close() error }
	catalog   *catalog.Catalog
	streams   []*stream // sorted by name
	byName    map[string]*stream
	roster    *roster.Roster
	roller    *roller.Roller
	resizing  sync.Mutex          // held while one of the next three is looked at
	budgets   map[string]budget   // by stream
	sizes     map[string]int64    // in use, by what budgetKey returns
	ignored   map[string][]string // by stream: sizes that were given and are not in use, in words
	book      *place.Book
	ledger    *ledger
	kept      *disk.Real   // ManifestDir; nil: none
	cached    *index.Cache // descriptions of index slices
	rejects   *rejects.Store
	sources   *sources.Book
	lost      lost
	instance  string // this run's token in the sinks
	auto      atomic.Bool
	memory    atomic.Int64 // bytes that transactions may still take
	schemas   schemaCache
	moments   sync.Map // of *row.Schema to *moments
	door      door
	batches   sync.Pool // *row.Batch
	closing   sync.Once
	closedErr error

	recovering  sync.WaitGroup // what reads keys back
	endRecovery context.CancelFunc

	operating sync.Mutex // held while an operator changes which sinks there are; before mu
	mu        sync.Mutex
	sinks     []*delivery
}

// stream is one stream that is open.
type stream struct {
	Stream
	journal *journal.Journal
	cold    cold.Store        // nil: it has no cold tier
	places  []*place.Place    // its directories outside of the data directory
	ids     map[string]string // of these, by the path that they were given
	guard   *guard            // nil: no repeats are looked for

	catalogue *manifests.Catalogue // of segments that are gone; nil: none is kept

	index      *index.Index // nil: it has none
	indexFiles disk.FS      // where its slices are
	indexWarm  disk.FS      // where the oldest of them are; nil: it has no warm tier
	changed    chan struct{}
}

// Open opens the data directory dir, making it where it is missing, and begins
// to deliver. It recovers from whatever ended the last run. Another process
// that has dir open makes it fail. After an error the sinks are the caller's.
func Open(dir string, o Options) (*DB, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Memory <= 0 {
		o.Memory = 16 << 20
	}
	if o.MaxTransaction <= 0 {
		o.MaxTransaction = 1 << 30
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	o.Streams, o.Sinks = withOwn(o.Streams), slices.Clone(o.Sinks)
	if o.Reading {
		o.read()
	}
	if err := o.judge(); err != nil {
		return nil, err
	}
	db := &DB{dir: dir, o: o, byName: map[string]*stream{}, cached: index.NewCache(o.IndexMemory)}
	db.batches.New = func() any { return new(row.Batch) }
	db.memory.Store(o.Memory)
	db.auto.Store(!o.FixedTables)
	err := db.open()
	if err == nil {
		err = db.deliver()
	}
	if err != nil {
		return nil, errors.Join(db.explainDisk(err), db.release())
	}
	return db, nil
}

// withOwn returns streams with those among them that are always there, sorted
// by name.
func withOwn(streams []Stream) []Stream {
	streams = slices.Clone(streams)
	for _, own := range []string{MainStream, RejectsStream} {
		if !slices.ContainsFunc(streams, func(s Stream) bool { return s.Name == own }) {
			streams = append(streams, Stream{Name: own})
		}
	}
	slices.SortFunc(streams, func(a, b Stream) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return streams
}

// lockPatience is how long a directory may stay locked before it is refused: a
// server must start although somebody asks for its status at that moment.
const lockPatience = 2 * time.Second

// lock takes the lock of a data directory.
func lock(d disk.FS) (io.Closer, error) {
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 100) {
		l, err := d.Lock("LOCK")
		if !errors.Is(err, disk.ErrLocked) || time.Now().After(end) {
			return l, err
		}
	}
}

// open opens all that is on disk.
func (db *DB) open() (err error) {
	if db.disk, err = db.openDisk(); err != nil {
		return fmt.Errorf("open data directory %q: %w", db.dir, err)
	}
	if db.lock, err = lock(db.disk); errors.Is(err, disk.ErrLocked) {
		return fault.New(fault.CannotConnectNow, "data directory %q %s", db.dir, disk.ErrLocked).
			WithHint("stop the other one, or give this one a directory of its own with --data")
	}
	if err != nil {
		return fmt.Errorf("lock data directory %q: %w", db.dir, err)
	}
	if db.catalog, err = catalog.Open(db.disk, catalog.Options{Check: db.o.Check, Fold: db.o.Fold}); err != nil {
		return fmt.Errorf("open data directory %q: %w", db.dir, err)
	}
	if bad := db.catalog.Damaged(); bad != nil {
		db.o.Log.Error("the catalog was set aside and begins empty; declare tables again where unknown ones are refused", "error", bad)
	}
	if err := disk.KeepReserve(db.disk); err != nil {
		db.o.Log.Warn("no room is kept for what operators ask for on a full disk", "error", err)
	}
	if db.roster, err = roster.Open(db.disk); err != nil {
		return fmt.Errorf("open data directory %q: %w", db.dir, err)
	}
	if db.book, err = place.OpenBook(db.disk); err != nil {
		return fmt.Errorf("open data directory %q: %w", db.dir, err)
	}
	if db.o.Reading {
		db.book.Read()
	}
	if err = db.openRoller(); err != nil {
		return fmt.Errorf("open data directory %q: %w", db.dir, err)
	}
	if err = db.openManifests(); err != nil {
		return err
	}
	if err = db.openStreams(); err != nil {
		return err
	}
	db.attachRoller()
	if err := db.settleLost(); err != nil {
		return fmt.Errorf("open data directory %q: %w", db.dir, err)
	}
	db.openLedger()
	if db.rejects, err = rejects.Open(db.byName[RejectsStream].journal, rejects.Options{Log: db.o.Log}); err != nil {
		return fmt.Errorf("open data directory %q: %w", db.dir, err)
	}
	db.openGuards()
	if db.sources, err = sources.Open(db.disk, db.moved); err != nil {
		return fmt.Errorf("open data directory %q: %w", db.dir, err)
	}
	return nil
}

// Drain waits until every sink has committed what is acknowledged now, or until
// ctx ends. The error names each sink and the rows that it has not.
func (db *DB) Drain(ctx context.Context) error {
	return errors.Join(db.flush(ctx), drain(ctx, db.deliveries()))
}

// flush makes durable what was acknowledged before its flush, which no sink is
// given before.
func (db *DB) flush(ctx context.Context) error {
	errs := make([]error, len(db.streams))
	var wg sync.WaitGroup
	for i, s := range db.streams {
		wg.Go(func() { errs[i] = s.journal.Flush(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close stops delivering, commits what was handed over, closes the sinks and
// gives the directory up. What is not delivered stays. Transactions that are
// open fail at their commit. Idempotent.
func (db *DB) Close() error {
	db.closing.Do(func() {
		db.operating.Lock()
		defer db.operating.Unlock()
		errs := make([]error, 0, len(db.o.Sinks)+1)
		db.stopDelivery()
		for _, k := range db.o.Sinks {
			if err := k.Sink.Close(); err != nil {
				errs = append(errs, fmt.Errorf("close sink %q: %w", k.Name, err))
			}
		}
		db.closedErr = errors.Join(append(errs, db.release())...)
	})
	return db.closedErr
}

func (db *DB) stopDelivery() {
	var wg sync.WaitGroup
	for _, d := range db.deliveries() {
		wg.Go(func() { _ = d.Close() }) // never fails
	}
	wg.Wait()
}

// release gives up, in reverse order, all that open has opened.
func (db *DB) release() error {
	var errs []error
	if db.endRecovery != nil {
		db.endRecovery()
		db.recovering.Wait()
	}
	if db.sources != nil {
		errs = append(errs, db.sources.Close())
	}
	db.interruptCold()
	if db.roller != nil {
		db.roller.Attach(nil) // no stream rolls another that is closed
	}
	db.ledger.close()
	for _, s := range slices.Backward(db.streams) {
		s.closeIndex()
		errs = append(errs, s.journal.Close(), s.closePlaces())
	}
	if db.kept != nil {
		errs = append(errs, db.kept.Close())
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
	}
	if db.disk != nil {
		errs = append(errs, db.disk.Close())
	}
	return errors.Join(errs...)
}
