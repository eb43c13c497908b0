package index

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"holdfast/internal/disk"
	"holdfast/internal/where"
	"holdfast/row"
)

// newWarm returns a world of so many sealed segments, each with its slice, whose
// index has a warm tier from now on.
func newWarm(t *testing.T, mem *disk.Mem, segments int) *world {
	t.Helper()
	r := random(t)
	must(0, mem.Mkdir("warm"))
	w := newWorld(t, r, mem)
	for range segments {
		w.fill(300, true)
	}
	w.settle()
	w.close()
	return w
}

// on opens the world's index on a disk, with its warm tier.
func (w *world) on(d disk.FS) {
	w.t.Helper()
	w.files, w.o.Warm = d, must(d.Sub("warm"))
	w.open()
}

// found returns the slices on a disk by number, "hot", "warm" or both, and the
// bytes of each tier. What else is there has no business there.
func found(t *testing.T, d disk.FS) (at map[uint64]string, hot, warm int64) {
	t.Helper()
	at = map[uint64]string{}
	for _, dir := range []string{"", "warm"} {
		for _, e := range must(d.List(dir)) {
			n, ok := sliceNumber(e.Name)
			if !ok && strings.Contains(e.Name, sliceSuffix) {
				t.Errorf("%s is left behind", path.Join(dir, e.Name))
			}
			switch {
			case ok && dir == "":
				at[n] += "hot"
				hot += e.Size
			case ok:
				at[n] += "warm"
				warm += e.Size
			}
		}
	}
	return at, hot, warm
}

// tidy holds that each sealed segment has its slice in one place, that it can be
// asked, and that bytes are counted as they are.
func (w *world) tidy(d disk.FS, when string) {
	w.t.Helper()
	at, hot, warm := found(w.t, d)
	st := w.x.Status()
	if st.Bytes != hot || st.Warm.Bytes != warm || st.Trouble != "" {
		w.t.Errorf("%s: %d and %d bytes are on the disk: %+v", when, hot, warm, st)
	}
	cond := must(where.Compile(`ip == "nowhere"`, "acc", schemas[0][1].([]row.Column)))
	for _, s := range (source{w.j}).Sealed() {
		if is := at[s.Number]; is != "hot" && is != "warm" {
			w.t.Errorf("%s: slice %d is in %q", when, s.Number, is)
		}
		if _, _, ok := w.x.Look(s, Query{cond.Condition(), math.MinInt64}); !ok {
			w.t.Errorf("%s: slice %d cannot be asked", when, s.Number)
		}
	}
	w.compare(when, 10)
}

// TestWarm fills an index far beyond its budget: the oldest slices become warm,
// and leave when the warm tier is full too; both budgets hold at every call to the
// disk; damaged slices are made anew where they were; slices leave with their
// segments, from either tier.
func TestWarm(t *testing.T) {
	mem := disk.NewMem()
	w := newWarm(t, mem, 3)
	_, three, _ := found(t, mem)
	w.o.Budget, w.o.WarmTo = stateSize+2*three, three
	faulty := disk.NewFaulty(mem)
	faulty.OnCall(func(disk.Call) {
		hot, warm := int64(0), int64(0)
		for sum, dir := range map[*int64]string{&hot: "", &warm: "warm"} {
			for _, e := range must(mem.List(dir)) {
				if strings.Contains(e.Name, sliceSuffix) {
					*sum += e.Size
				}
			}
		}
		if hot > w.o.Budget || warm > w.o.WarmTo {
			t.Errorf("%d of %d bytes are hot, %d of %d warm", hot, w.o.Budget, warm, w.o.WarmTo)
		}
	})
	w.on(faulty)
	for range 9 {
		w.fill(300, true)
		w.settle()
		w.compare("while it fills", 5)
	}
	all := w.x.Slices()
	at, _, _ := found(t, mem)
	for i, s := range all {
		if i > 0 && s.Warm && !all[i-1].Warm || (at[s.Number] == "warm") != s.Warm {
			t.Errorf("slices %v, found %v", all, at)
		}
	}
	sealed := w.j.Sealed()
	if n := len(all); !all[0].Warm || all[n-1].Warm || n >= len(sealed) || all[n-1].Number != sealed[len(sealed)-1].Number {
		t.Fatalf("slices %v of segments up to %d", all, sealed[len(sealed)-1].Number)
	}
	one := all[0].Number
	f := must(mem.Open("warm/"+sliceName(one), true))
	must(0, f.WriteAt(disk.Buffer(int(all[0].Bytes)), 0))
	must(0, f.Sync())
	must(0, f.Close())
	w.x.o.Cache.drop(w.x.slices[one])
	for _, s := range (source{w.j}).Sealed() {
		if s.Number == one {
			w.x.Look(s, Query{where.Condition{}, math.MinInt64})
		}
	}
	w.settle()
	if now := w.x.Slices(); !slices.Equal(now, all) || w.x.Status().Bad != 1 {
		t.Errorf("slices %v, before one was damaged %v; %+v", now, all, w.x.Status())
	}
	for serial := uint64(1); w.j.Sealed()[0].Number <= one; serial++ {
		w.roll(serial)
	}
	w.settle()
	if at, _, _ := found(t, mem); at[one] != "" {
		t.Errorf("slice %d is still there without its segment: %v", one, at)
	}
	must(0, w.x.Roll([]uint64{all[1].Number}))
	if at, _, _ := found(t, mem); at[all[1].Number] != "" {
		t.Errorf("slice %d was rolled and is still there: %v", all[1].Number, at)
	}
	left := w.x.Slices()
	w.close()
	w.on(mem)
	w.settle()
	if now := w.x.Slices(); !slices.Equal(now, left) || w.x.Status().Made != 0 {
		t.Errorf("after a restart there are %v, before it %v", now, left)
	}
	w.compare("after a restart", 20)
	w.close()
}

// TestMoveCrash pulls the plug at every call of a move. Each slice is then in one
// place, whole, and none has to be made anew.
func TestMoveCrash(t *testing.T) {
	for calls := 1; ; calls++ {
		mem := disk.NewMem()
		w := newWarm(t, mem, 2)
		faulty := disk.NewFaulty(mem)
		w.on(faulty)
		w.settle()
		var count atomic.Int64
		var crashed atomic.Pointer[disk.Mem]
		crash := w.r.Uint64()
		faulty.OnCall(func(disk.Call) {
			if count.Add(1) == int64(calls) {
				crashed.Store(mem.Crash(crash))
			}
		})
		must(0, w.x.Move(1))
		faulty.OnCall(nil)
		w.close()
		after := crashed.Load()
		if after == nil {
			if calls < 10 {
				t.Fatalf("a move made only %d calls", calls-1)
			}
			t.Logf("crashed at each of %d calls", calls-1)
			return
		}
		w.disk = after
		w.on(after)
		w.settle()
		w.tidy(after, fmt.Sprint("after a crash at call ", calls))
		if made := w.x.Status().Made; made != 0 {
			t.Errorf("after a crash at call %d %d slices were lost", calls, made)
		}
		w.close()
	}
}

// TestMoveFaults has each call of a move fail, alone and from then on, and then
// the disk work again: the slice stays where it was or is warm, and the next move
// moves it.
func TestMoveFaults(t *testing.T) {
	for _, forever := range []bool{false, true} {
		for n, failed := 1, true; failed; n++ {
			mem := disk.NewMem()
			w := newWarm(t, mem, 2)
			faulty := disk.NewFaulty(mem)
			w.on(faulty)
			w.settle()
			when := fmt.Sprintf("after a fault at call %d, forever %v", n, forever)
			faulty.Fail(disk.Fault{N: n, Err: syscall.EIO, Forever: forever})
			before := faulty.Count(disk.AnyCall)
			_ = w.x.Move(1) // what it says is not what counts
			failed = faulty.Count(disk.AnyCall)-before >= n
			faulty.Fail()
			w.compare(when, 3)
			w.close()
			w.on(faulty)
			w.settle()
			if err := w.x.Move(1); err != nil {
				t.Errorf("%s: %v", when, err)
			}
			w.settle()
			w.tidy(mem, when)
			if at, _, _ := found(t, mem); at[1] != "warm" || at[2] != "hot" {
				t.Errorf("%s: found %v", when, at)
			}
			w.close()
		}
	}
}

// TestMoveDamaged damages a page of a slice, its description, or its end, before
// it moves: it is not carried on, but counted, and made anew where it was to go.
func TestMoveDamaged(t *testing.T) {
	for _, what := range []string{"first page", "last page", "description", "end"} {
		mem := disk.NewMem()
		w := newWarm(t, mem, 2)
		w.on(mem)
		w.settle()
		one := w.x.Slices()[0]
		f := must(mem.Open(sliceName(one.Number), false))
		m, _, err := readMeta(f, one.Bytes)
		must(m, errors.Join(err, f.Close()))
		at := map[string]int64{"last page": int64(m.Pages-1) * disk.Align, "description": int64(m.Pages) * disk.Align, "end": one.Bytes - trailerSize}[what]
		w.toggle(mem, sliceName(one.Number), at+10)
		if err := w.x.Move(one.Number); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		w.settle()
		if st := w.x.Status(); st.Bad != 1 || st.Made != 1 {
			t.Errorf("%s: %+v", what, st)
		}
		if at, _, _ := found(t, mem); at[one.Number] != "warm" {
			t.Errorf("%s: found %v", what, at)
		}
		w.tidy(mem, what)
		w.close()
	}
}

// liar is a disk that writes something else than it is told.
type liar struct{ disk.FS }

func (l liar) Create(name string) (disk.File, error) {
	f, err := l.FS.Create(name)
	return lyingFile{f}, err
}

type lyingFile struct{ disk.File }

func (f lyingFile) WriteAt(p []byte, off int64) error {
	other := disk.Buffer(len(p))
	copy(other, p)
	other[len(p)/2] ^= 4
	return f.File.WriteAt(other, off)
}

// TestMoveCompares holds that a copy that is not what was read counts for
// nothing, and that the slice stays where it is.
func TestMoveCompares(t *testing.T) {
	mem := disk.NewMem()
	w := newWarm(t, mem, 2)
	w.on(mem)
	w.settle()
	w.x.warm.fs = liar{w.x.warm.fs}
	if err := w.x.Move(1); err == nil || !strings.Contains(err.Error(), "not what was written") {
		t.Errorf("a move to a disk that lies: %v", err)
	}
	if at, _, _ := found(t, mem); at[1] != "hot" {
		t.Errorf("found %v", at)
	}
	w.tidy(mem, "after a copy that was another one")
	w.close()
}
