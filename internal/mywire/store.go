package mywire

import (
	"context"
	"time"

	"holdfast/row"
)

// Store is what the door appends to. Its methods must be safe for concurrent
// use; errors that a client should see are *fault.Error.
type Store interface {
	// Columns returns the known columns of table in declared order, and a fault
	// of code 42P01 for a table that is not known. The caller does not change
	// the result.
	Columns(table string) ([]row.Column, error)
	// Schema resolves a list of columns. Where automatic tables are on, it
	// declares what is not known yet, with the types given.
	Schema(table string, columns []row.Column) (*row.Schema, error)
	// Begin returns an empty transaction.
	Begin() Tx
	// AutoTables says whether Schema declares unknown tables and columns.
	AutoTables() bool
}

// Tx is one transaction's rows. One goroutine uses it at a time.
type Tx interface {
	// Insert adds a row. It copies values, which the caller reuses.
	Insert(s *row.Schema, values []row.Value) error
	// Treat says of which zone times are without one from now on, and whether
	// SQL sinks leave out rows whose key is there already.
	Treat(zone *time.Location, yields bool)
	// Rows returns the number of rows inserted since the Tx was last empty.
	Rows() int
	// Commit returns once the rows are flushed. Where ctx ends first, whether
	// they become durable is open. Afterwards the Tx is empty.
	Commit(ctx context.Context, durable bool) error
	// RollbackTo drops all but the first rows rows; for 0 it does not fail.
	// After an error nothing but that is possible.
	RollbackTo(rows int) error
}
