// Package sqlite is the sink that commits rows to a SQLite file, which other
// programs may read and write at the same time. It is the sink that Holdfast
// has when none is configured.
//
// Rows and cursor are in one transaction, and a commit returns when it is on
// disk (WAL, synchronous FULL). Tables and columns that are missing are
// created. docs/decisions/0002-sqlite-numbers.md says how values are stored.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"holdfast/row"
	"holdfast/sink"
)

var (
	_ sink.Sink      = (*Sink)(nil)
	_ sink.Stats     = (*Sink)(nil)
	_ sink.Describer = (*Sink)(nil)
)

// Options say how the file is used. The zero value is what Holdfast's default
// sink has.
type Options struct {
	// Busy is how long a statement waits for another process's lock before
	// the attempt ends. If zero, 2 s; delivery tries again for ever anyway.
	Busy time.Duration
	// Fixed says that missing tables and columns are not created; rows for
	// them wait until somebody else does it.
	Fixed bool
}

// Sink commits to one file. Several streams share its one connection, since
// SQLite lets only one transaction write at a time.
type Sink struct {
	path string
	opts Options

	turn   chan struct{} // holds one token: whoever has it uses what stands below
	conn   *conn         // nil until it is needed, and after an error that may have left it unfit
	tables tables
	closed bool

	guarded bool // whether statements need savepoints, since one of them failed in its middle

	closing sync.Once
}

// Open returns the sink for the file at path, which is opened, and created
// with mode 0600 where it is missing, when the first session attaches. So a
// file that cannot be reached yet is no error here; an empty path is.
func Open(path string, opts Options) (*Sink, error) {
	if path == "" {
		return nil, errors.New("open database \"\": a path is needed")
	}
	if opts.Busy <= 0 {
		opts.Busy = 2 * time.Second
	}
	s := &Sink{path: path, opts: opts, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s, nil
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

// Size returns the bytes of the database and of its WAL. A file that does not
// exist yet counts as nothing.
func (s *Sink) Size() (int64, error) {
	var total int64
	for _, name := range []string{s.path, s.path + "-wal", s.path + "-shm"} {
		info, err := os.Stat(name)
		switch {
		case err == nil:
			total += info.Size()
		case !os.IsNotExist(err):
			return 0, fmt.Errorf("measure database %q: %w", s.path, err)
		}
	}
	return total, nil
}

// Attach takes the cursor of id over.
func (s *Sink) Attach(ctx context.Context, id sink.ID, instance string, start row.Position, sound func(sink.Cursor) error) (sink.Session, error) {
	n := &session{sink: s, id: id, instance: instance}
	err := s.use(ctx, func(c *conn) error {
		return s.transaction(ctx, c, func() error { return n.takeOver(ctx, c, start, sound) })
	})
	if err != nil {
		return nil, fmt.Errorf("attach to database %q: %w", s.path, err)
	}
	return n, nil
}

// use waits for its turn, and calls f with the connection, opened where there
// is none. A connection whose state is not certain after an error is given
// up, so that the next attempt starts with a fresh one.
func (s *Sink) use(ctx context.Context, f func(c *conn) error) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()
	if s.closed {
		return errors.New("sink is closed")
	}
	if s.conn != nil && !s.conn.current(s.path) {
		if err := s.drop(); err != nil {
			return fmt.Errorf("close database that was removed or replaced: %w", err)
		}
	}
	if s.conn == nil {
		c, err := open(ctx, s.path, s.opts.Busy.Milliseconds())
		if err != nil {
			return err
		}
		s.conn = c
	}
	err := f(s.conn)
	if err != nil && unfit(err) {
		err = errors.Join(err, s.drop())
	}
	return err
}

// drop closes the connection and forgets what was learned through it.
func (s *Sink) drop() error {
	c := s.conn
	s.conn, s.tables = nil, tables{}
	if c == nil {
		return nil
	}
	return c.close()
}

// transaction calls f between BEGIN and COMMIT. The write lock is taken
// first, so that a file locked by somebody else costs one statement. An error
// of COMMIT leaves open what happened, and is marked as such.
func (s *Sink) transaction(ctx context.Context, c *conn, f func() error) error {
	if _, err := c.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		// Where ctx ended just now, the transaction may have begun all the same.
		_, _ = c.exec(context.Background(), "ROLLBACK")
		return fmt.Errorf("begin transaction: %w", err)
	}
	err := s.tables.refresh(c)
	if err == nil {
		err = f()
	}
	if err == nil {
		if _, err = c.exec(context.Background(), "COMMIT"); err == nil {
			return nil
		}
		err = commitError(err)
	}
	s.tables = tables{} // what it created is gone again
	if _, back := c.exec(context.Background(), "ROLLBACK"); back != nil {
		// Some errors roll back by themselves; then there is nothing to undo.
		// What else it may be, a new connection settles.
		return errors.Join(err, s.drop())
	}
	return err
}

// commitError says what an error of COMMIT means: a deferred constraint
// refuses for certain, and so does a lock; anything else may strike when the
// commit is already in the file.
func commitError(err error) error {
	switch code(err) {
	case lib.SQLITE_CONSTRAINT:
		return &sink.RowError{Code: codeName(err), Err: err}
	case lib.SQLITE_BUSY:
		return fmt.Errorf("commit transaction: %w", err)
	}
	return fmt.Errorf("%w: %w", sink.ErrDoubtful, err)
}

// code returns the primary result code of err, 0 where it is not SQLite's.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// codeName returns the extended result code of err as a number, which is how
// SQLite's documentation and other programs give it.
func codeName(err error) string {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return fmt.Sprint(e.Code())
	}
	return ""
}

// aboutRow reports whether err refuses a row for what it is.
func aboutRow(err error) bool {
	switch code(err) {
	case lib.SQLITE_CONSTRAINT, lib.SQLITE_MISMATCH, lib.SQLITE_TOOBIG:
		return true
	}
	var v *valueError
	return errors.As(err, &v)
}

// unfit reports whether a connection may be no good after err.
func unfit(err error) bool {
	if errors.Is(err, sink.ErrDoubtful) {
		return true
	}
	switch code(err) {
	case 0, lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_ERROR, lib.SQLITE_INTERRUPT:
		return false
	}
	return !aboutRow(err)
}
