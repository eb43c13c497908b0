package pgwire

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Stats is what a Server has done since it was made.
type Stats struct {
	Connections int               // open now, those in their start-up included
	Accepted    uint64            // connections taken
	Refused     uint64            // connections turned away because too many were open
	Statements  uint64            // statements begun
	Rows        uint64            // rows committed
	Errors      map[string]uint64 // errors sent, by SQLSTATE
}

type counters struct {
	accepted, refused, statements, rows atomic.Uint64

	mu     sync.Mutex
	errors map[string]uint64
}

func (c *counters) failed(code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.errors == nil {
		c.errors = make(map[string]uint64)
	}
	c.errors[code]++
}

// Stats returns the server's counters. The map is the caller's.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	return Stats{
		Connections: open,
		Accepted:    s.stats.accepted.Load(),
		Refused:     s.stats.refused.Load(),
		Statements:  s.stats.statements.Load(),
		Rows:        s.stats.rows.Load(),
		Errors:      maps.Clone(s.stats.errors),
	}
}
