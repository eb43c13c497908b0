package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"holdfast/internal/disk"
	"holdfast/internal/segment"
	"holdfast/row"
)

// fiveSegments is a stream of five sealed segments with two rows each, of sizes
// of their own where uneven is set.
func fiveSegments(t *testing.T, uneven bool) *disk.Mem {
	t.Helper()
	mem := disk.NewMem()
	j := open(t, mem, Options{SegmentSize: 1 << 20})
	must(j.Register("sink"))
	for i := range 5 {
		mustAppend(t, j, fmt.Sprintf("row %d", 2*i+1))
		mustAppend(t, j, fmt.Sprintf("row %d", 2*i+2))
		must(0, j.Seal(t.Context()))
	}
	closeJournal(t, j)
	for i := range int64(5) {
		if uneven { // a whole file is one, whatever stands behind its blocks
			lengthen(t, mem, segmentName(uint64(i+1)), i)
		}
	}
	if uneven { // the MANIFEST has the sizes from now on
		must(0, mem.Remove(manifestName))
		closeJournal(t, open(t, mem, Options{SegmentSize: 1 << 20}))
	}
	return mem
}

// lengthen moves a segment's footer n pages up.
func lengthen(t *testing.T, d disk.FS, name string, n int64) {
	t.Helper()
	f := must(d.Open(name, true))
	defer f.Close()
	sum, _, err := segment.ReadFooter(f)
	must(0, err)
	size := must(f.Size())
	must(0, f.Truncate(size+n*disk.Align))
	_, _, err = segment.Seal(f, sum)
	must(0, errors.Join(err, f.Sync()))
}

// exchange gives the first file the name of the second, and so on, the last that of
// the first.
func exchange(t *testing.T, d disk.FS, numbers ...uint64) {
	t.Helper()
	must(0, d.Rename(segmentName(numbers[len(numbers)-1]), "away"))
	for i := len(numbers) - 2; i >= 0; i-- {
		must(0, d.Rename(segmentName(numbers[i]), segmentName(numbers[i+1])))
	}
	must(0, d.Rename("away", segmentName(numbers[0])))
	must(0, d.SyncDir(""))
}

const tenRows = "[row 1 row 2 row 3 row 4 row 5 row 6 row 7 row 8 row 9 row 10]"

// isWhole holds that all rows are read, that none is a gap, and that no file has a
// name that is not its own.
func isWhole(t *testing.T, j *Journal) {
	t.Helper()
	if got, err := readDamaged(t, j); fmt.Sprint(got) != tenRows || err != nil {
		t.Errorf("a reader gets %q, %v", got, err)
	}
	if s := j.Status(); s.GapRows != 0 || len(s.Gaps) != 0 || len(s.Damage) != 0 {
		t.Errorf("status has gaps %v, damage %+v", s.Gaps, s.Damage)
	}
	if again := repairs(t, j, true); len(again) != 0 {
		t.Errorf("a further repair finds %+v", again)
	}
	for _, e := range must(j.d.List("")) {
		if waits(e.Name) || e.Name == gapsName || e.Name == quarantineDir {
			t.Errorf("%s is left", e.Name)
		}
	}
}

// exchanges are ways to give segments' files each other's names.
var exchanges = []struct {
	name    string
	uneven  bool
	running bool // under an open journal, else a start finds it so
	numbers []uint64
}{
	{"two of one size", false, false, []uint64{2, 3}},
	{"two of two sizes", true, false, []uint64{2, 3}},
	{"the first one", true, false, []uint64{1, 2}},
	{"the last one", false, false, []uint64{4, 5}},
	{"the last one, of two sizes", true, false, []uint64{4, 5}},
	{"the last one in a ring", true, false, []uint64{1, 5, 3}},
	{"three in a ring", true, false, []uint64{2, 4, 3}},
	{"four in a ring", false, false, []uint64{1, 3, 2, 4}},
	{"while it runs", false, true, []uint64{2, 3}},
	{"while it runs, of two sizes", true, true, []uint64{2, 5, 4}},
}

// TestRepairExchanged exchanges files: verify says which name each has to have, the
// plan changes nothing, repair has every row read again without a restart, and a
// restart reads them too.
func TestRepairExchanged(t *testing.T) {
	for _, x := range exchanges {
		t.Run(x.name, func(t *testing.T) {
			mem := fiveSegments(t, x.uneven)
			if !x.running {
				exchange(t, mem, x.numbers...)
			}
			j := open(t, mem, Options{SegmentSize: 1 << 20})
			if x.running {
				exchange(t, mem, x.numbers...)
			}
			verifyNames(t, j, x.numbers)
			files := func() string { // but what the keeper makes meanwhile
				return fmt.Sprint(slices.DeleteFunc(must(mem.List("")), func(e disk.Entry) bool {
					return strings.HasSuffix(e.Name, freshSuffix) || strings.HasSuffix(e.Name, spareSuffix) || strings.HasPrefix(e.Name, manifestName)
				}))
			}
			before := files()
			plan := repairs(t, j, false)
			if files() != before {
				t.Errorf("the plan changed the files from %s to %s", before, files())
			}
			done := repairs(t, j, true)
			if len(plan) != len(x.numbers) || len(done) != len(plan) {
				t.Fatalf("planned was %+v, done %+v", plan, done)
			}
			for i, r := range plan {
				if r.Do != Rename || r.Done || r.First != 0 || r.To != segmentName(r.Segment) || r.From == r.To {
					t.Errorf("planned is %+v", r)
				}
				if r.Done = true; done[i] != r {
					t.Errorf("done was %+v, planned %+v", done[i], r)
				}
			}
			isWhole(t, j)
			closeJournal(t, j)
			j = open(t, mem, Options{SegmentSize: 1 << 20})
			isWhole(t, j)
			closeJournal(t, j)
		})
	}
}

// verifyNames holds that verify tells for each exchanged file which name it has to have.
func verifyNames(t *testing.T, j *Journal, numbers []uint64) {
	t.Helper()
	said := verifySays(t, j)
	for i, n := range numbers {
		in := numbers[(i+1)%len(numbers)]
		want := fmt.Sprintf("it is in the file %s, and has to be %s", segmentName(in), segmentName(n))
		if !strings.Contains(said, want) {
			t.Errorf("verify does not say %q, but %s", want, said)
		}
	}
}

// TestRepairExchangedCrash cuts the power at each call of a repair that renames:
// the next start and the next repair have every row.
func TestRepairExchangedCrash(t *testing.T) {
	for _, x := range exchanges {
		if x.running {
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			mem := fiveSegments(t, x.uneven)
			exchange(t, mem, x.numbers...)
			f := disk.NewFaulty(mem)
			j := open(t, f, Options{SegmentSize: 1 << 20})
			var mu sync.Mutex
			var states []*disk.Mem
			f.OnCall(func(c disk.Call) {
				mu.Lock()
				defer mu.Unlock()
				if slices.Contains([]disk.Kind{disk.CallRename, disk.CallSyncDir, disk.CallCreate, disk.CallSync}, c.Kind) {
					for seed := range uint64(4) {
						states = append(states, mem.Crash(seed))
					}
				}
			})
			repairs(t, j, true)
			f.OnCall(nil)
			closeJournal(t, j)
			mu.Lock()
			defer mu.Unlock()
			steps, between := 0, 0
			for _, d := range states {
				for _, e := range must(d.List("")) {
					if waits(e.Name) {
						between++
					}
				}
				j := open(t, d, Options{SegmentSize: 1 << 20})
				steps += len(repairs(t, j, true))
				isWhole(t, j)
				closeJournal(t, j)
				j = open(t, d, Options{SegmentSize: 1 << 20})
				isWhole(t, j)
				closeJournal(t, j)
			}
			if between == 0 || steps == 0 {
				t.Errorf("of %d states %d are between two renames, %d renames were left", len(states), between, steps)
			}
			t.Logf("%d states, %d between two renames", len(states), between)
		})
	}
}

// TestRepairExchangedFaults lets each call fail once:
// it says so, gives no row up, and the next repair does the rest.
func TestRepairExchangedFaults(t *testing.T) {
	for _, x := range []int{4, 6} {
		x := exchanges[x]
		whole := fiveSegments(t, x.uneven)
		for n := 1; ; n++ {
			mem := whole.Crash(0) // all of it is durable: a copy
			f := disk.NewFaulty(mem)
			if !x.running {
				exchange(t, mem, x.numbers...)
			}
			j := open(t, f, Options{SegmentSize: 1 << 20})
			if x.running {
				exchange(t, mem, x.numbers...)
			}
			f.Fail(disk.Fault{Kind: disk.AnyCall, N: n, Err: syscall.EIO})
			before := f.Count(disk.AnyCall)
			_, err := j.Repair(context.Background(), true, func(r Repair) error {
				if r.Do == MakeGap || r.Do == SetAside {
					t.Errorf("%s, call %d: repair does %+v", x.name, n, r)
				}
				return nil
			})
			calls := f.Count(disk.AnyCall) - before
			f.Fail()
			if err != nil && !errors.Is(err, syscall.EIO) {
				t.Fatalf("%s, call %d: %v", x.name, n, err)
			}
			repairs(t, j, true)
			isWhole(t, j)
			closeJournal(t, j)
			if err == nil && n > calls {
				t.Logf("%s: %d calls", x.name, n-1)
				break
			}
			if t.Failed() {
				t.Fatalf("%s, call %d", x.name, n)
			}
		}
	}
}

// TestRepairForeign exchanges files with another stream: neither gives up a row,
// both say whose the file is, and what is missing. Once they are back, all is.
func TestRepairForeign(t *testing.T) {
	for _, uneven := range []bool{false, true} {
		one, two := fiveSegments(t, uneven), fiveSegments(t, uneven)
		swap := func(a, b uint64) {
			x, y := must(disk.ReadFile(one, segmentName(a), 1<<21)), must(disk.ReadFile(two, segmentName(b), 1<<21))
			must(0, disk.Replace(one, "", segmentName(a), y))
			must(0, disk.Replace(two, "", segmentName(b), x))
		}
		swap(2, 3)
		for _, side := range []struct {
			d         disk.FS
			slot, was uint64
		}{{one, 2, 3}, {two, 3, 2}} {
			j := open(t, side.d, Options{SegmentSize: 1 << 20})
			want := fmt.Sprintf("the file %s is segment %d of stream", segmentName(side.slot), side.was)
			if said := verifySays(t, j); !strings.Contains(said, want) {
				t.Errorf("verify does not say %q, but %s", want, said)
			}
			for _, apply := range []bool{false, true} {
				all := repairs(t, j, apply)
				if len(all) != 1 || all[0].Do != Rename || all[0].Done || all[0].To != "" || all[0].Segment != side.slot || !strings.Contains(all[0].What, want) {
					t.Errorf("repair, apply %v: %+v", apply, all)
				}
			}
			if n := j.Status().GapRows; n != 0 {
				t.Errorf("%d rows were given up", n)
			}
			closeJournal(t, j)
		}
		swap(2, 3)
		for _, d := range []disk.FS{one, two} {
			j := open(t, d, Options{SegmentSize: 1 << 20})
			isWhole(t, j)
			closeJournal(t, j)
		}
	}
}

// TestRepairForeignIsNoExcuse holds that real damage beside a misplaced file is
// mended, and that rows whose file is nowhere are given up once the other stream's
// file is away.
func TestRepairForeignIsNoExcuse(t *testing.T) {
	one, two := fiveSegments(t, false), fiveSegments(t, false)
	must(0, disk.Replace(one, "", segmentName(2), must(disk.ReadFile(two, segmentName(2), 1<<21))))
	flip(t, one, segmentName(4), rowsPage*disk.Align+100)
	j := open(t, one, Options{SegmentSize: 1 << 20})
	defer closeJournal(t, j)
	if got := did(repairs(t, j, true)); got != "rename gap" {
		t.Errorf("repair does %q", got)
	}
	if got := fmt.Sprint(gapsOf(j)); got != "[7]" {
		t.Errorf("gaps are %s", got)
	}
	remove(t, one, 2)
	if got := did(repairs(t, j, true)); got != "gap" {
		t.Errorf("without the file repair does %q", got)
	}
	if got := fmt.Sprint(gapsOf(j)); got != "[3 4 7]" {
		t.Errorf("gaps are %s", got)
	}
}

// gapsOf returns the seqs in gaps.
func gapsOf(j *Journal) (seqs []uint64) {
	for _, g := range j.Status().Gaps {
		for seq := g.First; seq <= g.Last; seq++ {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// TestRepairSecondCopy puts a copy in the place of another segment: the rows whose
// file is gone are the only ones given up.
func TestRepairSecondCopy(t *testing.T) {
	mem := fiveSegments(t, false)
	must(0, disk.Replace(mem, "", segmentName(2), must(disk.ReadFile(mem, segmentName(3), 1<<21))))
	j := open(t, mem, Options{SegmentSize: 1 << 20})
	defer closeJournal(t, j)
	if got := did(repairs(t, j, true)); got != "gap" {
		t.Errorf("repair does %q", got)
	}
	if got := fmt.Sprint(gapsOf(j)); got != "[3 4]" {
		t.Errorf("gaps are %s", got)
	}
}

// verifySays returns all that verify says of damage.
func verifySays(t *testing.T, j *Journal) string {
	t.Helper()
	var all []string
	_, err := j.Verify(t.Context(), func(d row.Damage) { all = append(all, d.What) })
	must(0, err)
	return strings.Join(all, "\n")
}
