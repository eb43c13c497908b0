package httpapi

import (
	"context"
	"io"

	"holdfast/row"
)

// Local answers as Client does, but from a Store and an Admin in this process:
// the verbs use it where no server runs.
type Local struct {
	Store Store
	Admin Admin
}

// Put stores the rows in body, durably, whole or not at all.
func (l *Local) Put(ctx context.Context, table, contentType string, body io.Reader) (int, error) {
	return Put(ctx, l.Store, Load{Table: table, ContentType: contentType, Body: body, Durable: true})
}

// Rows calls emit and damage as Admin.Rows does.
func (l *Local) Rows(ctx context.Context, q RowsQuery, emit func(*RowLine) error, damage func(row.Damage) error) error {
	return l.Admin.Rows(ctx, q, func(r *row.Row) error { return emit(q.line(r)) }, damage)
}

// Verify calls report for each damaged place.
func (l *Local) Verify(ctx context.Context, stream string, report func(row.Damage) error) (Verified, error) {
	return l.Admin.Verify(ctx, stream, report)
}

// Repair calls report for each damage, as Repairer does.
func (l *Local) Repair(ctx context.Context, stream string, apply bool, report func(Repair) error) (Verified, error) {
	if able, ok := l.Admin.(Repairer); ok {
		return able.Repair(ctx, stream, apply, report)
	}
	return Verified{}, errNoRepair
}

// Status returns how the data directory was left.
func (l *Local) Status(ctx context.Context) (Status, error) { return l.Admin.Status(ctx) }
