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

// Rejects takes the rows that a sink refuses for what they are. One goroutine
// uses it at a time.
type Rejects interface {
	// Refuse sets r aside: the sink leaves it out of its transaction and goes on
	// with the others. r is a row of the batch, with its values; it need not be
	// the current one, and is copied. why must name it. An error means that the
	// row is not left out by itself (its whole transaction may have to go, or a
	// budget is used up): Apply must roll back and return that error.
	Refuse(r *row.Row, why *RowError) error
	// Settle returns once every row set aside is on disk. A sink that refused
	// rows calls it right before its commit, and rolls back and returns the
	// error where there is one.
	Settle(ctx context.Context) error
}

// Sink is a destination. Its methods must be safe for concurrent use by
// several streams.
type Sink interface {
	// Attach takes the cursor of id over for instance: it creates what the
	// sink needs for itself (holdfast_cursor and so on), raises the cursor's
	// epoch by compare-and-set, writes the token, and returns a session
	// standing at the cursor. A cursor that does not exist yet is created at
	// Position start. From then on an older session's Apply must fail with
	// ErrFenced. sound, unless nil, is asked within that step about the cursor as
	// it is (with Epoch 0 where there is none), so that whoever finds that it is
	// not his takes it from nobody: its error is returned, and nothing changed.
	Attach(ctx context.Context, id ID, instance string, start row.Position, sound func(Cursor) error) (Session, error)
	// Retire removes the cursor of id; rows, gaps and the keys of retried rows
	// stay. No error where there is none.
	Retire(ctx context.Context, id ID) error
	// Rename makes the cursor of id, with what belongs to it, that of the sink
	// called name. It returns ErrNoCursor where there is none, also where name has
	// one, so that it may be repeated, and fails where both have one; gaps and keys that a retired sink of that name left
	// are no hindrance.
	Rename(ctx context.Context, id ID, name string) error
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
	// transaction, in the order of b within each table; rows of tables that
	// others refer to go first among those written together. Unknown tables and
	// columns are created where the sink is so configured. Rows that the
	// destination refuses for what they are go to rejects, the others are
	// written all the same. After an error nothing of b is in the sink, unless
	// the error is (or wraps) ErrDoubtful. An error that wraps *RowError is about
	// rows that could not be told apart (where its Seq is 0) or left out; any
	// other is about the sink, and the same rows will come again.
	Apply(ctx context.Context, b Batch, rejects Rejects) error
	// Move puts the cursor to a place that an operator, or a gap, says, and
	// notes in the sink (holdfast_gap) which rows it will never get, in one
	// durable transaction. A gap noted before is noted once. It fails with
	// ErrFenced and ErrNoCursor as Cursor does.
	Move(ctx context.Context, to row.Position, gaps []row.Damage) error
	// Retry writes rows that were refused before, in one durable transaction
	// together with the seq of each (holdfast_retry), and leaves out those whose
	// seq is there already. The cursor stays. What is refused again goes to
	// rejects. Its errors are those of Apply.
	Retry(ctx context.Context, b Batch, rejects Rejects) error
	// Close gives the session up; what is committed stays.
	Close() error
}

// Stats is implemented by sinks that can tell how large they are.
type Stats interface {
	// Size returns the bytes that the sink takes on this machine's disk.
	Size() (int64, error)
}

// Rotator is implemented by sinks that keep files open for other programs.
type Rotator interface {
	// Rotate closes all files; each is opened again under its own name when a
	// row comes for it. Rows are not held up for longer than that takes.
	Rotate() error
}

// Describer is implemented by sinks that can tell what their tables look like.
type Describer interface {
	// Describe returns the tables that rows can be written to, in the order of
	// their names, as they are now. It must not wait for an Apply.
	Describe(ctx context.Context) ([]Table, error)
}

// Growing is implemented by sinks in which nothing shows where a batch ends, and
// to which larger ones cost less per row.
type Growing interface {
	// MostBatches returns how many batches of the usual size may come as one,
	// while rows wait and the sink is quick.
	MostBatches() int
}

// Table is one table of a destination. It is plain data.
type Table struct {
	Name    string   `json:"name"`
	Columns []Column `json:"columns"`           // in the table's order
	Parents []string `json:"parents,omitempty"` // tables that its foreign keys refer to, sorted, itself excluded
}

// Column is one column of a destination's table.
type Column struct {
	Name string `json:"name"`
	// Type is the type in PostgreSQL's words, in lower case ("integer",
	// "varchar(64)", "numeric(10,2)", "timestamptz"), or "" where it has no
	// counterpart there and values cannot be judged.
	Type      string `json:"type,omitempty"`
	NotNull   bool   `json:"not_null,omitempty"`
	Default   bool   `json:"default,omitempty"`   // filled by the database where a row leaves it out
	Generated bool   `json:"generated,omitempty"` // cannot be written
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
	Seq   uint64 // 0: not known
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
