package journal

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/cold"
	"holdfast/internal/disk"
	"holdfast/internal/fault"
)

// TestThaw brings segments back from a cold tier: the rows are those that were
// there; a flipped bit anywhere is refused; nothing is overwritten.
func TestThaw(t *testing.T) {
	out := disk.NewMem()
	store := cold.OpenDirectory(out, "/cold", 0)
	j := open(t, disk.NewMem(), Options{Name: "main", SegmentSize: 48 << 10, Cold: store})
	rows := rowsFor(t, j, 16)[:12] // the newest segment stays
	defer closeJournal(t, j)
	back := disk.NewMem()
	for n := uint64(1); n <= 3; n++ {
		if put := must(j.Chill(n)); put == 0 {
			t.Fatal("nothing was put")
		}
		if put := must(j.Chill(n)); put != 0 {
			t.Errorf("%d bytes were put again", put)
		}
		name := j.coldName(n) + []string{"", ".json"}[n%2]
		if got := must(Thaw(store, name, back)); got.Number != n || got.SHA256 == "" || got.Rows != 4 {
			t.Fatalf("%+v", got)
		}
		if again := must(Thaw(store, name, back)); again.Number != n {
			t.Errorf("brought back again: %+v", again)
		}
	}
	other := disk.NewMem()
	must(0, other.Mkdir("streams/main"))
	must(0, disk.Replace(other, "streams/main", "streams/main/"+segmentName(1), make([]byte, 9000)))
	if _, err := Thaw(store, j.coldName(1), other); fault.Code(err) != fault.InvalidParameterValue {
		t.Errorf("a segment is brought back over another: %v", err)
	}
	b := open(t, must(back.Sub("streams/main")), Options{Name: "main"})
	defer closeJournal(t, b)
	if got := readAll(t, b, 1); !slices.Equal(got, rows) {
		t.Errorf("%d rows of %d are read", len(got), len(rows))
	}
	size := must(must(store.Open(j.coldName(1))).Size())
	for off := int64(0); off < size; off += size/23 + 1 {
		f := must(out.Open(j.coldName(1), true))
		page := disk.Buffer(disk.Align)
		at := off &^ (disk.Align - 1)
		must(f.ReadAt(page, at))
		page[off-at] ^= 4
		must(0, f.WriteAt(page, at))
		if _, err := Thaw(store, j.coldName(1), disk.NewMem()); fault.Code(err) != fault.DataCorrupted {
			t.Errorf("a bit at %d of %d is flipped: %v", off, size, err)
		}
		page[off-at] ^= 4
		must(0, f.WriteAt(page, at))
		must(0, f.Close())
	}
	if _, err := Thaw(store, strings.Replace(j.coldName(1), "1.seg", "9.seg", 1), disk.NewMem()); err == nil {
		t.Error("what is not there is brought back")
	}
}

// TestBeginThaw holds that segments are not brought back among others.
func TestBeginThaw(t *testing.T) {
	mem := disk.NewMem()
	for range 2 {
		if err := BeginThaw(mem); err != nil {
			t.Fatal(err)
		}
		must(0, mem.Mkdir("streams/main"))
	}
	mem = disk.NewMem()
	must(0, mem.Mkdir("streams/main"))
	if err := BeginThaw(mem); fault.Code(err) != fault.InvalidParameterValue {
		t.Errorf("segments go among others: %v", err)
	}
}

// TestThawFaults has each disk call of bringing a segment back fail, and then cuts
// the power. It is there whole or not at all, and the next try brings it back.
func TestThawFaults(t *testing.T) {
	out := disk.NewMem()
	j, store := chilled(t, disk.NewMem(), out)
	rows := rowsFor(t, j, 12)[:4]
	must(j.Chill(1))
	name := j.coldName(1)
	closeJournal(t, j)
	for n := 1; ; n++ {
		mem := disk.NewMem()
		faulty := disk.NewFaulty(mem)
		faulty.Fail(disk.Fault{N: n, Err: errors.New("fault")})
		_, err := Thaw(store, name, faulty)
		hit := len(faulty.Failed()) > 0
		faulty.Fail()
		if !hit && err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(3) {
			state := mem.Crash(seed)
			if seed == 0 {
				state = mem.Kill()
			}
			if _, err := Thaw(store, name, state); err != nil {
				t.Fatalf("call %d, tried again: %v", n, err)
			}
			b := open(t, must(state.Sub("streams/main")), Options{Name: "main"})
			if got := readAll(t, b, 1); !slices.Equal(got, rows) {
				t.Fatalf("call %d: %d rows of %d are back", n, len(got), len(rows))
			}
			closeJournal(t, b)
		}
		if !hit {
			t.Logf("%d calls", n-1)
			if n < 8 {
				t.Error("they are too few")
			}
			return
		}
	}
}
