package journal

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"holdfast/internal/cold"
	"holdfast/internal/disk"
	"holdfast/internal/manifests"
)

// chilled opens a journal whose cold tier is the directory cold of out.
func chilled(t *testing.T, d, out disk.FS) (*Journal, *cold.Directory) {
	t.Helper()
	must(0, out.Mkdir("cold"))
	store := cold.OpenDirectory(must(out.Sub("cold")), "/cold", 0)
	return open(t, d, Options{Name: "main", SegmentSize: 48 << 10, Cold: store}), store
}

// TestChillFaults has each disk call of a copy fail, of the disk that is read and
// of the cold tier. Nothing is lost by that, the next try succeeds, and what it
// left is there after a power cut.
func TestChillFaults(t *testing.T) {
	for _, side := range []string{"hot", "cold"} {
		n := 1
		for ; ; n++ {
			hot, out := disk.NewMem(), disk.NewMem()
			faulty := map[string]*disk.Faulty{"hot": disk.NewFaulty(hot), "cold": disk.NewFaulty(out)}
			j, _ := chilled(t, faulty["hot"], faulty["cold"])
			rowsFor(t, j, 12)
			faulty[side].Fail(disk.Fault{N: n, Err: errors.New("fault")})
			_, err := j.Chill(1)
			hit := len(faulty[side].Failed()) > 0
			faulty[side].Fail()
			if err != nil && (j.Cold(1) || side == "cold" && !errors.Is(err, cold.ErrAway)) {
				t.Fatalf("%s call %d: there is a copy: %v, and the error is %v", side, n, j.Cold(1), err)
			}
			if _, err := j.Chill(1); err != nil || !j.Cold(1) {
				t.Fatalf("%s call %d, tried again: %v", side, n, err)
			}
			name := j.coldName(1)
			closeJournal(t, j)
			for seed := range uint64(8) { // what is not flushed may be there all the same
				back := cold.OpenDirectory(must(out.Crash(seed).Sub("cold")), "/cold", 0)
				if m, err := ColdManifest(back, name+manifests.Suffix); err != nil || m.Filename != name {
					t.Fatalf("%s call %d, after a power cut: %+v, %v", side, n, m, err)
				}
				if got, err := Thaw(back, name, disk.NewMem()); err != nil || got.Rows != 4 {
					t.Fatalf("%s call %d, after a power cut: %+v, %v", side, n, got, err)
				}
			}
			if !hit {
				break
			}
		}
		t.Logf("%d calls of the %s disk", n-1, side)
		if n < 10 {
			t.Errorf("only %d calls", n)
		}
	}
}

// TestChillAgain puts segments where an earlier attempt has left something: its
// data without a manifest stays and is finished; what is another file under that
// name is replaced without a manifest, and refused with one.
func TestChillAgain(t *testing.T) {
	out := disk.NewMem()
	j, store := chilled(t, disk.NewMem(), out)
	defer closeJournal(t, j)
	rowsFor(t, j, 16)
	must(j.Chill(1))
	name := "cold/" + j.coldName(1)
	data := must(disk.ReadFile(out, name, 1<<20))
	again := func(what string, want int64) error {
		t.Helper()
		put, err := j.putAgain(t)
		if want >= 0 && (err != nil || (put > want) != (want > 0) || put == 0 && want > 0) {
			t.Errorf("%s: %d bytes were put: %v", what, put, err)
		}
		if _, terr := Thaw(store, j.coldName(1), disk.NewMem()); want >= 0 && terr != nil {
			t.Errorf("%s: %v", what, terr)
		}
		return err
	}
	_ = again("all is there", 0)
	must(0, out.Remove(name+manifests.Suffix))
	if put := must(j.putAgain(t)); put > manifests.MaxSize {
		t.Errorf("%d bytes were put, though the data stood there", put)
	}
	must(0, out.Remove(name+manifests.Suffix))
	must(0, disk.Replace(out, "", name, append(slices.Clone(data[:4096]), 'x')))
	_ = again("something else without a manifest", int64(len(data))-1)
	must(0, disk.Replace(out, "", name, bytes.Repeat([]byte("x"), 9000)))
	if err := again("something else with its manifest", -1); err == nil || j.Cold(1) {
		t.Errorf("another file passes for the copy: %v", err)
	}
	must(0, out.Remove(name))
	if err := again("no file with its manifest", -1); err == nil || !strings.Contains(err.Error(), "manifest") || j.Cold(1) {
		t.Errorf("a missing file passes for the copy: %v", err)
	}
}

// putAgain is Chill after a restart has forgotten what is there.
func (j *Journal) putAgain(t *testing.T) (int64, error) {
	t.Helper()
	j.mu.Lock()
	j.segs[0].to = ""
	j.mu.Unlock()
	return j.Chill(1)
}

// lying is a store that keeps something else than what it was given, once.
type lying struct {
	cold.Store
	suffix string
	lied   bool
}

func (l *lying) Put(name string, replace bool, fill func(io.Writer) error) error {
	if l.lied || !strings.HasSuffix(name, l.suffix) {
		return l.Store.Put(name, replace, fill)
	}
	l.lied = true
	var text bytes.Buffer
	if err := fill(&text); err != nil {
		return err
	}
	at := text.Len() / 2
	text.Bytes()[at] ^= 1
	return l.Store.Put(name, replace, func(w io.Writer) error { _, err := w.Write(text.Bytes()); return err })
}

// TestChillReadBack has the cold tier keep a flipped bit: of the file, and of the
// manifest. The copy is not one, and the segment may not go.
func TestChillReadBack(t *testing.T) {
	for _, suffix := range []string{".zst", manifests.Suffix} {
		mem := disk.NewMem()
		store := &lying{Store: cold.OpenDirectory(mem, "/cold", 0), suffix: suffix}
		j := open(t, disk.NewMem(), Options{Name: "main", SegmentSize: 48 << 10, Cold: store})
		rowsFor(t, j, 12)
		if _, err := j.Chill(1); err == nil || j.Cold(1) {
			t.Errorf("%s: a bit is flipped: %v", suffix, err)
		}
		if _, err := j.Prepare(Cut{ID: j.ID(), Serial: 1, Doomed: []uint64{1}}); !errors.Is(err, errNotCold) {
			t.Errorf("%s: the segment may go: %v", suffix, err)
		}
		if suffix == ".zst" { // where the manifest is damaged somebody has to look
			if _, err := j.Chill(1); err != nil {
				t.Errorf("tried again: %v", err)
			}
		}
		closeJournal(t, j)
	}
}
