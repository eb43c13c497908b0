package roll

import (
	"cmp"
	"slices"
)

// planner makes one plan.
type planner struct {
	st     *State
	stores []work
	groups [][]int // stores tied by one link
	below  [][]int // by store: its children and its index
	dropOK bool    // what sinks need may leave, where drop_oldest says so
	plan   Plan
}

// Make plans how to reach a rule's goals: the lowest links go first, whole
// files at a time, and no more of them than needed. It reads nothing but the
// state, and returns an error only for a state or a rule that cannot be; a goal
// that cannot be reached is told in the plan.
func Make(st *State, rule Rule) (*Plan, error) {
	p, err := newPlanner(st)
	if err != nil {
		return nil, err
	}
	p.plan = Plan{Version: PlanVersion, Rule: rule.Text, Met: true}
	for _, g := range rule.Goals {
		if err := g.check(st); err != nil {
			return nil, err
		}
		p.pass(g)
	}
	p.marks()
	p.gaps()
	p.steps()
	return &p.plan, nil
}

// newPlanner looks at each file of a state once.
func newPlanner(st *State) (*planner, error) {
	if err := st.check(); err != nil {
		return nil, err
	}
	p := &planner{st: st, stores: make([]work, len(st.Stores))}
	for i := range st.Stores {
		p.stores[i] = work{Store: &st.Stores[i], at: i}
		p.stores[i].survey()
	}
	p.arrange()
	p.inherit()
	return p, nil
}

// pass reaches one goal, as far as it can be reached.
func (p *planner) pass(g Goal) {
	m := p.meter(g)
	_, before := m.level()
	p.cast(g)
	p.dropOK = false
	p.advance(m)
	// An age is no full disk: only a lack of room may take what a sink needs.
	if !m.met() && g.Kind != Older {
		p.dropOK = true
		p.advance(m)
	}
	o := m.outcome(before)
	p.plan.Goals = append(p.plan.Goals, o)
	if !o.Met {
		p.plan.Met = false
		p.obstacles(m)
	}
}

// cast gives each store its role for a goal. Where there is a warm tier, what
// rolls off the hot one moves there and is still read, so nothing falls with it.
func (p *planner) cast(g Goal) {
	var gone []int
	for _, i := range g.Stores {
		onward := g.Kind == MinFree || g.Kind == MaxBytes && g.Tier == Hot
		if !onward || p.stores[i].WarmVolume == "" {
			gone = append(gone, i)
		}
	}
	falls := p.falls(gone)
	for i := range p.stores {
		p.stores[i].role = apart
		if falls[i] {
			p.stores[i].role = leaver
		}
	}
	for _, i := range g.Stores {
		if !falls[i] {
			p.stores[i].role = mover
		}
	}
}

// front is how far an advance has come.
type front struct {
	p     *planner
	m     *meter
	next  []int    // by store: the next file that brings the goal nearer
	heads []*queue // by group: its stores that have one, lowest link first
	order *queue   // groups, the one whose head is oldest first
	floor []int64  // by group: the link that the cut may not pass
}

// advance raises the cut, step by step, until the goal is met or nothing may go.
// Only files that bring the goal nearer are steps: what falls with them follows,
// and a cut that frees nothing is not made.
func (p *planner) advance(m *meter) {
	for i := range p.stores { // what earlier rolls have hidden goes first
		p.sweep(m, i)
	}
	f := &front{p: p, m: m, next: make([]int, len(p.stores)), heads: make([]*queue, len(p.groups)), floor: make([]int64, len(p.groups))}
	// Links of different kinds cannot be compared, times of receipt can.
	f.order = &queue{less: func(a, b int) bool {
		i, k := f.heads[a].items[0], f.heads[b].items[0]
		return cmp.Or(cmp.Compare(p.stores[i].newest[f.next[i]], p.stores[k].newest[f.next[k]]), cmp.Compare(a, b)) < 0
	}}
	for id, group := range p.groups {
		f.floor[id] = p.floor(id).link
		f.heads[id] = &queue{less: func(a, b int) bool {
			return cmp.Or(cmp.Compare(p.stores[a].top[f.next[a]], p.stores[b].top[f.next[b]]), cmp.Compare(a, b)) < 0
		}}
		for _, i := range group {
			if f.seek(i) {
				f.heads[id].items = append(f.heads[id].items, i)
			}
		}
		f.heads[id].init()
		if len(f.heads[id].items) > 0 {
			f.order.items = append(f.order.items, id)
		}
	}
	f.order.init()
	cuts, raised := make([]int64, len(p.groups)), make([]bool, len(p.groups))
	for !m.met() && len(f.order.items) > 0 {
		id := f.order.items[0]
		if cut, ok := f.step(id); ok {
			cuts[id], raised[id] = cut, true
		}
		if len(f.heads[id].items) == 0 {
			f.order.pop()
		} else {
			f.order.fix()
		}
	}
	for id, group := range p.groups {
		if !raised[id] {
			continue
		}
		for _, i := range group {
			p.stores[i].cut(cuts[id])
			p.sweep(m, i)
		}
	}
}

// seek finds the next file of store i that brings the goal nearer.
func (f *front) seek(i int) bool {
	w := &f.p.stores[i]
	if w.role == apart {
		return false
	}
	for stop := w.stop(f.p.dropOK); f.next[i] < stop; f.next[i]++ {
		if n := f.next[i]; w.may(n) && f.m.gain(i, n, w.to()) > 0 {
			return true
		}
	}
	return false
}

// to returns what a store's role does with files.
func (w *work) to() fate {
	if w.role == mover {
		return moves
	}
	return leaves
}

// step takes the head of a group, and returns the link up to which the group is
// cut by that. A group that may not be cut there has no heads any more.
func (f *front) step(id int) (cut int64, ok bool) {
	q := f.heads[id]
	i := q.items[0]
	w := &f.p.stores[i]
	n := f.next[i]
	if w.top[n] >= f.floor[id] {
		q.items = nil
		return 0, false
	}
	if ok = f.m.gain(i, n, w.to()) > 0; ok { // its volume may have got room meanwhile
		cut = w.top[n]
		f.m.started = true
		f.m.credit(i, n, w.to())
		w.fate[n] = w.to()
	}
	f.next[i]++
	if f.seek(i) {
		q.fix()
	} else {
		q.pop()
	}
	return cut, ok
}

// floor returns what of a group must stay, which the cut may not pass.
func (p *planner) floor(id int) bound {
	least := bound{link: everything}
	for _, i := range p.groups[id] {
		w := &p.stores[i]
		b := w.floor
		if p.dropOK {
			b = w.hard
		}
		if w.role == leaver && b.link < least.link {
			least = b
		}
	}
	return least
}

// sweep takes along all files of store i that lie below its watermark, and so
// hold nothing but what is hidden, and moves those that lie below its shift.
func (p *planner) sweep(m *meter, i int) {
	w := &p.stores[i]
	if w.role == apart {
		return
	}
	for n := range w.stop(p.dropOK) {
		hidden := w.marked && w.top[n] < w.mark
		shifts := w.shifted && w.top[n] <= w.shift
		if !hidden && !shifts {
			return // the tops of what follows are no lower
		}
		to := leaves
		if !hidden || n >= w.needed && !w.drops(p.dropOK) {
			to = moves
		}
		if w.Files[n].Held || w.fate[n] == leaves || to == moves && (!shifts || w.tier(n) != Hot) {
			continue
		}
		m.credit(i, n, to)
		w.fate[n] = to
	}
}

// marks lists the watermarks that rise.
func (p *planner) marks() {
	for i := range p.stores {
		if w := &p.stores[i]; w.marked && (!w.HasMark || w.mark > w.Watermark) {
			p.plan.Watermarks = append(p.plan.Watermarks, Watermark{Stream: w.Stream, Index: w.IsIndex, Link: w.Link, Below: w.mark})
		}
	}
}

// gaps lists what sinks lose.
func (p *planner) gaps() {
	for i := range p.stores {
		w := &p.stores[i]
		for n := w.needed; n < len(w.Files); n++ {
			f := &w.Files[n]
			if w.fate[n] != leaves || f.LastSeq == 0 {
				continue
			}
			g := Gap{Stream: w.Stream, First: f.LastSeq, Last: f.LastSeq}
			for _, need := range w.Needs {
				if need.Seq <= f.LastSeq {
					g.First = min(g.First, max(f.FirstSeq, need.Seq))
					g.Sinks = append(g.Sinks, need.Sink)
				}
			}
			last := len(p.plan.Gaps) - 1
			if last >= 0 && p.plan.Gaps[last].Stream == g.Stream && p.plan.Gaps[last].Last+1 == g.First && slices.Equal(p.plan.Gaps[last].Sinks, g.Sinks) {
				p.plan.Gaps[last].Last = g.Last
				continue
			}
			p.plan.Gaps = append(p.plan.Gaps, g)
		}
	}
}

// ref is a file that goes.
type ref struct {
	top, time   int64
	store, file int
}

// taken returns what goes to one fate, oldest first: by link within a group, by
// time of receipt over all groups. Files stand in that order in each store, and
// so do groups, so nothing has to be sorted.
func (p *planner) taken(to fate) []ref {
	groups := make([][]ref, 0, len(p.groups))
	for _, group := range p.groups {
		stores := make([][]ref, 0, len(group))
		for _, i := range group {
			if refs := p.stores[i].taken(to); len(refs) > 0 {
				stores = append(stores, refs)
			}
		}
		list, newest := merge(stores, func(r *ref) int64 { return r.top }), int64(nothing)
		for n := range list { // so that going by time keeps the order of links
			newest = max(newest, list[n].time)
			list[n].time = newest
		}
		if len(list) > 0 {
			groups = append(groups, list)
		}
	}
	return merge(groups, func(r *ref) int64 { return r.time })
}

// taken returns those of one store.
func (w *work) taken(to fate) []ref {
	count := 0
	for _, one := range w.fate {
		if one == to {
			count++
		}
	}
	if count == 0 {
		return nil
	}
	refs := make([]ref, 0, count)
	for n, one := range w.fate {
		if one == to {
			refs = append(refs, ref{w.top[n], w.newest[n], w.at, n})
		}
	}
	return refs
}

// merge makes one list of several, in each of which the keys rise. Of equals,
// those of earlier lists go first. The lists are used up.
func merge(lists [][]ref, key func(*ref) int64) []ref {
	switch len(lists) {
	case 0:
		return nil
	case 1:
		return lists[0]
	}
	q, total := &queue{}, 0
	q.less = func(a, b int) bool {
		x, y := key(&lists[a][0]), key(&lists[b][0])
		return x < y || x == y && a < b
	}
	for i := range lists {
		q.items = append(q.items, i)
		total += len(lists[i])
	}
	q.init()
	all := make([]ref, 0, total)
	for len(q.items) > 0 {
		first := q.items[0]
		all = append(all, lists[first][0])
		if lists[first] = lists[first][1:]; len(lists[first]) == 0 {
			q.pop()
		} else {
			q.fix()
		}
	}
	return all
}

// steps lists what is done. What leaves goes before what moves, so that it
// makes room for it.
func (p *planner) steps() {
	order := [...][]ref{leaves: p.taken(leaves), moves: p.taken(moves)}
	p.plan.Steps = make([]Step, 0, len(order[leaves])+len(order[moves]))
	for _, to := range []fate{leaves, moves} {
		for _, r := range order[to] {
			w := &p.stores[r.store]
			f := &w.Files[r.file]
			s := Step{Act: Remove, Stream: w.Stream, Index: w.IsIndex, Number: f.Number, Bytes: f.Bytes, From: f.Tier}
			switch {
			case to == moves:
				s.Act, s.To = Move, Warm
			case w.Cold:
				s.Act, s.To = Move, Cold
			}
			p.plan.Steps = append(p.plan.Steps, s)
		}
	}
}
