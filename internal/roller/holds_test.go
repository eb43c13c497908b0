package roller

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
)

// missing tells whether everything is held because HOLDS is missing.
func missing(f *family) bool {
	all := f.r.Holds()
	return len(all) > 0 && all[0].Name == holdsMissing
}

// TestHoldsMissing removes HOLDS between two lives: where there were holds,
// nothing leaves, and that is said, until somebody settles it; where there were
// none any more, nobody misses it.
func TestHoldsMissing(t *testing.T) {
	const most = "type=session,meta,packet maxSize=0.3MB"
	mem := disk.NewMem()
	f := opened(t, mem, setup{})
	f.mustFill(t, 1, 50)
	must(0, f.r.AddHold(journal.Hold{Name: "case", Links: &journal.Ends{First: 7, Last: 8}}))
	if f.r.Trouble() != "" {
		t.Errorf("with HOLDS there: %s", f.r.Trouble())
	}
	must(0, f.close())
	must(0, mem.Remove(holdsName))
	for life := range 3 {
		f = opened(t, mem, setup{})
		if !missing(f) || !strings.Contains(f.r.Trouble(), "hold remove "+holdsMissing) {
			t.Fatalf("life %d: holds %v, trouble %q", life, f.r.Holds(), f.r.Trouble())
		}
		for _, s := range f.streams {
			for _, file := range s.Journal.Files() {
				if file.Sealed && !file.Held {
					t.Errorf("life %d: segment %d of %s is not held", life, file.Number, s.Name)
				}
			}
		}
		must(f.r.Roll(message(t, most), "test", true))
		if got := f.whole(t); len(got) != 50 {
			t.Fatalf("life %d: a roll leaves %d sessions", life, len(got))
		}
		if life == 1 { // it is in the new HOLDS from here on
			must(0, f.r.AddHold(journal.Hold{Name: "case", Links: &journal.Ends{First: 7, Last: 8}}))
		}
		if life < 2 {
			must(0, f.close())
		}
	}
	must(0, f.r.RemoveHold(holdsMissing))
	if all := f.r.Holds(); len(all) != 1 || f.r.Trouble() != "" {
		t.Errorf("once it is settled: %v, %q", all, f.r.Trouble())
	}
	must(f.r.Roll(message(t, most), "test", true))
	if got := f.visibleNow(t); len(got) == 50 {
		t.Error("nothing leaves once it is settled")
	}
	must(0, f.r.RemoveHold("case"))
	must(0, f.close())
	must(0, mem.Remove(holdsName))
	if f = opened(t, mem, setup{}); len(f.r.Holds()) != 0 || f.r.Trouble() != "" {
		t.Errorf("a HOLDS without holds is missed: %v", f.r.Holds())
	}
}

func (f *family) visibleNow(t *testing.T) []int {
	t.Helper()
	got, err := f.visible()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestHoldsCrash crashes at every disk call while the first hold comes and the
// last one goes: no start misses a HOLDS that nobody removed, and none is
// without the hold that was there before and after.
func TestHoldsCrash(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("HOLDFAST_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("again with HOLDFAST_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	mem := disk.NewMem()
	faulty := disk.NewFaulty(mem)
	f, err := open(t, faulty, setup{})
	if err != nil {
		t.Fatal(err)
	}
	f.mustFill(t, 1, 5)
	var mu sync.Mutex // the streams' keepers use the disk, too
	var states []*disk.Mem
	inForce := map[int]bool{} // states in which the hold must be found
	certain := false
	faulty.OnCall(func(disk.Call) {
		mu.Lock()
		defer mu.Unlock()
		inForce[len(states)] = certain
		if rnd.IntN(3) == 0 {
			states = append(states, mem.Kill())
		} else {
			states = append(states, mem.Crash(rnd.Uint64()))
		}
	})
	say := func(is bool) {
		mu.Lock()
		defer mu.Unlock()
		certain = is
	}
	for range 2 {
		must(0, f.r.AddHold(journal.Hold{Name: "case"}))
		say(true)
		for _, s := range f.streams {
			must(s.Journal.Register("sink " + s.Name)) // writes the MANIFEST, whether the keeper has or not
			must(0, s.Journal.Retire("sink "+s.Name))
		}
		say(false)
		must(0, f.r.RemoveHold("case"))
	}
	must(0, f.close())
	faulty.OnCall(nil)
	if len(states) < 50 {
		t.Fatalf("%d states", len(states))
	}
	t.Logf("%d crashed disks", len(states))
	for i, d := range states {
		for life := range 2 {
			f, err := open(t, d, setup{})
			if err != nil {
				t.Fatalf("state %d, life %d: %v", i, life, err)
			}
			all := f.r.Holds()
			if missing(f) || inForce[i] && (len(all) != 1 || all[0].Name != "case") {
				t.Errorf("state %d, life %d: holds %+v, must be there: %t", i, life, all, inForce[i])
			}
			must(0, f.close())
		}
	}
}
