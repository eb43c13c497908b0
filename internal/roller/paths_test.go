package roller

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/internal/roll"
)

// clock is a time of the test's own; the journal's goroutines read it meanwhile.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) pass(d time.Duration) { c.ahead.Add(int64(d)) }

// here tells whether every stream still has the files of the sessions from one
// id to another, in their place or in the trash.
func (f *family) here(t *testing.T, first, last int64) bool {
	t.Helper()
	for _, s := range f.streams {
		found := false
		for _, one := range s.Journal.Files() {
			found = found || one.Link.First <= last && first <= one.Link.Last
		}
		if !found {
			return false
		}
	}
	return true
}

// TestHeldOnEveryLinkedPath holds that what is held stays, in every linked
// stream, whatever lets rows go, and goes once the hold is lifted.
func TestHeldOnEveryLinkedPath(t *testing.T) {
	budget := map[string]journal.Limits{"packet": {Budget: 1600 << 10, Wait: 10 * time.Second}}
	drop := map[string]journal.Limits{"packet": {Budget: 1600 << 10, Wait: 10 * time.Second, DropOldest: true}}
	for _, p := range []struct {
		name   string
		limits map[string]journal.Limits
		remove func(t *testing.T, f *family, c *clock)
	}{
		{"size by message", nil, func(t *testing.T, f *family, _ *clock) {
			must(f.r.Roll(message(t, "type=session,meta,packet maxSize=0.2MB"), "test", true))
		}},
		{"age by message", nil, func(t *testing.T, f *family, c *clock) {
			c.pass(48 * time.Hour)
			must(f.r.Roll(message(t, "type=session,meta,packet minutes=60"), "test", true))
		}},
		{"age by row", nil, func(t *testing.T, f *family, c *clock) {
			c.pass(48 * time.Hour)
			must(f.r.Roll(message(t, "type=session,meta,packet minutes=60 by=row"), "test", true))
		}},
		{"budget", budget, func(t *testing.T, f *family, _ *clock) { f.mustFill(t, 41, 120) }},
		{"drop_oldest", drop, func(t *testing.T, f *family, _ *clock) {
			must(f.stream("packet").Register("dead"))
			f.mustFill(t, 41, 120)
		}},
	} {
		t.Run(p.name, func(t *testing.T) {
			c := new(clock)
			s := setup{limits: p.limits, now: c.now}
			f := opened(t, disk.NewMem(), s)
			f.mustFill(t, 1, 20)
			if err := f.r.AddHold(journal.Hold{Name: "case", Links: &journal.Ends{First: 7, Last: 8}}); err != nil {
				t.Fatal(err)
			}
			f.mustFill(t, 21, 40)
			p.remove(t, f, c)
			if !f.here(t, 7, 8) {
				t.Fatal("held segments are gone")
			}
			if slices.ContainsFunc(f.stream("packet").Files(), func(one journal.File) bool { return one.Link.First == 15 }) {
				t.Fatal("nothing was removed")
			}
			for range 2 { // a start forgets no hold, and removes nothing that is held
				if err := f.close(); err != nil {
					t.Fatal(err)
				}
				f = opened(t, f.d, s)
				must(f.r.Roll(message(t, "type=session,meta,packet maxSize=0.1MB"), "test", true))
				if !f.here(t, 7, 8) {
					t.Fatal("after a start held segments are gone")
				}
			}
			if err := f.r.RemoveHold("case"); err != nil {
				t.Fatal(err)
			}
			must(f.r.Roll(message(t, "type=session,meta,packet maxSize=0.1MB"), "test", true))
			if slices.ContainsFunc(f.stream("packet").Files(), func(one journal.File) bool { return one.Link.First <= 8 }) {
				t.Error("what was held stays when the hold is lifted")
			}
		})
	}
}

// TestHeldInTheTrash holds that a hold keeps what waits in the trash, too: from
// the end of its time, and from a writer who needs the room. Others in the
// trash give theirs.
func TestHeldInTheTrash(t *testing.T) {
	c := new(clock)
	s := setup{roller: Options{Undo: time.Hour}, now: c.now, limits: map[string]journal.Limits{"packet": {Budget: 3 << 20, Wait: 10 * time.Second}}}
	f := opened(t, disk.NewMem(), s)
	f.mustFill(t, 1, 40)
	must(f.r.Roll(message(t, "type=session,meta,packet maxSize=0.3MB"), "test", true))
	inTrash := f.trash(t)
	if inTrash < 10 {
		t.Fatalf("%d files are in the trash", inTrash)
	}
	if err := f.r.AddHold(journal.Hold{Name: "case", Links: &journal.Ends{First: 1, Last: 2}}); err != nil {
		t.Fatal(err)
	}
	f.mustFill(t, 41, 200) // far over the budget of packet
	packets := f.trashOf(t, "packet")
	if len(packets) == 0 || packets[0] != "0000000000000001.trash" {
		t.Fatalf("the trash of packet holds %v", packets)
	}
	if len(packets) > 3 {
		t.Errorf("the trash did not give its room: %v", packets)
	}
	c.pass(2 * time.Hour)
	must(f.r.Roll(message(t, "type=session,meta,packet maxSize=0.3MB"), "test", true))
	for _, name := range []string{"session", "meta", "packet"} {
		if left := f.trashOf(t, name); len(left) == 0 || left[0] != "0000000000000001.trash" {
			t.Errorf("%s: when its time is over, the trash holds %v", name, left)
		}
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	f = opened(t, f.d, s)
	if left := f.trashOf(t, "packet"); len(left) == 0 || left[0] != "0000000000000001.trash" {
		t.Errorf("after a start the trash holds %v", left)
	}
	if err := f.r.RemoveHold("case"); err != nil {
		t.Fatal(err)
	}
	c.pass(2 * time.Hour)
	for n := 0; n < 6000 && f.trash(t) > 0; n++ { // the keeper comes by
		time.Sleep(10 * time.Millisecond)
	}
	if n := f.trash(t); n > 0 {
		t.Errorf("%d files stay in the trash when the hold is lifted", n)
	}
}

// trashOf returns the files in the trash of one stream.
func (f *family) trashOf(t *testing.T, stream string) (names []string) {
	t.Helper()
	for _, s := range f.streams {
		for _, e := range must(f.dirs[s.Name].List("")) {
			if s.Name == stream && len(e.Name) > 6 && e.Name[len(e.Name)-6:] == ".trash" {
				names = append(names, e.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// TestAgeIsOurs holds that what counts as old is when Holdfast received or
// sealed it, and nothing that a client says: ids may look like any time.
func TestAgeIsOurs(t *testing.T) {
	for _, by := range []string{"file", "row"} {
		for _, base := range []int{0, 1 << 50, int(time.Now().Add(-999 * 24 * time.Hour).UnixMicro()), int(time.Now().Add(999 * 24 * time.Hour).UnixMicro())} {
			t.Run(fmt.Sprint(by, base), func(t *testing.T) {
				c := new(clock)
				f := opened(t, disk.NewMem(), setup{now: c.now})
				f.mustFill(t, base+1, base+40)
				c.pass(30 * time.Minute)
				young := must(f.r.Roll(message(t, "type=session,meta,packet minutes=60 by="+by), "test", true))
				if young.Serial != 0 || len(f.whole(t)) != 40 {
					t.Fatalf("what is half an hour old leaves as an hour old: %d steps", len(young.Plan.Steps))
				}
				c.pass(time.Hour)
				old := must(f.r.Roll(message(t, "type=session,meta,packet minutes=60 by="+by), "test", true))
				if left := f.whole(t); old.Serial == 0 || len(left) > 20 {
					t.Fatalf("what is older than an hour stays: %d sessions", len(left))
				}
			})
		}
	}
}

// TestSecondSinkOfAnyStream holds that no roll and no limit takes what the
// second of two sinks needs, in the streams that are linked to the one that it
// reads as well; drop_oldest in another stream does not change that.
func TestSecondSinkOfAnyStream(t *testing.T) {
	limits := map[string]journal.Limits{"packet": {Budget: 1600 << 10, Wait: 10 * time.Second, DropOldest: true}}
	for _, m := range members {
		t.Run(m.name, func(t *testing.T) {
			f := opened(t, disk.NewMem(), setup{limits: limits})
			j := f.stream(m.name)
			must(j.Register("slow"))
			must(j.Register("fast"))
			f.mustFill(t, 1, 20)
			j.Mark("fast", j.End().Seq)
			must(f.r.Roll(message(t, "type=session,meta,packet maxSize=0.1MB"), "test", true))
			if j.Oldest().Seq != 0 && m.name != "packet" {
				t.Fatal("a message takes rows that the second sink needs")
			}
			f.mustFill(t, 21, 120) // far over the budget of packet, where drop_oldest was chosen
			if j.Oldest().Seq != 0 && m.name != "packet" {
				t.Fatal("a budget takes rows that the second sink needs")
			}
			if m.name == "packet" && j.Status().GapRows == 0 {
				t.Error("drop_oldest takes rows that the second sink needs, and no gap says so")
			}
			if _, err := f.visibleParents(); err != nil {
				t.Error(err)
			}
			j.Mark("fast", j.End().Seq)
			j.Mark("slow", j.End().Seq)
			if res := must(f.r.Roll(message(t, "type=session,meta,packet maxSize=0.5MB"), "test", true)); !res.Plan.Met {
				t.Errorf("when it has them, they stay: %v", res.Plan.Obstacles)
			}
		})
	}
}

// TestLinkedDropOldest holds that drop_oldest in linked streams keeps what was
// chosen for one stream to that stream's sinks: a gap names what they lose, and
// no link is half there.
func TestLinkedDropOldest(t *testing.T) {
	drop := journal.Limits{Budget: 1600 << 10, Wait: 10 * time.Second, DropOldest: true}
	f := opened(t, disk.NewMem(), setup{limits: map[string]journal.Limits{"packet": drop}})
	must(f.stream("packet").Register("dead"))
	f.mustFill(t, 1, 150)
	j := f.stream("packet")
	if gone := j.Files()[0].FirstSeq - 1; gone < 100 || j.Status().GapRows != gone {
		t.Fatalf("%d rows are gone, and the gaps have %d", gone, j.Status().GapRows)
	}
	if _, err := j.Reader(1); err != nil {
		t.Errorf("the sink does not get past the gap: %v", err)
	}
	if _, err := f.visibleParents(); err != nil {
		t.Fatal(err)
	}
	st := must(f.r.State())
	if i := slices.IndexFunc(st.Stores, func(s roll.Store) bool { return s.Stream == "packet" }); !st.Stores[i].DropOldest {
		t.Error("the plan does not know what was chosen")
	}
}
