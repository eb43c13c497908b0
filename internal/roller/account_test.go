package roller

import (
	"testing"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/internal/roll"
)

// TestAccount tells what went last and what stood in the way, until something
// that was asked holds again; a start knows the last roll.
func TestAccount(t *testing.T) {
	f := opened(t, disk.NewMem(), setup{})
	f.mustFill(t, 1, 100)
	st := must(f.r.State())
	stream := st.Stores[0].Stream
	must(0, f.r.AddHold(journal.Hold{Name: "all"}))
	blocked := must(f.r.Roll(message(t, roomy), "carol", true))
	if a := f.r.Account(stream); blocked.Serial != 0 || !a.At.IsZero() || a.Tried.IsZero() || len(a.InTheWay) == 0 {
		t.Errorf("with all held it says %+v", a)
	}
	must(0, f.r.RemoveHold("all"))
	done := must(f.r.Roll(message(t, roomy), "carol", true))
	a := f.r.Account(stream)
	if a.Serial != done.Serial || a.Segments == 0 || a.Bytes == 0 || a.By != "carol" || a.Rule != done.Plan.Rule || len(a.InTheWay) != 0 {
		t.Errorf("rolled it says %+v", a)
	}
	must(0, f.r.AddHold(journal.Hold{Name: "all"}))
	must(f.r.Roll(must(roll.ParseMessage("/database", "timeRoll", "date=2100-01-01")), "carol", true))
	if a := f.r.Account(stream); len(a.InTheWay) == 0 || a.Serial != done.Serial {
		t.Errorf("blocked again it says %+v", a)
	}
	must(f.r.Roll(must(roll.ParseMessage("/database", "sizeRoll", "maxSize=1TB")), "schedule", true))
	if a := f.r.Account(stream); len(a.InTheWay) != 0 || a.Serial != done.Serial || a.Asked != "/database sizeRoll maxSize=1TB" {
		t.Errorf("once all holds it says %+v", a)
	}
	must(0, f.close())
	g := opened(t, f.d, setup{})
	if b := g.r.Account(stream); b.Serial != done.Serial || b.Segments != a.Segments || b.By != "carol" {
		t.Errorf("after a start it says %+v, and before %+v", b, a)
	}
}
