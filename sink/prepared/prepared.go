// Package prepared keeps the statements that one connection to a database has
// prepared, up to a number of them, for sinks that use their driver without
// database/sql.
package prepared

import (
	"context"
	"database/sql/driver"
	"errors"
)

// Statements are those of one connection. The one that was not used for the
// longest time makes room for a new one. Not safe for concurrent use, as the
// connection is not.
type Statements struct {
	conn  driver.Conn
	most  int
	kept  map[string]*statement
	clock uint64 // counts uses
}

// statement is a prepared statement and when it was last used.
type statement struct {
	driver.Stmt
	used uint64
}

// New keeps up to most statements of conn, whose driver must take contexts.
func New(conn driver.Conn, most int) *Statements {
	return &Statements{conn: conn, most: most, kept: map[string]*statement{}}
}

// Exec executes sql, which is prepared where it is not yet.
func (s *Statements) Exec(ctx context.Context, sql string, args []driver.NamedValue) (driver.Result, error) {
	st := s.kept[sql]
	if st == nil {
		if err := s.makeRoom(); err != nil {
			return nil, err
		}
		p, err := s.conn.(driver.ConnPrepareContext).PrepareContext(ctx, sql)
		if err != nil {
			return nil, err
		}
		st = &statement{Stmt: p}
		s.kept[sql] = st
	}
	s.clock++
	st.used = s.clock
	return st.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

// makeRoom closes the statement that was not used for the longest time, where
// there are as many as there may be.
func (s *Statements) makeRoom() error {
	if len(s.kept) < s.most {
		return nil
	}
	var oldest string
	for sql, st := range s.kept {
		if oldest == "" || st.used < s.kept[oldest].used {
			oldest = sql
		}
	}
	st := s.kept[oldest]
	delete(s.kept, oldest)
	return st.Close()
}

// Len returns how many are kept.
func (s *Statements) Len() int { return len(s.kept) }

// Uses returns how many statements were executed so far.
func (s *Statements) Uses() uint64 { return s.clock }

// Forget closes all of them, before the connection is closed.
func (s *Statements) Forget() error {
	var all error
	for _, st := range s.kept {
		all = errors.Join(all, st.Close())
	}
	clear(s.kept)
	return all
}

// Named returns args as drivers take them.
func Named(args []any) []driver.NamedValue {
	values := make([]driver.NamedValue, len(args))
	for i, a := range args {
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return values
}
