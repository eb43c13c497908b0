// Package mysql is the sink that commits rows to a MariaDB or MySQL database.
//
// Rows and cursor are in one transaction, which only an engine that has
// transactions can keep whole: rows for a table of another engine (MyISAM,
// Aria) are not written, and wait. DDL commits by itself in this database, so
// missing tables and columns are created on a connection of their own.
//
// docs/decisions/0009-mysql-statements.md says how rows are inserted, and
// docs/delivery.md what is created, how values are converted, and which of the
// server's errors set a row aside.
package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"holdfast/row"
	"holdfast/sink"
)

var (
	_ sink.Sink      = (*Sink)(nil)
	_ sink.Describer = (*Sink)(nil)
)

// Options say which database is meant and how it is used. Only URL is needed.
type Options struct {
	// URL is mysql://user@host:port/database, with ?tls=true, skip-verify or
	// preferred where the connection is to be encrypted.
	URL string
	// Password is used instead of one in URL, unless it is empty.
	Password string
	// Database is where Holdfast's own tables are. If empty, URL's.
	Database string
	// Fixed says that missing tables and columns are not created; rows for
	// them wait until somebody else does it. Holdfast's own tables are created
	// all the same.
	Fixed bool
	// Timeout is how long the server may take to connect or to answer one
	// statement before the attempt ends. If zero, a minute; delivery tries
	// again for ever anyway.
	Timeout time.Duration
	// Lock is how long a statement waits for somebody else's lock. If zero, 10
	// seconds. It is given to the server in whole seconds.
	Lock time.Duration
	// Log takes warnings about the server's settings. If nil, they are dropped.
	Log *slog.Logger
}

// Sink commits to one database. Each session has a connection of its own, and
// what concerns the whole sink has short ones.
type Sink struct {
	opts   Options
	config *driver.Config
	where  string // what errors call it; without password

	mu       sync.Mutex
	sessions map[*session]struct{}
	closed   bool
	warned   bool // of how the server flushes
}

// Open returns the sink for the database that the options name. It connects
// when the first session attaches, so a server that cannot be reached yet is
// no error here; a URL that cannot be right is.
func Open(opts Options) (*Sink, error) {
	if opts.Timeout <= 0 {
		opts.Timeout = time.Minute
	}
	if opts.Lock <= 0 {
		opts.Lock = 10 * time.Second
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	config, err := parse(opts)
	if err != nil {
		return nil, err
	}
	if opts.Database == "" {
		opts.Database = config.DBName
	}
	opts.URL, opts.Password = "", "" // config has them
	where := fmt.Sprintf("database %q at %s", config.DBName, config.Addr)
	return &Sink{opts: opts, config: config, where: where, sessions: map[*session]struct{}{}}, nil
}

// Close ends all sessions, waiting for an Apply that is under way. Idempotent.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	var open []*session
	for n := range s.sessions {
		open = append(open, n)
	}
	s.mu.Unlock()
	for _, n := range open {
		n.Close()
	}
	return nil
}

// Attach takes the cursor of id over.
func (s *Sink) Attach(ctx context.Context, id sink.ID, instance string, start row.Position, sound func(sink.Cursor) error) (sink.Session, error) {
	n := &session{sink: s, id: id, instance: instance}
	err := s.change(ctx, func(c *conn) error { return n.takeOver(ctx, c, start, sound) })
	if err == nil {
		err = s.enter(n)
	}
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", s.where, err)
	}
	return n, nil
}

var errClosed = errors.New("sink is closed")

func (s *Sink) enter(n *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.sessions[n] = struct{}{}
	return nil
}

func (s *Sink) leave(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, n)
}

func (s *Sink) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// briefly calls f with a connection that is closed afterwards.
func (s *Sink) briefly(ctx context.Context, f func(c *conn) error) error {
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	return f(c)
}

// change calls f in a transaction of its own, with Holdfast's own tables there.
func (s *Sink) change(ctx context.Context, f func(c *conn) error) error {
	return s.briefly(ctx, func(c *conn) error {
		if err := s.createOwn(ctx, c); err != nil {
			return err
		}
		if err := c.begin(ctx); err != nil {
			return err
		}
		if err := f(c); err != nil {
			return err // closing the connection rolls back
		}
		return c.commit()
	})
}

// warnFlush says once where a commit may return before it is on disk.
func (s *Sink) warnFlush(setting string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if setting == "1" || s.warned {
		return
	}
	s.warned = true
	s.opts.Log.Warn("the server answers commits before they are on disk: a power cut there can lose rows that were delivered; set innodb_flush_log_at_trx_commit=1",
		"server", s.config.Addr, "innodb_flush_log_at_trx_commit", setting)
}
