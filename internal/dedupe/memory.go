package dedupe

import "time"

// generations is how many parts a window is forgotten in.
const generations = 8

// memory is what was stored within a window, by key. It holds at most max
// entries: where more come, the oldest part of the window is forgotten early.
type memory[V any] struct {
	window time.Duration
	max    int
	parts  []part[V] // oldest first
	size   int
	early  uint64 // entries that were forgotten before their window ended
}

// part is a generation: entries of about one eighth of the window.
type part[V any] struct {
	since int64 // of its oldest entry, Unix microseconds
	until int64 // of its newest
	known map[Key]entry[V]
}

type entry[V any] struct {
	at    int64 // time of receipt, Unix microseconds
	value V
}

// get returns what is known of a key at a time.
func (m *memory[V]) get(k Key, now int64) (v V, ok bool) {
	for i := len(m.parts) - 1; i >= 0; i-- {
		if e, found := m.parts[i].known[k]; found && e.at > now-m.window.Microseconds() {
			return e.value, true
		}
	}
	return v, false
}

// put remembers a key that was stored at a time.
func (m *memory[V]) put(k Key, at, now int64, v V) {
	m.forget(now)
	last := len(m.parts) - 1
	if last < 0 || at >= m.parts[last].since+m.window.Microseconds()/generations || len(m.parts[last].known) >= max(1, m.max/generations) {
		m.parts = append(m.parts, part[V]{since: at, until: at, known: map[Key]entry[V]{}})
		last++
	}
	p := &m.parts[last]
	p.since, p.until = min(p.since, at), max(p.until, at)
	before := len(p.known)
	p.known[k] = entry[V]{at, v}
	m.size += len(p.known) - before
	for m.size > m.max && len(m.parts) > 1 {
		m.early += uint64(len(m.parts[0].known))
		m.drop()
	}
}

// forget drops the parts whose window has ended.
func (m *memory[V]) forget(now int64) {
	for len(m.parts) > 0 && m.parts[0].until <= now-m.window.Microseconds() {
		m.drop()
	}
}

func (m *memory[V]) drop() {
	m.size -= len(m.parts[0].known)
	m.parts[0] = part[V]{}
	m.parts = m.parts[1:]
}

// reach returns the time of the oldest entry, 0 where there is none.
func (m *memory[V]) reach() int64 {
	if len(m.parts) == 0 {
		return 0
	}
	return m.parts[0].since
}
