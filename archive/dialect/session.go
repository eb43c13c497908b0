// Package dialect speaks to the databases that families live in: what their
// tables look like, and the statements that swap, move and close them. It
// makes statements and reads catalogues; in which order they are run, and what
// must hold before and after, is the business of package closing.
//
// It knows PostgreSQL, MariaDB and SQLite. Where they differ most is the swap:
// PostgreSQL and SQLite do all of it in one transaction, the rows that stay
// included; MariaDB in one RENAME TABLE, with a commit behind every statement
// before and after it.
package dialect

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast/internal/fault"
)

// Querier is what reads and writes: a session, or a transaction in it.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Session is one connection to a database, on one schema of it. One goroutine
// uses it at a time.
type Session struct {
	*sql.Conn
	engine
	Where string // host and port of the server, or the path of the file

	pool  *sql.DB
	also  func() error // closes what the engine opened besides
	watch func(statement string) error
}

// lockName is what two runs on one schema must not hold at once.
const lockName = "holdfast archive "

// Open connects to the database at url: postgres://, mysql:// or sqlite:FILE.
func Open(ctx context.Context, url string) (*Session, error) {
	scheme, _, _ := strings.Cut(url, ":")
	switch scheme {
	case "postgres", "postgresql":
		return openPostgres(ctx, url)
	case "mysql", "mariadb":
		return openMariaDB(ctx, url)
	case "sqlite":
		return openSQLite(ctx, url)
	}
	return nil, fault.New(fault.FeatureNotSupported, "archiving does not speak %q", scheme).WithHint("postgres://, mysql:// or sqlite:FILE")
}

// connecting is how long a server may take until it has taken a connection and
// answered for the first time. A port at which something else listens, which
// waits to be spoken to, says nothing for ever.
var connecting = 30 * time.Second // tests have no time

// start opens the one connection of a session.
func start(ctx context.Context, e engine, pool *sql.DB, where string, begin func(context.Context, *Session) error) (_ *Session, err error) {
	s := &Session{engine: e, pool: pool, Where: where}
	if s.Conn, err = s.connect(ctx); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	soon, cancel := context.WithTimeout(ctx, connecting)
	defer cancel()
	if err = begin(soon, s); err != nil {
		return nil, errors.Join(s.unopened(ctx, soon, err), s.Close())
	}
	return s, nil
}

// connect opens a connection.
func (s *Session) connect(ctx context.Context) (*sql.Conn, error) {
	soon, cancel := context.WithTimeout(ctx, connecting)
	defer cancel()
	c, err := s.pool.Conn(soon)
	return c, s.unopened(ctx, soon, err)
}

// unopened says which database err keeps from being opened.
func (s *Session) unopened(ctx, soon context.Context, err error) error {
	if f := (*fault.Error)(nil); err == nil || errors.As(err, &f) {
		return err
	}
	failed := fault.New(fault.ConnectionFailure, "connect to the database at %s", s.Where)
	if soon.Err() != nil && ctx.Err() == nil {
		return failed.Because(fmt.Errorf("no answer within %v: %w", connecting, err)).WithHint("is it such a server that listens there, and not one of another kind?")
	}
	return failed.Because(err)
}

// Close ends the session, and with it its lock.
func (s *Session) Close() error {
	var err error
	if s.Conn != nil {
		err = s.Conn.Close()
	}
	if s.also != nil {
		err = errors.Join(err, s.also())
		s.also = nil
	}
	return errors.Join(err, s.pool.Close())
}

// Watch has see called before each statement that may change something, and
// before each commit. Where it returns an error, the statement is not run.
func (s *Session) Watch(see func(statement string) error) { s.watch = see }

// ExecContext runs statements.
func (s *Session) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return watched{s.Conn, s}.ExecContext(ctx, query, args...)
}

// watched is a transaction, or the connection, of a session that is watched.
type watched struct {
	Querier
	s *Session
}

func (w watched) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if w.s.watch != nil {
		if err := w.s.watch(query); err != nil {
			return nil, err
		}
	}
	return w.Querier.ExecContext(ctx, query, args...)
}

// Commits reports whether each statement that makes or renames tables commits
// by itself, so that a run can be interrupted between any two.
func (s *Session) Commits() bool { return s.commits() }

// patience is how long Lock waits: a run that was killed a moment ago may not
// have let go yet.
const patience = 15 * time.Second

// Lock takes the lock that keeps a second run away from the schema, until the
// session ends.
func (s *Session) Lock(ctx context.Context) error {
	for began := time.Now(); ; {
		ours, err := s.lock(ctx, s)
		if err != nil || ours {
			return err
		}
		if time.Since(began) > patience {
			return fault.New(fault.CannotConnectNow, "another run archives tables of this database").WithHint("wait for it to end")
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

// wait waits before something is tried again.
func wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
		return nil
	}
}

// Now returns the time of the database in seconds.
func (s *Session) Now(ctx context.Context) (int64, error) {
	rows, err := Rows(ctx, s, s.now())
	if err != nil {
		return 0, err
	}
	var now int64
	_, err = fmt.Sscan(rows[0][0], &now)
	return now, err
}

// In runs what in one transaction.
func (s *Session) In(ctx context.Context, what func(q Querier) error) error {
	tx, err := s.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, defers := s.engine.(*postgres); defers { // a table of which a check is yet to come cannot be altered
		_, err = tx.ExecContext(ctx, "SET CONSTRAINTS ALL IMMEDIATE")
	}
	if err == nil {
		err = what(watched{tx, s})
	}
	if err == nil && s.watch != nil {
		err = s.watch("COMMIT")
	}
	if err != nil {
		_ = tx.Rollback() // if it cannot be, the connection is gone, and the transaction with it
		return err
	}
	return tx.Commit()
}

// attempts and pause say how long a lock is tried for.
const (
	attempts = 120
	pause    = 250 * time.Millisecond
)

// Exclusive runs what while it holds the tables against everybody else, in one
// transaction where the engine can. Where they are in use, it lets go at once
// and tries again: whoever waits behind a lock that is not granted waits too.
// It returns how long the tables were held.
func (s *Session) Exclusive(ctx context.Context, tables []string, what func(q Querier) error) (held time.Duration, err error) {
	err = s.Again(ctx, func() (err error) {
		held, err = s.exclusive(ctx, s, tables, what)
		return err
	})
	return held, err
}

// Again runs what again where somebody else held a lock.
func (s *Session) Again(ctx context.Context, what func() error) error {
	for n := 1; ; n++ {
		err := what()
		if err == nil || !s.busy(err) || n == attempts {
			return err
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

// Busy reports whether err says that somebody else held a lock.
func (s *Session) Busy(err error) bool { return s.busy(err) }

// Newest runs a query that sees what others have committed up to now, and, in
// an engine whose transactions may be in front of a lock that q holds, what they
// have not committed yet.
func (s *Session) Newest(ctx context.Context, q Querier, query string) ([][]string, error) {
	if !s.commits() {
		return Rows(ctx, q, query)
	}
	c, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // it goes back to the pool
	tx, err := c.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadUncommitted, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // it wrote nothing
	return Rows(ctx, tx, query)
}

// Rows returns what a query returns, as texts; NULL is "".
func Rows(ctx context.Context, q Querier, query string, args ...any) ([][]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]string
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		one := make([]string, len(columns))
		for i, v := range values {
			one[i] = v.String
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
