package local

import (
	"context"
	"errors"
	"fmt"

	"holdfast/row"
	"holdfast/sink"
)

// Names of a store's files of keys.
const (
	Retried = "retried" // of the rows that were retried
	Noted   = "gaps"    // of the gaps that were told
)

// GapKey is the key of a gap that was told.
func GapKey(g row.Damage) string { return fmt.Sprintf("%d-%d", g.First, g.Last) }

// Keeper is what a sink with a Store does with its cursors. B is the sink's
// book: a State, with what the sink keeps in it.
type Keeper[B any] struct {
	// Name is the sink in errors.
	Name string
	// Use calls f with the book, under the sink's lock; for how long f runs no
	// other goroutine and no other process has it.
	Use func(ctx context.Context, f func(B) error) error
	// State is the state in a book.
	State func(B) *State
	// Write puts a book on disk, in place of what was there.
	Write func(B) error
}

// Fail says of an error which sink it is of.
func (k *Keeper[B]) Fail(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", k.Name, err)
}

// Change calls f, and writes the book as f leaves it.
func (k *Keeper[B]) Change(ctx context.Context, f func(B) error) error {
	return k.Use(ctx, func(b B) error {
		if err := f(b); err != nil {
			return err
		}
		return k.Write(b)
	})
}

// Claim is how a cursor is taken over; see sink.Sink's Attach.
type Claim struct {
	ID       sink.ID
	Instance string
	Start    row.Position
	Sound    func(sink.Cursor) error
}

// Attach takes a cursor over, after first, which may be nil, has done with the
// book what has to be done before.
func (k *Keeper[B]) Attach(ctx context.Context, c Claim, first func(B) error) (*Held[B], error) {
	h := &Held[B]{ID: c.ID, keeper: k}
	err := k.Change(ctx, func(b B) error {
		if first != nil {
			if err := first(b); err != nil {
				return err
			}
		}
		at, err := k.State(b).Attach(c.ID, c.Instance, c.Start, c.Sound)
		if err == nil {
			h.At = at.Plain()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", k.Name, err)
	}
	return h, nil
}

// Retire removes the cursor of id, and does also, which may be nil, with the book.
func (k *Keeper[B]) Retire(ctx context.Context, id sink.ID, also func(B)) error {
	err := k.Change(ctx, func(b B) error {
		k.State(b).Retire(id)
		if also != nil {
			also(b)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove cursor of %s: %w", k.Name, err)
	}
	return nil
}

// Rename makes what belongs to id that of the sink called name, and does also,
// which may be nil, with the book.
func (k *Keeper[B]) Rename(ctx context.Context, id sink.ID, name string, also func(B)) error {
	err := k.Change(ctx, func(b B) error {
		err := k.State(b).Rename(id, name)
		if err == nil && also != nil {
			also(b)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("rename cursor of %s: %w", k.Name, err)
	}
	return nil
}

// Held is a cursor that was taken over. What it knows of it is a copy; the
// cursor itself is read under the lock each time.
type Held[B any] struct {
	ID     sink.ID
	At     sink.Cursor // as of the last call that read or moved it
	keeper *Keeper[B]
	closed bool
}

// errClosed is the error of a session that was closed.
var errClosed = errors.New("session is closed")

// open returns errClosed after Close.
func (h *Held[B]) open() error {
	if h.closed {
		return errClosed
	}
	return nil
}

// Use calls f with the cursor, under the lock, unless somebody else has taken it
// over.
func (h *Held[B]) Use(ctx context.Context, f func(b B, at *Cursor) error) error {
	if err := h.open(); err != nil {
		return err
	}
	return h.keeper.Use(ctx, func(b B) error {
		at, err := h.keeper.State(b).Check(h.ID, h.At)
		if err != nil {
			return err
		}
		return f(b, at)
	})
}

// UseThere is Use for what moves the cursor, which must stand where it is known
// to be.
func (h *Held[B]) UseThere(ctx context.Context, f func(b B, at *Cursor) error) error {
	return h.Use(ctx, func(b B, at *Cursor) error {
		if at.Position() != h.At.Position {
			return fmt.Errorf("cursor stands at seq %d, expected it at %d", at.Seq, h.At.Seq)
		}
		return f(b, at)
	})
}

// Cursor reads the cursor back.
func (h *Held[B]) Cursor(ctx context.Context) (sink.Cursor, error) {
	err := h.Use(ctx, func(_ B, at *Cursor) error {
		h.At = at.Plain()
		return nil
	})
	if err != nil {
		return sink.Cursor{}, h.keeper.Fail(err)
	}
	return h.At, nil
}

// Close gives the cursor up.
func (h *Held[B]) Close() error {
	h.closed = true
	return nil
}
