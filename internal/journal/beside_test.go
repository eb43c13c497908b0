package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/disk"
	"holdfast/internal/manifests"
)

// keeping collects what is handed over of segments that are gone.
type keeping struct {
	mu   sync.Mutex
	all  []manifests.Manifest
	fail error
}

func (k *keeping) gone(all []manifests.Manifest) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail == nil {
		k.all = append(k.all, all...)
	}
	return k.fail
}

func (k *keeping) numbers() (all []uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.all {
		all = append(all, m.Number)
	}
	return all
}

func (k *keeping) set(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail = err
}

// eventually waits until f says "".
func eventually(t *testing.T, f func() string) {
	t.Helper()
	why := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if why = f(); why == "" {
			return
		}
	}
	t.Fatal(why)
}

// besides returns the numbers of segments, and of manifests beside them.
func besides(d disk.FS) (segs, notes []uint64) {
	for _, e := range must(d.List("")) {
		if n, ok := segmentNumber(e.Name); ok {
			segs = append(segs, n)
		}
		if n, ok := numberIn(e.Name, manifests.Suffix); ok {
			notes = append(notes, n)
		}
	}
	return segs, notes
}

// complete waits until a manifest stands beside each sealed segment, and none
// beside nothing.
func complete(t *testing.T, j *Journal, d disk.FS) {
	t.Helper()
	eventually(t, func() string {
		want := []uint64{}
		for _, f := range j.Files() {
			if f.Sealed && f.LastSeq > 0 {
				want = append(want, f.Number)
			}
		}
		if _, notes := besides(d); !slices.Equal(notes, want) {
			return fmt.Sprintf("manifests of %v, sealed are %v", notes, want)
		}
		return ""
	})
}

func withManifests(k *keeping) Options {
	return Options{SegmentSize: 64 << 10, Link: "n", Manifests: true, Gone: k.gone}
}

// TestManifestBeside has the manifest of each sealed segment say what its
// footer does, made anew where it is missing or another's, and gone with it.
func TestManifestBeside(t *testing.T) {
	mem, k := disk.NewMem(), &keeping{}
	j := open(t, mem, withManifests(k))
	must(0, grow(t, j, 40))
	must(0, j.Seal(t.Context()))
	complete(t, j, mem)
	for _, f := range j.Files() {
		m := must(j.readBeside(j.home, f.Number))
		s := j.findLocked(f.FirstSeq)
		must(0, j.describeSeg(s))
		if m.ID1 != f.FirstSeq || m.ID2 != f.LastSeq || m.Size != f.Bytes || m.Filename != segmentName(f.Number) || m.SHA256 != s.summary.SHA256 ||
			len(m.SHA256) != 64 || *m.Session1 != f.Link.First || *m.Session2 != f.Link.Last || m.Link != "n" || m.Rows != s.rows ||
			m.Received[0].UnixMicro() != f.FirstTime || m.Time2 != f.LastTime/1e6 || m.FileTime != f.FileTime/1e6 || m.StreamID != j.ID() {
			t.Errorf("of %+v it says %+v", f, m)
		}
	}
	files := j.Files()
	closeJournal(t, j)
	must(0, mem.Remove(besideName(files[0].Number)))
	must(0, disk.Replace(mem, "", besideName(files[1].Number), []byte{}))
	must(0, disk.Replace(mem, "", besideName(4711), []byte("nobody's")))
	j = open(t, mem, withManifests(k))
	complete(t, j, mem)
	if m, err := j.readBeside(j.home, files[1].Number); err != nil || m.ID2 != files[1].LastSeq {
		t.Errorf("an empty manifest was made anew as %+v, %v", m, err)
	}
	settled(t, j, mem)
	closeJournal(t, j)
}

// TestManifestKept hands manifests over when segments go, whatever lets them
// go, and keeps them beside until that works.
func TestManifestKept(t *testing.T) {
	mem, k := disk.NewMem(), &keeping{fail: errors.New("not mounted")}
	j := open(t, mem, withManifests(k))
	must(0, grow(t, j, 60))
	must(0, j.Seal(t.Context()))
	complete(t, j, mem)
	files := j.Files()
	p := must(j.Prepare(Cut{Serial: 3, Doomed: []uint64{files[0].Number, files[1].Number}}))
	must(0, p.Carry())
	p = must(j.Prepare(Cut{Serial: 4, Until: time.Now().Add(time.Hour).UnixMicro(), Doomed: []uint64{files[2].Number}}))
	must(0, p.Carry())
	j.chore()
	if _, notes := besides(mem); !slices.Contains(notes, files[0].Number) || !slices.Contains(notes, files[2].Number) {
		t.Errorf("manifests of %v stand there, and nobody has kept them", notes)
	}
	var found []string
	look := func(q manifests.Query) {
		found = nil
		must(0, j.Search(q, func(func(uint64) bool) error { return nil }, func(f manifests.Found) error {
			found = append(found, fmt.Sprint(f.Number, " ", f.Where))
			return nil
		}))
	}
	look(manifests.Query{Seqs: &manifests.Span{First: 1, Last: int64(files[3].FirstSeq)}})
	if want := []string{"1 gone", "2 gone", "3 trash", "4 hot"}; !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
	k.set(nil)
	j.chore()
	eventually(t, func() string {
		if got := k.numbers(); !slices.Equal(got, []uint64{1, 2}) {
			return fmt.Sprint("kept are ", got)
		}
		return ""
	})
	if g := k.all[1].Gone; g == nil || g.Roll != 3 || g.To != manifests.Nowhere || g.At.IsZero() || k.all[1].SHA256 == "" {
		t.Errorf("kept is %+v, %+v", k.all[1], g)
	}
	p = must(j.Prepare(Cut{Serial: 5, Undo: 4}))
	must(0, p.Carry())
	look(manifests.Query{Seqs: &manifests.Span{First: 1, Last: int64(files[2].LastSeq)}})
	if want := []string{"3 hot"}; !slices.Equal(found, want) {
		t.Errorf("after the undo it found %q, want %q", found, want)
	}
	j.SetLimits(Limits{History: 1})
	eventually(t, func() string {
		if _, notes := besides(mem); len(notes) > 1 || len(k.numbers()) < len(files)-1 {
			return fmt.Sprintf("manifests of %v stand there, %v are kept", notes, k.numbers())
		}
		return ""
	})
	settled(t, j, mem)
	closeJournal(t, j)
}

// TestManifestCrash kills the journal between all steps of removing segments:
// each manifest is handed over, and none stays beside nothing.
func TestManifestCrash(t *testing.T) {
	for step := 1; ; step++ {
		mem, k := disk.NewMem(), &keeping{}
		j := open(t, mem, withManifests(k))
		must(0, grow(t, j, 30))
		must(0, j.Seal(t.Context()))
		complete(t, j, mem)
		before := j.Files()
		closeJournal(t, j)
		f := disk.NewFaulty(mem)
		var mu sync.Mutex
		calls, images, then := 0, []*disk.Mem(nil), &keeping{}
		o := withManifests(k)
		o.Limits.History = 1
		f.OnCall(func(c disk.Call) {
			mu.Lock()
			defer mu.Unlock()
			if strings.HasSuffix(c.Name, manifests.Suffix) || strings.HasSuffix(c.Name, segmentSuffix) {
				if calls++; calls == step {
					images = []*disk.Mem{mem.Kill(), mem.Crash(uint64(step))}
					k.mu.Lock()
					then.all = slices.Clone(k.all)
					k.mu.Unlock()
				}
			}
		})
		j = open(t, f, o)
		eventually(t, func() string {
			if got := k.numbers(); len(got) < len(before)-1 {
				return fmt.Sprint("kept are ", got)
			}
			return ""
		})
		closeJournal(t, j)
		mu.Lock()
		if images == nil {
			mu.Unlock()
			t.Logf("%d steps", step-1)
			return
		}
		mu.Unlock()
		for _, image := range images {
			again := &keeping{all: slices.Clone(then.all)}
			j = open(t, image, withManifests(again))
			complete(t, j, image)
			segs, _ := besides(image)
			closeJournal(t, j)
			for _, b := range before {
				if !slices.Contains(segs, b.Number) && !slices.Contains(again.numbers(), b.Number) {
					t.Errorf("step %d: segment %d is gone, and nobody has its manifest", step, b.Number)
				}
			}
		}
	}
}
