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

// path is a way in which rows leave linked streams.
type path struct {
	name   string
	setup  setup
	remove func(t *testing.T, f *family, c *clock)
	cooled bool // what is held lies in the warm tier by then
}

// byMessage is one that a message takes.
func byMessage(name, params string, ahead time.Duration) path {
	return path{name: name, remove: func(t *testing.T, f *family, c *clock) {
		c.pass(ahead)
		must(f.r.Roll(message(t, params), "test", true))
	}}
}

// paths are all of them.
func paths() []path {
	const all = "type=session,meta,packet "
	packet := func(l journal.Limits) map[string]journal.Limits { return map[string]journal.Limits{"packet": l} }
	fill := func(t *testing.T, f *family, _ *clock) { f.mustFill(t, 41, 120) }
	tight := journal.Limits{Budget: 1600 << 10, Wait: 10 * time.Second}
	drop := tight
	drop.DropOldest = true
	warm := func(params string) func(*testing.T, *family, *clock) {
		return func(t *testing.T, f *family, _ *clock) {
			must(f.r.Roll(message(t, all+"maxSize=0.2MB"), "test", true)) // it moves
			must(f.r.Roll(message(t, all+params), "test", true))
		}
	}
	aged := func(t *testing.T, f *family, c *clock) {
		must(f.r.Roll(message(t, all+"maxSize=0.2MB"), "test", true))
		c.pass(48 * time.Hour)
		must(f.r.Roll(message(t, all+"minutes=60"), "test", true))
	}
	more := func(t *testing.T, f *family, _ *clock) { f.mustFill(t, 41, 200) }
	const leave = "maxSize=0.2MB maxSizeWarm=0.01MB"
	return []path{
		byMessage("size by message", all+"maxSize=0.2MB", 0),
		byMessage("size of one stream", "type=packet maxSize=0.1MB", 0),
		byMessage("share of the volumes", all+"maxPercent=0.0000001", 0),
		byMessage("free space", all+"minFree=1000TB", 0),
		byMessage("age by message", all+"minutes=60", 48*time.Hour),
		byMessage("age of one stream, as max_age asks", "type=packet minutes=60", 48*time.Hour),
		byMessage("age by row", all+"minutes=60 by=row", 48*time.Hour),
		{name: "before a date", remove: func(_ *testing.T, f *family, _ *clock) {
			must(f.r.Roll(roll.Message{Node: roll.Database, Time: &roll.TimeRoll{Date: time.Now().Add(time.Hour)}}, "test", true))
		}},
		{name: "message, time to undo it over", setup: setup{roller: Options{Undo: time.Minute}}, remove: func(t *testing.T, f *family, c *clock) {
			must(f.r.Roll(message(t, all+"maxSize=0.2MB"), "test", true))
			c.pass(time.Hour)
			f.mustFill(t, 41, 60)
		}},
		{name: "message, undone and sent again", setup: setup{roller: Options{Undo: time.Hour}}, remove: func(t *testing.T, f *family, _ *clock) {
			must(f.r.Roll(message(t, all+"maxSize=0.2MB"), "test", true))
			must(f.r.Undo(0, "test"))
			must(f.r.Roll(message(t, all+"maxSize=0.2MB"), "test", true))
		}},
		{name: "budget", setup: setup{limits: packet(tight)}, remove: fill},
		{name: "drop_oldest", setup: setup{limits: packet(drop)}, remove: func(t *testing.T, f *family, c *clock) {
			must(f.stream("packet").Register("dead"))
			fill(t, f, c)
		}},
		{name: "budgets of all", setup: setup{limits: budgets(1200 << 10)}, remove: fill},
		{name: "moved to the warm tier around it", setup: setup{warm: 100 << 20}, remove: warm(leave)},
		{name: "out of the warm tier by message", setup: setup{warm: 100 << 20}, remove: warm(leave), cooled: true},
		{name: "out of both tiers by age", setup: setup{warm: 100 << 20}, remove: aged, cooled: true},
		{name: "out of a full warm tier", setup: setup{warm: 600 << 10, limits: budgets(1200 << 10)}, remove: more, cooled: true},
		{name: "to the cold tier by message", setup: setup{cold: 1 << 40}, remove: byMessage("", all+"maxSize=0.2MB", 0).remove},
		{name: "to the cold tier by age", setup: setup{cold: 1 << 40}, remove: aged},
		{name: "to the cold tier by budget", setup: setup{cold: 1 << 40, limits: budgets(1200 << 10)}, remove: fill},
		{name: "from the warm tier to the cold one", setup: setup{cold: 1 << 40, warm: 100 << 20}, remove: warm(leave), cooled: true},
		{name: "a cold tier that is full, on_cold_full: drop", setup: setup{cold: 20 << 10, onCold: ColdDrop, limits: budgets(1200 << 10)}, remove: fill},
		{name: "repair", remove: func(t *testing.T, f *family, _ *clock) {
			must(f.r.Roll(message(t, all+"maxSize=0.2MB"), "test", true))
			for _, s := range f.streams {
				must(s.Journal.Repair(t.Context(), true, func(journal.Repair) error { return nil }))
			}
		}},
		{name: "history", remove: func(t *testing.T, f *family, _ *clock) {
			for _, s := range f.streams {
				s.Journal.SetLimits(journal.Limits{History: 1})
			}
			must(f.r.Roll(message(t, all+"maxSize=0.2MB"), "test", true))
		}},
	}
}

// TestHeldOnEveryLinkedPath holds that what is held stays, in every linked
// stream, whatever lets rows go, and goes once the hold is lifted.
func TestHeldOnEveryLinkedPath(t *testing.T) {
	for _, p := range paths() {
		t.Run(p.name, func(t *testing.T) {
			c := new(clock)
			s := p.setup
			s.now = c.now
			f := opened(t, disk.NewMem(), s)
			f.mustFill(t, 1, 20)
			if p.cooled {
				must(f.r.Roll(message(t, "type=session,meta,packet maxSize=0.2MB"), "test", true))
				if !slices.ContainsFunc(f.stream("packet").Files(), func(one journal.File) bool { return one.Warm && one.Link.First <= 7 && one.Link.Last >= 7 }) {
					t.Fatal("what is to be held has not moved")
				}
			}
			if err := f.r.AddHold(journal.Hold{Name: "case", Links: &journal.Ends{First: 7, Last: 8}}); err != nil {
				t.Fatal(err)
			}
			f.mustFill(t, 21, 40)
			p.remove(t, f, c)
			if !f.here(t, 7, 8) {
				t.Fatal("held segments are gone")
			}
			eventually(t, func() string {
				if slices.ContainsFunc(f.stream("packet").Files(), func(one journal.File) bool { return one.Link.First == 15 }) {
					return "nothing was removed"
				}
				return ""
			})
			for range 2 { // a start forgets no hold, and removes nothing that is held
				if err := f.close(); err != nil {
					t.Fatal(err)
				}
				f = opened(t, f.d, s)
				f.letGo(t, s)
				if !f.here(t, 7, 8) {
					t.Fatal("after a start held segments are gone")
				}
			}
			if err := f.r.RemoveHold("case"); err != nil {
				t.Fatal(err)
			}
			f.letGo(t, s)
			if slices.ContainsFunc(f.stream("packet").Files(), func(one journal.File) bool { return one.Link.First <= 8 }) {
				t.Error("what was held stays when the hold is lifted")
			}
		})
	}
}

// letGo rolls all that may go, out of every tier.
func (f *family) letGo(t *testing.T, s setup) {
	t.Helper()
	params := "type=session,meta,packet maxSize=0.1MB"
	if s.warm > 0 {
		params += " maxSizeWarm=1B"
	}
	must(f.r.Roll(message(t, params), "test", true))
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
