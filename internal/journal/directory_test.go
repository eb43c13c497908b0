package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/disk"
)

// further are the directories that a wide disk has besides its root.
var further = []string{"b", "c"}

// widen makes them.
func widen(d disk.FS) error {
	var errs []error
	for _, name := range further {
		errs = append(errs, d.Mkdir(name))
	}
	return errors.Join(errs...)
}

// wide returns o with the further directories that d has.
func wide(d disk.FS, o Options) Options {
	for _, name := range further {
		if sub, err := d.Sub(name); err == nil {
			o.More = append(o.More, Directory{ID: name, FS: sub})
		}
	}
	return o
}

// widely lists a disk with its further directories, whose names stand in front.
func widely(d disk.FS) ([]disk.Entry, error) {
	entries, err := d.List("")
	all := slices.DeleteFunc(entries, func(e disk.Entry) bool { return e.Dir && slices.Contains(further, e.Name) })
	for _, name := range further {
		sub, serr := d.Sub(name)
		if serr != nil {
			continue
		}
		more, lerr := sub.List("")
		err = errors.Join(err, lerr)
		for _, e := range more {
			e.Name = name + "/" + e.Name
			all = append(all, e)
		}
	}
	return all, err
}

// segmentsIn returns how many segments there are in a directory.
func segmentsIn(t testing.TB, d disk.FS) (n int) {
	t.Helper()
	for _, e := range must(d.List("")) {
		if strings.HasSuffix(e.Name, segmentSuffix) {
			n++
		}
	}
	return n
}

// spread opens a journal over three directories, of which the last may take the
// most, and fills it.
func spread(t testing.TB, d disk.FS) (o Options, rows []string) {
	t.Helper()
	if err := widen(d); err != nil {
		t.Fatal(err)
	}
	o = wide(d, Options{SegmentSize: 48 << 10, Home: 1 << 20, Limits: Limits{Budget: 2 << 20, Wait: time.Minute}})
	o.More[0].Size, o.More[1].Size = 200<<10, 800<<10
	j := open(t, d, o)
	for i := range 60 {
		v := fmt.Sprintf("row %d %s", i, strings.Repeat("x", 9000))
		mustAppend(t, j, v)
		rows = append(rows, v)
		if i%5 == 4 {
			if err := j.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := readAll(t, j, 1); !slices.Equal(got, rows) {
		t.Fatalf("%d rows of %d are read", len(got), len(rows))
	}
	for _, s := range j.Directories() {
		if s.Size > 0 && s.Bytes > s.Size {
			t.Errorf("directory %q has %d bytes, and may have %d", s.ID, s.Bytes, s.Size)
		}
	}
	closeJournal(t, j)
	return o, rows
}

// TestDirectories holds that segments are written where the most room is, that
// no directory passes its size, and that a start finds all of them.
func TestDirectories(t *testing.T) {
	mem := disk.NewMem()
	o, rows := spread(t, mem)
	n := []int{segmentsIn(t, mem), segmentsIn(t, o.More[0].FS), segmentsIn(t, o.More[1].FS)}
	if n[0] == 0 || n[2] == 0 || n[1] > n[2] {
		t.Fatalf("the segments are spread %v", n)
	}
	o.More[0], o.More[1] = o.More[1], o.More[0] // the order is the operator's
	j := open(t, mem, o)
	if got := readAll(t, j, 1); !slices.Equal(got, rows) || len(j.Recovery().Damage) > 0 {
		t.Fatalf("a start finds %d rows of %d, damage %+v", len(got), len(rows), j.Recovery().Damage)
	}
	for i := range 400 { // several times round, oldest first, wherever it is
		mustAppend(t, j, fmt.Sprint("more ", i, strings.Repeat("y", 9000)))
	}
	for _, s := range j.Directories() {
		if s.Bytes > s.Size {
			t.Errorf("directory %q has %d bytes, and may have %d", s.ID, s.Bytes, s.Size)
		}
	}
	first := j.Oldest().Seq + 1
	if got := readAll(t, j, first); len(got) < 20 || first < 300 {
		t.Errorf("%d rows from %d on are left", len(got), first)
	}
	closeJournal(t, j)
	if err := mem.Remove(manifestName); err != nil {
		t.Fatal(err)
	}
	j = open(t, mem, o)
	if got := readAll(t, j, j.Oldest().Seq+1); len(got) < 20 {
		t.Errorf("without MANIFEST %d rows are found", len(got))
	}
	closeJournal(t, j)
}

// TestDirectoryLeftOut holds that a directory with segments cannot be left out
// by mistake, and that one that is lost costs its rows and no others.
func TestDirectoryLeftOut(t *testing.T) {
	mem := disk.NewMem()
	o, rows := spread(t, mem)
	lost := segmentsIn(t, o.More[1].FS)
	o.Name = "main"
	o.More = o.More[:1]
	if _, err := Open(mem, o); err == nil || !strings.Contains(err.Error(), `in a directory with id "c"`) {
		t.Fatalf("it starts without a directory: %v", err)
	}
	o.GivenUp = func(id string) bool { return id == "c" }
	j := open(t, mem, o)
	defer closeJournal(t, j)
	if d := j.Recovery().Damage; len(d) == 0 || len(d) > lost || d[0].First == 0 {
		t.Errorf("%d segments are lost, and named are %+v", lost, d)
	}
	r := must(j.Reader(1))
	defer r.Close()
	got := 0
	for {
		b := must(r.TryNext())
		if b == nil {
			break
		}
		got += len(b.Rows)
	}
	if got == 0 || got >= len(rows) {
		t.Errorf("%d rows of %d are read", got, len(rows))
	}
}

// TestSetAsideInItsDirectory holds that a file that is no segment of the stream
// is set aside where it lies, in any of the stream's directories, and counts
// there.
func TestSetAsideInItsDirectory(t *testing.T) {
	foreign := disk.NewMem()
	j := open(t, foreign, Options{SegmentSize: 48 << 10})
	mustAppend(t, j, "of another stream")
	closeJournal(t, j)
	bytes := must(disk.ReadFile(foreign, segmentName(1), 1<<20))
	for _, in := range []int{-1, 0, 1} {
		mem := disk.NewMem()
		o, _ := spread(t, mem)
		j := open(t, mem, o)
		for i := 0; j.Oldest().Seq < 10; i++ { // the first segments leave their numbers free
			mustAppend(t, j, fmt.Sprint("more ", i, strings.Repeat("y", 9000)))
		}
		closeJournal(t, j)
		at := disk.FS(mem)
		if in >= 0 {
			at = o.More[in].FS
		}
		must(0, disk.Replace(at, "", segmentName(1), bytes))
		j = open(t, mem, o)
		todo := repairs(t, j, true)
		if len(todo) != 1 || todo[0].Do != SetAside || !todo[0].Done || todo[0].Length != int64(len(bytes)) {
			t.Fatalf("in directory %d: repair did %+v", in, todo)
		}
		if got := must(disk.ReadFile(at, todo[0].Quarantine, 1<<20)); string(got) != string(bytes) {
			t.Errorf("in directory %d: the quarantine has %d other bytes", in, len(got))
		}
		await(t, func() bool {
			j.chore()
			total := int64(0)
			for _, e := range must(at.List("")) {
				if !e.Dir {
					total += e.Size
				}
			}
			for _, e := range must(at.List(quarantineDir)) {
				total += e.Size
			}
			return j.Directories()[in+1].Bytes == total
		})
		closeJournal(t, j)
	}
}
