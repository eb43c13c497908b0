// Package flatlog follows the flat files of Kamailio's and OpenSIPS's
// db_flatstore: a directory of <table>_<n>.log, one per writing process, of
// lines with a bar between values. Each complete line is stored once, over
// renames, rotations, and crashes of either side.
//
// Files are told apart by their inode and when that was made, not by their
// name. How far each was stored commits together with the rows: before a batch
// is committed a record of its files is written (see positions), and the store
// remembers the number of the last batch with its rows. A line is complete with
// its line feed; a torn one is waited for. What is no row of the configured
// columns is stored as a malformed line, with file and offset: nothing is lost
// and nothing is guessed.
//
// One goroutine follows one directory. It holds at most Options.MaxOpen files
// open and one batch in memory; where the store refuses rows it waits, and the
// files hold them.
package flatlog

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/inode"
	"holdfast/internal/notice"
	"holdfast/row"
)

// Store is where rows go.
type Store interface {
	// Position returns where a source stands; "" where it never moved.
	Position(source string) (string, error)
	// Begin returns a transaction that moves the source with its commit: both
	// happen or none.
	Begin(source, from, to string) Tx
}

// Tx is one transaction. After Commit or Rollback it is not used again.
type Tx interface {
	// Insert adds a row. A row that is refused leaves the transaction as it was.
	Insert(table string, columns []string, values []row.Value) error
	// Malformed adds a line that is no row.
	Malformed(l Line) error
	Commit(ctx context.Context) error
	Rollback()
}

// Line is a line that is no row of its table.
type Line struct {
	Table string
	Raw   []byte // need not be text
	Why   string
	File  string
	At    int64 // in the file, bytes
}

// What becomes of a file that is rotated, stored, and that nobody can write to.
const (
	Keep = iota
	Remove
	Archive
)

// Options say what is followed. Dir, Source, State and Store must be set.
type Options struct {
	Dir     string
	Source  string              // under which the store remembers its position
	Columns map[string][]string // by table, in the order of the lines
	Suffix  string              // of file names; "": .log
	Decode  bool                // make a bar of each %7C
	Now     bool                // a new source begins with what is appended from now on
	Olddir  string              // where others move rotated files to; "": nowhere
	Poll    time.Duration       // how often files are looked at anyway; 0: a second
	MaxOpen int                 // files that are kept open; 0: 64

	Finished int    // Keep, Remove or Archive
	Archive  string // directory for Archive

	RotateEvery time.Duration                   // 0: never
	RotateSize  int64                           // 0: never
	Tell        func(ctx context.Context) error // tells writers to open other files; nil: they are not told

	State  disk.FS // where positions are kept
	Name   string  // of their file there
	Store  Store
	Stream func(table string) string // of a table; one transaction is for one; nil: all in one
	Log    *slog.Logger              // nil: nothing is logged
}

// Follower follows one directory until Close.
type Follower struct {
	o     Options
	names names
	dirs  []string

	cancel context.CancelFunc
	done   sync.WaitGroup
	orders chan chan rotated
	ended  chan struct{}

	// The goroutine's own.
	positions *positions
	files     map[inode.ID]*file
	tables    map[string]*table
	first     bool // whether nothing was ever committed
	untold    bool // whether writers are still to be told of a rotation
	toldAt    time.Time
	scans     uint64
	uses      uint64
	buf       []byte
	values    []row.Value
	swept     time.Time // when holders were looked for last
	rest      time.Duration
	gone      []mark // of files that cannot come back, to be forgotten with the next batch
	unread    int    // files that could not be read since the last scan

	mu     sync.Mutex
	status Status
}

// table is what is known of a table's lines in this run.
type table struct {
	good   bool // whether a line fitted
	wrong  int  // how many lines in a row had the same wrong number of fields
	fields int
	hold   string // why its files are not read
}

// Start begins to follow. Where a new source begins is durable when it returns,
// so that what is rotated from then on is read, whatever is killed when. What
// cannot be followed now shows in Status, and is tried again.
func Start(o Options) *Follower {
	f := newFollower(o)
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.note(f.begun(ctx))
	f.done.Go(func() { f.run(ctx) })
	return f
}

func newFollower(o Options) *Follower {
	if o.Suffix == "" {
		o.Suffix = ".log"
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	if o.MaxOpen <= 0 {
		o.MaxOpen = 64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Stream == nil {
		o.Stream = func(string) string { return "" }
	}
	f := &Follower{
		o: o, names: newNames(o.Suffix), dirs: []string{filepath.Clean(o.Dir)}, orders: make(chan chan rotated), ended: make(chan struct{}),
		files: map[inode.ID]*file{}, tables: map[string]*table{}, buf: make([]byte, 128<<10), rest: opening,
	}
	if o.Olddir != "" {
		f.dirs = append(f.dirs, filepath.Clean(o.Olddir))
	}
	f.status.State = Starting
	return f
}

// Close ends following. What was read and not committed is read again by the
// next one.
func (f *Follower) Close() {
	f.cancel()
	f.done.Wait()
}

const (
	// leastPause is how long appends gather before they are looked at; looking
	// takes at most a tenth of the time.
	leastPause = 20 * time.Millisecond
	lookShare  = 10
	// firstRetry and lastRetry bound the pause after something failed.
	firstRetry = 200 * time.Millisecond
	lastRetry  = 15 * time.Second
)

// run follows until ctx ends.
func (f *Follower) run(ctx context.Context) {
	defer f.end()
	retry := firstRetry
	changed, stop := f.watch()
	defer func() { stop() }()
	watched := f.dirIdentity()
	for ctx.Err() == nil {
		began := time.Now()
		err := f.round(ctx)
		took := time.Since(began)
		f.note(err)
		if err != nil && ctx.Err() == nil {
			if sleep(ctx, retry) {
				retry = min(2*retry, lastRetry)
			}
			continue
		}
		retry = firstRetry
		if now := f.dirIdentity(); now != watched { // another directory has the name
			stop()
			changed, stop = f.watch()
			watched = now
		}
		poll := time.NewTimer(f.o.Poll)
		select {
		case <-ctx.Done():
		case <-poll.C:
		case order := <-f.orders:
			n, err := f.rotate(ctx, nil)
			order <- rotated{n, err}
		case <-changed:
			sleep(ctx, max(leastPause, lookShare*took))
		}
		poll.Stop()
	}
}

// sleep waits; false where ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// round looks at all files, and stores what they hold.
func (f *Follower) round(ctx context.Context) error {
	if err := f.begun(ctx); err != nil {
		return err
	}
	if err := f.scan(); err != nil {
		return err
	}
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, err = f.batch(ctx); err != nil {
			return err
		}
		f.count()
	}
	if err := f.rotateDue(ctx); err != nil {
		return err
	}
	return f.finish(ctx)
}

// begun sees to it that it is durable where the source begins: a new one at the
// files that are there now, before a line of them is read.
//
//	without it                        others
//	is started, and is ready
//	                                  write to x.log, rename it to x.log.1
//	is killed before its first batch
//	is started, and skips x.log.1,
//	which was rotated before it ever
//	stored anything
func (f *Follower) begun(ctx context.Context) error {
	if f.positions == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	if !f.first {
		return nil
	}
	if err := f.scan(); err != nil {
		return err
	}
	b := &batch{f: f, tx: f.o.Store.Begin(f.o.Source, f.positions.stands(), f.positions.position(f.positions.n+1))}
	for _, one := range f.files {
		if one.dirty {
			b.marks, b.files = append(b.marks, one.mark), append(b.files, one)
		}
	}
	if err := b.commit(ctx); err != nil {
		return err
	}
	f.first = false
	return nil
}

// open reads how far files were stored.
func (f *Follower) open() error {
	at, err := f.o.Store.Position(f.o.Source)
	if err != nil {
		return err
	}
	if at == "" {
		there, err := disk.Exists(f.o.State, f.o.Name)
		if err != nil {
			return err
		}
		if there {
			f.o.Log.Warn("positions are there of which the store knows nothing: they count for nothing", "file", f.o.Name)
		}
	}
	if f.positions, err = openPositions(f.o.State, f.o.Name, at); err != nil {
		return err
	}
	f.first = at == ""
	return nil
}

// watch begins to be told of changes; where that is not possible files are
// polled.
func (f *Follower) watch() (changed <-chan struct{}, stop func()) {
	changed, stop, err := notice.Dirs(f.dirs)
	if err != nil {
		f.o.Log.Warn("the system tells of no changes, so files are looked at now and then", "dir", f.o.Dir, "every", f.o.Poll.String(), "error", err)
		return nil, func() {}
	}
	return changed, stop
}

// dirIdentity returns which directory has the name now.
func (f *Follower) dirIdentity() inode.ID {
	d, err := os.Open(f.dirs[0])
	if err != nil {
		return inode.ID{}
	}
	defer d.Close()
	s, err := inode.LookAt(int(d.Fd()))
	if err != nil {
		return inode.ID{}
	}
	return s.ID
}

// end closes what is open.
func (f *Follower) end() {
	defer close(f.ended)
	for _, one := range f.files {
		one.close()
	}
	if err := f.positions.close(); err != nil {
		f.o.Log.Error("close positions", "error", err)
	}
}

func joined(errs ...error) error { return errors.Join(errs...) }

// refusal says what an error of the store means: that the row is refused for
// what it is, that its table is, or, where neither, that rows have to wait.
func refusal(err error) (row, table bool) {
	code := fault.Code(err)
	switch {
	case len(code) != 5:
	case code[:2] == "22", code[:2] == "23", code == fault.LimitExceeded:
		return true, false
	case code[:2] == "42", code == fault.FeatureNotSupported:
		return false, true
	}
	return false, false
}
