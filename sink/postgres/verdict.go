package postgres

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/sink"
)

// verdicts says what an error means, by its SQLSTATE or its class (the first
// two characters): true, the row is refused for what it is, and would be again
// tomorrow; false, it is about where the row goes, and the same row may go in
// later. A wrong true sets a good row aside, a wrong false stops the sink until
// somebody looks; so what is not clear is false.
var verdicts = map[string]bool{
	"21": true, // a query in a trigger gave more rows than one
	"22": true, // data: not an integer, too long, out of range, not in the encoding
	"23": true, // constraints: NOT NULL, foreign key, unique, CHECK, exclusion, no partition for it
	"44": true, // WITH CHECK OPTION of a view
	"54": true, // limits: too large for an index or for a page, nested too deep
	"P0": true, // RAISE in a trigger

	"428C9": true, // the row gives a value for a generated column
	"42701": true, // the row names one column twice, or a system column
	"42622": true, // the row has a name that is longer than PostgreSQL's names
	"42939": true, // the row is for a table of Holdfast's own

	"22P04": false, // the COPY itself was malformed: ours to mend, not the row's fault
	"42P01": false, // no such table: it was dropped, or must be created by somebody
	"42703": false, // no such column
	"42P10": false, // a column became a generated one since we looked
	"42501": false, // privileges
	"42":    false, // anything else about names and types
	"0A":    false, // COPY into something that takes none; row level security
	"08":    false, // connection
	"25":    false, // read only: a standby, or the database is set so
	"28":    false, // authentication
	"3D":    false, // no such database
	"3F":    false, // no such schema
	"40":    false, // deadlock, serialization
	"53":    false, // disk full, memory, connections
	"55":    false, // lock not available, object in use
	"57":    false, // shutdown, statement_timeout
	"58":    false, // I/O of the server
	"XX":    false, // the server found damage, or a bug
	"F0":    false, // its configuration files
	"01":    false, "02": false, "03": false, "09": false, "0B": false, "0F": false, "0L": false, "0P": false, "0Z": false,
	"20": false, "24": false, "26": false, "27": false, "2B": false, "2D": false, "2F": false, "34": false,
	"38": false, "39": false, "3B": false, "72": false, "HV": false,
}

// aboutRow reports whether err refuses a row for what it is. A code of a class
// that PostgreSQL has not got was raised by a trigger of the user's own.
func aboutRow(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) || len(e.Code) != 5 || e.SeverityUnlocalized != "ERROR" {
		return false
	}
	what, known := verdicts[e.Code]
	if !known {
		what, known = verdicts[e.Code[:2]]
	}
	return what || !known
}

// isCode reports whether err is PostgreSQL's error of that SQLSTATE.
func isCode(err error, codes ...string) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	for _, code := range codes {
		if e.Code == code {
			return true
		}
	}
	return false
}

// words is PostgreSQL's error with all that it says about a row, and without
// what it says about our statements.
type words struct{ *pgconn.PgError }

// Error returns message, detail and constraint.
func (w words) Error() string {
	text := w.Message
	if w.Detail != "" {
		text += ": " + w.Detail
	}
	if w.ConstraintName != "" && !strings.Contains(w.Message, w.ConstraintName) {
		text += " (constraint " + w.ConstraintName + ")"
	}
	return text
}

// Unwrap returns the error as the driver gives it.
func (w words) Unwrap() error { return w.PgError }

// refusal returns err as a *sink.RowError for table, where it refuses a row,
// and as it is otherwise.
func refusal(err error, table string) error {
	var e *pgconn.PgError
	if !aboutRow(err) || !errors.As(err, &e) {
		return err
	}
	if table == "" {
		table = e.TableName
	}
	return &sink.RowError{Table: table, Code: e.Code, Err: words{e}}
}
