package pgwire

import (
	"context"
	"time"

	"holdfast/row"
)

// Store is what the wire appends to. Its methods must be safe for concurrent
// use; errors that a client should see are *fault.Error.
type Store interface {
	// Columns returns the known columns of table in declared order, and a
	// fault of code 42P01 for a table that is not known. The caller does not
	// change the result.
	Columns(table string) ([]row.Column, error)
	// Declare makes table known with its columns, durably, before it returns.
	// A table that exists gives a fault of code 42P07.
	Declare(table string, columns []Column) error
	// Schema resolves a list of columns. Where automatic tables are on, it
	// declares what is not known yet by itself, with the types given; types of
	// known columns are ignored. Otherwise it returns faults of code 42P01 or
	// 42703. The result is interned and valid for the process's life.
	Schema(table string, columns []row.Column) (*row.Schema, error)
	// Begin returns an empty transaction.
	Begin() Tx
	// AutoTables says whether Schema declares unknown tables and columns.
	AutoTables() bool
}

// Column is a column as CREATE TABLE declares it.
type Column struct {
	row.Column
	NotNull   bool
	Default   bool // it has one, which is the sink's to fill in
	Generated bool // it cannot be written
}

// Tx is one transaction's rows. One goroutine uses it at a time.
type Tx interface {
	// Insert adds a row. It copies values, which the caller reuses.
	Insert(s *row.Schema, values []row.Value) error
	// Treat says how the rows are meant that Insert takes from now on: of which
	// zone times are without one, and whether SQL sinks leave them out where a
	// row with their key is there.
	Treat(zone *time.Location, yields bool)
	// Rows returns the number of rows inserted since the Tx was last empty.
	Rows() int
	// Commit returns once the rows are flushed (durable) or written, at once
	// for an empty Tx. Where ctx ends first, whether the rows become durable is
	// open. Afterwards the Tx is empty and can be used again.
	Commit(ctx context.Context, durable bool) error
	// RollbackTo drops all but the first rows rows; for 0 it does not fail, and
	// the Tx is as new. After an error nothing but that is possible.
	RollbackTo(rows int) error
}
