package disk

import (
	"bytes"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
)

// Fate decides what of the unflushed is found after a crash.
type Fate interface {
	// Begin is called before the choices about the names, and before those
	// about each file.
	Begin()
	// Pick returns a number from 0 to n-1; n is at least 2. The higher, the
	// more is kept.
	Pick(n int) int
}

// seeded is the Fate behind a seed. How much of a thing is kept is drawn once
// for each, so that all, nothing and nearly all come up as well as half.
type seeded struct {
	r    *rand.Rand
	keep float64
}

func (s *seeded) Begin() {
	odds := [...]float64{0, 1, .5, .5, .05, .95}
	s.keep = odds[s.r.IntN(len(odds))]
}

func (s *seeded) Pick(n int) int {
	if n == 2 || s.keep == 0 || s.keep == 1 {
		if s.r.Float64() < s.keep {
			return n - 1
		}
		return 0
	}
	return s.r.IntN(n)
}

// Crash returns the whole disk as it is found after a power cut, with nothing
// open and nothing locked. Equal seeds and equal histories give equal disks. m
// goes on unharmed.
func (m *Mem) Crash(seed uint64) *Mem {
	return m.CrashBy(&seeded{r: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))})
}

// CrashBy is Crash with the choices made by fate.
func (m *Mem) CrashBy(fate Fate) *Mem {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	c := crash{fate: fate, names: m.d.survivors(fate), made: map[*node]*node{}}
	c.d = m.d.like()
	c.d.root = c.node(m.d.root)
	c.d.root.links = 1
	return &Mem{d: c.d, dir: c.d.root}
}

// like returns a disk with the same properties and without content.
func (d *memory) like() *memory {
	return &memory{
		seq: d.seq, locked: map[*node]bool{}, buffered: d.buffered,
		maxPages: d.maxPages, maxInodes: d.maxInodes, inodes: -1, // the root is not counted
	}
}

// survivors returns the names of each directory after a crash.
func (d *memory) survivors(fate Fate) map[*node]map[string]kept {
	names := map[*node]map[string]kept{}
	in := func(dir *node) map[string]kept {
		if names[dir] == nil {
			names[dir] = maps.Clone(dir.kept)
		}
		return names[dir]
	}
	last := map[*node]slot{} // the name that each node has so far
	for _, c := range d.changes {
		for _, s := range c.slots {
			for name, k := range s.dir.kept {
				last[k.to] = slot{dir: s.dir, name: name}
			}
		}
	}
	fate.Begin()
	for _, c := range d.changes {
		if fate.Pick(2) == 0 {
			continue
		}
		for _, s := range c.slots {
			if s.to == nil {
				keep(in(s.dir), s.name, kept{seq: c.seq})
				continue
			}
			// A file has one name: the renaming that is kept takes it away
			// from where it was, even if those between are lost.
			if was, ok := last[s.to]; ok && in(was.dir)[was.name].to == s.to {
				in(was.dir)[was.name] = kept{seq: c.seq}
			}
			keep(in(s.dir), s.name, kept{to: s.to, seq: c.seq})
			last[s.to] = s
		}
	}
	return names
}

// crash is the making of the disk behind a crash.
type crash struct {
	fate  Fate
	d     *memory
	names map[*node]map[string]kept
	made  map[*node]*node
}

// node returns what of n is left, and of everything below it.
func (c *crash) node(n *node) *node {
	if c.made[n] != nil {
		return c.made[n]
	}
	c.d.inodes++
	if n.names == nil {
		left := c.content(n)
		c.d.pages += int64(len(left.pages))
		c.made[n] = &node{seen: left, platter: left.clone()}
		return c.made[n]
	}
	dir := newDir()
	c.made[n] = dir
	names := c.names[n]
	if names == nil {
		names = n.kept
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		k := names[name]
		if k.to == nil {
			continue
		}
		to := c.node(k.to)
		to.links++
		dir.names[name], dir.kept[name] = to, kept{to: to, seq: k.seq}
	}
	return dir
}

// content returns what a file holds after the crash. Sizes, truncations among
// them, get to the platter in their order; sectors get there in any, or not.
func (c *crash) content(n *node) image {
	left := n.platter.clone()
	if len(n.pending) == 0 {
		return left
	}
	c.fate.Begin()
	sized := c.fate.Pick(len(n.pending) + 1)
	size := n.platter.size
	for i, p := range n.pending {
		if i < sized {
			size = p.size
		}
		if p.cut {
			if i < sized {
				left.cut(p.size)
			}
			continue
		}
		c.sectors(&left, p)
	}
	left.cut(size)
	return left
}

// sectors puts some sectors of a write on the platter. Where one holds already
// what was written there is nothing to choose, which leaves a file that is
// filled with zeros few outcomes.
func (c *crash) sectors(left *image, p change) {
	var old [sector]byte
	from := 0 // start of the run of sectors that got there
	for at := 0; at < len(p.data); at += sector {
		next := p.data[at:min(at+sector, len(p.data))]
		left.read(old[:len(next)], p.off+int64(at))
		if bytes.Equal(old[:len(next)], next) || c.fate.Pick(2) == 0 {
			left.write(p.data[from:at], p.off+int64(from))
			from = at + len(next)
		}
	}
	left.write(p.data[from:], p.off+int64(from))
}

// Kill returns the whole disk as the next process finds it after this one was
// killed: everything written is there, flushed or not, and can still be lost
// in a crash; nothing is open and nothing is locked. m goes on unharmed.
func (m *Mem) Kill() *Mem {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	d := m.d.like()
	made := map[*node]*node{}
	d.root = copyNode(m.d.root, made)
	d.root.links = 1
	for _, c := range m.d.changes {
		slots := slices.Clone(c.slots)
		for i := range slots {
			slots[i].dir, slots[i].to = copyNode(slots[i].dir, made), copyNode(slots[i].to, made)
		}
		d.changes = append(d.changes, naming{seq: c.seq, slots: slots})
	}
	for _, n := range made {
		if n.links > 0 {
			d.inodes++
			d.pages += int64(len(n.seen.pages))
		}
	}
	return &Mem{d: d, dir: d.root}
}

// copyNode returns the copy of n, made at most once.
func copyNode(n *node, made map[*node]*node) *node {
	if n == nil || made[n] != nil {
		return made[n]
	}
	c := &node{seen: n.seen.clone(), platter: n.platter.clone(), pending: slices.Clone(n.pending)}
	made[n] = c
	if n.names == nil {
		return c
	}
	c.names, c.kept = map[string]*node{}, map[string]kept{}
	for name, to := range n.names {
		c.names[name] = copyNode(to, made)
		c.names[name].links++
	}
	for name, k := range n.kept {
		c.kept[name] = kept{to: copyNode(k.to, made), seq: k.seq}
	}
	return c
}

// Crashes returns the disks that a power cut can leave, each choice tried
// with each other one, up to limit of them. Only small histories have few
// enough: each unflushed sector doubles them.
func (m *Mem) Crashes(limit int) iter.Seq[*Mem] {
	return func(yield func(*Mem) bool) {
		o := &odometer{}
		for range limit {
			o.at = 0
			if !yield(m.CrashBy(o)) || !o.turn() {
				return
			}
		}
	}
}

// odometer is the Fate that tries everything: its wheels are the choices in
// the order in which they come up.
type odometer struct {
	wheels []wheel
	at     int
}

type wheel struct{ now, n int }

func (o *odometer) Begin() {}

func (o *odometer) Pick(n int) int {
	if o.at == len(o.wheels) {
		o.wheels = append(o.wheels, wheel{n: n})
	}
	w := o.wheels[o.at]
	o.at++
	return w.now
}

// turn goes to the next combination. It returns false behind the last.
func (o *odometer) turn() bool {
	for len(o.wheels) > 0 {
		w := &o.wheels[len(o.wheels)-1]
		if w.now++; w.now < w.n {
			return true
		}
		o.wheels = o.wheels[:len(o.wheels)-1]
	}
	return false
}
