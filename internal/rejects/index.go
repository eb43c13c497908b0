package rejects

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// index is what is known in memory: every reject that waits, and the newest of
// those that no longer do. It holds no values.
type index struct {
	pairs  map[pairKey]*pair
	labels map[labelKey]*label

	order []*entry // those that wait, and some that no longer do, by id
	dead  int      // of order, those that no longer wait
	mixed bool     // order is to be sorted before its next use

	queue  []pin // by at; the first that is in force holds the journal's segments
	closed []pin // by when they closed
	most   int   // closed ones that are remembered
	open   int
	bytes  int64 // of the newest values of those that wait, in the journal
}

// pairKey is one stream in one sink.
type pairKey struct{ streamID, sink string }

type pair struct {
	pairKey
	stream  string
	entries map[uint64]*entry // by seq
	highest uint64            // seq
}

// labelKey is what rejects are counted by.
type labelKey struct {
	p           *pair
	table, code string
}

type label struct {
	labelKey
	open int // of which this is the label; it goes with the last one
	refs int // closed ones included
}

// entry is one reject: all that is held of it in memory.
type entry struct {
	p       *pair
	l       *label
	seq     uint64
	id      uint64
	at      uint64 // seq of the event with its newest values
	last    uint64 // seq of its newest event
	refused int64  // first, Unix microseconds
	size    uint32 // of the event with its newest values, bytes
	state   State
	lost    bool // its values cannot be read
}

// pin is an entry and the event by which it came here; it is void once the
// entry has moved on.
type pin struct {
	e  *entry
	at uint64
}

// newIndex returns an empty index that remembers so many closed rejects.
func newIndex(most int) index {
	return index{most: most, pairs: map[pairKey]*pair{}, labels: map[labelKey]*label{}}
}

// find returns what is known of a row, nil for nothing.
func (x *index) find(k Key) *entry {
	p := x.pairs[pairKey{k.StreamID, k.Sink}]
	if p == nil {
		return nil
	}
	return p.entries[k.Seq]
}

// byID returns the reject with an id if it waits, else nil.
func (x *index) byID(id uint64) *entry {
	i := x.from(id)
	if i < len(x.order) && x.order[i].id == id && x.order[i].state == StateOpen {
		return x.order[i]
	}
	return nil
}

// from returns where in order the ids from id on begin.
func (x *index) from(id uint64) int {
	if x.mixed {
		x.order = slices.DeleteFunc(x.order, func(e *entry) bool { return e.state != StateOpen })
		x.dead = 0
		slices.SortFunc(x.order, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
		x.order = slices.Compact(x.order)
		x.mixed = false
	}
	return sort.Search(len(x.order), func(i int) bool { return x.order[i].id >= id })
}

// apply takes one event into account; seq is its place in the stream of
// rejects, size what it takes there. It returns the entry that the event brought
// values to, else nil.
func (x *index) apply(ev *event, seq uint64, size int) *entry {
	if ev.kind == renamed {
		x.rename(pairKey{ev.streamID, ev.sink}, ev.note)
		return nil
	}
	e := x.find(Key{ev.streamID, ev.sink, ev.seq})
	waits := e != nil && e.state == StateOpen
	again := e != nil && !waits // it may stand in order still, under another id
	switch ev.kind {
	case refused:
		if waits {
			return nil // stored twice, because the first time nobody learned that it was
		}
	case carried, edited:
		if e != nil && !waits {
			return nil // it was closed before this event got its place
		}
	case retried:
		if ev.state == StateOpen && !waits {
			return nil
		}
	}
	if e == nil {
		e = x.enter(ev)
	}
	if ev.kind.brings() {
		if !waits {
			e.id = cmp.Or(ev.id, seq)
			e.refused = ev.refusedAt
			x.open++
			x.order = append(x.order, e)
			x.mixed = x.mixed || again || len(x.order) > 1 && x.order[len(x.order)-2].id >= e.id
			x.bytes += int64(size)
		} else {
			e.id = cmp.Or(ev.id, e.id)
			x.bytes += int64(size) - int64(e.size)
		}
		e.at, e.last, e.size, e.lost = seq, seq, uint32(size), ev.columns < 0
		x.relabel(e, ev, StateOpen)
		x.queue = append(x.queue, pin{e, seq})
		return e
	}
	e.last = seq
	if ev.state == StateOpen {
		x.relabel(e, ev, StateOpen)
		return nil
	}
	x.close(e, ev, seq, waits)
	return nil
}

// enter makes an entry of a row that nothing is known of. It is in no state yet.
func (x *index) enter(ev *event) *entry {
	k := pairKey{ev.streamID, ev.sink}
	p := x.pairs[k]
	if p == nil {
		p = &pair{pairKey: k, entries: map[uint64]*entry{}}
		x.pairs[k] = p
	}
	p.stream = ev.stream
	p.highest = max(p.highest, ev.seq)
	e := &entry{p: p, seq: ev.seq, id: ev.id, at: ev.valuesAt}
	p.entries[ev.seq] = e
	return e
}

// close takes what no longer waits out of all that counts, and remembers it.
func (x *index) close(e *entry, ev *event, seq uint64, waited bool) {
	if waited {
		x.open--
		x.bytes -= int64(e.size)
		x.dead++
	}
	x.relabel(e, ev, ev.state)
	x.closed = append(x.closed, pin{e, seq})
	if x.dead > len(x.order)/2 {
		x.order = slices.DeleteFunc(x.order, func(e *entry) bool { return e.state != StateOpen })
		x.order = slices.Clip(x.order)
		x.dead = 0
	}
	for len(x.closed) > x.most {
		x.forget(x.closed[0])
		x.closed = x.closed[1:]
	}
}

// forget drops an entry that is closed, unless more happened to it since.
func (x *index) forget(old pin) {
	e := old.e
	if e.state == StateOpen || e.last != old.at {
		return
	}
	x.unlabel(e)
	delete(e.p.entries, e.seq)
	if len(e.p.entries) == 0 && x.pairs[e.p.pairKey] == e.p {
		delete(x.pairs, e.p.pairKey)
	}
}

// rename makes what is known of a stream and sink that of the sink called name.
// What was closed under that name before is forgotten; while something waits under
// it, nothing is done.
func (x *index) rename(from pairKey, name string) {
	p, to := x.pairs[from], pairKey{from.streamID, name}
	if p == nil || x.waits(to) {
		return
	}
	if q := x.pairs[to]; q != nil && q != p {
		for _, e := range q.entries {
			x.unlabel(e)
		}
		clear(q.entries)
	}
	delete(x.pairs, from)
	p.pairKey = to
	x.pairs[to] = p
}

// waits reports whether any reject of a stream and sink waits.
func (x *index) waits(k pairKey) bool {
	for l, n := range x.labels {
		if l.p.pairKey == k && n.open > 0 {
			return true
		}
	}
	return false
}

// relabel gives e another state and what the event says of table and code.
func (x *index) relabel(e *entry, ev *event, to State) {
	x.unlabel(e)
	e.state = to
	k := labelKey{e.p, ev.table, ev.code}
	l := x.labels[k]
	if l == nil {
		k.table, k.code = strings.Clone(k.table), strings.Clone(k.code)
		l = &label{labelKey: k}
		x.labels[k] = l
	}
	e.l = l
	l.refs++
	if to == StateOpen {
		l.open++
	}
}

func (x *index) unlabel(e *entry) {
	if e.l == nil {
		return
	}
	if e.state == StateOpen {
		e.l.open--
	}
	if e.l.refs--; e.l.refs == 0 {
		delete(x.labels, e.l.labelKey)
	}
	e.l = nil
}

// pinned returns the seq of the oldest event that is still needed; 0 for none.
func (x *index) pinned() uint64 {
	for len(x.queue) > 0 {
		if p := x.queue[0]; p.e.state == StateOpen && p.e.at == p.at {
			return p.at
		}
		x.queue = x.queue[1:]
	}
	x.queue = nil
	return 0
}

// oldest returns the reject that waits longest, nil for none.
func (x *index) oldest() *entry {
	for _, e := range x.order[x.from(0):] {
		if e.state == StateOpen {
			return e
		}
	}
	return nil
}

// openOf returns how many rejects of a sink wait.
func (x *index) openOf(sink string) int {
	n := 0
	for _, l := range x.labels {
		if l.p.sink == sink {
			n += l.open
		}
	}
	return n
}

// kept returns the seqs from from on that are not to come to a sink again.
func (x *index) kept(k pairKey, from uint64) []uint64 {
	p := x.pairs[k]
	if p == nil || p.highest < from {
		return nil
	}
	var seqs []uint64
	for seq, e := range p.entries {
		if seq >= from && e.state != StateDelivered {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

// counts lists the labels of what waits.
func (x *index) counts() []Count {
	var all []Count
	for k, l := range x.labels {
		if l.open > 0 {
			all = append(all, Count{Stream: k.p.stream, Sink: k.p.sink, Table: k.table, Code: k.code, Open: l.open})
		}
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(strings.Compare(a.Stream, b.Stream), strings.Compare(a.Sink, b.Sink), strings.Compare(a.Table, b.Table), strings.Compare(a.Code, b.Code))
	})
	return all
}
