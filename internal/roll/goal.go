package roll

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind is what a goal measures.
type Kind int

// The kinds.
const (
	// MaxBytes: the stores' files in the tier take Limit bytes at most. Once
	// something has to go, they are to take less than that, as the manual says,
	// unless UpTo is set.
	MaxBytes Kind = iota
	// MinFree: each volume of the stores' hot tier has Limit bytes free.
	MinFree
	// Older: no file of the stores, in any tier, is from before Limit.
	Older
)

// Goal is one limit over the files of several stores, which roll together.
type Goal struct {
	What   string
	Kind   Kind
	Tier   Tier  // of MaxBytes
	Limit  int64 // bytes, or Unix microseconds
	UpTo   bool  // of MaxBytes: Limit itself will do
	ByRow  bool  // of Older: by the newest row, not the file's time
	Stores []int // positions in State.Stores
}

// Rule is what a plan is to reach.
type Rule struct {
	Text  string // who asked for it
	Goals []Goal // reached one after the other
}

// meter measures how far a goal is from being reached.
type meter struct {
	Goal
	p       *planner
	counted []bool // by store
	used    int64  // of MaxBytes; files of Older
	lack    map[string]int64
	short   int   // of MinFree: volumes that lack room
	oldEnd  []int // of Older, by store: its files from there on are young enough
	started bool
}

func (p *planner) meter(g Goal) *meter {
	m := &meter{Goal: g, p: p, counted: make([]bool, len(p.stores)), lack: map[string]int64{}}
	for _, i := range g.Stores {
		m.counted[i] = true
	}
	switch g.Kind {
	case MinFree:
		m.lacks()
	case Older:
		m.oldEnd = make([]int, len(p.stores))
	}
	for i := range p.stores {
		if m.counted[i] {
			m.measure(i)
		}
	}
	return m
}

// measure adds up one store's files.
func (m *meter) measure(i int) {
	w := &m.p.stores[i]
	switch m.Kind {
	case MaxBytes:
		for n := range w.Files {
			if w.fate[n] != leaves && w.tier(n) == m.Tier {
				m.used += w.Files[n].Bytes
			}
		}
	case Older:
		// A clock that was set back must not let a young file pass for old: what
		// stands behind a young file is young.
		n := 0
		for n < len(w.Files) && m.time(&w.Files[n]) < m.Limit {
			if w.fate[n] != leaves {
				m.used++
			}
			n++
		}
		m.oldEnd[i] = n
	}
}

// lacks finds the volumes with too little room.
func (m *meter) lacks() {
	for _, i := range m.Stores {
		for _, v := range m.p.st.Volumes {
			if slices.Contains(m.p.stores[i].hotVolumes(), v.Name) && v.Free < m.Limit {
				m.lack[v.Name] = m.Limit - v.Free
			}
		}
	}
	m.short = len(m.lack)
}

func (m *meter) time(f *Manifest) int64 {
	if m.ByRow {
		return f.LastTime
	}
	return f.FileTime
}

// met reports whether the goal is reached.
func (m *meter) met() bool {
	switch m.Kind {
	case MaxBytes:
		return m.used < m.Limit || (m.UpTo || !m.started) && m.used == m.Limit
	case Older:
		return m.used == 0
	}
	return m.short == 0
}

// gain returns by how much the goal comes nearer when file n of store i goes.
func (m *meter) gain(i, n int, to fate) int64 {
	w := &m.p.stores[i]
	f := &w.Files[n]
	switch m.Kind {
	case MaxBytes:
		if m.counted[i] && w.tier(n) == m.Tier {
			return f.Bytes
		}
	case Older:
		if m.counted[i] && n < m.oldEnd[i] {
			return 1
		}
	case MinFree:
		from := w.volume(n)
		if m.lack[from] > 0 && !(to == moves && w.WarmVolume == from) {
			return f.Bytes
		}
	}
	return 0
}

// credit notes that file n of store i goes.
func (m *meter) credit(i, n int, to fate) {
	switch m.Kind {
	case MinFree:
		w := &m.p.stores[i]
		from := w.volume(n)
		lack, ok := m.lack[from]
		if !ok || to == moves && w.WarmVolume == from {
			return
		}
		if m.lack[from] = lack - w.Files[n].Bytes; lack > 0 && m.lack[from] <= 0 {
			m.short--
		}
	default:
		m.used -= m.gain(i, n, to)
	}
}

// level returns what the goal's limit is compared with: of free space, the
// least on any volume.
func (m *meter) level() (limit, level int64) {
	switch m.Kind {
	case MaxBytes:
		return m.Limit, m.used
	case Older:
		return 0, m.used
	}
	level = -1
	for _, i := range m.Stores {
		for _, v := range m.p.st.Volumes {
			if !slices.Contains(m.p.stores[i].hotVolumes(), v.Name) {
				continue
			}
			free := v.Free
			if n, ok := m.lack[v.Name]; ok {
				free = m.Limit - n
			}
			if level < 0 || free < level {
				level = free
			}
		}
	}
	return m.Limit, max(level, 0)
}

// outcome describes the goal, reached or not.
func (m *meter) outcome(before int64) Outcome {
	limit, after := m.level()
	o := Outcome{What: m.What, Limit: limit, Before: before, After: after, Unit: "bytes", Met: m.met()}
	if m.Kind == Older {
		o.Unit = "files"
	}
	return o
}

// lacking returns the volumes that still lack room, in order.
func (m *meter) lacking() []string {
	var names []string
	for _, v := range slices.Sorted(maps.Keys(m.lack)) {
		if m.lack[v] > 0 {
			names = append(names, v)
		}
	}
	return names
}

// check refuses a goal that no state can be measured by.
func (g *Goal) check(st *State) error {
	if len(g.Stores) == 0 {
		return wrong("%s: there is nothing to roll", g.What).WithHint("name streams that exist")
	}
	seen := map[int]bool{}
	for _, i := range g.Stores {
		if i < 0 || i >= len(st.Stores) || seen[i] {
			return wrong("%s: store %d is not there, or there twice", g.What, i).WithHint("name each once")
		}
		seen[i] = true
		for _, name := range st.Stores[i].hotVolumes() {
			if g.Kind == MinFree && !slices.ContainsFunc(st.Volumes, func(v Volume) bool { return v.Name == name }) {
				return wrong("%s: the volume of %s is not known", g.What, st.Stores[i].Name()).WithHint("is it mounted?")
			}
		}
	}
	return nil
}

// names lists stores for a goal's description.
func names(st *State, stores []int) string {
	var all []string
	for _, i := range stores {
		all = append(all, st.Stores[i].Name())
	}
	return fmt.Sprint(strings.Join(all, ", "))
}
