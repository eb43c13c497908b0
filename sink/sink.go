// Package sink is the contract of a sink: a destination that commits rows, in
// order and exactly once, together with the cursor that says how far it got.
//
// Implementations import only this package and row, besides their driver, and
// run the conformance suite in sink/sinktest.
package sink

import (
	"context"
	"errors"

	"holdfast/row"
)

// ID names one cursor: one stream's rows in one sink. StreamID is the
// journal's own identity (a UUID), so that another journal of the same name
// is never taken for this one.
type ID struct {
	StreamID string
	Stream   string
	Sink     string
}

// Cursor is what a sink has committed of a stream: everything up to Position.
type Cursor struct {
	row.Position
	Epoch    uint64 // rises by one with each Attach
	Instance string // the token of the instance that attached last
}

// Batch is rows to be committed in one transaction, together with the cursor.
// It is read once, forwards, like a bufio.Scanner; it may be larger than
// memory, so a sink must not collect it.
type Batch interface {
	// Next advances to the next row. It returns false at the end and on an error.
	Next() bool
	// Row returns the current row. It is valid until the next call of Next, and must not be changed.
	Row() *row.Row
	// Err returns what ended the batch early. A sink must then roll back.
	Err() error
	// End returns where the cursor stands after the batch. Only valid once
	// Next returned false and Err nil.
	End() row.Position
}

// Sink is a destination. Its methods must be safe for concurrent use by
// several streams.
type Sink interface {
	// Attach takes the cursor of id over for instance: it creates what the
	// sink needs for itself (holdfast_cursor and so on), raises the cursor's
	// epoch by compare-and-set, writes the token, and returns a session
	// standing at the cursor. A cursor that does not exist yet is created at
	// Position start. From then on an older session's Apply must fail with
	// ErrFenced.
	Attach(ctx context.Context, id ID, instance string, start row.Position) (Session, error)
	// Close ends all sessions. Idempotent.
	Close() error
}

// Session delivers one stream to one sink. One goroutine uses it at a time.
type Session interface {
	// Cursor reads the cursor back from the sink. It settles a doubtful commit.
	// It returns ErrFenced where another instance has attached since, and
	// ErrNoCursor where the cursor is gone.
	Cursor(ctx context.Context) (Cursor, error)
	// Apply writes every row of b, and the cursor at b.End(), in one durable
	// transaction, in the order of b within each table. Unknown tables and
	// columns are created where the sink is so configured. After an error
	// nothing of b is in the sink, unless the error is (or wraps)
	// ErrDoubtful. An error that wraps *RowError is about one row; any other
	// is about the sink, and the same rows will come again.
	Apply(ctx context.Context, b Batch) error
	// Close gives the session up; what is committed stays.
	Close() error
}

// Stats is implemented by sinks that can tell how large they are.
type Stats interface {
	// Size returns the bytes that the sink takes on this machine's disk.
	Size() (int64, error)
}

var (
	// ErrFenced says that another instance has taken the cursor over.
	ErrFenced = errors.New("cursor was taken over by another instance")
	// ErrNoCursor says that the cursor that was there at Attach is gone.
	ErrNoCursor = errors.New("cursor is gone from the sink")
	// ErrDoubtful says that a commit may or may not have happened. The caller
	// reads the cursor back.
	ErrDoubtful = errors.New("commit may or may not have happened")
)

// RowError says that the sink refuses a row for what it is.
type RowError struct {
	Seq   uint64
	Table string
	Code  string // the database's own error code
	Err   error  // in the database's own words
}

// Error names the row and gives the database's words.
func (e *RowError) Error() string {
	return "table " + e.Table + ": " + e.Err.Error()
}

// Unwrap returns the database's error.
func (e *RowError) Unwrap() error { return e.Err }
