package roller

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/internal/roll"
)

// tiersOf returns the bytes of a stream in each tier, and fails where one takes
// more than it may.
func (f *family) tiersOf(t testing.TB, name string) (hot, warm int64) {
	t.Helper()
	for _, d := range f.stream(name).Directories() {
		if d.Warm {
			warm += d.Bytes
		} else {
			hot += d.Bytes
		}
		if d.Size > 0 && d.Bytes > d.Size {
			t.Errorf("%s: %q has %d bytes, and may have %d", name, d.ID, d.Bytes, d.Size)
		}
	}
	if b := f.stream(name).Limits().Budget; b > 0 && hot > b {
		t.Errorf("%s: the hot tier has %d bytes, and may have %d", name, hot, b)
	}
	return hot, warm
}

func budgets(n int64) map[string]journal.Limits {
	all := map[string]journal.Limits{}
	for _, m := range members {
		all[m.name] = journal.Limits{Budget: n, Wait: time.Minute}
	}
	return all
}

// eventually waits until ok says "".
func eventually(t testing.TB, ok func() string) {
	t.Helper()
	why := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if why = ok(); why == "" {
			return
		}
	}
	t.Fatal(why)
}

// TestTiers fills linked streams far beyond both tiers. No write fails, no budget
// is passed, what is warm is read like the rest, the oldest leaves from there, and
// no link is half there; a restart changes nothing.
func TestTiers(t *testing.T) {
	s := setup{limits: budgets(1200 << 10), warm: 600 << 10}
	f := opened(t, disk.NewMem(), s)
	for from := 1; from <= 300; from += 10 {
		f.mustFill(t, from, from+9)
		for _, m := range members {
			f.tiersOf(t, m.name)
		}
	}
	if _, warm := f.tiersOf(t, "packet"); warm == 0 {
		t.Error("nothing was moved")
	}
	check := func() {
		t.Helper()
		have := must(f.rows())
		for _, m := range members[1:] {
			for id, n := range have[m.name] {
				if have["session"][id] != 1 || n > of[m.name].rows {
					t.Fatalf("session %d is there %d times, with %d rows of %s", id, have["session"][id], n, m.name)
				}
			}
			if have[m.name][300] != of[m.name].rows {
				t.Fatalf("the newest session has %d rows of %s", have[m.name][300], m.name)
			}
		}
		if len(have["packet"]) == 0 || have["packet"][1] > 0 {
			t.Errorf("packets of %d sessions are there, of the first one %d", len(have["packet"]), have["packet"][1])
		}
	}
	check()
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	f = opened(t, f.d, s)
	check()
}

// TestTiersPinned holds that what a sink needs moves, and is not removed: when
// both tiers are full writers are refused, and all heals when the sink is back.
func TestTiersPinned(t *testing.T) {
	limits := budgets(1200 << 10)
	limits["packet"] = journal.Limits{Budget: 1200 << 10, Wait: 3 * time.Second}
	f := opened(t, disk.NewMem(), setup{limits: limits, warm: 600 << 10})
	must(f.stream("packet").Register("slow"))
	n := 0
	for ; n < 10000; n++ {
		err := f.add("packet", n, 9000)
		if fault.Code(err) == fault.DiskFull {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	hot, warm := f.tiersOf(t, "packet")
	if n == 10000 || hot < 600<<10 || warm == 0 {
		t.Fatalf("refused after %d rows, with %d bytes hot and %d warm", n, hot, warm)
	}
	if o := f.stream("packet").Oldest(); o.Seq != 0 {
		t.Fatalf("%d rows are gone that a sink needs", o.Seq)
	}
	f.stream("packet").Mark("slow", f.stream("packet").End().Seq)
	eventually(t, func() string {
		if err := f.add("packet", n, 9000); err != nil {
			return err.Error()
		}
		return ""
	})
	for range 50 {
		if err := f.add("packet", n, 9000); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMaxSizeWarm rolls both tiers by one message: from hot to warm, and from
// there for good, at one watermark for all that is linked.
func TestMaxSizeWarm(t *testing.T) {
	f := opened(t, disk.NewMem(), setup{warm: 100 << 20})
	f.mustFill(t, 1, 100)
	res := must(f.r.Roll(message(t, "type=session,meta,packet maxSize=1MB"), "test", true))
	moved := 0
	for _, s := range res.Plan.Steps {
		if s.Act != roll.Move || s.To != roll.Warm {
			t.Fatalf("%v", s)
		}
		moved++
	}
	if all := f.whole(t); moved == 0 || len(all) != 100 || res.Serial != 0 {
		t.Fatalf("%d segments were moved, and %d sessions are left", moved, len(all))
	}
	warm := int64(0)
	for _, m := range members {
		_, w := f.tiersOf(t, m.name)
		warm += w
	}
	limit := fmt.Sprintf("type=session,meta,packet maxSize=1MB maxSizeWarm=%d B", warm/2)
	if res = must(f.r.Roll(message(t, limit), "test", true)); !res.Plan.Met || res.Serial == 0 {
		t.Fatalf("the second message: %+v", res.Plan)
	}
	left := int64(0)
	for _, m := range members {
		_, w := f.tiersOf(t, m.name)
		left += w
	}
	all := f.whole(t)
	if left >= warm/2 || len(all) == 0 || all[0] == 1 || !slices.Contains(all, 100) {
		t.Errorf("%d bytes of %d are left in the warm tier, sessions %v", left, warm, all)
	}
}

// TestRolledMeanwhile lets a segment go by a message while it is copied to the warm
// tier: neither is an error, and no copy is left.
func TestRolledMeanwhile(t *testing.T) {
	d := disk.NewFaulty(disk.NewMem())
	f := opened(t, d, setup{warm: 64 << 20})
	f.mustFill(t, 1, 60)
	old := must(roll.ParseMessage("/database", "timeRoll", "type=packet date=\"2099-01-01 00:00:00\""))
	var once sync.Once
	d.OnCall(func(c disk.Call) {
		if c.Kind == disk.CallRename && strings.HasSuffix(c.Name, ".copy") {
			once.Do(func() {
				if res, err := f.r.Roll(old, "test", true); err != nil || res.Serial == 0 {
					t.Errorf("the roll meanwhile: %+v, %v", res, err)
				}
			})
		}
	})
	if _, err := f.r.Roll(message(t, "type=packet maxSize=0.1MB"), "test", true); err != nil {
		t.Errorf("the roll whose segments went: %v", err)
	}
	d.OnCall(nil)
	if left := f.files(t)["packet"]; left > 2 {
		t.Errorf("%d segments are left", left)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
}
