package holdfast

import (
	"context"
	"errors"
	"fmt"

	"holdfast/internal/journal"
	"holdfast/internal/sources"
	"holdfast/row"
)

// Move moves the position of a source together with the rows that were read
// from it: what is read again after a crash is stored once. The position is
// what its reader makes of it.
type Move struct {
	Source   string
	From, To string // From is where the source must stand; "" is where a new one stands
}

// Position returns where a source stands; "" where it never moved.
func (db *DB) Position(source string) (string, error) { return db.sources.Position(source) }

// MoveSource moves a source without rows.
func (db *DB) MoveSource(m Move) error { return db.sources.Move(sources.Move(m), "", nil, nil) }

// BeginMove returns an empty transaction whose Commit moves a source as well:
// both happen or none. Its Commit is durable, waits for other moves, and fails
// with code 40001 where the source stands elsewhere. Without rows the source is
// moved alone.
func (db *DB) BeginMove(m Move) *Tx { return &Tx{db: db, move: &m} }

// commitMove is Commit of a transaction that moves a source.
func (t *Tx) commitMove(ctx context.Context) error {
	m := sources.Move(*t.move)
	switch {
	case t.failed != nil:
		err := errors.Join(t.failed, t.abort())
		t.clear()
		return err
	}
	// Before the move begins, so that nobody waits for a key while he moves.
	if err := t.take(ctx); err != nil {
		t.Rollback()
		return err
	}
	if t.rows == 0 {
		err := t.awaitFirsts(ctx, true)
		t.clear()
		if err != nil {
			return err
		}
		return t.db.sources.Move(m, "", nil, nil)
	}
	j, began := t.stream.journal, false
	err := t.db.sources.Move(m, t.stream.Name, func() uint64 { return j.End().Seq }, func() error {
		began = true
		// Who goes away now would leave it open whether the source was moved.
		return t.commit(context.WithoutCancel(ctx), true)
	})
	if !began {
		t.Rollback()
	}
	return err
}

// moved reports whether a transaction that moves a source stands behind a seq.
// What was cut off there never was acked.
func (db *DB) moved(stream string, after uint64) (bool, error) {
	s, err := db.find(stream)
	if err != nil {
		return false, err
	}
	if after >= s.journal.End().Seq {
		return false, nil
	}
	r, err := s.journal.Reader(after + 1)
	if err != nil {
		return false, err
	}
	found, err := findMove(r, after, s.journal.End().Seq)
	return found, errors.Join(err, r.Close())
}

func findMove(r *journal.Reader, after, end uint64) (bool, error) {
	for {
		b, err := r.TryNext()
		if err != nil || b == nil {
			return false, err
		}
		for i := range b.Rows {
			if b.Rows[i].Seq > after && b.Rows[i].Flags&row.Moves != 0 {
				return true, nil
			}
		}
		for _, d := range b.Damage {
			if d.Last > after {
				return false, fmt.Errorf("rows %d to %d of stream %q cannot be read: %s", d.First, d.Last, d.Stream, d.What)
			}
		}
		if b.End.Seq >= end {
			return false, nil
		}
	}
}
