package roll

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// A layout is a state with the rows that its manifests stand for. The oracle
// looks at rows, and the planner at manifests, so that neither can share the
// other's mistake.
type layout struct {
	st   State
	rows [][][]link // by store and file
	rule Rule
	tops [][]int64 // by store and file: the highest id in it and before it
	many bool      // more than one group
}

type link struct {
	seq uint64
	id  int64
	has bool
}

// randomLayout makes small layouts full of what is awkward: ids out of order,
// rows of one link in several files, rows without a link, slow and quiet
// streams, tiers mixed, holds, sinks that are behind, earlier watermarks.
func randomLayout(r *rand.Rand) *layout {
	l := &layout{}
	for _, name := range []string{"a", "b", "c"} {
		l.st.Volumes = append(l.st.Volumes, Volume{Name: name, Total: r.Int64N(400) + 1, Free: r.Int64N(60)})
	}
	n := r.IntN(4) + 1
	warm, cold := r.IntN(2) == 0, r.IntN(3) == 0
	for i := range n {
		s := Store{Stream: fmt.Sprint("s", i), Link: "id", Cold: cold, HotVolume: []string{"a", "b"}[r.IntN(2)]}
		if i > 0 && r.IntN(3) > 0 {
			s.Parent = l.st.Stores[0].Stream
			if r.IntN(4) == 0 {
				s.Parent = fmt.Sprint("s", r.IntN(i))
			}
		}
		if warm != (r.IntN(6) == 0) {
			s.WarmVolume = []string{"a", "c"}[r.IntN(2)]
		}
		l.add(r, s)
		if r.IntN(3) == 0 {
			x := Store{Stream: s.Stream, IsIndex: true, Link: s.Link, HotVolume: s.HotVolume, WarmVolume: s.WarmVolume, Cold: s.Cold}
			l.add(r, x)
		}
	}
	if r.IntN(8) == 0 {
		l.many = true
		l.add(r, Store{Stream: "other", HotVolume: "a"})
	}
	l.randomRule(r)
	return l
}

func (l *layout) add(r *rand.Rand, s Store) {
	if r.IntN(8) == 0 {
		s.HasMark, s.Watermark = true, r.Int64N(30)
	}
	var rows [][]link
	seq, base, pace := uint64(1), int64(0), r.Int64N(12)+1
	files := r.IntN(8)
	turn := r.IntN(files + 1) // files before it are warm
	for n := range files {
		f := Manifest{Number: uint64(n + 1), Bytes: r.Int64N(20), Tier: Hot, Sealed: n < files-1 || r.IntN(2) == 0, Held: r.IntN(15) == 0}
		if r.IntN(40) == 0 {
			f.Sealed = false
		}
		if s.WarmVolume != "" && (n < turn) != (r.IntN(12) == 0) {
			f.Tier = Warm
		}
		f.FileTime = base*10 + r.Int64N(40)
		var list []link
		for range r.IntN(4) {
			x := link{seq: seq, id: max(0, base+r.Int64N(pace+4)-3), has: r.IntN(10) > 0}
			list = append(list, x)
			f.note(x, base*10+r.Int64N(10)+1)
			seq++
		}
		base += r.Int64N(pace + 1)
		rows = append(rows, list)
		s.Files = append(s.Files, f)
	}
	if s.Link == "" { // by seq
		for _, list := range rows {
			for i := range list {
				list[i].id, list[i].has = int64(list[i].seq), true
			}
		}
		s.Watermark = min(s.Watermark, 3)
	}
	if !s.IsIndex && r.IntN(2) == 0 {
		s.DropOldest = r.IntN(3) == 0
		for k := range r.IntN(3) {
			s.Needs = append(s.Needs, need(r, fmt.Sprint("sink", k), seq, rows))
		}
	}
	switch r.IntN(12) {
	case 0:
		s.Keep.Files = r.IntN(3) + 1
	case 1:
		s.Keep.Bytes = r.Int64N(50)
	case 2:
		s.Keep.Since = r.Int64N(200) + 1
	}
	var tops []int64
	for n := range rows {
		top := int64(nothing)
		for _, x := range slices.Concat(rows[:n+1]...) {
			if x.has {
				top = max(top, x.id)
			}
		}
		tops = append(tops, top)
	}
	l.tops = append(l.tops, tops)
	l.st.Stores = append(l.st.Stores, s)
	l.rows = append(l.rows, rows)
}

// note widens the ranges of f by a row.
func (f *Manifest) note(x link, time int64) {
	if f.FirstSeq == 0 {
		f.FirstSeq, f.FirstTime = x.seq, time
	}
	f.LastSeq = x.seq
	f.FirstTime, f.LastTime = min(f.FirstTime, time), max(f.LastTime, time)
	if !x.has {
		return
	}
	if !f.Linked {
		f.FirstLink, f.LastLink, f.Linked = x.id, x.id, true
	}
	f.FirstLink, f.LastLink = min(f.FirstLink, x.id), max(f.LastLink, x.id)
}

// need makes a sink that is mostly nearly done, and sometimes knows its link.
func need(r *rand.Rand, sink string, end uint64, rows [][]link) Need {
	n := Need{Sink: sink, Seq: end}
	for range r.IntN(5) {
		n.Seq = max(1, n.Seq-r.Uint64N(end))
	}
	if r.IntN(2) == 0 {
		return n
	}
	n.Known, n.Link = true, everything
	for _, list := range rows {
		for _, x := range list {
			if x.seq >= n.Seq && x.has {
				n.Link = min(n.Link, x.id)
			}
		}
	}
	return n
}

func (l *layout) randomRule(r *rand.Rand) {
	var stores []int
	for i := range l.st.Stores {
		if r.IntN(2) == 0 {
			stores = append(stores, i)
		}
	}
	if len(stores) == 0 {
		stores = []int{r.IntN(len(l.st.Stores))}
	}
	if r.IntN(3) == 0 {
		slices.Reverse(stores)
	}
	g := Goal{What: "random", Stores: stores, Tier: Hot, Limit: r.Int64N(120) + 1, UpTo: r.IntN(3) == 0}
	switch r.IntN(6) {
	case 0:
		g.Kind = MinFree
	case 1:
		g.Kind, g.Limit, g.ByRow = Older, r.Int64N(250), r.IntN(2) == 0
	case 2:
		g.Tier = Warm
	}
	l.rule = Rule{Text: "random", Goals: []Goal{g}}
	if r.IntN(3) == 0 {
		l.rule.Goals = append(l.rule.Goals, Goal{What: "random too", Tier: Warm, Limit: r.Int64N(80) + 1, Stores: stores})
	}
}
