// Package flat is the sink that appends rows to plain text files, one per
// table, as Kamailio's db_flatstore does, exactly once.
//
// The files have nothing but rows. How far each is good, and the cursor, stand
// in .holdfast/state.json beside them, which is replaced as a whole when a
// batch commits. What stands in a file behind that was not committed, and is
// cut off before anything is written. docs/delivery.md tells operators.
package flat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"holdfast/row"
	"holdfast/sink"
	"holdfast/sink/local"
)

var (
	_ sink.Sink    = (*Sink)(nil)
	_ sink.Stats   = (*Sink)(nil)
	_ sink.Rotator = (*Sink)(nil)
)

const (
	ownDir = ".holdfast"

	// retried holds the key of each row that was retried, noted that of each
	// gap. They are files like those of tables, so that they commit with rows.
	retried = ownDir + "/retried"
	noted   = ownDir + "/gaps"
	gaps    = "holdfast_gap"

	defaultMode    = 0o640
	defaultDirMode = 0o750
)

// Options say how the files look. The zero value writes what keeps everything
// to TABLE_0.log.
type Options struct {
	// Number is the n of TABLE_n.log. Kamailio's processes that write have
	// numbers from 1, so 0 is never one of theirs.
	Number int
	// File is the pattern of the files' names below the directory. {table} and
	// {n} stand for what they say, and must be in it; %Y %m %d %H %M %S %j %y %%
	// for the time of receipt. If empty, {table}_{n}.log.
	File string
	// Local says that times in names are those of the machine's zone, not UTC.
	Local bool
	// Columns gives the order of a table's columns. Those that are not named
	// come behind them, in the order in which they were seen.
	Columns map[string][]string
	// Kamailio says that values are marked as Kamailio marks them: bars are
	// %7C, NULL is empty, nothing else is touched.
	Kamailio bool
	// Times says how moments are written, values of columns of type timestamptz
	// or timestamp.
	Times Times
	// Zone is the zone of moments that name none. If nil, UTC.
	Zone *time.Location
	// RotateSize is the size from which a file is given another name and a new
	// one begun, before the next batch. If zero, no size.
	RotateSize int64
	// RotateEvery is the period of which a file holds rows, by time of receipt
	// and since the Unix epoch; it is kept at a batch's first row. If zero, none.
	RotateEvery time.Duration
	// Mode and DirMode are those of new files and directories. If zero, 0640
	// and 0750, since other programs must read them.
	Mode, DirMode fs.FileMode
	// Busy is how long to wait for another process that writes here. If zero, 2 s.
	Busy time.Duration
	// Log is told what other programs did to the files. If nil, nobody is.
	Log *slog.Logger
}

// Times says how moments are written.
type Times string

// Zoned leaves them as they are kept, with their zone. Clock writes what their
// writer's clock showed, without it, and Epoch seconds since 1970.
const (
	Zoned Times = ""
	Clock Times = "clock"
	Epoch Times = "epoch"
)

// Sink writes to one directory. Several streams share it, one batch at a time.
type Sink struct {
	path  string
	opts  Options
	names pattern
	watch local.Watch
	judge func(*row.Row) error // where a test sets it: refuses rows, as a database does

	cursors local.Keeper[*book]
	turn    chan struct{} // holds one token: whoever has it uses what stands below
	dir     *local.Dir    // nil until it is needed, and after it was moved away
	store   *local.Store
	open    map[string]*handle // by name
	closed  bool

	closing sync.Once
}

// Open returns the sink for a directory, given by its path or as
// flatstore:PATH. The directory must be there and let files be made: it is
// never created, since an empty mount point looks just like a missing one.
func Open(url string, opts Options) (*Sink, error) {
	return openWatched(url, opts, local.Watch{})
}

func openWatched(url string, opts Options, w local.Watch) (*Sink, error) {
	path := strings.TrimPrefix(url, "flatstore:")
	if path == "" {
		return nil, fmt.Errorf("open flat files %q: a directory is needed, as in flatstore:/var/log/acc", url)
	}
	if err := opts.settle(); err != nil {
		return nil, fmt.Errorf("open flat files %q: %w", path, err)
	}
	names, err := parsePattern(opts.File, opts.Number, opts.Local)
	if err != nil {
		return nil, fmt.Errorf("open flat files %q: %w", path, err)
	}
	if err := checkDir(path); err != nil {
		return nil, err
	}
	s := &Sink{path: path, opts: opts, names: names, watch: w, turn: make(chan struct{}, 1), open: map[string]*handle{}}
	s.cursors = local.Keeper[*book]{Name: fmt.Sprintf("flat files %q", path), Use: s.use, State: func(b *book) *local.State { return b.state }, Write: s.write}
	s.turn <- struct{}{}
	return s, nil
}

// settle fills in what was left out, in the sink's own copy.
func (o *Options) settle() error {
	if o.File == "" {
		o.File = "{table}_{n}.log"
	}
	if o.Mode == 0 {
		o.Mode = defaultMode
	}
	if o.DirMode == 0 {
		o.DirMode = defaultDirMode
	}
	if o.Busy <= 0 {
		o.Busy = 2 * time.Second
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Times != Zoned && o.Times != Clock && o.Times != Epoch:
		return fmt.Errorf("times %q are none of those that there are", string(o.Times))
	case o.Number < 0:
		return fmt.Errorf("number %d is below 0", o.Number)
	case o.RotateSize < 0:
		return fmt.Errorf("rotation at %d bytes is below 0", o.RotateSize)
	case o.RotateEvery != 0 && o.RotateEvery < time.Second:
		return fmt.Errorf("rotation every %v is below a second", o.RotateEvery)
	case o.Mode&^0o777 != 0 || o.Mode&0o600 != 0o600:
		return fmt.Errorf("mode %#o of files does not let their owner read and write", uint32(o.Mode))
	case o.DirMode&^0o777 != 0 || o.DirMode&0o700 != 0o700:
		return fmt.Errorf("mode %#o of directories does not let their owner use them", uint32(o.DirMode))
	}
	return nil
}

// checkDir sees whether files can be made in path, by making one.
func checkDir(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("open flat files %q: the directory does not exist; create it, writable for the user that Holdfast runs as", path)
	case err != nil:
		return fmt.Errorf("open flat files %q: %w", path, err)
	case !info.IsDir():
		return fmt.Errorf("open flat files %q: it is not a directory", path)
	}
	f, err := os.CreateTemp(path, ".holdfast-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return fmt.Errorf("open flat files %q: no file can be made in the directory (mode %v), user %d needs to write there: %w", path, info.Mode(), os.Geteuid(), err)
	}
	return nil
}

// Close ends all sessions, waiting for an Apply that is under way. Idempotent.
func (s *Sink) Close() (err error) {
	s.closing.Do(func() {
		<-s.turn
		s.closed = true
		err = s.drop()
		s.turn <- struct{}{}
	})
	return err
}

// Rotate closes all files. Whoever renamed one finds the next row in a new
// file under the old name.
func (s *Sink) Rotate() error {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	return s.closeFiles()
}

// Size returns the bytes of the files in the directory, rotated ones and those
// of other programs included: they take the same disk.
func (s *Sink) Size() (total int64, err error) {
	err = fs.WalkDir(os.DirFS(s.path), ".", func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // rotated away just now
			}
			return err
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure flat files %q: %w", s.path, err)
	}
	return total, nil
}

// Attach takes the cursor of id over. The state is written anew, so that what
// a process left in doubt that died is on disk before anybody relies on it.
func (s *Sink) Attach(ctx context.Context, id sink.ID, instance string, start row.Position, sound func(sink.Cursor) error) (sink.Session, error) {
	// A power cut leaves no mark at the lock, so each file is looked at.
	held, err := s.cursors.Attach(ctx, local.Claim{ID: id, Instance: instance, Start: start, Sound: sound}, func(b *book) error { return s.recover(b.extra) })
	if err != nil {
		return nil, err
	}
	return &session{held, s}, nil
}

// Retire removes the cursor of id.
func (s *Sink) Retire(ctx context.Context, id sink.ID) error { return s.cursors.Retire(ctx, id, nil) }

// Rename makes what belongs to id that of the sink called name.
func (s *Sink) Rename(ctx context.Context, id sink.ID, name string) error {
	return s.cursors.Rename(ctx, id, name, nil)
}

// use waits for its turn and for the lock, and calls f with the state. What an
// interrupted batch left in the files is cut off first.
func (s *Sink) use(ctx context.Context, f func(b *book) error) (err error) {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()
	if err := s.ready(); err != nil {
		return err
	}
	l, err := s.store.Lock(ctx, s.opts.Busy)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Unlock()) }()
	var b *book
	if l.Interrupted {
		b, err = s.repair(l)
	} else {
		b, err = s.load()
	}
	if err != nil {
		return err
	}
	b.lock = l
	return f(b)
}

// repair makes the files what the state says they are, after a batch that was
// interrupted.
func (s *Sink) repair(l *local.Lock) (*book, error) {
	b, err := s.load()
	if err != nil {
		return nil, err
	}
	if err := s.recover(b.extra); err != nil {
		return nil, err
	}
	if err := s.write(b); err != nil {
		return nil, err
	}
	return b, l.Settle()
}

// ready opens the directory where it is not open, or not the one that the path
// leads to any more.
func (s *Sink) ready() error {
	if s.closed {
		return errors.New("sink is closed")
	}
	if s.dir != nil && !s.dir.Current() {
		if err := s.drop(); err != nil {
			return fmt.Errorf("close directory that was moved or replaced: %w", err)
		}
	}
	if s.dir == nil {
		d, err := local.OpenDir(s.path, s.watch)
		if err != nil {
			return err
		}
		s.dir, s.store = d, local.NewStore(d, ownDir)
	}
	return nil
}

// drop closes everything.
func (s *Sink) drop() error {
	err := s.closeFiles()
	if s.dir != nil {
		err = errors.Join(err, s.dir.Close())
	}
	s.dir, s.store = nil, nil
	return err
}

func (s *Sink) closeFiles() (err error) {
	for name, h := range s.open {
		err = errors.Join(err, h.file.Close())
		delete(s.open, name)
	}
	return err
}
