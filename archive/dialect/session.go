// Package dialect speaks to the databases that families live in: what their
// tables look like, and the statements that swap, move and close them. It
// makes statements and reads catalogues; in which order they are run, and what
// must hold before and after, is the business of package closing.
//
// PostgreSQL is the only engine so far.
package dialect

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"holdfast/archive"
	"holdfast/internal/fault"
)

// Querier is what reads: a session, or a transaction in it.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Session is one connection to a database, on one schema of it. One goroutine
// uses it at a time.
type Session struct {
	*sql.Conn
	pool   *sql.DB
	schema string
	asks   bool // its views can look with the rights of whoever asks (since 15)
}

// lockName is what two runs on one schema must not hold at once.
const lockName = "holdfast archive "

// Open connects to the database at url. The tables of a family are those of
// the schema that the connection's search_path names first.
func Open(ctx context.Context, url string) (*Session, error) {
	if !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		scheme, _, _ := strings.Cut(url, ":")
		return nil, fault.New(fault.FeatureNotSupported, "archiving does not speak %q", scheme).WithHint("postgres:// is the only one so far")
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fault.New(fault.InvalidParameterValue, "the URL of the database is not one").Because(err)
	}
	// Several statements in one message: under a lock each round trip counts.
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	config.RuntimeParams["application_name"] = "holdfast archive"
	s := &Session{pool: stdlib.OpenDB(*config)}
	if s.Conn, err = s.pool.Conn(ctx); err != nil {
		return nil, errors.Join(fault.New(fault.ConnectionFailure, "connect to the database at %s:%d", config.Host, config.Port).Because(err), s.pool.Close())
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// begin pins what changes how values and definitions are written: digests must
// be the same in every session, and names must carry their schema.
func (s *Session) begin(ctx context.Context) error {
	rows, err := Rows(ctx, s, `SELECT coalesce(current_schema(), ''), current_setting('server_version_num')`)
	if err != nil {
		return err
	}
	s.schema = rows[0][0]
	if s.schema == "" {
		return fault.New(fault.UndefinedObject, "the connection has no schema").WithHint("add ?search_path=SCHEMA to the URL")
	}
	if len(rows[0][1]) < 6 || rows[0][1] < "130000" {
		return fault.New(fault.FeatureNotSupported, "this server is too old (%s)", rows[0][1]).WithHint("PostgreSQL 13 or newer is needed")
	}
	s.asks = rows[0][1] >= "150000"
	_, err = s.ExecContext(ctx, `SET search_path = ''; SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'iso_8601';
		SET extra_float_digits = 1; SET bytea_output = 'hex'; SET row_security = off; SET lc_monetary = 'C'; SET xmlbinary = 'base64'`)
	return err
}

// Close ends the session, and with it its lock.
func (s *Session) Close() error {
	var err error
	if s.Conn != nil {
		err = s.Conn.Close()
	}
	return errors.Join(err, s.pool.Close())
}

// patience is how long Lock waits: a run that was killed a moment ago may not
// have let go yet.
const patience = 15 * time.Second

// Lock takes the lock that keeps a second run away from the schema, until the
// session ends.
func (s *Session) Lock(ctx context.Context) error {
	for began := time.Now(); ; {
		rows, err := Rows(ctx, s, `SELECT pg_try_advisory_lock(hashtextextended($1, 0))::text`, lockName+s.schema)
		if err != nil || rows[0][0] == "true" {
			return err
		}
		if time.Since(began) > patience {
			return fault.New(fault.CannotConnectNow, "another run archives tables of schema %q", s.schema).WithHint("wait for it to end")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// Now returns the time of the database in seconds.
func (s *Session) Now(ctx context.Context) (int64, error) {
	rows, err := Rows(ctx, s, `SELECT floor(extract(epoch FROM clock_timestamp()))::bigint`)
	if err != nil {
		return 0, err
	}
	var now int64
	_, err = fmt.Sscan(rows[0][0], &now)
	return now, err
}

// Quote returns how to write the name of a table. A name with a dot carries
// its own schema; others are of the session's.
func (s *Session) Quote(name string) string {
	schema, table, found := strings.Cut(name, ".")
	if !found {
		schema, table = s.schema, name
	}
	return pgx.Identifier{schema, table}.Sanitize()
}

// Column returns how to write the name of a column.
func (s *Session) Column(name string) string { return pgx.Identifier{name}.Sanitize() }

// Text returns how to write a text.
func (s *Session) Text(text string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(text, "\x00", ""), "'", "''") + "'"
}

// Second returns an expression for the whole second of a timestamp.
func (s *Session) Second(column string) string {
	return "floor(extract(epoch FROM " + column + "))::bigint"
}

// Digest returns a query for the number of rows of a table and a digest that
// does not depend on their order.
func (s *Session) Digest(table string) string {
	return `SELECT count(*), coalesce(sum(('x' || substr(md5(t::text), 1, 16))::bit(64)::bigint::numeric), 0) FROM ` + s.Quote(table) + ` t`
}

// In runs what in one transaction.
func (s *Session) In(ctx context.Context, what func(tx *sql.Tx) error) error {
	tx, err := s.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := what(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx.Commit()
}

func ignoreDone(err error) error {
	var hung *pgconn.PgError
	if errors.Is(err, sql.ErrTxDone) || err != nil && !errors.As(err, &hung) {
		return nil // the connection is gone, and the transaction with it
	}
	return err
}

// attempts and pause say how long a lock is tried for: each attempt holds
// others up for no longer than lockTimeout.
const (
	attempts    = 120
	pause       = 250 * time.Millisecond
	lockTimeout = 400 * time.Millisecond
)

// Exclusive runs what in one transaction that holds the tables against
// everybody else. Where they are in use, it lets go at once and tries again:
// whoever waits behind a lock that is not granted waits too. It returns how
// long the tables were held.
func (s *Session) Exclusive(ctx context.Context, tables []string, what func(tx *sql.Tx) error) (held time.Duration, err error) {
	var names []string
	for _, t := range tables {
		names = append(names, s.Quote(t))
	}
	lock := fmt.Sprintf("SET LOCAL lock_timeout = %d; SET LOCAL statement_timeout = %d; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE; SET LOCAL statement_timeout = 0",
		lockTimeout.Milliseconds(), 2*lockTimeout.Milliseconds(), strings.Join(names, ", "))
	for n := 1; ; n++ {
		err = s.In(ctx, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, lock); err != nil {
				return err
			}
			began := time.Now()
			defer func() { held = time.Since(began) }()
			return what(tx)
		})
		if err == nil || !busy(err) || n == attempts {
			return held, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// busy reports whether err says that somebody else held a lock.
func busy(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "55P03" || e.Code == "40P01" || e.Code == "57014")
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

// Named returns the tables of the schema that are named like archived tables of
// the family.
func (s *Session) Named(ctx context.Context, q Querier, f *archive.Family) (all []string, err error) {
	for _, t := range f.Tables {
		rows, err := Rows(ctx, q, `SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = $1 AND c.relkind = 'r' AND substr(c.relname, 1, length($2)) = $2 AND substr(c.relname, length($2) + 1) ~ '^_[0-9]{9,11}$' ORDER BY 1`, s.schema, t.Name)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			all = append(all, r[0])
		}
	}
	return all, nil
}
