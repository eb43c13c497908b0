package gate

import "sync/atomic"

// Memory is how many bytes all connections of a door together may hold, beyond
// the little that each has for itself. It is safe for concurrent use.
type Memory struct{ free atomic.Int64 }

// NewMemory returns one of n bytes.
func NewMemory(n int64) *Memory {
	m := new(Memory)
	m.free.Store(n)
	return m
}

// Take takes n bytes, or none where so many are not free.
func (m *Memory) Take(n int) bool {
	if m.free.Add(-int64(n)) >= 0 {
		return true
	}
	m.free.Add(int64(n))
	return false
}

// Give gives n bytes back.
func (m *Memory) Give(n int) { m.free.Add(int64(n)) }

// Free returns how many bytes are free.
func (m *Memory) Free() int64 { return m.free.Load() }
