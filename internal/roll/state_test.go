package roll

import (
	"strings"
	"testing"
	"time"
)

// TestRefusedStates: a plan made of manifests that contradict each other would
// remove the wrong files, so there is none.
func TestRefusedStates(t *testing.T) {
	file := Manifest{Number: 1, Bytes: 1, Tier: Hot, Sealed: true, FirstSeq: 1, LastSeq: 9, FirstLink: 1, LastLink: 9, Linked: true}
	with := func(change func(f *Manifest)) Store {
		f := file
		change(&f)
		return Store{Stream: "s", Link: "id", HotVolume: "a", Files: []Manifest{f}}
	}
	two := func(change func(f *Manifest)) Store {
		s := with(func(*Manifest) {})
		f := file
		f.Number, f.FirstSeq, f.LastSeq = 2, 10, 19
		change(&f)
		s.Files = append(s.Files, f)
		return s
	}
	plain := Store{Stream: "s", HotVolume: "a"}
	a := Volume{Name: "a", Total: 10, Free: 5}
	for _, c := range []struct {
		want string
		st   State
	}{
		{"given twice", State{Stores: []Store{plain, plain}}},
		{"has no stream", State{Stores: []Store{{Stream: "s", IsIndex: true}}}},
		{"its index are not tied", State{Stores: []Store{plain, {Stream: "s", IsIndex: true, Link: "id"}}}},
		{`unknown parent "p"`, State{Stores: []Store{{Stream: "s", Parent: "p", Link: "id"}}}},
		{"not tied by the same link", State{Stores: []Store{plain, {Stream: "c", Parent: "s", Link: "id"}}}},
		{"not tied by the same link", State{Stores: []Store{plain, {Stream: "c", Parent: "s"}}}},
		{"its own ancestor", State{Stores: []Store{{Stream: "a", Parent: "b", Link: "id"}, {Stream: "b", Parent: "a", Link: "id"}}}},
		{"-1 bytes", State{Stores: []Store{with(func(f *Manifest) { f.Bytes = -1 })}}},
		{`tier "cold"`, State{Stores: []Store{with(func(f *Manifest) { f.Tier = Cold })}}},
		{"links from 10 to 9", State{Stores: []Store{with(func(f *Manifest) { f.FirstLink = 10 })}}},
		{"seqs from 10 to 9", State{Stores: []Store{with(func(f *Manifest) { f.FirstSeq = 10 })}}},
		{"number 1 before it", State{Stores: []Store{two(func(f *Manifest) { f.Number = 1 })}}},
		{"first seq 9, and 9 stands before it", State{Stores: []Store{two(func(f *Manifest) { f.FirstSeq = 9 })}}},
		{`volume "a" is given twice`, State{Stores: []Store{plain}, Volumes: []Volume{a, a}}},
	} {
		_, err := Make(&c.st, Rule{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "hint") {
			t.Errorf("the state is refused with %v; want %q and a hint", err, c.want)
		}
	}
	lost := State{Stores: []Store{plain}}
	for _, params := range []string{"minFree=1MB", "maxPercent=50"} {
		m, err := ParseMessage("/database", "sizeRoll", params)
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Rule(&lost, time.Unix(0, 0))
		if err == nil {
			_, err = Make(&lost, r)
		}
		if err == nil || !strings.Contains(err.Error(), "volume of s is not known") {
			t.Errorf("%s without its volume: %v", params, err)
		}
	}
	m := Message{Node: Index, Size: &SizeRoll{MaxSize: 1}}
	if _, err := m.Rule(&lost, time.Unix(0, 0)); err == nil || !strings.Contains(err.Error(), "nothing to roll") {
		t.Errorf("/index without any index: %v", err)
	}
}

// TestHighestLink: the highest id there can be is above every cut, so that no
// watermark overflows.
func TestHighestLink(t *testing.T) {
	var s Store
	s.Stream, s.Link, s.HotVolume = "s", "id", "a"
	for n := range 3 {
		s.Files = append(s.Files, Manifest{Number: uint64(n + 1), Bytes: 10, Tier: Hot, Sealed: true, FirstSeq: uint64(n + 1), LastSeq: uint64(n + 1), FirstLink: 1, LastLink: 1, Linked: true})
	}
	s.Files[1].LastLink = everything
	p := planTo(t, &State{Stores: []Store{s}}, "maxSize=1B")
	if p.Met || len(p.Steps) != 1 || p.Watermarks[0].Below != 2 || p.Obstacles[0].Why != Linked {
		t.Errorf("planned %+v", p)
	}
}

// TestReadPlan: a plan of another version, or none, is refused.
func TestReadPlan(t *testing.T) {
	for _, text := range []string{"", "{}", `{"version":2}`, `[]`} {
		if p, err := ReadPlan([]byte(text)); err == nil || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%q is read as %+v, %v", text, p, err)
		}
	}
}
