package roll

// fate is what a plan does with a file.
type fate uint8

const (
	stays  fate = iota
	moves       // from hot to warm: it is still read
	leaves      // to cold, or for good
)

// role is what a pass may do with a store's files.
type role uint8

const (
	apart  role = iota // nothing
	mover              // move hot ones to the warm tier
	leaver             // let them leave
)

// bound is a link that must stay, and why.
type bound struct {
	link   int64 // the cut may reach up to it
	store  int
	number uint64
	why    Why
	who    string
}

// work is a store and what the planner made of it.
type work struct {
	*Store
	at    int // in State.Stores
	group int
	role  role
	fate  []fate
	// top is the highest link of a file and all before it: ids that are not
	// quite in order, and rows of one link in several files, make the last one's
	// own range say too little.
	top    []int64
	newest []int64 // the same of the time of receipt
	end    int     // from here on files are written to, or the newest of a stream
	kept   int     // from here on keep_at_least keeps them
	needed int     // from here on a sink needs them
	floor  bound   // what must stay
	hard   bound   // the same without what drop_oldest lets go
	mark   int64   // the watermark as it is now
	marked bool
	// shift is the highest link that was cut off while the store was a mover.
	shift   int64
	shifted bool
}

// survey reads each manifest once.
func (w *work) survey() {
	n := len(w.Files)
	w.fate, w.top, w.newest = make([]fate, n), make([]int64, n), make([]int64, n)
	top, newest, end := int64(nothing), int64(nothing), n
	for i := range w.Files {
		f := &w.Files[i]
		if _, last, ok := w.own(f); ok {
			top = max(top, last)
		}
		if f.LastTime != 0 {
			newest = max(newest, f.LastTime)
		}
		w.top[i], w.newest[i] = top, newest
		if !f.Sealed && end == n {
			end = i
		}
	}
	if !w.IsIndex && end == n && n > 0 {
		end = n - 1 // the newest segment's header carries the seq on
	}
	w.end, w.kept, w.needed = end, w.firstKept(), n
	w.mark, w.marked = w.Watermark, w.HasMark
	w.floor = bound{link: everything}
	if w.kept < n {
		w.floor = w.bound(w.kept, KeptBy, "")
	}
	w.hard = w.floor
	w.needs()
}

// needs finds what sinks need, and what has to stay for it.
func (w *work) needs() {
	for _, need := range w.Needs {
		i := 0
		for i < len(w.Files) && w.Files[i].LastSeq < need.Seq {
			i++
		}
		if i == len(w.Files) {
			continue
		}
		w.needed = min(w.needed, i)
		b := w.bound(i, Needed, need.Sink)
		if need.Known {
			b.link = min(need.Link, w.top[i])
		}
		if b.link < w.floor.link {
			w.floor = b
		}
		if !w.DropOldest && b.link < w.hard.link {
			w.hard = b
		}
	}
}

// bound returns the lowest link from file i on.
func (w *work) bound(i int, why Why, who string) bound {
	b := bound{link: w.top[i], store: w.at, number: w.Files[i].Number, why: why, who: who}
	for n := i; n < len(w.Files); n++ {
		if first, _, ok := w.own(&w.Files[n]); ok {
			b.link = min(b.link, first)
		}
	}
	return b
}

// firstKept returns the first file that keep_at_least keeps.
func (w *work) firstKept() int {
	kept, files, bytes := len(w.Files), 0, int64(0)
	for i := len(w.Files) - 1; i >= 0; i-- {
		f := &w.Files[i]
		if w.Keep.Since > 0 && f.LastTime >= w.Keep.Since {
			kept = i
		}
		if !f.Sealed {
			continue // it stays anyway, and is in no count of what else stays
		}
		if files < w.Keep.Files || bytes < w.Keep.Bytes {
			kept = i
		}
		files++
		bytes += f.Bytes
	}
	return kept
}

// stop returns the first file that may not go, whatever the cut. What moves to
// the warm tier is still read, so a sink's need does not stop it.
func (w *work) stop(dropping bool) int {
	if w.role == mover || w.drops(dropping) {
		return min(w.end, w.kept)
	}
	return min(w.end, w.kept, w.needed)
}

// drops reports whether what a sink needs may leave.
func (w *work) drops(dropping bool) bool { return dropping && w.DropOldest }

// may reports whether file n may go to where a store's role lets it.
func (w *work) may(n int) bool {
	if w.Files[n].Held || w.fate[n] == leaves {
		return false
	}
	return w.role == leaver || w.role == mover && w.tier(n) == Hot
}

// tier returns where file n is once the plan so far is carried out.
func (w *work) tier(n int) Tier {
	if w.fate[n] == moves {
		return Warm
	}
	return w.Files[n].Tier
}

// volume returns the volume that file n is on then.
func (w *work) volume(n int) string {
	if v := w.Files[n].Volume; v != "" && w.fate[n] != moves {
		return v
	}
	if w.tier(n) == Hot {
		return w.HotVolume
	}
	return w.WarmVolume
}

// raise raises the watermark.
func (w *work) raise(to int64) {
	if !w.marked || w.mark < to {
		w.mark, w.marked = to, true
	}
}

// cut takes note of a cut of the store's group: all up to that link goes.
func (w *work) cut(link int64) {
	switch {
	case w.role == leaver:
		w.raise(link + 1)
	case w.role == mover && (!w.shifted || w.shift < link):
		w.shift, w.shifted = link, true
	}
}

// arrange sorts stores into groups tied by one link, and finds who falls with
// whom.
func (p *planner) arrange() {
	groups, streams := map[string]int{}, map[string]int{}
	p.below = make([][]int, len(p.stores))
	for i := range p.stores {
		w := &p.stores[i]
		key := "link " + string(w.Link)
		if w.Link == "" {
			key = "stream " + w.Stream
		}
		id, ok := groups[key]
		if !ok {
			id = len(p.groups)
			groups[key] = id
			p.groups = append(p.groups, nil)
		}
		w.group = id
		p.groups[id] = append(p.groups[id], i)
		if !w.IsIndex {
			streams[w.Stream] = i
		}
	}
	for i := range p.stores {
		w := &p.stores[i]
		switch {
		case w.IsIndex:
			p.below[streams[w.Stream]] = append(p.below[streams[w.Stream]], i)
		case w.Parent != "":
			p.below[streams[w.Parent]] = append(p.below[streams[w.Parent]], i)
		}
	}
}

// falls returns, by store, which fall when those given do. A root takes along
// all that its link ties: nobody is left to say which half would be whole. A
// child takes along its own children, and its index.
func (p *planner) falls(stores []int) []bool {
	all := make([]bool, len(p.stores))
	var down func(i int)
	down = func(i int) {
		if all[i] {
			return
		}
		all[i] = true
		for _, c := range p.below[i] {
			down(c)
		}
	}
	whole := map[int]bool{}
	for _, i := range stores {
		w := &p.stores[i]
		if w.IsIndex || w.Parent != "" {
			down(i)
		} else if !whole[w.group] {
			whole[w.group] = true
			for _, peer := range p.groups[w.group] {
				down(peer)
			}
		}
	}
	return all
}

// inherit raises watermarks of earlier rolls to those of whom they fall with.
func (p *planner) inherit() {
	var down func(i int)
	down = func(i int) {
		for _, c := range p.below[i] {
			if p.stores[i].marked {
				p.stores[c].raise(p.stores[i].mark)
			}
			down(c)
		}
	}
	for _, group := range p.groups {
		var roots []int
		mark, marked := int64(nothing), false
		for _, i := range group {
			w := &p.stores[i]
			if w.IsIndex || w.Parent != "" {
				continue
			}
			roots = append(roots, i)
			if w.marked {
				mark, marked = max(mark, w.mark), true
			}
		}
		for _, i := range roots {
			if marked {
				p.stores[i].raise(mark)
			}
			down(i)
		}
	}
}
