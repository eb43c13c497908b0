package bench

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"holdfast"
	"holdfast/internal/httpapi"
	"holdfast/internal/pgwire"
	"holdfast/row"
)

// wireStore and httpStore are a database for either door, as the daemon hands
// it to them.
type (
	wireStore struct{ *holdfast.DB }
	httpStore struct{ *holdfast.DB }
)

// Begin returns an empty transaction.
func (s wireStore) Begin() pgwire.Tx { return s.DB.Begin() }

// Declare keeps names and types: nothing that is measured declares more.
func (s wireStore) Declare(table string, columns []pgwire.Column) error {
	plain := make([]row.Column, len(columns))
	for i, c := range columns {
		plain[i] = c.Column
	}
	return s.DB.Declare(table, plain)
}

// Begin returns an empty transaction.
func (s httpStore) Begin() httpapi.Tx { return s.DB.Begin() }

// openDatabase opens a database without sinks, so that nothing but the door
// and the journal works, and ages it as openAged does a journal.
func openDatabase(ctx context.Context, p *pair, at place) (*holdfast.DB, error) {
	db, err := holdfast.Open(filepath.Join(at.dir, "data"), holdfast.Options{
		Streams: []holdfast.Stream{{Name: holdfast.MainStream, Limits: holdfast.Limits{
			Budget:  32 * at.segment, // which makes segments of that size
			History: keepSegments * at.segment, Wait: 30 * time.Second,
		}}},
	})
	if err != nil {
		return nil, err
	}
	p.onClose(db.Close)
	if err := db.Declare(benchTable, columns()); err != nil {
		return nil, err
	}
	insert, err := insertRows(ctx, db, 2, batchRows)
	if err != nil {
		return nil, err
	}
	var unused histogram
	_, err = insert(int((keepSegments+2)*at.segment/int64(len(record()))), &unused)
	return db, err
}

// insertRows lets count goroutines commit transactions of size rows each.
func insertRows(ctx context.Context, db *holdfast.DB, count, size int) (side, error) {
	s, err := db.Schema(benchTable, columns())
	if err != nil {
		return nil, err
	}
	return func(n int, took *histogram) (float64, error) {
		return float64(n), waiters(count, n, took, func(_, share int, took *histogram) error {
			tx, vs := db.Begin(), values()
			defer tx.Rollback()
			return inBatches(share, size, took, func(rows int) error {
				return commit(ctx, tx, s, vs, rows)
			})
		})
	}, nil
}

// commit commits one transaction of rows rows.
func commit(ctx context.Context, tx *holdfast.Tx, s *row.Schema, vs []row.Value, rows int) error {
	for range rows {
		if err := tx.Insert(s, vs); err != nil {
			return err
		}
	}
	return tx.Commit(ctx, true)
}

// libraryCases are those of the library, with the baseline that the journal
// below it has.
func libraryCases() []comparison {
	const count = 64
	return []comparison{{
		name: "library/64", unit: "rows/s", goal: .9, step: 16 * count, against: againstGroup,
		open: func(ctx context.Context, at place) (*pair, error) {
			p := &pair{}
			db, err := openDatabase(ctx, p, at)
			if err == nil {
				p.product, err = insertRows(ctx, db, count, 1)
			}
			var r *ring
			if err == nil {
				r, err = newRing(p, at)
			}
			if err != nil {
				return nil, errors.Join(err, p.close())
			}
			p.baseline = flushGroup(newGroup(p, r, count*len(record())), count, record())
			return p, nil
		},
	}}
}
