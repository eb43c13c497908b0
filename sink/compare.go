package sink

import (
	"context"

	"holdfast/row"
)

// Comparer is implemented by sinks whose rows can be read back, so that they
// can be compared with those of a stream.
type Comparer interface {
	// Compare looks at the sink as it is at one moment. Nothing of the sink's own
	// tables is changed, and nobody who writes to it has to wait for long.
	Compare(ctx context.Context, id ID) (Comparison, error)
}

// Comparison is a sink at one moment. One goroutine uses it at a time.
type Comparison interface {
	// Noted returns what the sink itself notes about the stream.
	Noted() Noted
	// Table describes a table that rows were written to; nil where there is none.
	Table(ctx context.Context, name string) (*Compared, error)
	// Make returns what the database makes of rows on their way into t, in their
	// order. They have the columns t.Columns, in that order. The database itself
	// tells, so that no conversion has to be known twice.
	Make(ctx context.Context, t *Compared, rows []row.Row) ([]Print, error)
	// Read calls emit with each row of one of t.Places.
	Read(ctx context.Context, t *Compared, place string, emit func(Print) error) error
	// Close gives it up.
	Close() error
}

// Noted is what a sink notes about a stream, besides its rows.
type Noted struct {
	Cursor  Cursor
	Gaps    []row.Damage    // First, Last and What: rows that it will never get
	Retried map[uint64]bool // seqs of rows that it refused and that a retry brought
}

// Compared is a table of a sink as it is compared. Columns and Key are chosen by
// who compares, before the first Make or Read, and not changed afterwards.
type Compared struct {
	Name   string
	All    []string        // every column, in the table's order
	Filled map[string]bool // columns that the database fills where a row leaves them out
	Key    []string        // columns that tell a row from all others; none: nothing does
	Places []string        // the table and its archives, as Read wants them
	Names  []string        // what they are called

	Columns []string // that are compared
}

// Print is what of a row is compared.
type Print struct {
	Digest  uint64 // of the values of t.Columns
	Key     uint64 // of those of t.Key; 0 without one
	Refused string // of Make: why the database does not take the row; "": it does
}

// archiveMark stands between the name of a table and the time of an archive.
const archiveMark = '_'

// IsArchiveOf reports whether name is that of an archive of table: its name and
// the second in which it was closed.
func IsArchiveOf(name, table string) bool {
	if len(name) <= len(table)+1 || name[:len(table)] != table || name[len(table)] != archiveMark {
		return false
	}
	digits := name[len(table)+1:]
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(digits) >= 9 && len(digits) <= 11
}
