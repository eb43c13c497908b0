package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/row"
)

// warmed returns o with the warm tier that is on a disk, making it where it is
// missing.
func warmed(t testing.TB, d disk.FS, o Options) Options {
	t.Helper()
	must(0, d.Mkdir("warm"))
	o.Name, o.SegmentSize = "main", 48<<10
	o.More = append(o.More, Directory{ID: "warm", FS: must(d.Sub("warm")), Warm: true})
	return o
}

// rowsFor fills a journal with sealed segments, and returns their rows.
func rowsFor(t testing.TB, j *Journal, n int) (rows []string) {
	t.Helper()
	for i := range n {
		v := fmt.Sprintf("row %d %s", i, strings.Repeat("x", 3000))
		mustAppend(t, j, v)
		rows = append(rows, v)
		if i%4 == 3 {
			must(0, j.Seal(t.Context()))
		}
	}
	return rows
}

func move(j *Journal, number uint64) error {
	c, err := j.Copy(number)
	if err != nil {
		return err
	}
	return c.Commit()
}

// placed returns which segments are in which tier on the disk, and fails where
// anything else lies about.
func placed(t testing.TB, d disk.FS) (hot, warm []uint64) {
	t.Helper()
	for _, e := range must(d.List("")) {
		if n, ok := segmentNumber(e.Name); ok {
			hot = append(hot, n)
		}
	}
	for _, e := range must(d.List("warm")) {
		n, packed, ok := segmentIn(e.Name)
		if !ok || !packed {
			t.Fatalf("%q lies in the warm tier", e.Name)
		}
		warm = append(warm, n)
	}
	return hot, warm
}

// TestMove moves segments while they are read, and finds them after a restart,
// with the MANIFEST and without.
func TestMove(t *testing.T) {
	mem := disk.NewMem()
	o := warmed(t, mem, Options{})
	must(0, disk.Replace(mem, "", "0000000000000002.note", []byte("beside")))
	j := open(t, mem, o)
	rows := rowsFor(t, j, 40)
	r := must(j.Reader(1))
	defer r.Close()
	must(r.TryNext()) // it has segment 1 open
	for n := uint64(1); n <= 4; n++ {
		must(0, move(j, n))
	}
	if err := move(j, 1); err == nil {
		t.Error("a segment is moved twice")
	}
	for next := uint64(2); next <= 40; next++ {
		b := must(r.TryNext())
		if b == nil || b.Rows[0].Seq != next || len(b.Damage) > 0 {
			t.Fatalf("row %d is read as %+v", next, b)
		}
	}
	if _, warm := placedWith(t, mem, "0000000000000002.note"); len(warm) != 4 {
		t.Fatalf("the warm tier has %v", warm)
	}
	if _, err := disk.ReadFile(mem, "0000000000000002.note", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Error("what lay beside has stayed behind", err)
	}
	check := func(j *Journal) {
		t.Helper()
		if got := readAll(t, j, 1); !slices.Equal(got, rows) || len(j.Recovery().Damage) > 0 {
			t.Fatalf("%d rows of %d are read, damage %+v", len(got), len(rows), j.Recovery().Damage)
		}
		v, err := j.Verify(t.Context(), func(d row.Damage) { t.Errorf("damage: %+v", d) })
		if err != nil || v.Rows != 40 {
			t.Fatalf("verify reads %+v: %v", v, err)
		}
		bytes := int64(0)
		for _, s := range j.Directories() {
			if s.Warm {
				bytes = s.Bytes
			}
		}
		stand := int64(0)
		for _, e := range must(mem.List("warm")) {
			if e.Name != "0000000000000002.note" {
				stand += e.Size
			}
		}
		if bytes != stand {
			t.Errorf("%d bytes are counted in the warm tier, %d stand there", bytes, stand)
		}
	}
	check(j)
	closeJournal(t, j)
	j = open(t, mem, o)
	check(j)
	closeJournal(t, j)
	must(0, mem.Remove(manifestName))
	j = open(t, mem, o)
	if got := readAll(t, j, 1); !slices.Equal(got, rows) {
		t.Fatalf("without MANIFEST %d rows of %d are read", len(got), len(rows))
	}
	closeJournal(t, j)
}

// placedWith is placed with one more file in the warm tier.
func placedWith(t testing.TB, d disk.FS, more string) (hot, warm []uint64) {
	t.Helper()
	must(disk.ReadFile(d, "warm/"+more, 100))
	for _, e := range must(d.List("warm")) {
		if n, packed, ok := segmentIn(e.Name); ok && packed {
			warm = append(warm, n)
		}
	}
	return nil, warm
}

// TestMoveCrash cuts the power, or kills the process, at every disk call of a
// move. Afterwards every row is there once, and each segment in one place.
func TestMoveCrash(t *testing.T) {
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -run TestMoveCrash -seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	mem := disk.NewMem()
	faulty := disk.NewFaulty(mem)
	must(0, mem.Mkdir("warm"))
	j := open(t, faulty, warmed(t, faulty, Options{}))
	rows := rowsFor(t, j, 24)
	var mu sync.Mutex
	var states []*disk.Mem
	faulty.OnCall(func(c disk.Call) {
		mu.Lock()
		defer mu.Unlock()
		if c.Kind == disk.CallRead || c.Kind == disk.CallSize || c.Kind == disk.CallList {
			return // the disk is as it was
		}
		states = append(states, mem.Kill())
		for range 3 {
			states = append(states, mem.Crash(rnd.Uint64()))
		}
	})
	must(0, move(j, 1))
	must(0, move(j, 2))
	faulty.OnCall(nil)
	states = append(states, mem.Crash(rnd.Uint64()), mem.Kill())
	closeJournal(t, j)
	mu.Lock()
	defer mu.Unlock()
	if len(states) < 40 {
		t.Fatalf("%d crashed disks", len(states))
	}
	t.Logf("%d crashed disks", len(states))
	for i, d := range states {
		for life := range 2 {
			j, err := Open(d, warmed(t, d, Options{}))
			if err != nil {
				t.Fatalf("state %d, life %d: %v", i, life, err)
			}
			if damage := j.Recovery().Damage; len(damage) > 0 {
				t.Fatalf("state %d, life %d: %+v", i, life, damage)
			}
			if got := readAll(t, j, 1); !slices.Equal(got, rows) {
				t.Fatalf("state %d, life %d: %d rows of %d are there", i, life, len(got), len(rows))
			}
			must(0, j.dropDoubles())
			var hot, warm, both []uint64
			for range 500 { // the keeper may be about to remove one
				hot, warm = placed(t, d)
				both = slices.Concat(hot, warm)
				slices.Sort(both)
				if len(slices.Compact(slices.Clone(both))) == len(both) {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if len(slices.Compact(slices.Clone(both))) != len(both) || slices.Contains(both, 0) || len(warm) > 2 {
				t.Fatalf("state %d, life %d: segments %v are hot, %v warm", i, life, hot, warm)
			}
			closeJournal(t, j)
		}
	}
}

// TestMoveFaults has each disk call of a move fail. The move fails or is done,
// no row is lost, what is left over goes, and the next try succeeds.
func TestMoveFaults(t *testing.T) {
	for n := 1; ; n++ {
		mem := disk.NewMem()
		faulty := disk.NewFaulty(mem)
		must(0, mem.Mkdir("warm"))
		o := warmed(t, faulty, Options{})
		j := open(t, faulty, o)
		rows := rowsFor(t, j, 12)
		faulty.Fail(disk.Fault{N: n, Err: errors.New("fault")})
		err := move(j, 1)
		hit := len(faulty.Failed()) > 0
		faulty.Fail()
		if got := readAll(t, j, 1); !slices.Equal(got, rows) {
			t.Fatalf("call %d (%v): %d rows of %d", n, err, len(got), len(rows))
		}
		if err != nil {
			if again := move(j, 1); again != nil && !errors.Is(again, ErrChanged) {
				t.Fatalf("call %d: %v; and again: %v", n, err, again)
			}
		}
		closeJournal(t, j)
		j = open(t, mem, warmed(t, mem, Options{}))
		must(0, j.dropDoubles())
		if got := readAll(t, j, 1); !slices.Equal(got, rows) {
			t.Fatalf("call %d, after a restart: %d rows of %d", n, len(got), len(rows))
		}
		if hot, warm := placed(t, mem); slices.Contains(hot, 1) || !slices.Equal(warm, []uint64{1}) {
			t.Fatalf("call %d: segments %v are hot, %v warm", n, hot, warm)
		}
		closeJournal(t, j)
		if !hit {
			t.Logf("%d calls", n-1)
			return
		}
	}
}

// TestMoveDamaged holds that rot is not carried into another tier.
func TestMoveDamaged(t *testing.T) {
	mem := disk.NewMem()
	j := open(t, mem, warmed(t, mem, Options{}))
	rowsFor(t, j, 12)
	f := must(mem.Open(segmentName(1), true))
	page := disk.Buffer(disk.Align)
	must(f.ReadAt(page, 3*disk.Align))
	page[700] ^= 4
	must(0, f.WriteAt(page, 3*disk.Align))
	must(0, errors.Join(f.Sync(), f.Close()))
	if err := move(j, 1); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged segment is moved: %v", err)
	}
	if hot, warm := placed(t, mem); len(warm) > 0 || !slices.Contains(hot, 1) {
		t.Errorf("segments %v are hot, %v warm", hot, warm)
	}
	closeJournal(t, j)
}

// TestWarmStranger holds that a packed file that is no segment of the stream is
// set aside, and never removed.
func TestWarmStranger(t *testing.T) {
	mem := disk.NewMem()
	o := warmed(t, mem, Options{})
	j := open(t, mem, o)
	rows := rowsFor(t, j, 12)
	must(0, move(j, 1))
	closeJournal(t, j)
	other := disk.NewMem()
	k := open(t, other, warmed(t, other, Options{}))
	rowsFor(t, k, 12)
	must(0, move(k, 1))
	closeJournal(t, k)
	text := must(disk.ReadFile(other, "warm/"+packedName(1), 1<<20))
	must(0, disk.Replace(mem, "warm", "warm/"+packedName(70), text))
	must(0, disk.Replace(mem, "warm", "warm/"+packedName(71), make([]byte, disk.Align)))
	j = open(t, mem, o)
	if got := readAll(t, j, 1); !slices.Equal(got, rows) {
		t.Errorf("%d rows of %d", len(got), len(rows))
	}
	if n := len(j.Recovery().Damage); n != 2 {
		t.Errorf("%d strangers are named", n)
	}
	closeJournal(t, j)
	for _, name := range []string{packedName(70), packedName(71)} {
		must(disk.ReadFile(mem, "warm/"+lostDir+"/"+name, 1<<20))
	}
}

// TestOneWarmAway has one of two warm directories fail: what moves goes to the
// other one, and only where both fail nothing does, and it is said why.
func TestOneWarmAway(t *testing.T) {
	mem := disk.NewMem()
	o := warmed(t, mem, Options{})
	must(0, mem.Mkdir("more"))
	first, second := disk.NewFaulty(must(mem.Sub("warm"))), disk.NewFaulty(must(mem.Sub("more")))
	o.More = []Directory{{ID: "first", FS: first, Warm: true}, {ID: "second", FS: second, Size: 1 << 20, Warm: true}}
	j := must(Open(mem, o))
	defer func() { must(0, j.Close()) }()
	rowsFor(t, j, 12)
	at := func(number uint64) string {
		for _, f := range j.Files() {
			if f.Number == number {
				return f.Directory
			}
		}
		return "nowhere"
	}
	gone := disk.Fault{Kind: disk.CallSpace, N: 1, Forever: true, Err: fs.ErrNotExist}
	first.Fail(gone)
	if err := move(j, 1); err != nil || at(1) != "second" {
		t.Errorf("the first is away: %v, and it is in %q", err, at(1))
	}
	second.Fail(gone)
	if err := move(j, 2); !errors.Is(err, fs.ErrNotExist) || at(2) != "" {
		t.Errorf("both are away: %v, and it is in %q", err, at(2))
	}
	first.Fail()
	if err := move(j, 2); err != nil || at(2) != "first" {
		t.Errorf("the second is away: %v, and it is in %q", err, at(2))
	}
}
