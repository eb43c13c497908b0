package index

import (
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
	"holdfast/row"
)

// long multiplies how much the random tests try.
func long(n int) int {
	if os.Getenv("HOLDFAST_LONG") != "" {
		return 30 * n
	}
	return n
}

// TestSameRows holds that a condition gives the same rows with and without the
// index: while slices are missing, when they are there, after flipped bits,
// after limits and rolls took segments and an undo brought some back, and after
// a restart.
func TestSameRows(t *testing.T) {
	r := random(t)
	for range long(1) {
		w := newWorld(t, r, disk.NewMem())
		spared, serial := 0, uint64(0)
		for range 4 {
			w.fill(100+r.IntN(500), true)
			w.compare("while slices are made", 5)
			w.settle()
			spared += w.compare("with slices", 30)
			for range 1 + r.IntN(5) {
				w.flip()
			}
			w.compare("after flipped bits", 20)
			w.settle()
			w.compare("after slices were made anew", 20)
			serial++
			w.roll(serial)
			w.compare("after a roll", 20)
			if r.IntN(2) == 0 {
				serial++
				w.undo(serial, serial-1)
				w.compare("after an undo", 10)
				w.settle()
				w.compare("with the slices of what came back", 10)
			}
			w.fill(r.IntN(100), false)
			w.compare("with a segment that is written to", 10)
			if r.IntN(3) == 0 {
				w.close()
				w.open()
				w.compare("after a restart", 20)
			}
		}
		if spared == 0 {
			t.Fatal("the index never spared a segment")
		}
		w.settle()
		w.whole()
		w.close()
	}
}

// whole holds that each sealed segment has its slice, no other slice is there,
// and the bytes are counted as they are.
func (w *world) whole() {
	w.t.Helper()
	want := map[uint64]bool{}
	for _, s := range w.j.Sealed() {
		want[s.Number] = true
	}
	bytes := int64(0)
	for _, s := range w.x.Slices() {
		if !want[s.Number] {
			w.t.Errorf("slice %d has no segment", s.Number)
		}
		delete(want, s.Number)
		bytes += s.Bytes
	}
	if len(want) > 0 {
		w.t.Errorf("segments %v have no slice", want)
	}
	onDisk := int64(0)
	for _, e := range must(w.disk.List("")) {
		if _, ok := sliceNumber(e.Name); ok {
			onDisk += e.Size
		}
	}
	if st := w.x.Status(); st.Bytes != bytes || onDisk != bytes || st.Trouble != "" {
		w.t.Errorf("%d bytes are counted, the slices have %d, and take %d: %+v", st.Bytes, bytes, onDisk, st)
	}
}

// roll lets the oldest segment go, so that it can come back.
func (w *world) roll(serial uint64) {
	w.t.Helper()
	all := w.j.Sealed()
	if len(all) < 3 {
		return
	}
	w.cut(journal.Cut{ID: w.j.ID(), Serial: serial, Doomed: []uint64{all[0].Number}, Until: w.jo.Now().Add(time.Hour).UnixMicro()})
}

// undo takes a roll back, if there was one.
func (w *world) undo(serial, of uint64) {
	w.t.Helper()
	for _, u := range w.j.Undoable() {
		if u == of {
			w.cut(journal.Cut{ID: w.j.ID(), Serial: serial, Undo: of})
		}
	}
}

func (w *world) cut(c journal.Cut) {
	w.t.Helper()
	p, err := w.j.Prepare(c)
	if err == nil {
		err = p.Carry()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestCrash pulls the plug at every call that the index makes to its disk while
// it makes, replaces and removes slices. What is found then gives the same
// rows, and becomes whole again.
func TestCrash(t *testing.T) {
	r := random(t)
	for calls := 1; ; calls++ {
		mem := disk.NewMem()
		w := newWorld(t, r, mem)
		w.fill(600, true)
		w.settle()
		w.close()
		// From here on the index alone is watched; what it has to do is the same
		// for each number of calls.
		faulty := disk.NewFaulty(mem)
		w.files = faulty
		var count atomic.Int64
		var crashed atomic.Pointer[disk.Mem]
		crash := r.Uint64()
		faulty.OnCall(func(disk.Call) {
			if count.Add(1) == int64(calls) {
				crashed.Store(mem.Crash(crash))
			}
		})
		w.flipOn(mem)
		w.open()
		w.compare("before", 3)
		w.fill(400, true)
		w.settle()
		if all := w.x.Slices(); len(all) > 1 {
			if err := w.x.Roll([]uint64{all[0].Number}); err != nil {
				t.Fatal(err)
			}
		}
		w.close()
		after := crashed.Load()
		if after == nil {
			if calls < 20 {
				t.Fatalf("the index made only %d calls", calls)
			}
			t.Logf("crashed at each of %d calls", calls-1)
			return
		}
		w.disk, w.files = after, after
		w.open()
		w.compare("after a crash", 5)
		w.settle()
		w.compare("after slices were mended", 10)
		for _, e := range must(after.List("")) {
			if e.Name == stateName+".tmp" || len(e.Name) > len(sliceName(1)) && e.Name[16:20] == sliceSuffix {
				t.Errorf("%s is left behind", e.Name)
			}
		}
		w.close()
		if calls > 10 && os.Getenv("HOLDFAST_LONG") == "" {
			calls += r.IntN(40)
		}
	}
}

// flipOn damages a slice while nothing is open.
func (w *world) flipOn(d disk.FS) {
	w.disk = d
	w.flip()
}

// TestFaults lets calls to the disk fail. Conditions give the same rows, and
// slices are there when the disk works again.
func TestFaults(t *testing.T) {
	r := random(t)
	mem := disk.NewMem()
	w := newWorld(t, r, mem)
	w.close()
	faulty := disk.NewFaulty(mem)
	w.files = faulty
	w.open()
	kinds := []disk.Kind{disk.CallCreate, disk.CallOpen, disk.CallRename, disk.CallRemove, disk.CallWrite, disk.CallSync, disk.CallRead}
	for range long(5) {
		var plan []disk.Fault
		for _, k := range kinds {
			plan = append(plan, disk.Fault{Kind: k, N: 1 + r.IntN(6), Err: syscall.EIO, Forever: r.IntN(4) == 0})
		}
		faulty.Fail(plan...)
		w.fill(300, true)
		w.settle()
		w.compare("with faults", 20)
		faulty.Fail()
		w.settle()
		w.compare("after faults", 20)
	}
	w.settle()
	w.whole()
	w.close()
}

// TestDamagedSegment holds that a segment with rows that nobody can read gets
// no slice: what is lost there must be named to every reader.
func TestDamagedSegment(t *testing.T) {
	mem := disk.NewMem()
	w := newWorld(t, random(t), mem)
	w.fill(800, true)
	w.close() // so that nothing is read from memory
	for _, s := range w.x.Slices() {
		if err := mem.Remove(sliceName(s.Number)); err != nil {
			t.Fatal(err)
		}
	}
	name := "0000000000000001.seg"
	f := must(mem.Open(name, true))
	page := disk.Buffer(disk.Align)
	must(f.ReadAt(page, 3*disk.Align))
	for i := range page {
		page[i] ^= 0xff
	}
	if err := f.WriteAt(page, 3*disk.Align); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	w.open()
	w.settle()
	for _, s := range w.x.Slices() {
		if s.Number == 1 {
			t.Error("a damaged segment has a slice")
		}
	}
	r := must(w.j.Reader(1))
	r.Pick = func(s journal.Sealed) ([]journal.Range, bool) {
		_, _, ok := w.x.Look(Segment(s), Query{})
		return nil, ok
	}
	var named []row.Damage
	for b := must(r.TryNext()); b != nil; b = must(r.TryNext()) {
		named = append(named, b.Damage...)
	}
	if len(named) == 0 {
		t.Error("the damage is not named")
	}
	_ = r.Close()
	w.close()
}
