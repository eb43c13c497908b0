package deliver

import (
	"context"
	"errors"
	"fmt"

	"holdfast/row"
	"holdfast/sink"
)

// Reason says why a Deliverer is halted.
type Reason string

// The reasons. BadRow, Budget, Damage and Gap heal by themselves once what is
// wrong was mended, since delivery keeps trying; the others wait for Resume.
const (
	Fenced       Reason = "fenced"        // another instance has attached since
	NoCursor     Reason = "no cursor"     // somebody removed the cursor
	Restored     Reason = "restored"      // the cursor is behind what the sink had committed
	OtherJournal Reason = "other journal" // the cursor is not of this journal
	Gap          Reason = "gap"           // rows that the sink needs are no longer kept
	BadRow       Reason = "bad row"       // the sink refuses a row for what it is, and nobody keeps rejects
	Budget       Reason = "reject budget" // the sink has as many rejects as it may have
	Flood        Reason = "flood"         // the sink refuses so many rows that something else must be wrong
	Damage       Reason = "damage"        // rows in the journal cannot be read
)

// waits reports whether a Deliverer halted for r does nothing before Resume.
func (r Reason) waits() bool {
	switch r {
	case Fenced, NoCursor, Restored, OtherJournal, Flood:
		return true
	}
	return false
}

// disowned reports whether the cursor is not known to be ours, so that nothing
// may be done with it before an operator has looked.
func (r Reason) disowned() bool { return r.waits() && r != Flood }

// haltError is an error that halts, from within this package.
type haltError struct {
	reason Reason
	err    error
}

// Error returns what happened and, where it is not plain, what to do.
func (e *haltError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *haltError) Unwrap() error { return e.err }

func halt(reason Reason, format string, args ...any) error {
	return &haltError{reason, fmt.Errorf(format, args...)}
}

// judge says what err means; "" that trying again is all there is to do.
func judge(err error) Reason {
	var h *haltError
	var bad *sink.RowError
	switch {
	case errors.As(err, &h):
		return h.reason
	case errors.Is(err, ErrBudget):
		return Budget
	case errors.Is(err, sink.ErrFenced):
		return Fenced
	case errors.Is(err, sink.ErrNoCursor):
		return NoCursor
	case errors.Is(err, ErrOtherJournal):
		return OtherJournal
	case errors.Is(err, ErrGone):
		return Gap
	case errors.As(err, &bad):
		return BadRow
	}
	return ""
}

// sound is asked about the cursor before it is taken over, which must not
// happen where it turns out not to be ours: its rightful owner would stop.
func (d *Deliverer) sound(at sink.Cursor) error {
	if d.how.claim {
		return nil
	}
	at.Epoch++
	_, err := d.judgeCursor(at, false)
	return err
}

// checkCursor compares the cursor with the stream, before a row is sent. known
// says that the session is not new.
func (d *Deliverer) checkCursor(ctx context.Context, at sink.Cursor, known bool) error {
	back, err := d.judgeCursor(at, known)
	if err != nil {
		return err
	}
	if back && d.cfg.Rewound != nil {
		if err := d.cfg.Rewound(ctx, at.Position); err != nil {
			return fmt.Errorf("take note that the sink was put back to seq %d: %w", at.Seq, err)
		}
	}
	if err := d.cfg.Stream.Check(at.Position); err != nil {
		return fmt.Errorf("compare cursor at seq %d: %w", at.Seq, err)
	}
	return nil
}

// judgeCursor returns an error where the cursor is not one to deliver behind.
// back says that it is behind what was committed, and that this is accepted.
func (d *Deliverer) judgeCursor(at sink.Cursor, known bool) (back bool, err error) {
	end := d.cfg.Stream.End()
	if at.Seq > end.Seq {
		return false, halt(OtherJournal, "cursor in the sink stands at seq %d, beyond the last row %d of stream %q: it was written by another journal",
			at.Seq, end.Seq, d.cfg.Stream.Name())
	}
	if err := d.cfg.Stream.Check(at.Position); errors.Is(err, ErrOtherJournal) {
		return false, fmt.Errorf("compare cursor at seq %d, chain %d: %w", at.Seq, at.Chain, err)
	}
	floor := d.floor()
	lost := !known && d.cfg.Attached && at.Epoch == 1
	switch {
	case at.Seq >= floor && !lost:
		return false, nil
	case d.cfg.Replay || d.how.Replay:
		return at.Seq < floor, nil
	case lost:
		return false, halt(Restored, "the sink had a cursor, and has none: seq %d was committed before; the sink was emptied, or is another one", floor)
	}
	return false, halt(Restored, "cursor in the sink stands at seq %d, but seq %d was committed before: the sink was restored from an older copy, or emptied", at.Seq, floor)
}

// checkBlock sees that b continues behind seq after, and holds every row that
// it should. It is asked of each block, before a row of it goes anywhere.
func checkBlock(b *row.Block, after uint64) error {
	for _, lost := range b.Damage {
		if lost.First != 0 && lost.Last > after && !lost.Gap {
			return halt(Damage, "rows %d to %d of stream %q cannot be read (segment %d, offset %d: %s)",
				lost.First, lost.Last, lost.Stream, lost.Segment, lost.Offset, lost.What)
		}
	}
	if b.First > after+1 {
		return halt(Gap, "rows %d to %d are missing in front of the next block", after+1, b.First-1)
	}
	known := uint64(len(b.Rows)) + b.States // of the rows from First to End: what became of them
	for _, d := range b.Damage {
		if d.First != 0 && d.Last >= b.First {
			known += d.Last + 1 - max(d.First, b.First)
		}
	}
	if want := b.End.Seq + 1 - b.First; known < want || b.Damage == nil && known != want {
		return halt(Damage, "block of rows %d to %d holds %d rows", b.First, b.End.Seq, len(b.Rows))
	}
	return nil
}
