package roller

import (
	"testing"

	"holdfast/internal/disk"
)

// TestBudgets holds that a size which shrinks by a slip of the hand is ignored,
// start after start, until it is forced, also after it was left out meanwhile
// and whatever becomes of the file.
func TestBudgets(t *testing.T) {
	d := disk.NewMem()
	for i, step := range []struct {
		next  int64
		force bool
		holds int64
	}{
		{1000, false, 1000}, {100, false, 1000}, {100, false, 1000}, {900, false, 900}, {800, false, 900},
		{0, false, 0}, {100, false, 900}, {2000, false, 2000}, {100, true, 100}, {100, false, 100},
	} {
		r := must(Open(d, Options{}))
		if got := must(r.Budgets(map[string]int64{"main": step.next}, step.force))["main"]; got != step.holds {
			t.Fatalf("step %d: %d is in use after %+v", i, got, step)
		}
		d = d.Crash(uint64(i))
	}
	f := must(d.Open(budgetsName, true))
	if err := f.WriteAt(disk.Buffer(disk.Align), 0); err != nil {
		t.Fatal(err)
	}
	must(0, f.Close())
	r := must(Open(d, Options{}))
	if got := must(r.Budgets(map[string]int64{"main": 50}, false))["main"]; got != 50 {
		t.Errorf("without a file that can be read %d is in use", got)
	}
}
