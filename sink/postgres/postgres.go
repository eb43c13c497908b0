// Package postgres is the sink that commits rows to a PostgreSQL database, by
// COPY, in one transaction with the cursor.
//
// Rows go to tables of the first schema of the connection's search_path; a
// table's name is one identifier, whatever is in it. Tables and columns that
// are missing are created there unless Options.Fixed says otherwise.
// docs/delivery.md says what an operator has to grant.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/row"
	"holdfast/sink"
)

var (
	_ sink.Sink      = (*Sink)(nil)
	_ sink.Describer = (*Sink)(nil)
	_ sink.Growing   = (*Sink)(nil)
)

// Options say which database is used, and how.
type Options struct {
	// URL is where the database is: postgres://user@host:port/database, with
	// the parameters that libpq knows.
	URL string
	// Password returns the password; it is asked again for each connection, so
	// that one which was changed is picked up. If nil, that of the URL.
	Password func() (string, error)
	// Schema is where Holdfast's own tables are. If empty, the first schema of
	// the search_path, where rows go too.
	Schema string
	// Fixed says that missing tables and columns are not created; rows for
	// them wait until somebody else does it.
	Fixed bool
	// Timeout is how long one statement may take. If zero, a minute.
	Timeout time.Duration
}

// Sink commits to one database, over one connection for each session.
type Sink struct {
	opts   Options
	config *pgconn.Config // a template; its password is not used where Options.Password is set

	mu       sync.Mutex
	sessions map[*session]struct{}
	dying    []chan struct{} // connections that were cut, until nothing is left of them
	closed   bool
}

// Open returns the sink for opts.URL. It connects when it is needed, so that
// a database which cannot be reached yet is no error here; a bad URL is.
func Open(opts Options) (*Sink, error) {
	if opts.URL == "" {
		return nil, errors.New("open database: a URL is needed: postgres://user@host:port/database")
	}
	config, err := pgconn.ParseConfig(opts.URL)
	if err != nil {
		return nil, fmt.Errorf("open database: the URL is not of the form postgres://user@host:port/database: %s", blame(err))
	}
	if opts.Timeout <= 0 {
		opts.Timeout = time.Minute
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "holdfast"
	}
	config.RuntimeParams["client_encoding"] = "UTF8"
	// A peer that is gone without a word is noticed within half a minute.
	dial := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	config.DialFunc = dial.DialContext
	return &Sink{opts: opts, config: config, sessions: map[*session]struct{}{}}, nil
}

// blame returns what was wrong with a URL, without quoting any of it: where it
// cannot be parsed, nobody can say which part of it is the password.
func blame(err error) string {
	text := err.Error()
	for _, known := range []string{"invalid port", "sslmode is invalid", "unable to read CA file", "unable to read cert", "invalid connect_timeout", "unknown target_session_attrs value", "failed to configure TLS"} {
		if strings.Contains(text, known) {
			return known
		}
	}
	return "it cannot be parsed"
}

// MostBatches returns 8: each transaction waits for a flush and a dozen
// answers, during which the server has nothing to copy.
func (s *Sink) MostBatches() int { return 8 }

// Close ends all sessions, waiting for an Apply that is under way. Idempotent.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	all := make([]*session, 0, len(s.sessions))
	for n := range s.sessions {
		all = append(all, n)
	}
	s.mu.Unlock()
	for _, n := range all {
		n.Close()
	}
	s.mu.Lock()
	dying := s.dying
	s.dying = nil
	s.mu.Unlock()
	for _, gone := range dying {
		<-gone // pgconn bounds it to 15 s
	}
	return nil
}

// bury keeps a connection that was cut until nothing is left of it.
func (s *Sink) bury(c *conn) {
	gone := c.pg.CleanupDone()
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.dying[:0]
	for _, d := range append(s.dying, gone) {
		select {
		case <-d:
		default:
			left = append(left, d)
		}
	}
	s.dying = left
}

// Attach takes the cursor of id over.
func (s *Sink) Attach(ctx context.Context, id sink.ID, instance string, start row.Position, sound func(sink.Cursor) error) (sink.Session, error) {
	n := &session{sink: s, id: id, instance: instance, turn: make(chan struct{}, 1)}
	n.turn <- struct{}{}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.sessions[n] = struct{}{}
	}
	s.mu.Unlock()
	if closed {
		return nil, s.wrap("attach to", errors.New("sink is closed"))
	}
	err := n.use(ctx, func(c *conn) error {
		return s.transaction(ctx, c, func() error { return n.takeOver(ctx, c, start, sound) })
	})
	if err != nil {
		n.Close()
		return nil, s.wrap("attach to", err)
	}
	return n, nil
}

// wrap names the database in an error, as an operator knows it.
func (s *Sink) wrap(verb string, err error) error {
	return fmt.Errorf("%s database %q on %s: %w", verb, s.config.Database, net.JoinHostPort(s.config.Host, fmt.Sprint(s.config.Port)), err)
}

// once calls f with a connection of its own.
func (s *Sink) once(ctx context.Context, f func(c *conn) error) error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return errors.New("sink is closed")
	}
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		c.close()
		s.bury(c)
	}()
	return f(c)
}

// begin is the beginning of a transaction. What a load cannot write is rolled
// back to one of its savepoints.
var begin = statement{sql: "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"}

// transaction calls f between BEGIN and COMMIT.
func (s *Sink) transaction(ctx context.Context, c *conn, f func() error) error {
	if _, err := c.run(ctx, begin); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	err := f()
	if err == nil {
		return c.commit(ctx)
	}
	c.rollback(ctx)
	return err
}
