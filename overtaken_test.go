package holdfast_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"holdfast"
	"holdfast/internal/fault"
)

// TestReadOvertaken rolls rows away in front of a reader: it goes on with the
// next that is there, and says which it has not seen.
func TestReadOvertaken(t *testing.T) {
	o := rolling()
	o.Undo = 0
	db := open(t, t.TempDir(), o)
	sessions(t, db, 1, 10)
	m, err := holdfast.ParseRoll("/database", "sizeRoll", "type=session,packet maxSize=2MB")
	if err != nil {
		t.Fatal(err)
	}
	next, lost := uint64(1), uint64(0)
	for r, err := range db.Read(context.Background(), holdfast.ReadOptions{Stream: "session"}) {
		var gone *holdfast.DamageError
		switch {
		case errors.As(err, &gone):
			d := gone.Damage
			if !d.Gap || !d.Rolled || d.First != next || d.Last < d.First || !strings.Contains(err.Error(), "rolled away while they were read") {
				t.Errorf("at row %d it says %v: %+v", next, err, d)
			}
			lost += d.Last + 1 - d.First
			next = d.Last + 1
		case err != nil:
			t.Fatal(err)
		case r.Seq != next:
			t.Fatalf("row %d follows %d", r.Seq, next-1)
		default:
			next++
		}
		if next == 2 {
			if done, err := db.Roll(m, "carol", true); err != nil || done.Serial == 0 {
				t.Fatalf("rolled %+v, error %v", done, err)
			}
		}
	}
	if lost == 0 || next != 11 {
		t.Errorf("%d rows were told of as gone, and it ended before %d", lost, next)
	}
	for _, err := range db.Read(context.Background(), holdfast.ReadOptions{Stream: "session", From: 2}) {
		if f := fault.Of(err); f.Code != fault.UndefinedObject || !strings.Contains(f.Message, "no longer kept") || f.Hint == "" {
			t.Errorf("from a row that is gone: %v", err)
		}
	}
}
