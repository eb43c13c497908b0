package roller

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/internal/roll"
)

// opened opens a family, and closes it at the end of the test.
func opened(t testing.TB, d disk.FS, s setup) *family {
	t.Helper()
	f, err := open(t, d, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *family) mustFill(t testing.TB, from, to int) {
	t.Helper()
	if err := f.fill(from, to); err != nil {
		t.Fatal(err)
	}
}

// used returns what a message compares with its limit.
func used(st *roll.State) (n int64) {
	for _, s := range st.Stores {
		for _, f := range s.Files {
			n += f.Bytes
		}
	}
	return n
}

// TestRoll rolls three linked streams: the plan alone changes nothing, and
// what it removes is removed whole.
func TestRoll(t *testing.T) {
	f := opened(t, disk.NewMem(), setup{})
	f.mustFill(t, 1, 100)
	before := f.whole(t)
	dry := must(f.r.Roll(message(t, roomy), "test", false))
	if len(dry.Plan.Steps) == 0 || !dry.Plan.Met || dry.Serial != 0 || len(f.whole(t)) != len(before) {
		t.Fatalf("a plan: %+v", dry)
	}
	done := must(f.r.Roll(message(t, roomy), "test", true))
	after := f.whole(t)
	if done.Serial != 1 || len(after) == 0 || after[0] == 1 || after[len(after)-1] != 100 {
		t.Fatalf("roll %d leaves sessions %v", done.Serial, after)
	}
	if n := used(must(f.r.State())); n >= 1<<20 {
		t.Errorf("%d bytes are left", n)
	}
	if again := must(f.r.Roll(message(t, roomy), "test", true)); again.Serial != 0 || len(again.Plan.Steps) > 0 {
		t.Errorf("a second pass rolls %+v", again.Plan.Steps)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	g := opened(t, f.d, setup{})
	if got := g.whole(t); !slices.Equal(got, after) {
		t.Errorf("after a restart there are %v, before it %v", got, after)
	}
}

// TestLateRows holds that a row that comes after a roll is seen, though its
// link lies below the watermark: it was acknowledged.
func TestLateRows(t *testing.T) {
	f := opened(t, disk.NewMem(), setup{})
	f.mustFill(t, 1, 100)
	must(f.r.Roll(message(t, roomy), "test", true))
	for _, m := range members {
		for range of[m.name].rows {
			if err := f.add(m.name, 1, 10); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := f.whole(t); got[0] != 1 {
		t.Errorf("a late session is hidden: there are %v", got)
	}
}

// TestPinned holds that what a sink has not got stays, in every linked stream,
// and that the second of two sinks counts as the first.
func TestPinned(t *testing.T) {
	f := opened(t, disk.NewMem(), setup{})
	must(f.stream("meta").Register("fast"))
	must(f.stream("meta").Register("slow"))
	f.mustFill(t, 1, 100)
	f.stream("meta").Mark("fast", f.stream("meta").End().Seq)
	res := must(f.r.Roll(message(t, roomy), "test", true))
	if res.Plan.Met || len(f.whole(t)) != 100 {
		t.Fatalf("what a sink needs is gone: %v", f.whole(t))
	}
	if o := res.Plan.Obstacles; len(o) == 0 || !slices.ContainsFunc(o, func(o roll.Obstacle) bool { return o.Who == "slow" }) {
		t.Errorf("the plan does not say who needs it: %v", o)
	}
	f.stream("meta").Mark("slow", f.stream("meta").End().Seq)
	if res := must(f.r.Roll(message(t, roomy), "test", true)); !res.Plan.Met {
		t.Errorf("it does not heal: %+v", res.Plan)
	}
	f.whole(t)
}

// TestHeld tries a hold against both ways in which linked rows go: a message,
// and a budget. It is lifted then.
func TestHeld(t *testing.T) {
	limits := map[string]journal.Limits{"packet": {Budget: 1600 << 10, Wait: time.Minute}}
	f := opened(t, disk.NewMem(), setup{limits: limits})
	f.mustFill(t, 1, 10)
	held := func() bool {
		for _, s := range f.streams {
			if !slices.ContainsFunc(s.Journal.Files(), func(f journal.File) bool { return f.Held && f.Link.First <= 4 }) {
				return false
			}
		}
		return true
	}
	if err := f.r.AddHold(journal.Hold{Name: "case-1", Note: "court", Links: &journal.Ends{First: 3, Last: 4}}); err != nil {
		t.Fatal(err)
	}
	if f.r.AddHold(journal.Hold{Name: "case-1"}) == nil || f.r.AddHold(journal.Hold{Name: "../x"}) == nil || f.r.AddHold(journal.Hold{Name: "x", Streams: []string{"y"}}) == nil {
		t.Error("a hold that cannot be is added")
	}
	f.mustFill(t, 11, 100) // over the budget of packet, several times
	if !held() {
		t.Fatal("a budget has removed held segments")
	}
	if n := len(f.stream("packet").Files()); n > 40 {
		t.Fatalf("the budget has removed nothing: %d segments", n)
	}
	must(f.r.Roll(message(t, "type=session,meta,packet maxSize=0.1MB"), "test", true))
	if !held() {
		t.Fatal("a message has removed held segments")
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	f = opened(t, f.d, setup{limits: limits})
	if !held() {
		t.Fatal("a start has removed held segments, or forgotten the hold")
	}
	if _, err := f.visibleParents(); err != nil {
		t.Fatal(err)
	}
	if err := f.r.RemoveHold("case-1"); err != nil || f.r.RemoveHold("case-1") == nil {
		t.Fatal("a hold is not lifted once", err)
	}
	must(f.r.Roll(message(t, "type=session,meta,packet maxSize=0.1MB"), "test", true))
	for _, s := range f.streams {
		if all := s.Journal.Files(); all[0].Link.First <= 4 {
			t.Errorf("%s: the segment stays when its hold is lifted", s.Name)
		}
	}
}

// visibleParents holds that no child is visible without its session.
func (f *family) visibleParents() (int, error) {
	all, err := f.visible()
	if err != nil && !strings.Contains(err.Error(), "rows of packet") { // packets alone may be gone
		return 0, err
	}
	return len(all), nil
}

// TestUndo takes a roll back within its time, over a restart as well, and not
// after its room was needed.
func TestUndo(t *testing.T) {
	c := new(clock)
	s := setup{roller: Options{Undo: time.Hour}, now: c.now}
	f := opened(t, disk.NewMem(), s)
	f.mustFill(t, 1, 100)
	files := f.files(t)
	res := must(f.r.Roll(message(t, roomy), "test", true))
	if len(f.whole(t)) == 100 || f.trash(t) == 0 || res.Until.IsZero() {
		t.Fatalf("rolled: %+v, %d files in the trash", res, f.trash(t))
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	f = opened(t, f.d, s)
	if n, err := f.r.Undo(0, "test"); n != 1 || err != nil {
		t.Fatalf("undo: %d, %v", n, err)
	}
	if got := f.whole(t); len(got) != 100 || fmt.Sprint(f.files(t)) != fmt.Sprint(files) || f.trash(t) != 0 {
		t.Fatalf("undone: %d sessions, %v files, were %v", len(got), f.files(t), files)
	}
	if _, err := f.r.Undo(0, "test"); err == nil {
		t.Error("it is undone twice")
	}
	must(f.r.Roll(message(t, roomy), "test", true))
	c.pass(2 * time.Hour)
	for n := 0; n < 6000 && f.trash(t) > 0; n++ { // the keeper comes by
		time.Sleep(10 * time.Millisecond)
	}
	if n := f.trash(t); n != 0 {
		t.Errorf("%d files stay in the trash when their time is over", n)
	}
	if _, err := f.r.Undo(0, "test"); err == nil {
		t.Error("it is undone when its time is over")
	}
	f.whole(t)
}

// TestHoldOnFullDisk adds and removes a hold without room for HOLDS: nothing
// changes, and the answer says why.
func TestHoldOnFullDisk(t *testing.T) {
	faulty := disk.NewFaulty(disk.NewMem())
	f := opened(t, faulty, setup{})
	must(0, f.r.AddHold(journal.Hold{Name: "one"}))
	faulty.Fail(disk.Fault{N: 1, Err: syscall.ENOSPC, Forever: true})
	for _, err := range []error{f.r.AddHold(journal.Hold{Name: "two"}), f.r.RemoveHold("one")} {
		if fault.Code(err) != fault.DiskFull || fault.Of(err).Hint == "" {
			t.Errorf("answered %v", err)
		}
	}
	faulty.Fail()
	if all := f.r.Holds(); len(all) != 1 || all[0].Name != "one" {
		t.Errorf("the holds are %v", all)
	}
	must(0, f.close())
}

// aroundHold rolls sessions away on both sides of a held one: gaps tell of those
// behind it.
func aroundHold(t *testing.T, f *family, asked string) {
	t.Helper()
	must(0, f.r.AddHold(journal.Hold{Name: "case", Links: &journal.Ends{First: 7, Last: 8}}))
	must(f.r.Roll(message(t, asked), "test", true))
	for _, s := range f.streams {
		if s.Journal.Status().GapRows == 0 {
			t.Fatalf("no gap in %s, which has %d segments", s.Name, len(s.Journal.Files()))
		}
	}
}

// gapless wants all rows back.
func gapless(t *testing.T, f *family, want int) {
	t.Helper()
	for _, s := range f.streams {
		if n := s.Journal.Status().GapRows; n != 0 {
			t.Errorf("gaps of %d rows are left in %s", n, s.Name)
		}
	}
	if got := f.whole(t); len(got) != want {
		t.Errorf("%d sessions, want %d", len(got), want)
	}
}

// TestUndoAroundHold undoes a roll that went around a hold: the gaps behind it
// go, too, at once and in the next life, whichever call to the disk fails, once
// or until the next start.
func TestUndoAroundHold(t *testing.T) {
	s := setup{roller: Options{Undo: time.Hour}}
	mem := disk.NewMem()
	f := opened(t, mem, s)
	f.mustFill(t, 1, 50)
	aroundHold(t, f, "type=session,meta,packet maxSize=0.7MB")
	must(0, f.close())
	rolled := mem.Kill()
	tried := 0
	for n, reached := 1, true; reached; n++ {
		for _, forever := range []bool{false, true} {
			here := rolled.Kill()
			faulty := disk.NewFaulty(here)
			f, err := open(t, faulty, s)
			if err != nil {
				t.Fatal(err)
			}
			faulty.Fail(disk.Fault{N: n, Err: syscall.EIO, Forever: forever})
			_, refused := f.r.Undo(0, "test")
			reached = len(faulty.Failed()) > 0
			faulty.Fail()
			if refused == nil {
				for _, s := range f.streams {
					eventually(t, func() string { // the keeper may be at it, or at the gaps
						if err := s.Journal.Settle(); err != nil {
							return err.Error()
						}
						return ""
					})
				}
				gapless(t, f, 50)
			} else {
				tried--
			}
			_ = f.close() // of a disk that failed
			f = opened(t, here.Kill(), s)
			if refused == nil || f.stream("meta").Status().GapRows == 0 {
				gapless(t, f, 50)
			} else if _, err := f.visible(); err != nil {
				t.Errorf("call %d failed, forever %t: %v", n, forever, err)
			}
			must(0, f.close())
			tried++
		}
		if t.Failed() {
			t.Fatalf("call %d failed", n)
		}
	}
	if tried < 3 { // how many depends on what the keeper takes of them
		t.Errorf("an undo was finished after a fault %d times only", tried)
	}
	t.Logf("%d undos were finished after a fault", tried)
}

// TestCrash crashes at every step of a roll and of an undo. Afterwards either
// nothing has happened or all of it, every row is in one place, and what is
// left to do is done.
func TestCrash(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("HOLDFAST_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("again with HOLDFAST_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	c := new(clock)
	s := setup{roller: Options{Undo: time.Hour}, now: c.now}
	long, few := os.Getenv("HOLDFAST_LONG") == "1", os.Getenv("HOLDFAST_AMOUNT") == "quick"
	const half = "type=session,meta,packet maxSize=0.7MB"
	for _, undo := range []bool{false, true} {
		mem := disk.NewMem()
		faulty := disk.NewFaulty(mem)
		f, err := open(t, faulty, s)
		if err != nil {
			t.Fatal(err)
		}
		f.mustFill(t, 1, 50)
		before := f.whole(t)
		if undo {
			aroundHold(t, f, half)
			before = f.whole(t)
		}
		var mu sync.Mutex // several goroutines use the disk
		var states []*disk.Mem
		faulty.OnCall(func(disk.Call) {
			mu.Lock()
			defer mu.Unlock()
			if few && len(states) > 0 && rnd.IntN(4) > 0 {
				return
			}
			if long || rnd.IntN(2) == 0 {
				states = append(states, mem.Kill())
			}
			if n := len(states); long || n == 0 || rnd.IntN(4) > 0 {
				states = append(states, mem.Crash(rnd.Uint64()))
			}
		})
		if undo {
			must(f.r.Undo(0, "test"))
		} else {
			must(f.r.Roll(message(t, half), "test", true))
		}
		faulty.OnCall(nil)
		after := f.whole(t)
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(states) < 20 || slices.Equal(before, after) {
			t.Fatalf("%d states, from %d to %d sessions", len(states), len(before), len(after))
		}
		t.Logf("undo %t: %d crashed disks", undo, len(states))
		for i, d := range states {
			afterCrash(t, fmt.Sprintf("undo %t, state %d", undo, i), d, s, before, after)
		}
	}
}

// afterCrash starts on a crashed disk, twice.
func afterCrash(t *testing.T, what string, d *disk.Mem, s setup, before, after []int) {
	t.Helper()
	for life := range 2 {
		f, err := open(t, d, s)
		if err != nil {
			t.Fatalf("%s, life %d: %v", what, life, err)
		}
		got, err := f.visible()
		if err != nil {
			t.Fatalf("%s, life %d: %v", what, life, err)
		}
		if !slices.Equal(got, before) && !slices.Equal(got, after) {
			t.Fatalf("%s, life %d: %d sessions are neither the %d before nor the %d after", what, life, len(got), len(before), len(after))
		}
		before = got // the second start finds what the first one did
		after = got
		for _, s := range f.streams {
			if d := s.Journal.Recovery().Damage; len(d) > 0 {
				t.Fatalf("%s, life %d: %s: %+v", what, life, s.Name, d)
			}
		}
		if life == 1 {
			must(f.r.Roll(message(t, "type=session,meta,packet maxSize=0.4MB"), "test", true))
			if _, err := f.visible(); err != nil {
				t.Fatalf("%s, rolled again: %v", what, err)
			}
		}
		if err := f.close(); err != nil {
			t.Fatalf("%s, life %d: %v", what, life, err)
		}
	}
}
