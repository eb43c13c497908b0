package bench

import (
	"context"
	"time"

	"holdfast/internal/fault"
	"holdfast/internal/httpapi"
	"holdfast/internal/pgwire"
	"holdfast/row"
)

// nothing is a store with one table that resolves names and drops rows at
// once: behind a door it leaves what the door itself costs, and the clients.
type nothing struct{}

var nothingSchema = &row.Schema{ID: 1, Stream: "main", Table: benchTable, Columns: columns()}

// Columns returns those of the one table.
func (nothing) Columns(string) ([]row.Column, error) { return nothingSchema.Columns, nil }

// Declare refuses: the one table is there.
func (nothing) Declare(table string, _ []pgwire.Column) error {
	return fault.New(fault.DuplicateTable, "table %q is already declared", table)
}

// Schema returns that of the one table, whatever is asked for.
func (nothing) Schema(string, []row.Column) (*row.Schema, error) { return nothingSchema, nil }

// AutoTables returns true.
func (nothing) AutoTables() bool { return true }

// wireNothing and httpNothing are nothing for either door.
type (
	wireNothing struct{ nothing }
	httpNothing struct{ nothing }
)

// Begin returns an empty transaction.
func (wireNothing) Begin() pgwire.Tx { return new(nothingTx) }

// Begin returns an empty transaction.
func (httpNothing) Begin() httpapi.Tx { return new(nothingTx) }

// nothingTx counts rows, since doors tell clients how many there were.
type nothingTx struct{ rows int }

func (t *nothingTx) Insert(*row.Schema, []row.Value) error { t.rows++; return nil }
func (t *nothingTx) SetZone(*time.Location)                {}
func (t *nothingTx) Treat(*time.Location, bool)            {}
func (t *nothingTx) Rows() int                             { return t.rows }
func (t *nothingTx) Commit(context.Context, bool) error    { t.rows = 0; return nil }
func (t *nothingTx) Rollback()                             { t.rows = 0 }
func (t *nothingTx) RollbackTo(rows int) error             { t.rows = rows; return nil }
