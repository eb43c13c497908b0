// Package spool takes in the files of a spool directory: other programs put
// one there per row, or per batch of rows, and each is removed once its rows are
// durable.
//
// Each row is stored once. Before a batch is committed a list of its files is
// written (see batch); the store remembers the digest of that list with the
// rows. After a crash files of a list whose digest the store has are removed,
// and not stored again. Whatever is no row is set aside with the reason, in
// bad/ or as a malformed line; nothing is lost.
//
// What lies in the directory is others' and not trusted: names are resolved one
// by one below open directories, no link is followed, and only plain files are
// read. One goroutine reads one spool, and has another store and remove what it
// has read. They hold the names of one piece of a directory and two batches in
// memory, however many files wait.
package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"holdfast/internal/disk"
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
	Insert(table string, columns []row.Column, values []row.Value) error
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

// Parser reads single objects and records. What it returns need be valid only
// until the next call.
type Parser interface {
	Object(text []byte) ([]row.Column, []row.Value, error)
	Header(text []byte) ([]row.Column, error)
	Record(text []byte) ([]row.Value, error)
}

// Format is how rows stand in a file.
type Format string

// The formats.
const (
	NDJSON Format = "ndjson" // an object per line
	CSV    Format = "csv"    // with a header line
	Flat   Format = "flat"   // a bar between values
	Raw    Format = "raw"    // the whole file is one value
)

// Options say what is taken in. Dir, Source, Format, Parser, State, Name and
// Store must be set.
type Options struct {
	Dir      string
	Mounted  bool                // Dir must be where a volume is mounted
	Intake   func() bool         // whether new files go here; one that is drained may be unmounted; nil: they do
	Source   string              // under which the store remembers its position
	Maildir  bool                // files are taken from directories called new
	Format   Format              // of all files
	Table    string              // of all files; "": that of their first directory below Dir
	Columns  map[string][]string // for Flat, by table, in the order of the values
	Symlinks bool                // the text of a symbolic link is taken as a file's content
	MaxFile  int64               // bytes; 0: 16 MiB
	Poll     time.Duration       // how often the directory is looked at anyway; 0: a second

	Parser Parser
	State  disk.FS // where the list of a batch is kept
	Name   string  // of that file
	Store  Store
	Stream func(table string) string // of a table; one transaction is for one; nil: all in one
	Log    *slog.Logger              // nil: nothing is logged
}

// Spool takes files in until Close.
type Spool struct {
	o      Options
	cancel context.CancelFunc
	done   sync.WaitGroup

	// The goroutine's own.
	at      string // where the source stands
	settled bool   // whether that is known, and what was stored is removed
	listed  bool   // whether the list may still name files
	piece   int    // names that are held at once
	most    int    // files of a batch
	batch   *batch
	under   *storing // the batch before it; nil: it is stored
	root    *os.File // of the look that is under way
	seen    Status   // of the look that is under way
	watched []string // directories that the last look went through
	wake    notices
	kick    chan struct{} // see Wake

	mu     sync.Mutex
	status Status
}

// Start begins to take files in. It returns at once: what cannot be read now
// shows in Status, and is tried again. Only a directory that must be a mounted
// volume and is none gives an error.
func Start(o Options) (*Spool, error) {
	s := newSpool(o)
	if err := s.there(); err != nil && s.o.Intake() {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.done.Go(func() { s.run(ctx) })
	return s, nil
}

const defaultMaxFile = 16 << 20

func newSpool(o Options) *Spool {
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	if o.MaxFile <= 0 {
		o.MaxFile = defaultMaxFile
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Stream == nil {
		o.Stream = func(string) string { return "" }
	}
	if o.Intake == nil {
		o.Intake = func() bool { return true }
	}
	o.Dir = filepath.Clean(o.Dir)
	return &Spool{o: o, piece: pieceNames, most: batchFiles, kick: make(chan struct{}, 1), listed: true, status: Status{State: Starting}}
}

// Wake has it look at its directory now.
func (s *Spool) Wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Close ends it. What was read and not committed is read again by the next one.
func (s *Spool) Close() {
	s.cancel()
	s.done.Wait()
}

const (
	// leastPause is how long files gather before they are looked for; looking
	// takes at most a tenth of the time.
	leastPause = 20 * time.Millisecond
	lookShare  = 10
	// restPoll is how often a partition is looked at that takes no new files and
	// has none, so that it can be unmounted.
	restPoll = 15 * time.Second
	// firstRetry and lastRetry bound the pause after something failed.
	firstRetry = 200 * time.Millisecond
	lastRetry  = 15 * time.Second
)

// run takes files in until ctx ends.
func (s *Spool) run(ctx context.Context) {
	retry := firstRetry
	defer func() {
		s.wake.stop()
		_ = s.unlist() // else what it lists is looked for at the next start
	}()
	for ctx.Err() == nil {
		began := time.Now()
		err := s.round(ctx)
		took := time.Since(began)
		if ctx.Err() != nil {
			return
		}
		s.note(err)
		if err != nil {
			if sleep(ctx, retry) {
				retry = min(2*retry, lastRetry)
			}
			continue
		}
		retry = firstRetry
		if s.wake.renew(s.watched) { // what came before is looked for once more
			continue
		}
		poll := time.NewTimer(s.pause())
		select {
		case <-ctx.Done():
		case <-poll.C:
		case <-s.kick:
		case <-s.wake.changed:
			sleep(ctx, max(leastPause, lookShare*took))
		}
		poll.Stop()
	}
}

// pause is how long it waits for news of the directory.
func (s *Spool) pause() time.Duration {
	if s.seen.Files == 0 && !s.o.Intake() {
		return max(restPoll, s.o.Poll)
	}
	return s.o.Poll
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

// round looks at the whole spool once, and stores what is there.
func (s *Spool) round(ctx context.Context) (err error) {
	s.seen, s.watched = Status{}, s.watched[:0]
	if err := s.there(); err != nil {
		if s.wake.stop(); s.o.Intake() {
			return err
		}
		s.seen.away = true
		return nil
	}
	root, err := openTop(s.o.Dir)
	if err != nil {
		return fmt.Errorf("open spool %q: %w", s.o.Dir, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	s.root = root
	if !s.settled {
		if err := s.settle(); err != nil {
			return err
		}
	}
	before := s.at
	if err := s.takeAll(ctx); err != nil || s.at != before {
		return err
	}
	_ = s.unlist() // it is tried again with the next look, and nothing rests on it
	return nil
}

// takeAll goes through the spool, and returns when all that it took is stored.
func (s *Spool) takeAll(ctx context.Context) (err error) {
	s.batch = s.newBatch(s.at)
	defer func() {
		err = errors.Join(err, s.await())
		s.batch.drop()
	}()
	if err := s.walk(ctx, place{f: s.root}); err != nil {
		return err
	}
	return s.store(ctx)
}

// there holds that the directory is where a volume is mounted, if it must be.
func (s *Spool) there() error { return Partition{s.o.Dir, s.o.Mounted}.There() }
