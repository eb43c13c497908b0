package roller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/cold"
	"holdfast/internal/disk"
	"holdfast/internal/fault"
	"holdfast/internal/journal"
	"holdfast/internal/manifests"
)

// inCold returns which seqs of each stream the cold tier has whole, with a
// manifest that fits, by bringing every file back.
func inCold(t testing.TB, d disk.FS) map[string]map[uint64]bool {
	t.Helper()
	have := map[string]map[uint64]bool{}
	sub := must(d.Sub("cold"))
	from := cold.OpenDirectory(sub, "/cold", 0)
	for _, e := range must(sub.List("")) {
		if !strings.HasSuffix(e.Name, manifests.Suffix) {
			continue
		}
		back, err := journal.Thaw(from, e.Name, disk.NewMem())
		if err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		if have[back.Stream] == nil {
			have[back.Stream] = map[uint64]bool{}
		}
		for seq := back.First; seq <= back.Last; seq++ {
			have[back.Stream][seq] = true
		}
	}
	return have
}

// accountedFor fails where a row is in no place.
func (f *family) accountedFor(t testing.TB, d disk.FS, what string) {
	t.Helper()
	here := map[string]map[uint64]bool{} // first: the mover may be at work
	for _, s := range f.streams {
		here[s.Name] = map[uint64]bool{}
		for _, file := range s.Journal.Files() {
			for seq := file.FirstSeq; seq <= file.LastSeq; seq++ {
				here[s.Name][seq] = true
			}
		}
	}
	cold := inCold(t, d)
	for _, s := range f.streams {
		for seq := uint64(1); seq <= s.Journal.End().Seq; seq++ {
			if !here[s.Name][seq] && !cold[s.Name][seq] {
				t.Fatalf("%s: row %d of %s is nowhere", what, seq, s.Name)
			}
		}
	}
}

// TestCold fills linked streams far beyond their budget: no write fails, and what
// left stands in the cold tier, with where it is in what is told of it.
func TestCold(t *testing.T) {
	for _, warm := range []int64{0, 600 << 10} {
		mem, gone := disk.NewMem(), 0
		s := setup{limits: budgets(1200 << 10), cold: 1 << 40, warm: warm, removed: func(_ string, r journal.Removed) {
			if !strings.HasPrefix(r.To, "/cold/") {
				t.Errorf("segment %d went to %q", r.Number, r.To)
			}
			gone++
		}}
		f := opened(t, mem, s)
		for from := 1; from <= 100; from += 10 {
			f.mustFill(t, from, from+9)
			for _, m := range members {
				f.tiersOf(t, m.name)
			}
		}
		f.accountedFor(t, mem, "after a fill")
		if a := f.r.ColdAccount("packet"); gone == 0 || a.Segments == 0 || a.Bytes == 0 || a.Failing != "" {
			t.Errorf("%d segments went: %+v", gone, a)
		}
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
		f = opened(t, mem, s)
		f.accountedFor(t, mem, "after a restart")
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestColdFull tries each choice for a cold tier that is full.
func TestColdFull(t *testing.T) {
	for _, choice := range []OnColdFull{ColdBlock, ColdHold, ColdDrop} {
		t.Run(string(choice), func(t *testing.T) {
			limits := budgets(1200 << 10)
			limits["packet"] = journal.Limits{Budget: 1200 << 10, Wait: 3 * time.Second}
			mem := disk.NewMem()
			f := opened(t, mem, setup{limits: limits, cold: 20 << 10, onCold: choice})
			var err error
			n := 1
			for ; n <= 400 && err == nil; n++ {
				err = f.add("packet", n, 9000)
			}
			f.tiersOf(t, "packet")
			a := f.r.ColdAccount("packet")
			if a.Failing == "" || a.Since.IsZero() {
				t.Errorf("nothing says that the cold tier is full: %+v", a)
			}
			if choice == ColdDrop {
				if err != nil || a.Dropped == 0 {
					t.Fatalf("%d rows: %v, %+v", n, err, a)
				}
				return
			}
			if fault.Code(err) != fault.DiskFull || a.Dropped != 0 {
				t.Fatalf("%d rows: %v, %+v", n, err, a)
			}
			f.accountedFor(t, mem, "refused")
			eventually(t, func() string { // while others empty it
				for _, e := range must(mem.List("cold")) {
					if !strings.HasSuffix(e.Name, "-tmp") {
						must(0, mem.Remove("cold/"+e.Name))
					}
				}
				if err := f.add("packet", n, 9000); err != nil {
					return err.Error()
				}
				return f.r.ColdAccount("packet").Failing
			})
		})
	}
}

// TestColdCrash cuts the power and kills at every call of a roll by way of the
// cold tier that changes more than the middle of a file, and at some that do not.
// Afterwards every row is here or there; and in one place alone when the roll was
// done again, which ends as it would have.
func TestColdCrash(t *testing.T) {
	mem := disk.NewMem()
	d := disk.NewFaulty(mem)
	s := setup{cold: 1 << 40}
	f := opened(t, d, s)
	f.mustFill(t, 1, 20)
	rnd := rand.New(rand.NewPCG(1, 2))
	var states []*disk.Mem
	kinds := map[disk.Kind]int{}
	var mu sync.Mutex // the keepers are at work as well
	d.OnCall(func(c disk.Call) {
		mu.Lock()
		defer mu.Unlock()
		switch kinds[c.Kind]++; c.Kind {
		case disk.CallCreate, disk.CallRename, disk.CallRemove, disk.CallSyncDir, disk.CallSync, disk.CallTruncate, disk.CallWriteSync:
		default:
			if kinds[c.Kind]%40 != 0 {
				return
			}
		}
		states = append(states, mem.Crash(rnd.Uint64()))
		if len(states)%3 == 0 {
			states = append(states, mem.Kill())
		}
	})
	limit := fmt.Sprintf("type=session,meta,packet maxSize=%d B", f.size("session", "meta", "packet")-100<<10)
	res := must(f.r.Roll(message(t, limit), "test", true))
	d.OnCall(nil)
	mu.Lock()
	defer mu.Unlock()
	if res.Serial == 0 || len(states) < 30 || kinds[disk.CallRename] < 4 || kinds[disk.CallWriteSync] == 0 {
		t.Fatalf("roll %d, %d states, %v", res.Serial, len(states), kinds)
	}
	f.accountedFor(t, mem, "after the roll")
	f.apart(t, mem, "after the roll")
	t.Logf("%d crashed disks, %v", len(states), kinds)
	for i, state := range states {
		what := fmt.Sprint("state ", i)
		f, err := open(t, state, s)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		f.accountedFor(t, state, what)
		if _, err := f.r.Roll(message(t, limit), "test", true); err != nil {
			t.Fatalf("%s: the roll done again: %v", what, err)
		}
		f.accountedFor(t, state, what+", rolled again")
		f.apart(t, state, what+", rolled again")
		for _, e := range must(state.List("cold")) {
			if strings.HasSuffix(e.Name, "-tmp") {
				t.Fatalf("%s: %s is left", what, e.Name)
			}
		}
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// size returns what some streams take.
func (f *family) size(streams ...string) (n int64) {
	for _, name := range streams {
		for _, file := range f.stream(name).Files() {
			n += file.Bytes
		}
	}
	return n
}

// apart fails where a row is in the cold tier and in a stream.
func (f *family) apart(t testing.TB, d disk.FS, what string) {
	t.Helper()
	cold := inCold(t, d)
	for _, s := range f.streams {
		for _, file := range s.Journal.Files() {
			for seq := file.FirstSeq; seq <= file.LastSeq; seq++ {
				if cold[s.Name][seq] {
					t.Fatalf("%s: row %d of %s is in two places", what, seq, s.Name)
				}
			}
		}
	}
}

// TestColdDamaged holds that a segment which is damaged does not take its rot to
// the cold tier, and that it stays, by whatever was chosen but drop.
func TestColdDamaged(t *testing.T) {
	for _, choice := range []OnColdFull{ColdBlock, ColdHold} {
		mem := disk.NewMem()
		f := opened(t, mem, setup{cold: 1 << 40, onCold: choice})
		f.mustFill(t, 1, 60)
		file := must(f.dirs["packet"].Open("0000000000000001.seg", true))
		page := disk.Buffer(disk.Align)
		must(file.ReadAt(page, 2*disk.Align))
		page[100] ^= 1
		must(0, file.WriteAt(page, 2*disk.Align))
		must(0, file.Close())
		_, err := f.r.Roll(message(t, "type=packet maxSize=0.2MB"), "test", true)
		left := f.stream("packet").Files()
		if left[0].Number != 1 {
			t.Fatalf("%s: the damaged segment went: %v", choice, err)
		}
		a := f.r.ColdAccount("packet")
		if (a.Failing == "") != (choice == ColdHold) || (err == nil) != (choice == ColdHold) || (a.Held == 1) != (choice == ColdHold) {
			t.Errorf("%s: %v, %+v", choice, err, a)
		}
		if err != nil && (fault.Code(err) != fault.DataCorrupted || fault.Of(err).Hint == "") {
			t.Errorf("%s: the error tells little: %v", choice, err)
		}
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// broken is a store that fails as it is told to.
type broken struct {
	cold.Store
	mu  sync.Mutex
	err error
}

func (b *broken) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *broken) now() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *broken) Put(name string, replace bool, fill func(io.Writer) error) error {
	if err := b.now(); err != nil {
		return err
	}
	return b.Store.Put(name, replace, fill)
}

func (b *broken) Used() (int64, int64, error) {
	if err := b.now(); err != nil {
		return 0, 0, err
	}
	return b.Store.Used()
}

// TestColdAway has the cold tier be away, and then back. That is told while
// nothing is to leave, too; and a stop in the middle of a copy is no reason to let
// a segment go without one, whatever was chosen.
func TestColdAway(t *testing.T) {
	mem, b := disk.NewMem(), &broken{}
	f := opened(t, mem, setup{cold: 1 << 40, onCold: ColdDrop, store: func(s cold.Store) cold.Store {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.Store = s
		return b
	}})
	f.mustFill(t, 1, 20)
	told := func(want bool) {
		t.Helper()
		eventually(t, func() string { // the mover may have asked before
			f.r.askCold(nil)
			if a := f.r.ColdAccount("packet"); (a.Failing != "") != want || a.Since.IsZero() == want {
				return fmt.Sprintf("the tier is away: %v, and what is told is %+v", want, a)
			}
			return ""
		})
	}
	told(false)
	away := fmt.Errorf("%w: gone", cold.ErrAway)
	b.fail(away)
	told(true)
	b.fail(nil)
	told(false)
	before := f.files(t)["packet"]
	b.fail(fmt.Errorf("%w: %w", cold.ErrAway, context.Canceled))
	if _, err := f.r.Roll(message(t, "type=packet maxSize=0.1MB"), "test", true); !errors.Is(err, context.Canceled) || f.files(t)["packet"] != before {
		t.Fatalf("a stop lets segments go, %d of %d are left: %v", f.files(t)["packet"], before, err)
	}
	if a := f.r.ColdAccount("packet"); a.Dropped != 0 {
		t.Fatalf("%+v", a)
	}
	b.fail(nil)
	eventually(t, func() string { // nothing waits for it any more
		f.r.askCold(nil)
		return f.r.ColdAccount("packet").Failing
	})
	b.fail(away)
	if _, err := f.r.Roll(message(t, "type=packet maxSize=0.1MB"), "test", true); err != nil || f.files(t)["packet"] == before {
		t.Fatalf("drop lets nothing go: %v", err)
	}
	if a := f.r.ColdAccount("packet"); a.Dropped == 0 || a.Failing == "" {
		t.Fatalf("%+v", a)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
}

// TestColdUndo takes a roll by way of the cold tier back, and makes it again, which
// copies nothing a second time, over a restart as well.
func TestColdUndo(t *testing.T) {
	c, mem := new(clock), disk.NewMem()
	s := setup{roller: Options{Undo: time.Hour}, now: c.now, cold: 1 << 40}
	f := opened(t, mem, s)
	f.mustFill(t, 1, 60)
	files := f.files(t)
	must(f.r.Roll(message(t, roomy), "test", true))
	put := f.r.ColdAccount("packet")
	if f.trash(t) == 0 || put.Segments == 0 {
		t.Fatalf("%d files are in the trash: %+v", f.trash(t), put)
	}
	must(f.r.Undo(0, "test"))
	if got := f.whole(t); len(got) != 60 || fmt.Sprint(f.files(t)) != fmt.Sprint(files) {
		t.Fatalf("undone: %d sessions, %v files, were %v", len(got), f.files(t), files)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	f = opened(t, mem, s)
	must(f.r.Roll(message(t, roomy), "test", true))
	if again := f.r.ColdAccount("packet"); again.Bytes != 0 {
		t.Errorf("%d bytes were put again", again.Bytes)
	}
	c.pass(2 * time.Hour)
	eventually(t, func() string {
		if n := f.trash(t); n > 0 {
			return fmt.Sprint(n, " files are in the trash")
		}
		return ""
	})
	f.accountedFor(t, mem, "rolled again")
	f.apart(t, mem, "rolled again")
}
