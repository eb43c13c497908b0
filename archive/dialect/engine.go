package dialect

import (
	"context"
	"strconv"
	"time"

	"holdfast/archive"
)

// An engine is one kind of database. What it says of tables and statements has
// the same meaning for all, so that package closing knows none of them.
type engine interface {
	words
	describer
	writer
	keeper
	locker
}

// words is how things are written.
type words interface {
	// Quote returns how to write the name of a table. A name with a dot carries
	// its own schema; others are of the session's.
	Quote(name string) string
	// Column returns how to write the name of a column.
	Column(name string) string
	// Text returns how to write a text.
	Text(text string) string
	// Readable returns the statement that lets every role read a table; "" where
	// nobody needs to be let.
	Readable(table string) string
	// Second returns an expression for the whole second of a timestamp; NULL where
	// it is none, as infinity is.
	Second(column string) string
}

// describer reads what is there.
type describer interface {
	// Table describes the table of that name; nil where there is none.
	Table(ctx context.Context, q Querier, name string) (*Table, error)
	// Shape returns the structure of an archived table, and whether there is one.
	Shape(ctx context.Context, q Querier, name string) (archive.Structure, bool, error)
	// Named returns the tables of the schema that are named like archived tables
	// of the family.
	Named(ctx context.Context, q Querier, f *archive.Family) ([]string, error)
	// CheckViews says which names of views are taken by something that is not ours.
	CheckViews(ctx context.Context, q Querier, tables []*Table) error
	// IsReadOnly reports whether ReadOnly holds for an archived table.
	IsReadOnly(ctx context.Context, q Querier, archived string) (bool, error)
}

// writer makes statements.
type writer interface {
	scripter
	filler
	measurer
	migrator
	former
}

// measurer knows how large tables are, and what fits into their columns.
type measurer interface {
	// Bytes returns a query for about how many bytes a table takes, its indexes
	// included.
	Bytes(table string) string
	// holds returns what columns of a type hold.
	holds(kind string) holding
	// beyond returns a condition on values that are neither NULL nor a whole number
	// of 64 bits, for a column of a type that is wide.
	beyond(column string) string
}

// filler makes the statements that complete an archive which lacks tables, and
// those that take one away.
type filler interface {
	// Blank returns the statements that make an empty table like t, with its
	// columns and indexes, for an archive. References to tables of the family that
	// it keeps lead to those that archived names. An engine that commits by itself
	// may run them again.
	Blank(t *Table, name string, archived map[string]string) []string
	// View returns the statements that make the view over a table and its archives
	// anew.
	View(t *Table, archived []string) []string
	// Quiet returns the statements that have the triggers of users overlook the
	// moves of a session on a current table, until the last of Behind is run.
	Quiet(t *Table) []string
	// Leave returns the statements that take archived tables away for good,
	// parents first in gone. rest lists those that stay, by the name of the current
	// table, for the views; u is what the catalogue forgets.
	Leave(tables []*Table, gone []string, rest map[string][]string, u Unlisting, stamp int64) Leave
}

// scripter makes the statements of a closing.
type scripter interface {
	// Script returns the statements that swap tables at stamp. before lists the
	// archived tables there are, by the name of the current one, for the views.
	Script(tables []*Table, stamp int64, before map[string][]string) Script
	// Move returns the statements that take rows from one table to another of the
	// same columns: those of from that the condition chooses. Triggers of users
	// see nothing of it.
	Move(t *Table, from, where string) (insert, remove string)
	// Still returns the statements that keep the triggers of users silent on a
	// current table, and those that let them be as they were.
	Still(t *Table) (still, again []string)
	// ReadOnly returns the statements that let nobody write to an archived table.
	ReadOnly(t *Table, archived string) []string
	// Writable lifts what ReadOnly did for moves within a transaction.
	Writable(archived string) []string
}

// keeper knows what stands beside the tables of a family.
type keeper interface {
	// Made returns how a numbered key is declared, and what stands behind the
	// columns of a table that is made.
	Made() (numbered, options string)
	// Digest returns a query for the number of rows of a table and a digest that
	// does not depend on their order.
	Digest(ctx context.Context, q Querier, table string) (string, error)
	// Reserve returns the statement that keeps others from inserting into a table
	// until the transaction ends.
	Reserve(table string) string
	ender
}

// ender knows what a run that was interrupted has left.
type ender interface {
	// Twin returns the name of the table that takes the place of another at stamp,
	// until it does.
	Twin(table string, stamp int64) string
	// Swapped reports whether a run that says it is prepared has swapped the tables.
	Swapped(ctx context.Context, q Querier, tables []string, stamp int64) (bool, error)
	// Undo returns the statements that take away what Script.Prepare made of
	// tables, none of which was swapped.
	Undo(tables []string, stamp int64) []string
	// Behind returns the statements that are run behind the swap: before rows are
	// put back, and after it. Running them again changes nothing.
	Behind(ctx context.Context, q Querier, tables []*Table, stamp int64) (first, last []string, err error)
}

// locker keeps others away.
type locker interface {
	now() string // a query for the time in seconds
	// lock tries to take the lock that keeps a second run away.
	lock(ctx context.Context, s *Session) (bool, error)
	exclusive(ctx context.Context, s *Session, tables []string, what func(q Querier) error) (time.Duration, error)
	busy(err error) bool // somebody else held a lock
	// commits says that each statement which makes or renames commits by itself.
	commits() bool
}

// Script is what swaps the tables of a family for empty twins.
type Script struct {
	Prepare []string // makes the twins, in one transaction where the engine can
	Views   []string // has the views read the twins too, which are empty: one by one
	Swap    []string // under the lock, in one transaction
	Alone   bool     // the swap is one statement, and nothing can be added to it
}

// Archived returns the name of a table once it is swapped at stamp.
func Archived(table string, stamp int64) string { return table + "_" + strconv.FormatInt(stamp, 10) }

// Twin returns the name of the table that takes its place, until it does.
func Twin(table string, stamp int64) string { return Archived(table, stamp) + "_new" }

// AllName is the name of the view over a table and its archives.
func AllName(table string) string { return table + "_all" }
