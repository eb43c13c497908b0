package roll

import (
	"cmp"
	"container/heap"
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

// queue is a heap of stores or groups.
type queue struct {
	items []int
	less  func(a, b int) bool
}

// Len, Less, Swap, Push and Pop are heap.Interface.
func (q *queue) Len() int           { return len(q.items) }
func (q *queue) Less(a, b int) bool { return q.less(q.items[a], q.items[b]) }
func (q *queue) Swap(a, b int)      { q.items[a], q.items[b] = q.items[b], q.items[a] }
func (q *queue) Push(x any)         { q.items = append(q.items, x.(int)) }
func (q *queue) Pop() any {
	last := len(q.items) - 1
	x := q.items[last]
	q.items = q.items[:last]
	return x
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
		heap.Init(f.heads[id])
		if f.heads[id].Len() > 0 {
			f.order.items = append(f.order.items, id)
		}
	}
	heap.Init(f.order)
	cuts := map[int]int64{}
	for !m.met() && f.order.Len() > 0 {
		id := f.order.items[0]
		if cut, ok := f.step(id); ok {
			cuts[id] = cut
		}
		if f.heads[id].Len() == 0 {
			heap.Pop(f.order)
		} else {
			heap.Fix(f.order, 0)
		}
	}
	for id, group := range p.groups {
		if cut, ok := cuts[id]; ok {
			for _, i := range group {
				p.stores[i].cut(cut)
				p.sweep(m, i)
			}
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
		heap.Fix(q, 0)
	} else {
		heap.Pop(q)
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

// taken returns what goes, by its fate, oldest first: by link within a group,
// by time of receipt over all groups.
func (p *planner) taken() (order [leaves + 1][]ref) {
	var groups, count [leaves + 1]int
	for i := range p.stores {
		for _, to := range p.stores[i].fate {
			count[to]++
		}
	}
	for to := moves; to <= leaves; to++ {
		order[to] = make([]ref, 0, count[to])
	}
	for _, group := range p.groups {
		var from [leaves + 1]int // where the group's begin
		for to := range order {
			from[to] = len(order[to])
		}
		for _, i := range group {
			w := &p.stores[i]
			for n, to := range w.fate {
				if to != stays {
					order[to] = append(order[to], ref{w.top[n], w.newest[n], i, n})
				}
			}
		}
		for to := range order {
			list := order[to][from[to]:]
			if len(list) == 0 {
				continue
			}
			slices.SortFunc(list, func(a, b ref) int {
				return cmp.Or(cmp.Compare(a.top, b.top), cmp.Compare(a.store, b.store), cmp.Compare(a.file, b.file))
			})
			newest := int64(nothing)
			for n := range list { // so that sorting by time keeps the order of links
				newest = max(newest, list[n].time)
				list[n].time = newest
			}
			groups[to]++
		}
	}
	for to, n := range groups {
		if n > 1 {
			slices.SortStableFunc(order[to], func(a, b ref) int { return cmp.Compare(a.time, b.time) })
		}
	}
	return order
}

// steps lists what is done. What leaves goes before what moves, so that it
// makes room for it.
func (p *planner) steps() {
	order := p.taken()
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
